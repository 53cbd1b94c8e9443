"""Whoever dies, whenever: nothing stays behind, the result stays one document, and the next daemon says what it cleaned."""

import os
import pathlib
import secrets
import signal
import subprocess
import time

import pytest

from support import census, procs
from support.instance import Instance
from support.random_kills import check_after, gone, kill, marker, random_kills, seed_of_this_run
from support.waiting import eventually, patient, stays


def started(instance, mark, **options):
    running = instance.start_sandbox("sleep", mark, **options)
    eventually(lambda: procs.with_marker(mark), 30, lambda: f"the task {mark}; the client printed {running.output()!r}")
    return running


# --- the client

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_signal_to_the_client(rauha, number):
    mark = marker()
    running = started(rauha, mark)
    running.process.send_signal(number)
    result = running.wait(20)
    document = result.task("cancelled", 128 + number)
    assert document["command"] == ["sleep", mark] and result.seconds < patient(20)
    gone(mark)


def test_signal_to_the_client_without_json(rauha):
    mark = marker()
    running = started(rauha, mark, json_output=False)
    running.process.send_signal(signal.SIGTERM)
    running.wait(20).exited(143)
    gone(mark)


def test_cancelled_task_may_say_its_last_words(rauha, tmp_path):
    script = "trap 'echo last words; exit 0' TERM; touch ready; while :; do sleep 0.05; done"
    running = rauha.start_sandbox("sh", "-c", script, options=["--repo-path", str(tmp_path), "--repo-mode", "rw"])
    eventually((tmp_path / "ready").exists, 30, "the trap")
    running.process.send_signal(signal.SIGTERM)
    assert running.wait(20).task("cancelled", 143)["stdout"] == "last words\n"


def test_second_signal_does_not_leave_the_task(rauha):
    """Impatience: the same signal many times."""
    mark = marker()
    running = started(rauha, mark)
    for _ in range(20):
        if running.process.poll() is not None:
            break
        running.process.send_signal(signal.SIGINT)
        time.sleep(0.005)
    running.wait(20)
    gone(mark)


def test_client_killed(rauha):
    mark = marker()
    running = started(rauha, mark)
    running.process.kill()
    running.wait(5)
    gone(mark, 10)


def test_client_killed_while_its_input_flows(rauha):
    mark = marker()
    with open("/dev/zero", "rb") as source:
        running = rauha.start_sandbox("sh", "-c", f"cat > /dev/null; : {mark}", stdin=source)
        eventually(lambda: procs.with_marker(mark), 30, "the task")
        running.process.kill()
        running.wait(5)
    gone(mark)


def test_client_killed_while_output_flows(rauha):
    mark = marker()
    running = rauha.start_sandbox("sh", "-c", f"yes {mark}; :", json_output=False, stdout=subprocess.DEVNULL)
    eventually(lambda: procs.with_marker(mark), 30, "the task")
    running.process.kill()
    running.wait(5)
    gone(mark)


def test_client_stopped(rauha):
    """SIGSTOP is not a lost client: the task goes on; after SIGCONT the result comes."""
    mark = marker()
    running = started(rauha, mark)
    running.process.send_signal(signal.SIGSTOP)
    stays(lambda: procs.with_marker(mark), 1, "the task of a stopped client")
    running.process.send_signal(signal.SIGCONT)
    running.process.send_signal(signal.SIGTERM)
    running.wait(20).task("cancelled", 143)


@pytest.mark.long
def test_client_stopped_while_output_flows(rauha):
    """Ctrl-Z on a talkative task for longer than the daemon's patience with peers that do not read: it goes on afterwards."""
    running = rauha.start_sandbox("sh", "-c", "head -c 64M /dev/zero; sleep 8; head -c 64M /dev/zero", json_output=False)
    eventually(lambda: running.output(), 20, "output")
    running.process.send_signal(signal.SIGSTOP)
    stays(lambda: running.process.poll() is None, 7, "the stopped client")
    running.process.send_signal(signal.SIGCONT)
    result = running.wait(60).exited(0)
    assert len(result.stdout) == 128 << 20


def test_kept_zone_outlives_its_client(fresh):
    mark = marker()
    running = started(fresh, mark, options=["--keep-zone", "--name", "stays"])
    running.process.kill()
    running.wait(5)
    gone(mark, 15)
    eventually(lambda: "stays" in [zone["name"] for zone in fresh.zones()], 5, "the kept zone")
    fresh.run("zone", "delete", "--json", "stays", "--force").exited(0)


# --- the daemon

def test_daemon_killed(fresh):
    mark = marker()
    running = started(fresh, mark)
    fresh.kill_daemon()
    result = running.wait(20)
    document = result.task("runtime_error", 125)
    assert result.refused(125, ("daemon", "task", "zone"))["hint"] is not None and document["command"] == ["sleep", mark]
    gone(mark, 10)
    fresh.sandbox("true").task("succeeded", 0)


def test_restarted_daemon_says_what_it_cleaned(fresh):
    mark = marker()
    running = started(fresh, mark)
    zone = fresh.zones()[0]["id"]
    shims = fresh.shim_pids()
    assert len(shims) == 1
    # Shim first: then nobody is left to clean up, and the zone's groups and records are the new daemon's job.
    daemon = fresh.daemon_pid()
    kill(daemon, signal.SIGSTOP)
    kill(shims[0])
    kill(daemon)
    assert [line for line in census.take(fresh.root) if line.startswith("cgroup")], "the control: work is left to do"
    running.wait(20).task("runtime_error", 125)
    fresh.ensure_daemon()
    gone(mark)
    eventually(lambda: not census.take(fresh.root, daemon_running=True), 15, lambda: "\n".join(census.take(fresh.root, daemon_running=True)))
    log = fresh.log_tail(10_000)
    assert zone in log and "reconcile" in log, f"the log does not say that {zone} was cleaned:\n{log}"


def test_daemon_terminated_politely(fresh):
    """SIGTERM to the daemon: running tasks end, their clients get a document, nothing is left."""
    mark = marker()
    running = started(fresh, mark)
    fresh.kill_daemon(signal.SIGTERM)
    result = running.wait(30)
    assert result.json["status"] in ("runtime_error", "cancelled"), result.explain()
    gone(mark)


def test_named_zone_survives_the_daemon(fresh):
    """A zone made by hand is not temporary: its shim goes on, and the next daemon takes it over."""
    policy = str(pathlib.Path(__file__).resolve().parents[2] / "policies" / "task.toml")
    fresh.run("zone", "create", "--json", "--name", "long", "--policy", policy).exited(0)
    before = fresh.zones()[0]
    shim = fresh.shim_pids()[0]
    fresh.kill_daemon()
    fresh.ensure_daemon()
    after = [zone for zone in fresh.zones() if zone["name"] == "long"]
    assert after and after[0]["id"] == before["id"] and after[0]["state"] == "ready" and fresh.shim_pids() == [shim], (before, after)
    fresh.run("zone", "delete", "--json", "--name", "long").exited(0)
    assert not procs.alive(shim) or eventually(lambda: not procs.alive(shim), 5, "the shim's end")


def test_shim_of_a_named_zone_killed(fresh):
    policy = str(pathlib.Path(__file__).resolve().parents[2] / "policies" / "task.toml")
    fresh.run("zone", "create", "--json", "--name", "hurt", "--policy", policy).exited(0)
    kill(fresh.shim_pids()[0])
    eventually(lambda: [zone["state"] for zone in fresh.zones()] in (["failed"], []), 15, "the zone's state is told")
    result = fresh.run("zone", "delete", "--json", "hurt", "--force")
    assert result.returncode == 0 or result.refused(result.returncode, "zone", "not_found")


# --- the shim

def test_shim_killed(rauha):
    mark = marker()
    running = started(rauha, mark)
    shims = rauha.shim_pids()
    assert len(shims) == 1, shims
    kill(shims[0])
    result = running.wait(20)
    result.task("runtime_error", 125)
    result.refused(125)
    gone(mark)
    rauha.sandbox("true").task("succeeded", 0)


@pytest.mark.parametrize("way", ["timeout", "cancel"])
def test_stopped_shim_does_not_hold_up_the_end(rauha, way):
    """A shim that does not answer: within seconds the daemon ends the zone by itself, and nothing of it stays."""
    mark = marker()
    running = started(rauha, mark, options=["--timeout", "6s"] if way == "timeout" else [])
    shim = rauha.shim_pids()[0]
    kill(shim, signal.SIGSTOP)
    begun = time.monotonic()
    if way == "cancel":
        running.process.send_signal(signal.SIGINT)
    result = running.wait(60)
    assert result.json["status"] == ("timed_out" if way == "timeout" else "cancelled"), result.explain()
    assert time.monotonic() - begun < patient(6 + 12), result.explain("the end took long")
    assert not procs.alive(shim)
    gone(mark)


def test_stopped_shim_does_not_hold_up_the_daemon(fresh):
    """The next daemon starts beside a kept zone whose shim hangs, says so, and takes the zone away when told to."""
    fresh.run("zone", "create", "--name", "hung", "--json").exited(0)
    kill(fresh.shim_pids()[0], signal.SIGSTOP)
    fresh.kill_daemon()
    zones = fresh.zones()
    assert [(zone["name"], zone["state"]) for zone in zones] == [("hung", "failed")], zones
    fresh.run("zone", "delete", "hung", "--json").exited(0)


def test_init_of_the_zone_killed(rauha):
    """From outside, somebody kills the zone's process 1: all of the zone dies, and the result says so."""
    mark = marker()
    running = started(rauha, mark)
    inits = rauha.init_pids()
    assert len(inits) == 1, inits
    kill(inits[0])
    result = running.wait(20)
    assert result.json["status"] in ("killed", "runtime_error"), result.explain()
    gone(mark)


# --- instances beside each other

def test_two_instances_never_touch_each_other(rauha, fresh):
    mark = marker()
    running = started(rauha, mark)
    daemon, shims = rauha.daemon_pid(), rauha.shim_pids()
    for _ in range(2):
        other = started(fresh, other_mark := marker())
        fresh.kill_daemon()
        other.wait(20)
        gone(other_mark)
        fresh.ensure_daemon()
        fresh.sandbox("true").task("succeeded", 0)
    fresh.stop()
    assert running.process.poll() is None and procs.with_marker(mark) and rauha.daemon_pid() == daemon and rauha.shim_pids() == shims
    running.process.send_signal(signal.SIGTERM)
    running.wait(20).task("cancelled", 143)


def test_daemon_starts_once(fresh):
    """Ten first commands at the same time: one daemon, ten answers."""
    running = [fresh.start_sandbox("true") for _ in range(10)]
    for task in running:
        task.wait(60).task("succeeded", 0)
    assert fresh.daemon_pid()


def test_stale_socket(fresh):
    """The socket file of a dead daemon does not stop the next one."""
    fresh.ensure_daemon()
    fresh.kill_daemon()
    assert (fresh.root / "run" / "rauhad.sock").exists(), "the control: kill -9 leaves the file"
    fresh.sandbox("true").task("succeeded", 0)


def test_long_root_path(tmp_path):
    """A root whose socket path is longer than the 108 bytes of a socket address."""
    root = tmp_path / ("long-" * 20) / ("path-" * 20) / ("rauha-test-" + secrets.token_hex(6))
    root.mkdir(parents=True, mode=0o700)
    instance = Instance(root=root)
    try:
        instance.sandbox("true").task("succeeded", 0)
        instance.stop()
        eventually(lambda: not census.take(root), 10, lambda: "\n".join(census.take(root)))
    finally:
        instance.kill_daemon()
        instance.remove()


# --- the store's disk

@pytest.fixture
def small_disk():
    """An instance whose root is a file system of 24 MiB."""
    instance = Instance()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "rauha-small", str(instance.root)], check=True)
    instance.configure("")
    yield instance
    (instance.root / "ballast").unlink(missing_ok=True)
    # Records that could not be written while the disk was full are put right by the next daemon.
    instance.stop()
    instance.ensure_daemon()
    instance.stop()
    left = census.eventually_nothing(instance)
    subprocess.run(["umount", str(instance.root)], check=True)
    instance.remove()
    assert not left, "\n".join(left)


def fill(instance):
    with open(instance.root / "ballast", "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_store_disk_full(small_disk):
    small_disk.sandbox("true").task("succeeded", 0)
    fill(small_disk)
    for _ in range(3):
        result = small_disk.sandbox("true", timeout=30)
        assert result.json["status"] in ("succeeded", "runtime_error"), result.explain()
        if result.json["status"] == "runtime_error":
            result.refused(125)
            assert "space" in result.stdout.decode().lower() or "full" in result.stdout.decode().lower(), result.explain("the cause is not named")
    assert small_disk.daemon_pid(), "the daemon did not survive a full disk"
    (small_disk.root / "ballast").unlink()
    small_disk.sandbox("true").task("succeeded", 0)


def test_disk_fills_during_a_task(small_disk):
    mark = marker()
    running = started(small_disk, mark)
    fill(small_disk)
    running.process.send_signal(signal.SIGTERM)
    result = running.wait(30)
    assert result.json["status"] in ("cancelled", "runtime_error"), result.explain()
    gone(mark)
    # Only files and records may wait for room on the disk.
    kinds = ("record", "file")
    eventually(lambda: not [line for line in census.take(small_disk.root, daemon_running=True) if not line.startswith(kinds)], 10,
               lambda: "\n".join(census.take(small_disk.root, daemon_running=True)))


def test_daemon_on_a_full_disk(small_disk):
    """It cannot even start: one document that says so."""
    fill(small_disk)
    small_disk.sandbox("true", timeout=30).refused(125)
    (small_disk.root / "ballast").unlink()
    small_disk.sandbox("true").task("succeeded", 0)


def test_store_is_damaged(fresh):
    fresh.sandbox("true").task("succeeded", 0)
    fresh.stop()
    stores = [path for path in fresh.root.rglob("*") if path.suffix in (".db", ".sqlite", ".sqlite3")]
    assert stores, "the store is no longer where this test looks for it"
    kept = {path: path.read_bytes() for path in stores}
    for path in stores:
        path.write_bytes(os.urandom(8192))
        for extra in ("-wal", "-shm"):
            pathlib.Path(str(path) + extra).unlink(missing_ok=True)
    result = fresh.sandbox("true", timeout=30)
    error = result.refused(125)
    assert "store" in str(error) or "database" in str(error), error
    for path, data in kept.items():
        path.write_bytes(data)
    fresh.sandbox("true").task("succeeded", 0)


# --- random kills

def test_sixty_random_kills(fresh):
    seed = seed_of_this_run()
    killed = random_kills(fresh, 60, seed)
    assert all(killed.values()), killed
    check_after(fresh, seed)


def test_every_moment_of_a_start(fresh):
    """The daemon is killed at a slightly later moment each time, through the whole of one start."""
    fresh.sandbox("true").task("succeeded", 0)
    for step in range(40):
        fresh.ensure_daemon()
        running = fresh.start_sandbox("sleep", mark := marker())
        until = time.monotonic() + 0.004 * step
        while time.monotonic() < until:
            time.sleep(0.0005)
        fresh.kill_daemon()
        result = running.wait(30)
        result.check(result.json["status"] in ("runtime_error", "cancelled"), f"another status at step {step}")
        gone(mark)
    check_after(fresh, "none")


def test_every_moment_of_a_shim(fresh):
    fresh.sandbox("true").task("succeeded", 0)
    for step in range(40):
        running = fresh.start_sandbox("sleep", mark := marker(), options=["--timeout", "20s"])
        until = time.monotonic() + 0.003 * step
        while time.monotonic() < until or not fresh.shim_pids():
            if running.process.poll() is not None or time.monotonic() > until + 10:
                break
            time.sleep(0.0005)
        for pid in fresh.shim_pids():
            kill(pid)
        result = running.wait(40)
        result.check(result.json["status"] == "runtime_error", f"another status at step {step}")
        gone(mark)
    check_after(fresh, "none")
