"""A peer at the socket that lies, floods, stops half-way and never reads. The daemon stays up, small, and there for everybody else."""

import os
import random
import resource
import socket
import struct
import threading
import time

import pytest

from support import capnp, census, procs
from support.instance import Instance
from support.waiting import eventually, patient

GROWTH = 16 << 20


@pytest.fixture(scope="module")
def target():
    """An instance whose daemon has already run a task, so that what it caches is there."""
    instance = Instance()
    for _ in range(3):
        instance.sandbox("true").task("succeeded", 0)
    yield instance
    instance.stop()
    left = census.eventually_nothing(instance)
    instance.remove()
    assert not left, "\n".join(left)


class Daemon:
    def __init__(self, instance):
        self.instance, self.pid = instance, instance.ensure_daemon()
        self.before = self.memory()
        self.descriptors = self.open_files()

    def memory(self):
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
        raise AssertionError(f"rauhad {self.pid} is gone")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def unharmed(self):
        """The same daemon, not larger, and another client gets its answer soon."""
        assert procs.alive(self.pid) and self.instance.daemon_pid() == self.pid, f"rauhad {self.pid} died\n{self.instance.log_tail()}"
        result = self.instance.run("zone", "list", "--json", timeout=20).exited(0)
        assert result.seconds < patient(15), result.explain("other clients wait")
        grown = self.memory() - self.before
        assert grown <= GROWTH, f"{grown >> 10} KiB larger than before\n{self.instance.log_tail()}"

    def closes(self, seconds=20):
        eventually(lambda: self.open_files() <= self.descriptors + 2, seconds,
                   lambda: f"{self.open_files()} descriptors open, {self.descriptors} before")


@pytest.fixture
def daemon(target):
    guard = Daemon(target)
    yield guard
    guard.unharmed()
    guard.closes()


class Peer:
    def __init__(self, instance, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(instance.root / "run" / "rauhad.sock"))  # without a time limit: then a full backlog waits
        self.socket.settimeout(patient(timeout))
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts):
        """False when the daemon has hung up."""
        try:
            self.socket.sendall(b"".join(parts))
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def answers(self, count, seconds=10):
        """Waits for `count` messages, or for the end of the connection."""
        deadline, found = time.monotonic() + seconds, []
        while True:
            new, self.buffer = capnp.messages(self.buffer)
            found += new
            if len(found) >= count:
                return found
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                chunk = self.socket.recv(1 << 16)
            except socket.timeout:
                raise AssertionError(f"{len(found)} of {count} answers within {seconds} s") from None
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return found
            self.buffer += chunk

    def hung_up(self, seconds=10):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                if not self.socket.recv(1 << 16):
                    return True
            except ConnectionResetError:
                return True
            except socket.timeout:
                return False
        return False


def test_honest_peer(daemon, target):
    """The control of this file: the messages made by hand are right."""
    with Peer(target) as peer:
        peer.send(capnp.bootstrap(0), capnp.hello(1))
        answers = peer.answers(2)
        assert len(answers) == 2 and target.name.encode() in b"".join(answers)


def test_honest_sandbox(daemon, target):
    with Peer(target) as peer:
        peer.send(capnp.bootstrap(0), capnp.sandbox(1, capnp.sandbox_request(argv=("echo", "by-hand-4711"))),
                  capnp.call(2, capnp.promised(1, 0), 0, capnp.Struct(), interface=capnp.TASK_HANDLE))
        text = b"".join(peer.answers(3, 30))
        assert text.count(b"by-hand-4711") >= 2, "neither the command nor its output came back"



@pytest.mark.parametrize("seed", range(8))
def test_garbage(daemon, target, seed):
    with Peer(target) as peer:
        peer.send(random.Random(seed).randbytes(200_000))
        peer.hung_up(2)


def test_text_of_another_protocol(daemon, target):
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\n" * 100, b"\0" * 100_000, b"\xff" * 100_000, b"SSH-2.0-x\r\n"):
        with Peer(target) as peer:
            peer.send(text)
            peer.hung_up(1)


@pytest.mark.parametrize("header", [
    struct.pack("<I", 0xFFFFFFFF),
    struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF),
    struct.pack("<II", 0, 0xFFFFFFFF),
    struct.pack("<II", 0, 0x7FFFFFFF),
    struct.pack("<II", 0, 0x20000000),
    struct.pack("<II", 0, 64 << 20),
    struct.pack("<III", 1, 0xFFFFFFFF, 1) + bytes(4),
    struct.pack("<III", 1, 0x80000000, 0x80000000) + bytes(4),
    struct.pack("<I", 511) + struct.pack("<512I", *[0] * 512) + bytes(4),
    struct.pack("<I", 510) + struct.pack("<511I", *[0x10000] * 511),
    struct.pack("<I", 0x00FFFFFF),
    struct.pack("<II", 0, 0),
], ids=lambda header: header[:12].hex())
def test_header_that_lies(daemon, target, header):
    """Refused at once: nothing is allocated for what was only promised. What a message may hold at most is 4 MiB."""
    with Peer(target) as peer:
        peer.send(header, bytes(1024))
        peer.hung_up(1)
        daemon.unharmed()


def test_half_open_messages(daemon, target):
    """Many peers that promise a message and never send it."""
    peers = [Peer(target) for _ in range(64)]
    try:
        for peer in peers:
            peer.send(struct.pack("<II", 0, 100_000), bytes(64))
        daemon.unharmed()
    finally:
        for peer in peers:
            peer.socket.close()


def test_half_sent_messages_share_a_budget(daemon, target):
    """Many peers that send most of a largest message, and then nothing: what they hold together is bounded, others are served, and they are hung up on."""
    words, peak = 500_000, 0
    peers = [Peer(target) for _ in range(40)]
    try:
        left = {}
        for peer in peers:
            peer.socket.setblocking(False)
            left[peer] = memoryview(struct.pack("<II", 0, words) + bytes(words * 8 - 8))
        deadline = moved = time.monotonic()
        while left and time.monotonic() - moved < 1 and time.monotonic() - deadline < patient(5):
            for peer, data in list(left.items()):
                try:
                    left[peer] = data[peer.socket.send(data):]
                    moved = time.monotonic()
                except BlockingIOError:
                    continue
                except OSError:
                    left[peer] = b""
                if not left[peer]:
                    del left[peer]
            peak = max(peak, daemon.memory() - daemon.before)
        target.sandbox("true").task("succeeded", 0)
        peak = max(peak, daemon.memory() - daemon.before)
        assert peak <= (16 + 8) << 20, f"{peak >> 20} MiB for messages that are not there"
        for peer in peers:
            assert peer.hung_up(patient(30)), "a message that does not end keeps its connection"
    finally:
        for peer in peers:
            peer.socket.close()


def test_message_that_trickles(daemon, target):
    """A byte now and then does not buy more time."""
    with Peer(target) as peer:
        peer.send(struct.pack("<II", 0, 100_000))
        deadline = time.monotonic() + patient(30)
        while peer.send(b"x") and not peer.hung_up(0.2):
            assert time.monotonic() < deadline, "still connected"


def test_idle_after_a_message(daemon, target):
    """The time limit is a message's, not the connection's."""
    with Peer(target) as peer:
        peer.send(capnp.bootstrap(0), capnp.hello(1))
        assert len(peer.answers(2)) == 2
        assert not peer.hung_up(13), "an idle peer was hung up on"
        peer.send(capnp.hello(2))
        assert len(peer.answers(1)) == 1


def test_byte_by_byte(daemon, target):
    with Peer(target) as peer:
        for byte in capnp.bootstrap(0) + capnp.hello(1):
            peer.send(bytes([byte]))
        assert target.name.encode() in b"".join(peer.answers(2))


def test_connect_and_leave(daemon, target):
    for _ in range(300):
        with Peer(target):
            pass
    for _ in range(50):
        with Peer(target) as peer:
            peer.send(capnp.bootstrap(0), capnp.hello(1))


def test_half_closed(daemon, target):
    with Peer(target) as peer:
        peer.send(capnp.bootstrap(0), capnp.hello(1))
        peer.socket.shutdown(socket.SHUT_WR)
        peer.hung_up(5)
    with Peer(target) as peer:
        peer.socket.shutdown(socket.SHUT_RD)
        peer.send(capnp.bootstrap(0), capnp.hello(1))
        daemon.unharmed()


def test_many_idle_connections(daemon, target):
    """Hundreds of peers that say nothing: the daemon serves the others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    peers = []
    try:
        for _ in range(min(400, soft - 100)):
            peers.append(Peer(target))
        daemon.unharmed()
        target.sandbox("true").task("succeeded", 0)
    finally:
        for peer in peers:
            peer.socket.close()


def flood(peer, data, seconds):
    """Sends `data` again and again without ever reading; returns the bytes that the daemon took, and whether it hung up."""
    deadline, sent = time.monotonic() + seconds, 0
    peer.socket.settimeout(0.5)
    while time.monotonic() < deadline:
        try:
            sent += peer.socket.send(data)
        except socket.timeout:
            continue
        except (BrokenPipeError, ConnectionResetError):
            return sent, True
    return sent, False


@pytest.mark.parametrize("method", ["hello", "listPlugins", "listZones", "doctor"])
def test_peer_that_never_reads(daemon, target, method):
    """It calls for ever. Replies do not pile up: reading stops, and after a while the daemon hangs up."""
    peak, stop = [0], threading.Event()

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], daemon.memory() - daemon.before)
            time.sleep(0.05)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with Peer(target) as peer:
            content = capnp.Struct(b"", [capnp.Text("x")])
            peer.send(capnp.bootstrap(0))
            calls = b"".join(capnp.call(number, capnp.promised(0), method, content) for number in range(1, 2001))
            sent, ended = flood(peer, calls, 12)
            daemon.unharmed()
            assert ended or sent < 8 << 20, f"{sent >> 20} MiB of calls taken from a peer that reads nothing"
    finally:
        stop.set()
        watcher.join()
    assert peak[0] <= GROWTH, f"{peak[0] >> 10} KiB larger meanwhile"


def test_many_peers_that_never_read(daemon, target):
    peers = [Peer(target) for _ in range(20)]
    try:
        calls = capnp.bootstrap(0) + b"".join(capnp.hello(number) for number in range(1, 1001))
        threads = [threading.Thread(target=flood, args=(peer, calls, 3)) for peer in peers]
        for thread in threads:
            thread.start()
        daemon.unharmed()
        for thread in threads:
            thread.join()
        daemon.unharmed()
    finally:
        for peer in peers:
            peer.socket.close()


def test_flood_of_large_requests(daemon, target):
    """Policies of the largest size, thousands of them, unread."""
    with Peer(target) as peer:
        text = capnp.Text("# " + "x" * 200_000)
        request = capnp.call(1, capnp.promised(0), "validatePolicy", capnp.Struct(b"", [text, text]))
        peer.send(capnp.bootstrap(0))
        flood(peer, request, 5)
        daemon.unharmed()


def lies():
    yield "finish-of-nothing", [capnp.finish(77)]
    yield "release-of-nothing", [capnp.release(77, 1)]
    yield "release-too-often", [capnp.bootstrap(0), capnp.release(0, 0xFFFFFFFF)]
    yield "return-of-nothing", [capnp.return_of(77)]
    yield "return-twice", [capnp.return_of(0), capnp.return_of(0)]
    yield "same-question-twice", [capnp.bootstrap(0), capnp.hello(1), capnp.hello(1), capnp.hello(1)]
    yield "bootstrap-many", [capnp.bootstrap(number) for number in range(2000)]
    yield "huge-question-number", [capnp.bootstrap(0xFFFFFFFF), capnp.hello(0xFFFFFFFE, 0xFFFFFFFF)]
    yield "call-of-itself", [capnp.bootstrap(0), capnp.call(1, capnp.promised(1), "hello")]
    yield "call-of-the-future", [capnp.call(1, capnp.promised(2), "hello")]
    yield "call-of-no-import", [capnp.call(1, capnp.imported(99), "hello")]
    yield "deep-promise", [capnp.bootstrap(0), *[capnp.call(number, capnp.promised(number - 1, 0), "hello") for number in range(1, 500)]]
    yield "unknown-method", [capnp.bootstrap(0), capnp.call(1, capnp.promised(0), 9999)]
    yield "unknown-interface", [capnp.bootstrap(0), capnp.call(1, capnp.promised(0), "hello", interface=0x1234567812345678)]
    yield "abort", [capnp.bootstrap(0), capnp.abort()]
    yield "disembargo", [capnp.bootstrap(0), capnp.disembargo(capnp.promised(0), 1), capnp.disembargo(capnp.imported(5), 1)]
    yield "resolve-of-nothing", [capnp.resolve(1234)]
    yield "unknown-message", [capnp.message(99, capnp.Struct(bytes(8)))]
    yield "unimplemented", [capnp.message(0, capnp.Struct(struct.pack("<H", 0), [None]))]
    yield "third-parties", [capnp.message(tag, capnp.Struct(bytes(16), [None, None])) for tag in (7, 9, 10, 11, 12)]
    yield "null-body", [capnp.encode(capnp.Struct(struct.pack("<H", tag), [None])) for tag in range(14)]
    yield "null-target", [capnp.bootstrap(0), capnp.encode(capnp.Struct(struct.pack("<H", 2), [capnp.Struct(bytes(24), [None, None, None])]))]
    yield "pointer-to-itself", [capnp.frame(struct.pack("<Q", 0xFFFFFFFC | 1 << 48))]
    yield "pointer-outside", [capnp.frame(struct.pack("<Q", 0x7FFFFFFC | 0xFFFF << 32))]
    yield "far-pointer", [capnp.frame(struct.pack("<Q", 2 | 0xFFFFFFFF << 32)), capnp.frame(struct.pack("<QQ", 6, 6))]
    yield "text-loop", [capnp.bootstrap(0), capnp.call(1, capnp.promised(0), "hello", capnp.Struct(b"", [capnp.Raw(0xFFFFFFFC | 1 << 48)]))]
    yield "text-huge", [capnp.bootstrap(0), capnp.call(1, capnp.promised(0), "hello", capnp.Struct(b"", [capnp.Raw(1 | 2 << 32 | 0x1FFFFFFF << 35)]))]
    yield "no-such-capability", [capnp.bootstrap(0), capnp.call(1, capnp.promised(0), "sandbox", capnp.Struct(bytes(8), [None, capnp.Cap(500), capnp.Cap(9)]))]


@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in lies()])
def test_lies(daemon, target, parts):
    with Peer(target) as peer:
        for part in parts:
            if not peer.send(part):
                break
        peer.hung_up(0.5)


NOTHINGS = capnp.Raw(1 | 0 << 32 | 0x1FFFFFFF << 35)  # a list of 2^29 elements of no size


def requests():
    yield "mode-out-of-range", capnp.sandbox_request(repo_mode=77)
    yield "no-argv", capnp.sandbox_request(argv=())
    yield "empty-argument", capnp.sandbox_request(argv=("",))
    yield "nul-in-argv", capnp.sandbox_request(argv=("tr\0ue", "a\0b"))
    yield "not-utf8", capnp.sandbox_request(argv=(capnp.Text(b"tr\xff\xfeue"),), image=capnp.Text(b"ho\xffst"))
    yield "nul-in-image", capnp.sandbox_request(image="ho\0st")
    yield "newline-in-name", capnp.sandbox_request(name="a\nb")
    yield "path-as-name", capnp.sandbox_request(name="../../../etc")
    yield "no-image", capnp.sandbox_request(image=None)
    yield "list-of-nothings", capnp.sandbox_request(argv=NOTHINGS)
    yield "env-of-nothings", capnp.sandbox_request(env=NOTHINGS)
    yield "many-arguments", capnp.sandbox_request(argv=["x"] * 100_000)
    yield "env-without-equals", capnp.sandbox_request(env=["x", "", "=", "\0"])
    yield "longest-timeout", capnp.sandbox_request(timeout_ms=0xFFFFFFFFFFFFFFFF)
    yield "terminal-of-no-size", capnp.sandbox_request(terminal=True, rows=0, columns=0)
    yield "terminal-of-all-sizes", capnp.sandbox_request(terminal=True, rows=65535, columns=65535)
    yield "user-is-hostile", capnp.sandbox_request(user="99999999999999999999:x:y")
    yield "workdir-leaves", capnp.sandbox_request(workdir="../../../../etc")
    yield "repository-without-descriptor", capnp.sandbox_request(repo_mode=2)
    yield "image-without-descriptor", capnp.sandbox_request(image="dir:/etc")
    yield "archive-without-descriptor", capnp.sandbox_request(image="docker-archive:/etc/passwd")
    yield "waives-everything", capnp.sandbox_request(degraded=["seccomp", "user_namespace", "magic", "", "\n"])
    yield "policy-of-garbage", capnp.sandbox_request(policy=capnp.Text(random.Random(1).randbytes(50_000).replace(b"\0", b"x")))
    yield "policy-of-brackets", capnp.sandbox_request(policy="a=" + "[" * 100_000)
    yield "policy-of-tables", capnp.sandbox_request(policy="[" + "a." * 50_000 + "a]")


@pytest.mark.parametrize("request_", [pytest.param(request, id=name) for name, request in requests()])
def test_hostile_requests(daemon, target, request_):
    """What the command line would never send. The answer comes, or the connection ends; no zone stays."""
    with Peer(target) as peer:
        peer.send(capnp.bootstrap(0), capnp.sandbox(1, request_), capnp.call(2, capnp.promised(1, 0), 0, capnp.Struct(), interface=capnp.TASK_HANDLE))
        answers = peer.answers(3, 40)
        assert b"shadow:" not in b"".join(answers)
    eventually(lambda: not census.take(target.root, daemon_running=True), 15, lambda: "\n".join(census.take(target.root, daemon_running=True)))


def test_lost_handle_ends_the_task(daemon, target):
    mark = f"87001.{random.randrange(10**9)}"
    with Peer(target) as peer:
        peer.send(capnp.bootstrap(0), capnp.sandbox(1, capnp.sandbox_request(argv=("sleep", mark), timeout_ms=60_000)))
        eventually(lambda: procs.with_marker(mark), 20, "the task")
        peer.send(capnp.finish(1))
        eventually(lambda: not procs.with_marker(mark), 15, "the task's end after its handle was dropped")


def test_sinks_that_never_answer(daemon, target):
    """The peer takes the output and never says that it has: the task's output is not collected without bound, and the timeout holds."""
    mark = f"87002{random.randrange(10**9)}"
    with Peer(target) as peer:
        peer.send(capnp.bootstrap(0), capnp.sandbox(1, capnp.sandbox_request(argv=("yes", mark), timeout_ms=4000), sinks=(1, 2)),
                  capnp.call(2, capnp.promised(1, 0), 0, capnp.Struct(), interface=capnp.TASK_HANDLE))
        eventually(lambda: procs.with_marker(mark), 20, "the task")
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            assert daemon.memory() - daemon.before <= GROWTH, "output piles up in the daemon"
            time.sleep(0.05)
        eventually(lambda: not procs.with_marker(mark), 25, "the task's timeout")
    eventually(lambda: not census.take(target.root, daemon_running=True), 15, "the zone's end")


def test_unread_sinks(daemon, target):
    """As before, but not even the socket is read."""
    mark = f"87003{random.randrange(10**9)}"
    with Peer(target) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.send(capnp.bootstrap(0), capnp.sandbox(1, capnp.sandbox_request(argv=("yes", mark), timeout_ms=4000), sinks=(1, 2)))
        eventually(lambda: procs.with_marker(mark), 20, "the task")
        target.sandbox("true").task("succeeded", 0)
        daemon.unharmed()
        eventually(lambda: not procs.with_marker(mark), 25, "the task's timeout")


def test_flood_of_descriptors(daemon, target):
    """Open files sent along, more than anybody asked for."""
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]
    try:
        peers = [Peer(target) for _ in range(5)]
        for peer in peers:
            for number in range(1, 40):
                data = capnp.bootstrap(0) if number == 1 else capnp.hello(number)
                try:
                    peer.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("100i", *opened))])
                except (BrokenPipeError, ConnectionResetError):
                    break
        assert daemon.open_files() <= daemon.descriptors + 100, f"{daemon.open_files()} descriptors open"
        daemon.unharmed()
        for peer in peers:
            peer.socket.close()
    finally:
        for fd in opened:
            os.close(fd)


def test_many_tasks_of_one_peer(daemon, target):
    """Fifty tasks on one connection, which then is lost: all end, nothing stays."""
    mark = f"87004.{random.randrange(10**9)}"
    with Peer(target) as peer:
        peer.send(capnp.bootstrap(0), *[capnp.sandbox(number, capnp.sandbox_request(argv=("sleep", mark), timeout_ms=60_000)) for number in range(1, 51)])
        eventually(lambda: len(procs.with_marker(mark)) >= 10, 30, "some of the tasks")
    eventually(lambda: not procs.with_marker(mark), 30, "the end of all tasks")
    eventually(lambda: not census.take(target.root, daemon_running=True), 30, lambda: "\n".join(census.take(target.root, daemon_running=True)))
