"""The daemon as its users see it: started on demand, leaving when idle, one per root."""

import os
import signal

from support import census, procs
from support.instance import RAUHA
from support.waiting import eventually, stays


def test_started_on_demand(fresh):
    assert fresh.daemon_pid() is None
    fresh.sandbox("true").task("succeeded", 0)
    pid = fresh.daemon_pid()
    assert pid
    fresh.sandbox("true").task("succeeded", 0)
    assert fresh.daemon_pid() == pid


def test_out_of_the_callers_session(fresh):
    """The daemon is not a child of the command's session, terminal, working directory or descriptors."""
    result = fresh.run("zone", "list", "--json", start_new_session=True, cwd=fresh.files)
    result.exited(0)
    pid = eventually(fresh.daemon_pid, 5, "a daemon")
    assert os.getsid(pid) == pid or os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/cwd") != str(fresh.files)
    for number in ("0", "1", "2"):
        target = os.readlink(f"/proc/{pid}/fd/{number}")
        assert target == "/dev/null" or str(fresh.root) in target, f"descriptor {number} of the daemon is {target}"


def test_root_option_and_variable_are_the_same(fresh):
    fresh.ensure_daemon()
    result = fresh.run("--root", str(fresh.root), "doctor", "--json", env={"RAUHA_ROOT": "/nowhere"})
    assert result.json["server"]["pid"] == fresh.daemon_pid()


def test_files_of_an_instance_are_private(fresh):
    fresh.sandbox("true").task("succeeded", 0)
    socket = fresh.root / "run" / "rauhad.sock"
    assert socket.is_socket() and socket.stat().st_mode & 0o007 == 0, oct(socket.stat().st_mode)
    for path in (fresh.root / "state", fresh.root / "run"):
        assert path.stat().st_mode & 0o022 == 0, f"{path} is writable for others"


def test_leaves_when_idle(fresh):
    """A daemon that was started on demand ends by itself, and leaves nothing."""
    (fresh.root / "rauha.toml").write_text('[daemon]\nidle_exit = "1s"\n')
    fresh.sandbox("true").task("succeeded", 0)
    eventually(lambda: fresh.daemon_pid() is None, 20, "the daemon's end by idleness")
    fresh.sandbox("true").task("succeeded", 0)


def test_does_not_leave_while_a_task_runs(fresh):
    (fresh.root / "rauha.toml").write_text('[daemon]\nidle_exit = "1s"\n')
    running = fresh.start_sandbox("sleep", "4")
    pid = eventually(fresh.daemon_pid, 15, "a daemon")
    stays(lambda: fresh.daemon_pid() == pid, 2.5, "the daemon while a task runs")
    running.wait(20).task("succeeded", 0)


def test_second_daemon_is_refused(fresh):
    pid = fresh.ensure_daemon()
    done = fresh.run(program=RAUHA.parent / "rauhad", timeout=20)
    assert done.returncode != 0 and done.stderr and fresh.daemon_pid() == pid, done.explain()


def test_bad_configuration_is_named(fresh):
    (fresh.root / "rauha.toml").write_text("colour = 'red'\n")
    error = fresh.sandbox("true").refused(125)
    assert "rauha.toml" in str(error) and "colour" in str(error), error


def test_memory_does_not_grow_with_tasks(fresh):
    """Resident memory and descriptors of the daemon after many tasks are those after a few."""
    def facts():
        assert not census.eventually_clean(fresh)
        pid = fresh.daemon_pid()
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
        return int(status["VmRSS"].split()[0]), len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"])

    def some(count):
        for _ in range(count // 5):
            for task in [fresh.start_sandbox("true") for _ in range(5)]:
                task.wait(60).task("succeeded", 0)

    some(60)  # threads are made when first needed: the store's not before its log is long enough
    memory, descriptors, threads = facts()
    some(40)
    after = facts()
    assert after[0] < memory + 8192 and after[1] <= descriptors + 2 and after[2] <= threads + 2, f"before {(memory, descriptors, threads)}, after {after}"


def test_version(fresh):
    result = fresh.run("--version").exited(0)
    assert result.stdout.strip(), result.explain()


def test_no_child_is_left_to_the_caller(fresh):
    """The command reaps or detaches what it starts: no zombie and no process in its group stays."""
    running = fresh.start("zone", "list", "--json", start_new_session=True)
    running.wait(30).exited(0)
    daemon = fresh.daemon_pid()
    left = [p for p in procs.all_processes() if p.pid not in (daemon,) and p.state != "Z" and _session(p.pid) == running.pid]
    assert not left, left
    fresh.kill_daemon(signal.SIGTERM)


def _session(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
