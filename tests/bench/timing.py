"""How long a command takes: a process of timer.py that runs one at a time, and the program `many` that runs a great number."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = pathlib.Path(os.environ.get("RAUHA_BENCH_PROGRAMS") or HERE.parents[1] / "build-release" / "bench")
UNIFIED = "/sys/fs/cgroup/unified"
HYBRID = os.path.ismount(UNIFIED)


class Timer:
    """`run` gives microseconds and refuses to count a command that failed."""

    def __init__(self, *options, environment=None):
        self.process = subprocess.Popen([sys.executable, str(HERE / "timer.py"), *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment)

    def run(self, command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 2 or answer[1] != "0":
            raise RuntimeError(f"{' '.join(command)} ended with {answer[1] if len(answer) == 2 else 'nothing'}")
        return int(answer[0])

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def many(command, count, parallel, hide_v2=False, environment=None):
    """{"all_us", "runs_us"} of so many runs, so many at a time. "{}" in the command becomes the number of the run."""
    hide = ["--hide", UNIFIED] if hide_v2 and HYBRID else []
    run = subprocess.run([PROGRAMS / "many", *hide, str(count), str(parallel), *command], stdout=subprocess.PIPE, text=True, env=environment)
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed among {count} runs, {parallel} at a time")
    return json.loads(run.stdout)


def environment_of(instance):
    environment = instance.environment()
    environment["PATH"] = os.environ["PATH"]
    return environment
