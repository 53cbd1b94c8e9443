"""The daemon without what it needs: descriptors, memory, a clock that goes forward. It refuses, recovers, and leaves nothing."""

import os
import resource
import signal
import time

import pytest

from support import census, procs
from support.instance import RAUHA
from support.random_kills import gone, marker
from support.waiting import duration, eventually, patient


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("spare", [0, 3, 8, 15, 25])
def test_daemon_without_descriptors(fresh, spare):
    """So many descriptors are left to it: a task runs or is refused with its reason, and the connection that had to wait is served once there are some again."""
    fresh.sandbox("true").task("succeeded", 0)
    daemon = fresh.ensure_daemon()
    before = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, (open_files(daemon) + spare, before[1]))
    running = [fresh.start_sandbox("true") for _ in range(3)]
    until = time.monotonic() + 1.2
    while time.monotonic() < until and any(task.process.poll() is None for task in running):
        time.sleep(0.02)
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, before)
    results = [task.wait(40) for task in running]
    for result in results:
        assert result.json["status"] in ("succeeded", "runtime_error"), result.explain()
        if result.json["status"] == "runtime_error":
            error = result.refused(125)
            assert error["code"] != "internal", result.explain("a full table of descriptors is no bug")
    if spare == 0:
        assert all(result.seconds > 1 or result.json["status"] == "runtime_error" for result in results), "the control: there was nothing left for a connection"
    assert fresh.daemon_pid() == daemon, "the daemon did not survive it\n" + fresh.log_tail()
    fresh.sandbox("true").task("succeeded", 0)
    eventually(lambda: not census.take(fresh.root, daemon_running=True), 15, lambda: "\n".join(census.take(fresh.root, daemon_running=True)))


@pytest.mark.parametrize("spare", [0, 1 << 20, 8 << 20])
def test_daemon_without_memory(fresh, spare):
    """No more memory for the daemon. It may end, as programs do then; what it began is undone by the next one, and every client has its document."""
    fresh.sandbox("true").task("succeeded", 0)
    daemon = fresh.ensure_daemon()
    used = next(int(line.split()[1]) << 10 for line in open(f"/proc/{daemon}/status") if line.startswith("VmData:"))
    before = resource.prlimit(daemon, resource.RLIMIT_DATA)
    resource.prlimit(daemon, resource.RLIMIT_DATA, (used + spare, before[1]))
    mark = marker()
    running = [fresh.start_sandbox("sleep", mark) for _ in range(6)]
    until = time.monotonic() + 1.2
    while time.monotonic() < until and any(task.process.poll() is None for task in running):
        time.sleep(0.02)
    for task in running:
        if task.process.poll() is None:
            task.process.send_signal(signal.SIGTERM)
    if fresh.daemon_pid() == daemon:
        resource.prlimit(daemon, resource.RLIMIT_DATA, before)
    for task in running:
        assert task.wait(40).json["status"] in ("cancelled", "runtime_error", "killed")
    gone(mark)
    fresh.sandbox("true").task("succeeded", 0)
    eventually(lambda: not census.take(fresh.root, daemon_running=True), 15, lambda: "\n".join(census.take(fresh.root, daemon_running=True)))


# --- time

@pytest.mark.parametrize("offset", [10**6, -1])
def test_another_clock_since_the_boot(fresh, offset):
    """Client and daemon in a time namespace: their monotonic clock and the time since the boot are others than the kernel tells about processes. Timeouts, the
    identity of shims and taking zones over hold."""
    clock = int(time.clock_gettime(time.CLOCK_MONOTONIC))
    shift = offset if offset > 0 else -min(clock - 2, 10**5)
    inside = ["--fork", "--time", f"--monotonic={shift}", f"--boottime={shift}", str(RAUHA)]

    def rauha(*args, **options):
        return fresh.run(*inside, *args, program="/usr/bin/unshare", **options)
    result = rauha("sandbox", "--json", "--image", "host", "--timeout", duration(1), "--", "sleep", "600", timeout=30)
    result.task("timed_out", 124)
    assert 900 <= result.json["duration_ms"] < patient(15) * 1000, result.explain()
    rauha("zone", "create", "--json", "--name", "kept").exited(0)
    shims = fresh.shim_pids()
    assert len(shims) == 1
    fresh.kill_daemon()
    # The next daemon lives by the machine's own clock, and finds the zone of the other.
    zones = fresh.zones()
    assert [zone["name"] for zone in zones] == ["kept"], zones
    fresh.run("zone", "delete", "--json", "--force", "kept").exited(0)
    eventually(lambda: not procs.alive(shims[0]), 10, "the shim's end")
