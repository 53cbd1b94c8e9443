"""Two tasks on one machine: neither sees, reads, or starves the other. Native and in the guest."""

import os
import secrets
import signal

import pytest

from support import procs
from support.waiting import duration, eventually, patient

PYTHON = ("python3", "-c")


def mark():
    return f"89{secrets.randbelow(10**3):03}.{secrets.randbelow(10**9):09}"


@pytest.fixture
def pair(rauha):
    """Two zones, each with a file of its own, mode 0600, a listening abstract socket, a shared memory segment, and a long sleep. Their processes, as the host sees them."""
    script = """
import ctypes, os, socket, sys, time
libc = ctypes.CDLL(None)
with open('/tmp/secret', 'w') as f: f.write('canary')
os.chmod('/tmp/secret', 0o600)
s = socket.socket(socket.AF_UNIX); s.bind('\\0rauha-neighbour'); s.listen(5)
libc.shmget(0x4e42, 4096, 0o1666)
t = socket.create_server(('127.0.0.1', 7777))
open('/tmp/ready', 'w').close()
time.sleep(float(sys.argv[1]))
"""
    marks = [mark(), mark()]
    running = [rauha.start_sandbox(*PYTHON, script, m) for m in marks]
    found = []
    for m in marks:
        process = eventually(lambda m=m: procs.with_marker(m), 30, "a task")[0]
        eventually(lambda p=process: os.path.exists(f"/proc/{p.pid}/root/tmp/ready"), 30, "its objects")
        found.append(process)
    yield found
    for task in running:
        task.process.send_signal(signal.SIGTERM)
    for task in running:
        task.wait(30)


def read_as(uid, directory):
    """What a process of the host with this user id gets from the file, through an open directory: the file's own rights decide."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            text = os.read(os.open("secret", os.O_RDONLY, dir_fd=directory), 100)
        except OSError as error:
            text = error.strerror.encode()
        os.write(writer, text)
        os._exit(0)
    os.close(writer)
    text = os.read(reader, 100).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    return text


@pytest.mark.guest
def test_files_of_one_zone_are_nobodys_in_another(pair):
    """A file that zone A made has an owner that is no id of zone B. The control: with A's own id it can be read by the same way."""
    first, second = pair
    directory = os.open(f"/proc/{first.pid}/root/tmp", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.stat("secret", dir_fd=directory).st_uid == first.uid != second.uid
        assert read_as(first.uid, directory) == "canary", "the control"
        assert read_as(second.uid, directory) == "Permission denied"
        assert read_as(65534, directory) == "Permission denied"
    finally:
        os.close(directory)


@pytest.mark.guest
def test_two_zones_share_nothing(rauha, pair):
    """The objects of the two, from a third zone. The control: in a zone of its own each of them is found."""
    look = """
import ctypes, json, os, socket
def door(family, address):
    try:
        s = socket.socket(family); s.settimeout(3); s.connect(address); return True
    except OSError: return False
print(json.dumps([door(socket.AF_UNIX, '\\0rauha-neighbour'), door(socket.AF_INET, ('127.0.0.1', 7777)), ctypes.CDLL(None).shmget(0x4e42, 0, 0) >= 0, os.path.exists('/tmp/secret')]))
"""
    assert rauha.sandbox(*PYTHON, look).task("succeeded", 0)["stdout"].strip() == "[false, false, false, false]"
    control = ("import ctypes, socket\ns = socket.socket(socket.AF_UNIX); s.bind('\\0rauha-neighbour'); s.listen(5)\nt = socket.create_server(('127.0.0.1', 7777))\n"
               "k = ctypes.CDLL(None).shmget(0x4e42, 4096, 0o1666)\nopen('/tmp/secret', 'w').close()\n")
    assert rauha.sandbox(*PYTHON, control + look).task("succeeded", 0)["stdout"].strip() == "[true, true, true, true]"
    namespaces = [{name: os.readlink(f"/proc/{process.pid}/ns/{name}") for name in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")} for process in pair]
    assert not set(namespaces[0].values()) & set(namespaces[1].values())


HOGS = {
    "processes": "import os\nwhile True:\n    try:\n        if os.fork() == 0:\n            while True: pass\n    except OSError: pass",
    "memory": "a = []\nwhile True: a.append(bytearray(1 << 20))",
    "disk": "import itertools\nwhile True:\n    try:\n        with open('/tmp/x', 'wb') as f:\n            while True: f.write(bytes(1 << 20))\n    except OSError: pass",
    "descriptors": "import os\na = []\nwhile True:\n    try: a.append(os.memfd_create('x'))\n    except OSError: pass",
    "output": "import os\nwhile True: os.write(1, b'x' * 65536)",
}


def test_a_neighbour_that_takes_all_it_can_get(rauha, policy_file):
    """Every kind of hog at once; a small task beside them is served. The control: each hog reached what its own policy gives it, and no more."""
    options = policy_file(resources={"memory": "64MiB", "pids": 24, "cpu": 0.5, "open_files": 128, "timeout": duration(4)}, filesystem={"tmp_size": "16MiB"})
    hogs = {name: rauha.start_sandbox(*PYTHON, script, options=options) for name, script in HOGS.items()}
    small = [rauha.sandbox("true", timeout=60) for _ in range(6)]
    statuses = {name: hog.wait(60).json["status"] for name, hog in hogs.items()}
    assert statuses["memory"] == "out_of_memory", statuses
    assert all(statuses[name] in ("timed_out", "out_of_memory") for name in HOGS), statuses
    for result in small:
        result.task("succeeded", 0)
        assert result.seconds < patient(8), result.explain("a task that does nothing")
