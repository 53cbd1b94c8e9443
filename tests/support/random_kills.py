"""Tasks of several kinds on one instance, and a random victim each time: the client, the zone's shim or init, the daemon, or all of them at once."""

import os
import pathlib
import random
import secrets
import signal
import threading
import time

from . import census, procs
from .instance import one_document
from .waiting import eventually

VICTIMS = ("client", "shim", "init", "daemon", "all")


def marker():
    return f"8{secrets.randbelow(10**4):04}.{secrets.randbelow(10**9):09}"


def gone(mark, seconds=10):
    eventually(lambda: not procs.with_marker(mark), seconds, lambda: f"the end of {procs.with_marker(mark)}")


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def seed_of_this_run():
    return int(os.environ.get("RAUHA_KILL_SEED", secrets.randbelow(10**6)))


def kinds_of_tasks(instance, mark):
    policy = pathlib.Path(instance.files) / "policy.toml"
    policy.write_text('name = "kills"\ntype = "task"\n[filesystem]\nscratch = "disk"\nscratch_size = "16MiB"\n')
    repo = pathlib.Path(instance.files) / "repo"
    repo.mkdir(exist_ok=True)
    return [
        dict(command=("sleep", mark)),
        dict(command=("sh", "-c", f"yes {mark}")),
        dict(command=("sh", "-c", f"for i in 1 2 3 4 5 6; do setsid sleep {mark} & done; wait")),
        dict(command=("sh", "-c", f"dd if=/dev/zero of=/root/x bs=1M count=8; sleep {mark}"), options=["--policy", str(policy)]),
        dict(command=("sh", "-c", f"echo x > made; sleep {mark}"), options=["--repo-path", str(repo), "--repo-mode", "rw"]),
        dict(command=("sh", "-c", f"echo x > made; sleep {mark}"), options=["--repo-path", str(repo), "--repo-mode", "overlay"]),
        dict(command=("true",)),
    ]


class Kills:
    """One series. Owner: a test; `run` blocks."""

    def __init__(self, instance, seed, at_once=4):
        self.instance, self.chance, self.seed, self.at_once = instance, random.Random(seed), seed, at_once
        self.mark = marker()
        self.kinds = kinds_of_tasks(instance, self.mark)
        self.killed = dict.fromkeys(VICTIMS, 0)
        self.lock, self.failures = threading.Lock(), []

    def run(self, rounds):
        print(f"random kills: seed {self.seed} (set RAUHA_KILL_SEED to repeat)")
        choose = self.chance
        plan = [(choose.choice(self.kinds), choose.choice((choose.uniform(0, 0.08), choose.uniform(0, 0.6))),
                 choose.choice(("client", "client", "shim", "shim", "init", "daemon", "all")), choose.random()) for _ in range(rounds)]
        for start in range(0, rounds, self.at_once):
            threads = [threading.Thread(target=self._one, args=item) for item in plan[start:start + self.at_once]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sum(self.killed.values()) == rounds
        assert not self.failures, f"seed {self.seed}: {len(self.failures)} of {rounds}\n" + "\n".join(self.failures[:5])
        gone(self.mark, 20)
        return self.killed

    def _pick(self, pids, number):
        return [sorted(pids)[int(number * len(pids))]] if pids else []

    def _strike(self, victim, running, number):
        if victim in ("client", "all"):
            running.process.kill()
        if victim in ("shim", "all"):
            for pid in self._pick(self.instance.shim_pids(), number):
                kill(pid)
        if victim in ("init", "all"):
            for pid in self._pick(self.instance.init_pids(), number):
                kill(pid)
        if victim in ("daemon", "all"):
            for process in procs.of_root(self.instance.root):
                if process.program == "rauhad":
                    kill(process.pid)

    def _one(self, kind, delay, victim, number):
        running = self.instance.start_sandbox(*kind["command"], options=kind.get("options", ()))
        until = time.monotonic() + delay
        while time.monotonic() < until and running.process.poll() is None:
            time.sleep(0.002)
        self._strike(victim, running, number)
        with self.lock:
            self.killed[victim] += 1
        # Whoever was not hit by it ends by the user's signal, or by itself.
        stop = time.monotonic() + 1.5
        while running.process.poll() is None and time.monotonic() < stop:
            time.sleep(0.01)
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
        try:
            result = running.wait(40)
            if result.returncode != -signal.SIGKILL:
                document = one_document(result.stdout)
                result.check(document["status"] in ("succeeded", "failed", "killed", "cancelled", "runtime_error"), "another status")
                result.check(result.returncode >= 0, "the client died of a signal")
        except (AssertionError, ValueError) as error:
            with self.lock:
                self.failures.append(f"victim {victim} after {delay:.3f} s: {error}")


def random_kills(instance, rounds, seed, at_once=4):
    """Returns how often who was killed."""
    return Kills(instance, seed, at_once).run(rounds)


def check_after(instance, seed):
    instance.ensure_daemon()
    try:
        eventually(lambda: not census.take(instance.root, daemon_running=True), 20, "nothing left")
    except AssertionError:
        raise AssertionError(f"seed {seed}: left after the daemon's restart:\n" + "\n".join(census.take(instance.root, daemon_running=True)) +
                             f"\n--- log: {instance.log_tail(100)}") from None
    assert instance.zones() == []
    instance.sandbox("true").task("succeeded", 0)
