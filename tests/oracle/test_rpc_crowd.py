"""Many hostile peers at once, and one that keeps everything that it is given. The daemon stays small, and another client notices nothing."""

import random
import socket
import struct
import threading
import time

import pytest

from support import capnp, census
from support.waiting import eventually, patient
from test_rpc_hostile import GROWTH, Daemon, Peer, daemon, flood, target  # noqa: F401: fixtures

EVENT_STREAM = capnp.interface_id("client.capnp", "EventStream")


def hold(peer, make, most, seconds=20):
    """Calls again and again, reads every answer and never says that it has done with one. Returns how many calls were taken before the end."""
    sent = done = 0
    buffer, deadline = b"", time.monotonic() + patient(seconds)
    while sent < most and time.monotonic() < deadline:
        batch = b"".join(make(number) for number in range(sent + 1, sent + 201))
        if not peer.send(batch):
            return done, True
        sent += 200
        while done < sent:
            peer.socket.settimeout(5)
            try:
                chunk = peer.socket.recv(1 << 20)
            except (ConnectionResetError, socket.timeout):
                return done, True
            if not chunk:
                return done, True
            found, buffer = capnp.messages(buffer + chunk)
            done += len(found)
    return done, False


HOARDS = {
    "answers": lambda number: capnp.hello(number),
    "bootstraps": lambda number: capnp.bootstrap(number),
    "streams": lambda number: capnp.call(number, capnp.promised(0), "events", capnp.Struct(b"", [None])),
    # Each answer is given back, and each capability in it is kept.
    "capabilities": lambda number: capnp.call(number, capnp.promised(0), "events", capnp.Struct(b"", [None])) + capnp.finish(number, release=False),
}


@pytest.mark.parametrize("what", sorted(HOARDS))
def test_a_peer_that_keeps_everything(daemon, target, what):  # noqa: F811
    """A capability bomb: every answer and every capability is kept for ever. There is a bound, and who reaches it is hung up on."""
    with Peer(target) as peer:
        assert peer.send(capnp.bootstrap(0)) and peer.answers(1)
        taken, ended = hold(peer, HOARDS[what], 60_000)
        assert daemon.memory() - daemon.before <= GROWTH, f"{(daemon.memory() - daemon.before) >> 10} KiB after {taken} calls"
        assert ended and taken <= 10_000, f"{taken} answers were kept for a peer that never gives one back"


def test_a_busy_peer_that_gives_back(daemon, target):  # noqa: F811
    """The control: any number of calls is served, as long as their answers are given back."""
    with Peer(target) as peer:
        assert peer.send(capnp.bootstrap(0)) and peer.answers(1)
        taken, ended = hold(peer, lambda number: capnp.hello(number) + capnp.finish(number), 30_000)
        assert taken >= 30_000 and not ended


def half(peer, chance):
    peer.send(struct.pack("<II", 0, 400_000), chance.randbytes(100_000))


def never_reads(peer, chance):
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.send(capnp.bootstrap(0))
    flood(peer, b"".join(capnp.hello(number) for number in range(1, 501)), 3)


def floods(peer, chance):
    peer.send(capnp.bootstrap(0))
    flood(peer, capnp.call(1, capnp.promised(0), "validatePolicy", capnp.Struct(b"", [capnp.Text("# " + "x" * 100_000), None])), 3)


def hoards(peer, chance):
    peer.send(capnp.bootstrap(0))
    hold(peer, chance.choice(list(HOARDS.values())), 60_000, 3)


def lies(peer, chance):
    peer.send(capnp.bootstrap(0), chance.choice([capnp.finish(77), capnp.release(3, 9), capnp.return_of(5), capnp.abort(), chance.randbytes(4096)]))


def starts_tasks(peer, chance):
    peer.send(capnp.bootstrap(0), *[capnp.sandbox(number, capnp.sandbox_request(argv=("yes",), timeout_ms=3000), sinks=(1, 2)) for number in range(1, 3)])


def test_a_crowd_of_hostile_peers(target):  # noqa: F811
    """Sixty peers of every kind for some seconds, while an honest client runs one task after the other."""
    daemon = Daemon(target)  # noqa: F811: without the guard's bound, which is one peer's
    kinds = [half] * 12 + [never_reads] * 16 + [floods] * 10 + [hoards] * 12 + [lies] * 8 + [starts_tasks] * 2
    peers, stop, peak = [Peer(target) for _ in kinds], threading.Event(), [0]

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], daemon.memory() - daemon.before)
            time.sleep(0.02)
    threads = [threading.Thread(target=kind, args=(peer, random.Random(number))) for number, (kind, peer) in enumerate(zip(kinds, peers))]
    watcher = threading.Thread(target=watch)
    watcher.start()
    for thread in threads:
        thread.start()
    slowest, tasks = 0, 0
    try:
        while any(thread.is_alive() for thread in threads):
            result = target.sandbox("true", timeout=60)
            result.task("succeeded", 0)
            slowest, tasks = max(slowest, result.seconds), tasks + 1
    finally:
        for thread in threads:
            thread.join()
        stop.set()
        watcher.join()
        for peer in peers:
            peer.socket.close()
    assert tasks >= 1 and slowest < patient(10), f"{slowest:.1f} s for a task that does nothing"
    # One peer may cost 16 MiB; what the crowd holds together is bounded by the same budget, some copies of it and what the honest tasks need.
    assert peak[0] <= 4 * GROWTH, f"{peak[0] >> 10} KiB larger meanwhile"
    assert target.daemon_pid() == daemon.pid, "the daemon did not survive them"
    daemon.closes()
    eventually(lambda: not census.take(target.root, daemon_running=True), 30, lambda: "\n".join(census.take(target.root, daemon_running=True)))
