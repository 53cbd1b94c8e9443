"""The image plugin in a process of its own: everything that images do, and what its death does."""

import os
import pathlib
import secrets
import shutil
import signal

import pytest

from support import procs
from support.instance import RAUHA, Instance
from support.waiting import eventually
# Every test of images once more, against this module's `rauha`.
from test_images import *  # noqa: F401,F403
from test_images import sources  # noqa: F401
from test_image_formats import stored, test_a_root_tar_runs, test_export_keeps_every_digest, test_verify_of_what_is_whole  # noqa: F401

from conftest import _finish

CONFIG = '[plugin.image-oci]\nisolation = "process"\n'


@pytest.fixture(scope="module")
def rauha():
    instance = Instance(config=CONFIG)
    yield instance
    _finish(instance)


@pytest.fixture
def fresh():
    instance = Instance(config=CONFIG)
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


def test_the_result_says_where_plugins_run(rauha):
    posture = rauha.sandbox("/bin/true").task("succeeded", 0)["posture"]
    used = {p["name"]: p for p in posture["plugins"]}
    assert used["image-oci"]["isolation"] == "process" and used["backend-linux"]["isolation"] == "none"
    assert [(p["name"], p["kind"]) for p in posture["plugins"]] == [("backend-linux", "backend"), ("image-oci", "image")]
    # They come with the installation; nothing is unsafe about them.
    assert not any("path" in p for p in posture["plugins"]) and "unsafe_plugins" not in posture


def test_the_most_layers_that_a_zone_mounts(rauha, tmp_path):
    """Each layer crosses as a descriptor, from the daemon to the zone's agent in one message."""
    from support.images import Image, busybox_layer
    from support.make_oci_image import File
    for count, expected in ((127, 0), (128, 0), (129, 125)):
        layers = [[File(f"etc/layer{number}", f"{number}\n")] for number in range(count - 1)]
        layout = Image(busybox_layer(), *layers, Env=["PATH=/bin"]).oci(tmp_path / f"oci{count}")
        result = rauha.sandbox("/bin/sh", "-c", "ls /etc | grep -c layer; cat /etc/layer0 /etc/layer125", image=f"oci:{layout}")
        if expected == 0:
            assert result.task("succeeded", 0)["stdout"] == f"{count - 1}\n0\n125\n"
        else:
            assert "129 layers, more than the 128" in result.refused(125, "image")["text"]


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
    names = {fd: os.readlink(f"/proc/{second}/fd/{fd}") for fd in os.listdir(f"/proc/{second}/fd")}
    store = str(rauha.root / "state/plugins/image-oci")
    others = [fd for fd, n in names.items() if n.startswith("/") and n != "/dev/null" and not n.startswith(store)]
    # Its own file alone, which is the root of a mount of its own, and read-only.
    assert [os.stat(f"/proc/{second}/fd/{fd}").st_ino for fd in others] == [os.stat(plugin(rauha)["path"]).st_ino], names
    mounted = pathlib.Path(f"/proc/{second}/mountinfo").read_text()
    for line in mounted.splitlines():
        where, flags = line.split()[4:6]
        writable = where in (store, "/tmp", str(rauha.root / "run"))
        assert ("rw" in flags.split(",")) == writable, line


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


@pytest.fixture
def wild(private_directories):
    """An instance with a second image plugin, in a process of its own, that does what its reference says."""
    build = RAUHA.parent.parent
    if not (build / "test/plugins/wild-image.so").exists():
        pytest.skip("wild-image.so is only in a build with tests")
    private = private_directories("wild")
    shutil.copy(build / "test/plugins/wild-image.so", private / "wild-image.so")
    (private / "wild-image.so").chmod(0o755)
    instance = Instance(config=f"""[plugins]
directories = ["{build}/lib/rauha/plugins", "{private}"]
images = ["image-oci", "wild-image"]
[plugin.wild-image]
schemes = ["wild"]
isolation = "process"
[daemon]
workers = 2
prepared_zones = 0
""")
    yield instance
    _finish(instance)


def test_daemon_and_plugin_die_in_the_middle_of_a_resolve(wild):
    """Beside zones that live: they live on, the client gets its one document, nothing is left, and the next daemon works."""
    kept = wild.run("zone", "create", "--name", "kept", "--json").exited(0).json["id"]
    mark = f"8{secrets.randbelow(10**4):04}.{secrets.randbelow(10**9):09}"
    running = wild.start_sandbox("sleep", mark)
    eventually(lambda: procs.with_marker(mark), 30, "the task")
    resolving = wild.start_sandbox("/bin/true", image="wild:hang")
    eventually((wild.root / "state/plugins/wild-image/hanging").exists, 30, "the resolve")
    posture = wild.sandbox("/bin/true").task("succeeded", 0)["posture"]
    assert {p["name"]: p.get("path", "") for p in posture["plugins"]}["wild-image"].endswith("/wild-image.so")

    handles = [os.pidfd_open(pid) for pids in host_processes(wild) for pid in pids]
    assert len(handles) == 2
    # The plugin's process and the daemon at once: neither can tidy up after the other.
    signal.pidfd_send_signal(handles[0], signal.SIGKILL)
    wild.kill_daemon(signal.SIGKILL)
    for handle in handles:
        procs.wait_dead(handle, 10, "a process of the plugin's")
        os.close(handle)
    for client in (running, resolving):
        assert client.wait(60).json["status"] == "runtime_error"
    wild.ensure_daemon()
    eventually(lambda: not procs.with_marker(mark), 20, "the end of the task whose client is gone")
    assert [(z["id"], z["state"]) for z in wild.zones()] == [(kept, "ready")]
    wild.sandbox("/bin/true").task("succeeded", 0)
    entry = next(p for p in wild.run("plugin", "list", "--json").exited(0).json["plugins"] if p["name"] == "wild-image")
    assert entry["loaded"] and entry["restarts"] == 0
    wild.run("zone", "delete", "--json", "kept").exited(0)


@pytest.mark.long
def test_images_that_take_long_do_not_keep_zones_from_starting(wild):
    """Image calls have workers of their own: as many hang as there are, and one more waits."""
    waiting = [wild.start_sandbox("/bin/true", image="wild:hang") for _ in range(3)]
    eventually((wild.root / "state/plugins/wild-image/hanging").exists, 30, "a resolve")
    for _ in range(3):
        wild.run("zone", "create", "--name", "beside", "--json").exited(0)
        wild.run("zone", "delete", "--json", "beside").exited(0)
    for client in waiting:
        assert client.process.poll() is None
        client.process.send_signal(signal.SIGTERM)
    for client in waiting:
        client.wait(60).task("cancelled", 143)
    # The hung process was killed; what the daemon holds of it goes with the next start.
    wild.run("image", "list", "--json").exited(0)


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
    instance = Instance(config=config)
    try:
        result = instance.run("zone", "create", "--name", "x", "--json")
        assert result.returncode != 0
        for word in words:
            result.check(word in result.json["error"]["text"] + result.json["error"].get("hint", ""), f"no {word!r} in the error")
    finally:
        _finish(instance)
