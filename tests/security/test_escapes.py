"""Known escapes of container runtimes as harmless checks, native and in the guest. Each has its control: where the hole is there, the check sees it."""

import ctypes
import hashlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import warnings

import pytest

import escapes
import probe
from support import procs
from support.images import Image, busybox_layer
from support.instance import BIN
from support.make_oci_image import File, Symlink
from support.waiting import eventually

pytestmark = pytest.mark.guest
HERE = pathlib.Path(__file__).resolve().parent
# Loads both modules from standard input and runs them as probes of the inside: nothing of the host is on the command line.
LOADER = """
import json, sys, types
feed = json.loads(sys.stdin.readline())
for name in ('probe', 'escapes'):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(feed[name], name, 'exec'), module.__dict__)
    if name == 'probe':
        module.OPTIONS.update(feed['options'])
        module.SCRATCH = feed['options']['scratch']
print(json.dumps({name: module.probe.run(function) for name, function in module.PROBES.items()}))
"""
# On each machine that Rauha supports the control of these must succeed: without that, the suite proves nothing.
CONTROLS_THAT_MUST_WORK = """write_the_runtimes_program a_directory_behind_any_descriptor working_directory_outside_the_root enter_a_foreign_namespace enter_by_pidfd
write_foreign_memory trace_any_process foreign_root core_pattern_by_any_name usermode_helpers system_v_semaphores system_v_messages posix_queue posix_shared_memory
abstract_sockets_are_listed path_sockets_of_the_host ambient_capability terminal_of_the_host raw_network
network_settings""".split()


class Objects:
    """What a zone must not reach: made by the test, on the host, and taken away again."""

    def __init__(self):
        self.token = "rauha-escape-" + secrets.token_hex(8)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rauha-escape-"))
        self.canary = self.directory / self.token
        self.canary.write_text("canary")
        self.shared = pathlib.Path("/dev/shm") / self.token
        self.shared.write_text("canary")
        self.abstract, self.path_socket = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0" + self.token)
        self.path_socket.bind(str(self.directory / "socket"))
        for peer in (self.abstract, self.path_socket):
            peer.listen(16)
        # A process with a program of its own, so that its file may be touched; its working directory is the canary's.
        program = self.directory / "sleeper"
        shutil.copy("/usr/bin/sleep", program)
        opened = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        self.process = subprocess.Popen([str(program), "100000"], cwd=self.directory, pass_fds=[opened])
        os.close(opened)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.key = 0x52420000 | os.getpid() & 0xFFFF
        self.semaphore, self.messages = self.libc.semget(self.key, 1, 0o1666), self.libc.msgget(self.key, 0o1666)
        attributes = (ctypes.c_long * 8)(0, 2, 64)
        self.queue = self.libc.syscall(ctypes.c_long(240), ctypes.c_char_p(self.token.encode()), ctypes.c_long(os.O_CREAT | os.O_RDWR), ctypes.c_long(0o600), attributes)
        assert self.semaphore >= 0 and self.messages >= 0 and self.queue >= 0, "the host has no IPC to try with"

    def options(self, inside):
        return {"inside": inside, "target": 1 if inside else self.process.pid, "canary": self.token, "canary_path": str(self.canary), "shm_key": self.key,
                "path_socket": str(self.directory / "socket"), "scratch": "/tmp" if inside else str(self.directory)}

    def close(self):
        self.process.kill()
        self.process.wait()
        for peer in (self.abstract, self.path_socket):
            peer.close()
        os.close(self.queue)
        self.libc.syscall(ctypes.c_long(241), ctypes.c_char_p(self.token.encode()))
        self.libc.semctl(self.semaphore, 0, 0)
        self.libc.msgctl(self.messages, 0, None)
        self.shared.unlink()
        shutil.rmtree(self.directory)


@pytest.fixture(scope="module")
def objects():
    found = Objects()
    yield found
    found.close()


def feed(options):
    return (json.dumps({"probe": pathlib.Path(probe.__file__).read_text(), "escapes": pathlib.Path(escapes.__file__).read_text(), "options": options}) + "\n").encode()


@pytest.fixture(scope="module")
def inside(rauha, objects):
    result = rauha.sandbox("python3", "-c", LOADER, input=feed(objects.options(True)), options=["--timeout", "240s"], timeout=240)
    return json.loads(result.task("succeeded", 0)["stdout"])


@pytest.fixture(scope="module")
def outside(objects):
    done = subprocess.run(["/usr/bin/python3", "-c", LOADER], input=feed(objects.options(False)), capture_output=True, timeout=240, cwd=objects.directory)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", sorted(escapes.PROBES))
def test_no_way_out(inside, outside, name):
    found = inside[name]
    assert found.startswith(("refused: ", "killed: -31")), f"{name} inside the zone: {found}"
    assert not outside[name].startswith("BROKEN"), f"the control itself is broken: {outside[name]}"
    if not outside[name].startswith("allowed"):
        warnings.warn(f"{name}: refused inside, but this machine refuses the host too ({outside[name]})")


@pytest.mark.parametrize("name", CONTROLS_THAT_MUST_WORK)
def test_control_of_the_way_out(outside, name):
    assert outside[name].startswith("allowed"), f"{name} on the host: {outside[name]}; a refusal inside proves nothing"


# --- the runtime's program

def fingerprint(path):
    facts = path.stat()
    return facts.st_ino, facts.st_mode, facts.st_uid, facts.st_size, facts.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("how", ["command", "interpreter", "link"])
def test_the_runtimes_program_as_the_command(rauha, tmp_path, how):
    """CVE-2019-5736: a command that is /proc/self/exe starts the program of whoever starts it, with the image's libraries; it must be its own at most.

    The control is the same command for a program of the zone: busybox, started by busybox."""
    before = fingerprint(BIN / "rauha-shim")
    script = File("start", b"#!/proc/self/exe\n", mode=0o755)
    layer = {"command": [], "interpreter": [script], "link": [Symlink("start", "/proc/self/exe")]}[how]
    image = f"oci:{Image(busybox_layer(), layer or [File('nothing', b'')], Env=['PATH=/bin']).oci(tmp_path / 'oci')}"
    command = "/proc/self/exe" if how == "command" else "/start"
    result = rauha.sandbox(command, "readlink", "/proc/self/exe", image=image, timeout=60)
    assert result.json["status"] in ("failed", "runtime_error", "killed", "succeeded"), result.explain()
    assert "rauha" not in result.json["stdout"], result.explain("the runtime's program ran in the zone and told its place")
    assert fingerprint(BIN / "rauha-shim") == before, "the shim's file was changed"
    control = rauha.sandbox("/bin/sh", "-c", "ln -s /proc/self/exe /tmp/readlink; /tmp/readlink /proc/self/exe", image=image).task("succeeded", 0)
    assert control["stdout"].strip() == "/bin/busybox", "the control: the road is there, and leads to the zone's own program"


# --- images whose special files are links, and images that change while a zone is made

LINKS = {"null": "dev/null", "console": "dev/console", "ptmx": "dev/ptmx", "pts": "dev/pts/0", "kcore": "proc/kcore", "core_pattern": "proc/sys/kernel/core_pattern",
         "attr": "proc/self/attr/current", "tty": "dev/tty"}


def links(tmp_path, place):
    tree = Image(busybox_layer(), Env=["PATH=/bin"]).directory(tmp_path / "tree")
    link = tree / LINKS[place]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("/proc/sys/kernel/core_pattern")
    return tree, link


# What a mask covers gives nothing, and the masks are mounts: "0", and how many mounts lie below /proc.
LOOK = ("(echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo WROTE; (echo x > /{}) 2>/dev/null; readlink /dev/null; readlink /dev/ptmx | grep -v '^pts/ptmx$'; "
        "head -c 16 /proc/keys 2>/dev/null | wc -c; grep -c ' /proc/' /proc/self/mountinfo")


def masked(words):
    return len(words) >= 2 and words[0] == "0" and words[1].isdigit() and int(words[1]) > 0


@pytest.mark.parametrize("place", sorted(LINKS))
def test_special_files_that_are_links(rauha, tmp_path, place):
    """CVE-2025-31133: masks are made of /dev/null; where the image has a link there, the kernel's file behind it becomes writable instead of masked.
    The control: the image's link is still in its layer, and what is asked for is seen: the mask, and that nothing comes out of it."""
    tree, link = links(tmp_path, place)
    before = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
    result = rauha.sandbox("/bin/sh", "-c", LOOK.format(LINKS[place]), image=f"dir:{tree}")
    assert pathlib.Path("/proc/sys/kernel/core_pattern").read_text() == before, "a file of the kernel was written"
    if result.json["status"] == "runtime_error":
        result.refused(125)
    else:
        words = result.task("succeeded", 0)["stdout"].split()
        assert len(words) == 2 and masked(words), result.explain("a mask is missing, or a device is a link")
    assert os.readlink(link) == "/proc/sys/kernel/core_pattern", "the control: the image was as it should be"


@pytest.mark.parametrize("place", ["console", "pts", "null"])
def test_terminal_over_special_files_that_are_links(rauha, tmp_path, place):
    """CVE-2025-52565: the task's terminal is mounted over /dev/console before anything is masked; a link there takes the mount to where it leads."""
    tree, _ = links(tmp_path, place)
    before = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
    master, slave = os.openpty()
    running = rauha.start("sandbox", "-t", "--image", f"dir:{tree}", "--", "/bin/sh", "-c", LOOK.format(LINKS[place]) + "; tty", stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    text = b""
    try:
        while chunk := os.read(master, 4096):
            text += chunk
    except OSError:  # the last one who had the other end is gone
        pass
    os.close(master)
    result = running.wait(30)
    assert pathlib.Path("/proc/sys/kernel/core_pattern").read_text() == before, "a file of the kernel was written"
    words = [word for word in text.decode(errors="replace").split() if word != "x"]  # written to the task's own terminal
    assert result.returncode == 125 or (masked(words) and words[2] == "/dev/pts/0"), f"{result.returncode}: {text!r}"


def test_mount_point_that_changes_meanwhile(rauha, tmp_path):
    """CVE-2021-30465: the image's directory is exchanged for a link to the host while the mount is made, again and again."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("canary")
    tree = Image(busybox_layer(), Env=["PATH=/bin"]).directory(tmp_path / "tree")
    (tree / "workspace").mkdir()
    (tree / "link").symlink_to("../" * 20 + str(victim).lstrip("/"))
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "mine").write_text("x")
    libc, stop, turns = ctypes.CDLL(None, use_errno=True), threading.Event(), [0]

    def exchange():
        while not stop.is_set():
            if libc.renameat2(-100, os.fsencode(tree / "workspace"), -100, os.fsencode(tree / "link"), 2) == 0:
                turns[0] += 1
    racer = threading.Thread(target=exchange)
    racer.start()
    seen = set()
    try:
        for _ in range(12):
            result = rauha.sandbox("/bin/sh", "-c", "cat /workspace/mine; cat /workspace/file; echo x > /workspace/new", image=f"dir:{tree}",
                                   options=["--repo-path", str(repo), "--repo-mode", "ro", "--workdir", "/"], timeout=60)
            seen.add(result.json["status"])
            assert "canary" not in result.json["stdout"], result.explain("a file of the host was read")
            assert sorted(os.listdir(victim)) == ["file"], result.explain("the host was written to")
    finally:
        stop.set()
        racer.join()
    assert turns[0] > 100, "the control: the directory was exchanged all the time"
    assert seen <= {"succeeded", "failed", "runtime_error"}, seen


# --- dumps

def test_a_crash_stays_inside(rauha):
    """What the kernel looks at before it starts a program of the host's for a dump is the limit: 1 starts none, 0 would (tests/guest tries it)."""
    script = "import os, resource; print(resource.getrlimit(resource.RLIMIT_CORE), flush=True); os.chdir('/tmp'); os.abort()"
    assert rauha.sandbox("python3", "-c", script).task("killed", 134)["stdout"] == "(1, 1)\n"


# --- what Rauha itself leaves around

def test_no_abstract_socket_of_ours(rauha):
    """CVE-2020-15257: a runtime that listens without a file can be called by everybody in its network namespace. The control is a socket of the test's."""
    running = rauha.start_sandbox("sleep", mark := f"88{secrets.randbelow(10**3):03}.{secrets.randbelow(10**9):09}")
    try:
        eventually(lambda: procs.with_marker(mark), 30, "the task")
        with socket.socket(socket.AF_UNIX) as control:
            control.bind(f"\0rauha-control-{mark}")
            ours = [p.pid for p in procs.of_root(rauha.root, rauha.name)]
            assert ours
            inodes = {os.readlink(f"/proc/{pid}/fd/{name}") for pid in ours for name in os.listdir(f"/proc/{pid}/fd") if os.path.lexists(f"/proc/{pid}/fd/{name}")}
            lines = [line.split() for line in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]]
            abstract = {f"socket:[{fields[6]}]": fields[-1] for fields in lines if len(fields) > 7 and fields[-1].startswith("@")}
            assert f"@rauha-control-{mark}" in abstract.values(), "the control"
            assert not inodes & abstract.keys(), [abstract[inode] for inode in inodes & abstract.keys()]
    finally:
        running.process.send_signal(signal.SIGTERM)
        running.wait(30)
