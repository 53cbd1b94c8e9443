#!/usr/bin/python3
"""How long `rauha sandbox … /bin/true` takes beside other tools, with the daemon running and everything warm.

Each round runs every tool once, in an order that rotates, so that a busy moment of the machine hits all of them. Medians are what to compare; only
ratios travel to another machine. Prints a table and our stages, and writes build/bench/first_figures.json.

Needs root. RAUHA_BIN names the directory of the programs, default build/bin; ./dev bench sets it to a release build.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import crun  # noqa: E402
from support import images  # noqa: E402
from support.instance import BIN, RAUHA, Instance  # noqa: E402

COMMAND = ["/bin/true"]
HYBRID = os.path.ismount("/sys/fs/cgroup/unified")


class Timer:
    """A process of timer.py; `run` gives microseconds and refuses to count a command that failed."""

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


class Candidate:
    def __init__(self, name, timer, command):
        self.name, self.timer, self.command, self.times = name, timer, command, []

    def measure(self):
        self.times.append(self.timer.run(self.command()))


def fixed(command):
    return lambda: command


def candidates(instance, rootfs, work, timers):
    """Ourselves first, then what is installed."""
    found = [Candidate("rauha sandbox", timers["rauha"], fixed([str(RAUHA), "sandbox", "--json", "--image", "bench", "--", *COMMAND]))]
    if shutil.which("crun"):
        number = iter(range(1_000_000))
        for seccomp in (True, False):
            bundle = work / ("crun-seccomp" if seccomp else "crun-plain")
            calls = crun.make_bundle(bundle, rootfs, COMMAND, seccomp)
            name = f"crun, seccomp ({calls} calls)" if seccomp else "crun, no seccomp"
            found.append(Candidate(name, timers["crun"], lambda bundle=bundle: [
                shutil.which("crun"), "--root", str(work / "crun-state"), "run", "--bundle", str(bundle), f"bench-{os.getpid()}-{next(number)}"]))
    if shutil.which("bwrap"):
        found.append(Candidate("bubblewrap, no limits, no seccomp", timers["plain"], fixed(
            [shutil.which("bwrap"), "--unshare-all", "--ro-bind", str(rootfs), "/", "--proc", "/proc", "--dev", "/dev", *COMMAND])))
    found.append(Candidate("chroot", timers["plain"], fixed([shutil.which("chroot"), str(rootfs), *COMMAND])))
    return found


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def stages(instance, runs):
    """Medians of the stages that `--trace` reports, in the order of the first run."""
    spent, order = {}, []
    for _ in range(runs):
        result = instance.sandbox(*COMMAND, image="bench", options=["--trace"])
        for stage in result.json.get("stages", []):
            if stage["name"] not in spent:
                order.append(stage["name"])
            spent.setdefault(stage["name"], []).append(int(stage["ns"]))
    return [{"name": name, "median_us": round(statistics.median(spent[name]) / 1000)} for name in order]


def environment_of(instance):
    environment = instance.environment()
    environment["PATH"] = os.environ["PATH"]
    return environment


def measure(options):
    instance = Instance()
    work = pathlib.Path(tempfile.mkdtemp(prefix="rauha-bench-"))
    timers = {}
    try:
        image = images.busybox()
        rootfs = image.directory(work / "rootfs")
        image.oci(work / "layout")
        instance.run("image", "import", f"oci:{work}/layout", "--name", "bench", "--json").exited(0)
        timers = {"rauha": Timer(environment=environment_of(instance)), "plain": Timer(), "crun": Timer(*["--hide-v2"] if HYBRID else [])}
        tools = candidates(instance, rootfs, work, timers)
        for tool in tools:
            for _ in range(options.warm_up):
                tool.timer.run(tool.command())
        for round_number in range(options.runs):
            for position in range(len(tools)):
                tools[(position + round_number) % len(tools)].measure()
        return tools, stages(instance, min(options.runs, 20))
    finally:
        for timer in timers.values():
            timer.close()
        instance.stop()
        instance.remove()
        shutil.rmtree(work)


def report(tools, stage_list, options):
    ours = statistics.median(tools[0].times)
    rows = [{"tool": tool.name, "median_us": round(statistics.median(tool.times)), "p95_us": percentile(tool.times, 0.95),
             "runs": len(tool.times), "times_of_rauha": round(statistics.median(tool.times) / ours, 2)} for tool in tools]
    machine = {"kernel": platform.release(), "cpus": os.cpu_count(), "cgroups": "hybrid" if HYBRID else "v2", "load": os.getloadavg()[0]}
    print(f"/bin/true of a busybox image, {options.runs} rounds; Linux {machine['kernel']}, {machine['cpus']} cpus, {machine['cgroups']} control groups, "
          f"load {machine['load']:.1f}; programs of {BIN}")
    if HYBRID:
        print("crun refuses the hybrid layout: it is shown the v1 hierarchies alone, in a mount namespace of its own")
    print(f"\n{'tool':<36} {'median ms':>9} {'p95 ms':>8} {'x rauha':>8}")
    for row in rows:
        print(f"{row['tool']:<36} {row['median_us'] / 1000:>9.2f} {row['p95_us'] / 1000:>8.2f} {row['times_of_rauha']:>8.2f}")
    print(f"\n{'stage of rauha sandbox':<36} {'median ms':>9}")
    for stage in stage_list:
        print(f"{stage['name']:<36} {stage['median_us'] / 1000:>9.2f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine, "tools": rows, "stages": stage_list}, indent=1) + "\n")
    print(f"\nwritten to {options.output}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="rounds, default 100")
    parser.add_argument("--warm-up", type=int, default=3, help="runs of each tool that are not counted, default 3")
    parser.add_argument("--output", type=pathlib.Path, default=HERE.parents[1] / "build" / "bench" / "first_figures.json")
    options = parser.parse_args()
    tools, stage_list = measure(options)
    report(tools, stage_list, options)


if __name__ == "__main__":
    main()
