"""Fixtures of the black-box suites. Everything runs against private instances; each one is counted when it ends, and a leak fails the run."""

import os
import pathlib
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from support import policy  # noqa: E402
from support.census import eventually_clean, eventually_nothing  # noqa: E402
from support.instance import RAUHA, Instance  # noqa: E402


def pytest_sessionstart(session):
    if session.config.option.collectonly:
        return
    # What a shell in the background or nohup ignores, our commands would ignore too, and tests of signals would fail.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    if os.geteuid() != 0:
        pytest.exit("these suites make real zones: run them as root", 3)
    if not RAUHA.exists():
        pytest.exit(f"{RAUHA} is not there: build first, or set RAUHA_BIN", 3)


def pytest_ignore_collect(collection_path, config):
    """tests/guest looks at the guest itself: only where it is named."""
    if collection_path.name == "guest" and not any("guest" in str(argument) for argument in config.args):
        return True
    return None


@pytest.fixture(scope="session")
def private_directories():
    """Makes directories that nobody else could have written to, on no part of their path: plugins are not loaded from below /tmp."""
    top = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "rauha-dev"
    top.mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp(prefix="tests-", dir=top))
    yield lambda name: pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=made))
    shutil.rmtree(made, ignore_errors=True)


# --- instances

def _rescue(instance):
    """A failure does not litter the machine: whatever zone is left is deleted by a daemon that still knows the instance."""
    for zone in instance.zones():
        instance.run("zone", "delete", "--force", "--json", zone["id"])
    instance.stop()


def _finish(instance):
    """Stops the daemon and counts what is left of the instance."""
    try:
        instance.end_clients()
        before = eventually_clean(instance)
        instance.stop()
        after = eventually_nothing(instance)
        log = instance.log_tail()
        if before or after:
            _rescue(instance)
        assert not before and not after, (
            f"left behind by the instance at {instance.root} ({instance.name}):\n  with the daemon running:\n    " + "\n    ".join(before) +
            "\n  after it stopped:\n    " + "\n    ".join(after) + f"\n--- daemon log: {log}")
    finally:
        instance.remove()


@pytest.fixture(scope="session")
def rauha():
    """One instance for the whole session: for tests that leave its daemon alone."""
    instance = Instance()
    yield instance
    _finish(instance)


@pytest.fixture
def fresh():
    """An instance of the test's own, to be killed, filled and restarted."""
    instance = Instance()
    yield instance
    _finish(instance)


@pytest.fixture
def make_instance():
    """Instances of the test's own, each with its rauha.toml."""
    made = []

    def make(toml=""):
        instance = Instance(config=toml)
        made.append(instance)
        return instance
    yield make
    for instance in made:
        _finish(instance)


@pytest.fixture(autouse=True)
def no_zone_survives(request):
    """After each test that used the shared instance, no zone of it is left; the message names the test that leaked."""
    yield
    if "rauha" in request.fixturenames:
        instance = request.getfixturevalue("rauha")
        instance.end_clients()
        left = eventually_clean(instance)
        assert not left, "left behind by this test:\n  " + "\n  ".join(left)


@pytest.fixture
def policy_file(tmp_path):
    """policy_file(resources={"pids": 32}) writes a policy and returns the options that use it."""
    def write(text=None, **keys):
        path = tmp_path / f"policy{len(list(tmp_path.glob('policy*.toml')))}.toml"
        path.write_text(text if text is not None else policy.toml(**keys))
        return ["--policy", str(path)]
    return write
