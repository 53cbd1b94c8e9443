"""What the command leaves in the background: a normal end waits a second for its output, a cut-off task's whole zone is gone with the command."""

import json
import signal

import pytest

from support import procs
from support.waiting import duration, eventually

# The child is a daemon that no signal ends and that holds the output. It writes down when it last lived, the command when it died.
SCRIPT = """
import os, signal, sys, time

def die(*_):
    os.write(1, b"bye\\n")
    with open("/workspace/died", "w") as out:
        out.write(str(time.monotonic()))
    os._exit(0)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, die)
if os.fork() == 0:
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    beats = os.open("/workspace/beats", os.O_WRONLY | os.O_CREAT, 0o644)
    while True:
        os.pwrite(beats, b"%.6f" % time.monotonic(), 0)
        time.sleep(0.005)
while not os.path.exists("/workspace/beats") or os.path.getsize("/workspace/beats") == 0:
    time.sleep(0.005)
os.write(1, b"up\\n")
if sys.argv[1] == "end":
    die()
while True:
    time.sleep(0.05)
"""


class Repository:
    def __init__(self, path):
        self.path = path
        path.mkdir()

    def options(self, policy):
        return [*policy, "--repo-path", str(self.path), "--repo-mode", "rw"]

    def lived_on(self):
        """Seconds that the daemon lived longer than the command."""
        return float((self.path / "beats").read_text()) - float((self.path / "died").read_text())


def command(how, marker):
    return ("python3", "-c", SCRIPT, how, marker)


def test_normal_end_waits_for_output_of_children(rauha, policy_file, tmp_path):
    """The control for what follows: the daemon is seen to live on, for the second that schemas/agent.capnp names, and then it is gone."""
    marker = "rauha-left-7001"
    repository = Repository(tmp_path / "repo")
    document = rauha.sandbox(*command("end", marker), options=repository.options(policy_file())).task("succeeded", 0)
    assert document["stdout"] == "up\nbye\n" and repository.lived_on() > 0.7, repository.lived_on()
    assert not procs.with_marker(marker)


@pytest.mark.parametrize("how", ["ctrl-c", "sigterm", "closed-terminal", "timeout"])
def test_cut_off_task_ends_as_a_whole(rauha, policy_file, tmp_path, how):
    """An hour of grace is the command's. Waiting for the output would take a second at least, every time; a busy machine may be late once."""
    number = {"ctrl-c": signal.SIGINT, "sigterm": signal.SIGTERM, "closed-terminal": signal.SIGHUP}.get(how)
    lived = []
    for attempt in range(4):
        marker = f"rauha-left-70{attempt + 10}-{how}"
        repository = Repository(tmp_path / f"repo-{attempt}")
        options = repository.options(policy_file(resources={"stop_grace": "60m"}))
        if how == "timeout":
            result = rauha.sandbox(*command("wait", marker), options=[*options, "--timeout", duration(1)], timeout=30)
            document = result.task("timed_out", 124)
        else:
            running = rauha.start_sandbox(*command("wait", marker), options=options)
            eventually(lambda path=repository.path: (path / "beats").exists() and (path / "beats").read_text(), 30, "the daemon lives")
            running.process.send_signal(number)
            document = running.wait(30).task("cancelled", 128 + number)
        assert not procs.with_marker(marker), "something is left"
        if not (repository.path / "died").exists():
            continue  # cut off before the command could handle signals
        assert document["stdout"] in ("up\nbye\n", "bye\n"), json.dumps(document["stdout"])
        lived.append(repository.lived_on())
        if lived[-1] < 0.5:
            return
    raise AssertionError(f"the daemon lived on for {lived} seconds")
