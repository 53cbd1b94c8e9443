"""The image plugin in a process of its own: everything that images do, and what its death does."""

import os
import pathlib
import secrets
import signal

import pytest

from support import procs
from support.instance import Instance
from support.waiting import eventually
# Every test of images once more, against this module's `rauha`.
from test_images import *  # noqa: F401,F403
from test_images import sources  # noqa: F401

from conftest import _finish

CONFIG = '[plugin.image-oci]\nisolation = "process"\n'


def instance_with(config):
    instance = Instance()
    path = instance.root / "rauha.toml"
    path.write_text(config)
    path.chmod(0o600)
    return instance


@pytest.fixture(scope="module")
def rauha():
    instance = instance_with(CONFIG)
    yield instance
    _finish(instance)


@pytest.fixture
def fresh():
    instance = instance_with(CONFIG)
    yield instance
    _finish(instance)


def plugin(instance):
    plugins = instance.run("plugin", "list", "--json").exited(0).json["plugins"]
    return next(entry for entry in plugins if entry["name"] == "image-oci")


def host_processes(instance):
    """Host pids of the first process and of the one that runs the plugin: everything below the daemon with that name."""
    daemon = instance.daemon_pid()
    mine = [p for p in procs.all_processes() if p.cmdline.startswith(b"rauha-plugin-host\0")]
    first = [p.pid for p in mine if p.ppid == daemon]
    return first, [p.pid for p in mine if p.ppid in first]


def test_list_says_how_it_is_confined(rauha):
    entry = plugin(rauha)
    assert entry["loaded"] and entry["isolation"] == "process" and entry["restarts"] == 0 and "last_end" not in entry
    first, second = host_processes(rauha)
    assert first == [entry["pid"]] and len(second) == 1
    text = "\n".join(entry["confinement"])
    for word in ("namespaces: pid, mount", "network (empty)", "capabilities: chown", "landlock ABI", "seccomp", "data"):
        assert word in text
    assert f"process {entry['pid']}" in rauha.run("plugin", "list").exited(0).stdout.decode()


def test_confinement_as_the_kernel_sees_it(rauha):
    rauha.ensure_daemon()
    (first,), (second,) = host_processes(rauha)
    daemon = rauha.daemon_pid()
    for name in ("mnt", "pid", "ipc", "uts", "net", "cgroup"):
        assert os.readlink(f"/proc/{second}/ns/{name}") != os.readlink(f"/proc/{daemon}/ns/{name}"), name
    for pid, capabilities in ((first, 0), (second, 0x8800001B)):
        status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        assert status["NoNewPrivs"] == "1", status
        for field in ("CapEff", "CapPrm", "CapBnd"):
            assert int(status[field], 16) & ~capabilities == 0, (pid, field, status[field])
    assert "Seccomp:\t2" in pathlib.Path(f"/proc/{second}/status").read_text()
    assert pathlib.Path(f"/proc/{second}/environ").read_bytes() == b""
    root = pathlib.Path(f"/proc/{second}/root")
    assert not (root / "etc/shadow").exists() and not (root / "home").exists() and not (root / "sys").exists() and (root / "usr/bin").is_dir()
    assert not list((root / str(rauha.root / "run").lstrip("/")).iterdir()), "the daemon's runtime directory is seen"
    # The daemon's socket, lock and store are not among its descriptors.
    names = [os.readlink(f"/proc/{second}/fd/{fd}") for fd in os.listdir(f"/proc/{second}/fd")]
    kinds = sorted(n for n in names if n.startswith("/") and n != "/dev/null")
    store = str(rauha.root / "state/plugins/image-oci")
    assert all(n.endswith("/image-oci.so") or n.startswith(store) for n in kinds), names


def test_the_host_image_is_the_same_as_in_the_daemon(rauha):
    other = Instance()
    try:
        script = "find / -xdev -maxdepth 2 -not -path '/proc*' -not -path '/workspace*' | sort; ls -lR /etc | grep -v '^total' | sed 's/ [0-9]* root/ root/'"
        inside, outside = (i.sandbox("/bin/sh", "-c", script).task("succeeded", 0)["stdout"] for i in (other, rauha))
        assert inside == outside and "/usr/bin" in inside
    finally:
        _finish(other)


def test_killed_process_is_an_error_of_the_call_alone(fresh):
    mark = f"8{secrets.randbelow(10**4):04}.{secrets.randbelow(10**9):09}"
    first = fresh.start_sandbox("sleep", mark)
    eventually(lambda: procs.with_marker(mark), 30, "the first task")
    pid = plugin(fresh)["pid"]
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    procs.wait_dead(handle, 10, "the plugin's process")
    os.close(handle)
    entry = eventually(lambda: (e := plugin(fresh)) and e.get("last_end") and e, 10, "the end in the list")
    assert entry["pid"] == 0 and entry["last_end"] == "ended by SIGKILL"
    # The next call starts it again; the zone that ran was not touched.
    fresh.sandbox("/bin/echo", "again").task("succeeded", 0)
    entry = plugin(fresh)
    assert entry["restarts"] == 1 and entry["pid"] not in (0, pid)
    assert first.process.poll() is None
    first.process.send_signal(signal.SIGTERM)
    first.wait(30).task("cancelled", 143)


def test_leases_survive_the_process(fresh, tmp_path):
    """A kept zone's layers stay when the plugin's process dies and starts again, and go with the zone."""
    from support.images import busybox
    layout = busybox().oci(tmp_path / "oci")
    zone = fresh.sandbox("/bin/true", image=f"oci:{layout}", options=["--keep-zone"]).task("succeeded", 0)["zone_id"]
    leases = fresh.root / "state/plugins/image-oci/leases"
    assert [p.name.split(".")[0] for p in leases.iterdir()] == [zone]
    os.kill(plugin(fresh)["pid"], signal.SIGKILL)
    eventually(lambda: plugin(fresh)["pid"] == 0 or None, 10, "the end in the list")
    fresh.sandbox("/bin/true", image=f"oci:{layout}").task("succeeded", 0)
    assert [p.name.split(".")[0] for p in leases.iterdir()] == [zone]
    os.kill(plugin(fresh)["pid"], signal.SIGKILL)
    eventually(lambda: plugin(fresh)["pid"] == 0 or None, 10, "the end in the list")
    # Nobody runs: the lease ends with the next start's reconcile.
    fresh.run("zone", "delete", "--force", "--json", zone).exited(0)
    fresh.sandbox("/bin/true").task("succeeded", 0)
    assert not list(leases.iterdir())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_process_ends_with_the_daemon(fresh, number):
    fresh.ensure_daemon()
    handles = [os.pidfd_open(pid) for pids in host_processes(fresh) for pid in pids]
    assert len(handles) == 2
    fresh.kill_daemon(number)
    for handle in handles:
        procs.wait_dead(handle, 10, "a process of the plugin's")
        os.close(handle)
    fresh.ensure_daemon()  # cleans up after the one that was killed


@pytest.mark.parametrize("config, words", [
    ('[plugin.backend-linux]\nisolation = "process"\n', ["of kind backend", "only image plugins"]),
    ('[plugin.image-oci]\nisolation = "vm"\n', ["isolation", '"none" or "process"']),
    ('[plugin.image-oci.process]\nnetwork = true\n', ["process", "isolation"]),
    ('[plugin.image-oci]\nisolation = "process"\n[plugin.image-oci.process]\ncapabilities = ["sys_admin"]\n', ["sys_admin", "chown"]),
    ('[plugin.image-oci]\nisolation = "process"\n[plugin.image-oci.process]\nread = ["/"]\n', ["read", "absolute path"]),
    ('[plugin.image-oci]\nisolation = "process"\n[plugin.image-oci.process]\nmemory = "1MiB"\n', ["memory", "64MiB"]),
    ('[plugin.image-oci]\nisolation = "process"\n[plugin.image-oci.process]\nspeed = 1\n', ["speed", "unknown key"]),
])
def test_configuration_that_is_refused(config, words):
    instance = instance_with(config)
    try:
        result = instance.run("zone", "create", "--name", "x", "--json")
        assert result.returncode != 0
        for word in words:
            result.check(word in result.json["error"]["text"] + result.json["error"].get("hint", ""), f"no {word!r} in the error")
    finally:
        _finish(instance)
