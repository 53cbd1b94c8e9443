"""The long form of the random kills: a thousand tasks, and others that run beside them and notice nothing."""

import os
import signal

import pytest

from support import census, procs
from support.random_kills import check_after, marker, random_kills, seed_of_this_run
from support.waiting import eventually

# In portions, so that each begins with a census: what one left is told with its seed.
PORTION = 100


@pytest.mark.long
def test_a_thousand_random_kills(rauha, fresh):
    """RAUHA_KILL_ROUNDS: how many; RAUHA_KILL_SEED: to repeat a run."""
    rounds, seed = int(os.environ.get("RAUHA_KILL_ROUNDS", 1000)), seed_of_this_run()
    mark = marker()
    bystander = rauha.start_sandbox("sleep", mark)
    eventually(lambda: procs.with_marker(mark), 30, "the bystander")
    daemon, shims = rauha.daemon_pid(), rauha.shim_pids()
    total = {}
    for portion in range(0, rounds, PORTION):
        killed = random_kills(fresh, min(PORTION, rounds - portion), seed + portion)
        total = {who: total.get(who, 0) + count for who, count in killed.items()}
        check_after(fresh, seed + portion)
    print(f"killed: {total}")
    assert sum(total.values()) == rounds and all(total.values()), total
    assert bystander.process.poll() is None and rauha.daemon_pid() == daemon and rauha.shim_pids() == shims, "somebody else's task was hit"
    bystander.process.send_signal(signal.SIGTERM)
    bystander.wait(20).task("cancelled", 143)
    fresh.stop()
    assert not census.eventually_nothing(fresh)
