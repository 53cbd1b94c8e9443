"""Boundaries that are made ahead: each serves one task, is as strong as one that is made when it is needed, and none is left."""

import os
import signal

import pytest

from support import procs
from support.census import eventually_clean
from support.waiting import eventually

pytestmark = pytest.mark.guest
PYTHON = ("python3", "-c")
HOSTNAME = ("cat", "/proc/sys/kernel/hostname")


def config(zones=1, idle="60s"):
    return f'[daemon]\nprepared_zones = {zones}\nprepared_idle = "{idle}"\n'


def waiting(instance, count=1):
    """The zone ids of the shims that wait for a task; only while no task runs."""
    def look():
        found = [p.cmdline.split(b"\0")[1].decode() for p in procs.of_root(instance.root, instance.name) if p.cmdline.startswith(b"rauha-shim\0")]
        # A shim without its init is still building, or goes.
        return found if len(found) == count == len(instance.init_pids()) else None
    return eventually(look, 10, f"{count} prepared zones")


@pytest.fixture
def ready(make_instance):
    """An instance in which a boundary waits."""
    instance = make_instance(config())
    instance.sandbox("true").task("succeeded", 0)
    waiting(instance)
    yield instance
    instance.stop()


def test_a_task_gets_the_one_that_waits_and_nobody_gets_it_again(ready):
    seen = set()
    for _ in range(4):
        [zone] = waiting(ready)
        document = ready.sandbox(*HOSTNAME).task("succeeded", 0)
        assert document["zone_id"] == zone and document["stdout"] == zone + "\n"
        assert zone not in seen
        seen.add(zone)


def test_it_is_as_strong_as_any_other(ready, make_instance):
    """What is armed, what a process can see of itself, and what it is told: the same, but for names and numbers."""
    script = """
import os, json
def text(path): return open(path).read()
status = {l.split(":")[0]: l.split(":")[1].split() for l in text("/proc/self/status").splitlines()}
keys = ("Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Groups")
print(json.dumps({"status": {k: status[k] for k in keys}, "limits": text("/proc/self/limits"), "pid": os.getpid(), "init": text("/proc/1/comm"),
  "fds": sorted(os.listdir("/proc/self/fd")), "mounts": sorted(l.split()[4] + " " + l.split()[5] for l in text("/proc/self/mountinfo").splitlines()),
  "groups": len(text("/proc/self/cgroup").splitlines()), "maps": text("/proc/self/uid_map").split()[0::2], "env": sorted(os.environ),
  "processes": sorted(p for p in os.listdir("/proc") if p.isdigit()), "links": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else None,
  "keys": text("/proc/keys") if os.path.exists("/proc/keys") else None}))
"""
    plain = make_instance().sandbox(*PYTHON, script).task("succeeded", 0)
    [zone] = waiting(ready)
    prepared = ready.sandbox(*PYTHON, script).task("succeeded", 0)
    assert prepared["zone_id"] == zone
    assert prepared["stdout"] == plain["stdout"]

    def posture(document):
        return [{k: v for k, v in layer.items() if k != "detail"} for layer in document["posture"]["layers"]]
    assert posture(prepared) == posture(plain) != []


def test_the_policy_holds_although_it_came_later(ready, policy_file):
    def run(*command, options):
        [zone] = waiting(ready)
        result = ready.sandbox(*command, options=options)
        assert result.json["zone_id"] == zone
        return result
    memory = policy_file(resources={"memory": "64MiB"})
    run(*PYTHON, "x = bytearray(200 << 20)", options=memory).task("out_of_memory")
    pids = policy_file(resources={"pids": 8})
    # Forks until it may not.
    count = "import os, signal\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: signal.pause()\n    n += 1\nexcept OSError: print(n)\n"
    document = run(*PYTHON, count, options=pids).task("succeeded", 0)
    assert int(document["stdout"]) < 8
    names = "import os; print(os.sysconf('SC_OPEN_MAX'))"
    assert run(*PYTHON, names, options=policy_file(resources={"open_files": 77})).task("succeeded", 0)["stdout"] == "77\n"
    bounding = "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('CapBnd')][0])"
    assert int(run(*PYTHON, bounding, options=policy_file(capabilities=["chown"])).task("succeeded", 0)["stdout"], 16) == 1
    assert int(run(*PYTHON, bounding, options=policy_file(capabilities=[])).task("succeeded", 0)["stdout"], 16) == 0


def test_what_does_not_fit_is_made_anew(ready):
    [zone] = waiting(ready)
    document = ready.sandbox(*HOSTNAME, options=["--policy", "privileged"]).task("succeeded", 0)
    assert document["zone_id"] == zone  # the id was the task's already; nothing of the boundary was
    assert not next(layer for layer in document["posture"]["layers"] if layer["name"] == "user_namespace")["armed"]
    waiting(ready)


def test_a_named_or_kept_zone_leaves_it_alone(ready):
    [zone] = waiting(ready)
    document = ready.sandbox("true", options=["--keep-zone", "--name", "kept"]).task("succeeded", 0)
    assert document["zone_id"] != zone
    ready.run("zone", "delete", "kept", "--json").exited(0)
    assert waiting(ready) == [zone]


def test_one_that_was_killed_is_no_harm(ready):
    [pid] = ready.shim_pids()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not procs.alive(pid), 10, "the end of the shim")
    ready.sandbox("true").task("succeeded", 0)
    waiting(ready)


def test_without_tasks_there_are_none(make_instance):
    instance = make_instance(config(zones=3, idle="500ms"))
    running = instance.start_sandbox("sleep", "1")
    running.wait().task("succeeded", 0)
    assert not eventually_clean(instance)
    instance.sandbox("true").task("succeeded", 0)
    assert not eventually_clean(instance)


def test_a_daemon_that_stops_leaves_none(ready):
    waiting(ready)
    ready.stop()
    assert ready.shim_pids() == [] and ready.init_pids() == []


def test_a_daemon_that_is_killed_leaves_them_to_the_next(ready):
    [zone] = waiting(ready)
    ready.kill_daemon(signal.SIGKILL)
    eventually(lambda: ready.shim_pids() == [] == ready.init_pids(), 10, "the end of the shim that lost its daemon")
    document = ready.sandbox("true").task("succeeded", 0)
    assert document["zone_id"] != zone
    assert zone not in waiting(ready)


def test_eight_at_once(make_instance):
    instance = make_instance(config(zones=4))
    for _ in range(3):
        tasks = [instance.start_sandbox(*HOSTNAME) for _ in range(8)]
        documents = [task.wait().task("succeeded", 0) for task in tasks]
        assert len({document["zone_id"] for document in documents}) == 8
        assert all(document["stdout"] == document["zone_id"] + "\n" for document in documents)
    instance.stop()
