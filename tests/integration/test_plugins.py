"""Plugins through a running daemon: what a bad one is answered with, what `plugin list` says of it, and an enforcer that only counts."""

import hashlib
import os
import shutil
import stat
import subprocess

import pytest

from support.instance import RAUHA, REPOSITORY
from support.waiting import eventually

BUILD = RAUHA.parent.parent
TEST_PLUGINS = BUILD / "test/plugins"


def plugin(instance, name):
    document = instance.run("plugin", "list", "--json").exited(0).json
    found = [p for p in document["plugins"] if p["name"] == name]
    assert found, f"{name} is not in {document}"
    return found[0]


# A call that hangs is given up soon. Where a call only has to be late, it must never be given up, however slow the machine.
SOON = """
call_timeout = "500ms"
overrun_after = "400ms"
abandon_after = "1500ms"
"""
LATE = """
call_timeout = "500ms"
overrun_after = "400ms"
abandon_after = "120s"
"""


@pytest.fixture
def bad_with(fresh):
    """bad_with(limits): an instance whose backend breaks the contract in the way that a zone's name says."""
    if not (TEST_PLUGINS / "bad-backend.so").exists():
        pytest.skip("bad-backend.so is only in a build with tests")

    def make(limits=""):
        private = fresh.root / "plugins"
        private.mkdir(mode=0o700)
        shutil.copy(TEST_PLUGINS / "bad-backend.so", private / "bad-backend.so")
        (private / "bad-backend.so").chmod(0o755)
        fresh.configure(f"""
[plugins]
backend = "bad-backend"
directories = ["{private}", "{BUILD}/lib/rauha/plugins"]
allow_unsafe_directories = true
{limits}
""")
        return fresh
    return make


@pytest.fixture
def bad(bad_with):
    return bad_with()


def refused(instance, name):
    """The error of a zone that could not be made."""
    return instance.run("zone", "create", "--name", name, "--json", timeout=60).refused(1)


def test_failures_are_named_and_counted(bad):
    assert refused(bad, "throw")["text"] == "bad-backend: zone_create: threw an exception through the border: boom"
    assert refused(bad, "silent")["text"] == "bad-backend: zone_create returned IO without a message"
    assert refused(bad, "unknown")["text"] == "odd (bad-backend status 77)"
    # Its own state is taken, too much of it and that of strangers is not.
    assert refused(bad, "corrupts")["text"] == "state: 7 2 0"
    health = plugin(bad, "bad-backend")["health"]
    assert health["violations"] == 3 and "unknown status 77" in health["last_violation"]
    text = bad.run("plugin", "list").exited(0).stdout.decode()
    assert "bad-backend: 3 breaches of the plugin contract, the last: zone_create returned the unknown status 77: odd" in text
    assert bad.zones() == []


def test_a_flood_is_cut_off(bad):
    assert refused(bad, "flood")["text"] == "flooded"
    health = plugin(bad, "bad-backend")["health"]
    assert health["events_dropped"] > 10_000
    # Nobody else's events are lost, and the log is not filled.
    assert refused(bad, "silent")
    log = (bad.root / "state/rauhad.log").read_text()
    assert log.count("flood") < 5_000


def test_a_call_that_overruns_is_told(bad_with):
    bad = bad_with(LATE)
    assert refused(bad, "late")["text"] == "I was late"
    health = plugin(bad, "bad-backend")["health"]
    assert health["overruns"] == 1 and health["abandoned"] == 0, health
    assert "zone_create returned" in health["last_overrun"]
    assert "bad-backend" in (bad.root / "state/rauhad.log").read_text()


def test_a_call_that_hangs_is_given_up(bad_with):
    bad = bad_with(SOON)
    error = refused(bad, "hang")
    assert error["code"] == "deadline" and error["text"].startswith("bad-backend: zone_create did not return "), error
    # The zone is named and failed; what hangs in it is in the way of taking it down.
    zones = bad.zones()
    assert [(z["name"], z["state"]) for z in zones] == [("hang", "failed")]
    health = plugin(bad, "bad-backend")["health"]
    assert (health["overruns"], health["abandoned"], health["stuck"]) == (1, 1, 1), health
    # Others are served meanwhile, also at once.
    assert refused(bad, "other")["text"] == "makes no zones"
    deleted = bad.run("zone", "delete", "--name", "hang", "--json")
    assert deleted.returncode == 1 and "did not return" in deleted.json["error"]["text"]
    assert "is not waited for any longer" in (bad.root / "state/rauhad.log").read_text()

    # The daemon ends in spite of it, and the next one takes the zone down.
    bad.stop()
    assert bad.daemon_pid() is None
    bad.run("zone", "delete", "--name", "hang", "--json").exited(0)
    assert bad.zones() == []


def test_a_call_that_returns_after_it_was_given_up_changes_nothing(bad_with):
    bad = bad_with(SOON)
    assert "did not return" in refused(bad, "returns")["text"]
    assert [(z["name"], z["state"]) for z in bad.zones()] == [("returns", "failed")]
    (bad.root / "state/plugins/bad-backend/return").touch()
    health = eventually(lambda: (h := plugin(bad, "bad-backend")["health"])["stuck"] == 0 and h, 30, "the call returns")
    assert health["abandoned"] == 1 and health["overruns"] == 1, health
    # Its answer said that a zone stands: it does not, and it can be taken down now, by the same daemon.
    assert [(z["name"], z["state"]) for z in bad.zones()] == [("returns", "failed")]
    pid = bad.daemon_pid()
    eventually(lambda: bad.run("zone", "delete", "--name", "returns", "--json").returncode == 0, 30, "the zone can be deleted")
    assert bad.zones() == [] and bad.daemon_pid() == pid
    assert refused(bad, "other")["text"] == "makes no zones"


def test_a_plugin_with_too_many_hanging_calls_is_not_called(bad_with):
    bad = bad_with(SOON)
    names = [f"hang{number}" for number in range(4)]
    for name in names:
        assert "did not return" in refused(bad, name)["text"]
    error = refused(bad, "silent")
    assert error["text"] == "bad-backend is not called any more: 4 of its calls have not returned" and error["code"] == "busy"
    assert plugin(bad, "bad-backend")["health"]["stuck"] == 4
    bad.stop()
    for name in [*names, "silent"]:
        bad.run("zone", "delete", "--name", name, "--json")
    assert bad.zones() == []


def test_what_was_let_pass_for_an_unsafe_place_is_shown(bad):
    info = plugin(bad, "bad-backend")
    assert info["loaded"] and info["path"] == str(bad.root / "plugins/bad-backend.so")
    unsafe = info["unsafe_places"]
    if str(bad.root).startswith("/tmp/") and stat.S_IMODE(os.stat("/tmp").st_mode) == 0o1777:
        assert unsafe == ["/tmp is writable by others (mode 1777)"]
        text = bad.run("plugin", "list").exited(0).stdout.decode()
        assert "bad-backend: accepted although /tmp is writable by others (mode 1777)" in text


def test_a_private_place_and_its_owner_are_shown_in_the_posture(fresh, private_directories):
    """A developer's own directory: nothing in it belongs to root, and each result says so."""
    private = private_directories("developer")
    file = private / "wild-image.so"
    shutil.copy(TEST_PLUGINS / "wild-image.so", file)
    file.chmod(0o755)
    for path in (file, private):
        os.chown(path, 1000, 1000)
    text = f"""
[plugins]
images = ["image-oci", "wild-image"]
directories = ["{BUILD}/lib/rauha/plugins", "{private}"]
[plugin.wild-image]
schemes = ["wild"]
"""
    fresh.configure(text)
    info = plugin(fresh, "wild-image")
    assert not info["loaded"] and info["refusal"].startswith(f"{private} belongs to uid 1000, expected root")
    fresh.stop()
    fresh.configure(text.replace("images =", "allow_unsafe_directories = true\nimages ="))
    result = fresh.sandbox("true")
    posture = result.task("succeeded", 0)["posture"]
    assert {"name": "wild-image", "version": "0.1", "kind": "image", "isolation": "none", "path": str(file)} in posture["plugins"]
    for path in (private, file):
        assert f"wild-image: {path} belongs to uid 1000, expected root" in posture["unsafe_plugins"], posture
    assert f"plugin wild-image: {file} belongs to uid 1000, expected root" in fresh.sandbox("true", json_output=False).stderr.decode()


def test_a_pinned_file_is_the_pinned_one_or_nothing(fresh):
    file = BUILD / "lib/rauha/plugins/image-oci.so"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    fresh.configure(f'[plugin.image-oci]\nsha256 = "{digest}"\n')
    assert plugin(fresh, "image-oci")["pinned"] and fresh.sandbox("true").task("succeeded", 0)
    fresh.stop()
    fresh.configure(f'[plugin.image-oci]\nsha256 = "{"0" * 64}"\n')
    result = fresh.sandbox("true")
    assert f"image-oci.so is sha256:{digest}, the configuration pins sha256:{'0' * 64}" in result.stdout.decode(), result.explain("not refused")
    assert result.returncode == 125


# --- an enforcer that only counts (sdk/examples/count-enforcer, in C)

@pytest.fixture(scope="session")
def count_enforcer(tmp_path_factory):
    """The example, built as its author would."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    out = tmp_path_factory.mktemp("plugin") / "count-enforcer.so"
    subprocess.run([compiler, "-std=c11", "-D_GNU_SOURCE", "-fPIC", "-shared", "-fvisibility=hidden", f"-I{REPOSITORY}/sdk/include",
                    f"-Wl,--version-script={REPOSITORY}/sdk/cmake/plugin.map", "-o", out,
                    REPOSITORY / "sdk/examples/count-enforcer/count_enforcer.c"], check=True)
    return out


@pytest.fixture
def counted(fresh, count_enforcer):
    private = fresh.root / "plugins"
    private.mkdir(mode=0o700)
    shutil.copy(count_enforcer, private / "count-enforcer.so")
    (private / "count-enforcer.so").chmod(0o755)
    fresh.configure(f"""
[plugins]
enforcer = "count-enforcer"
directories = ["{private}", "{BUILD}/lib/rauha/plugins"]
allow_unsafe_directories = true
""")
    return fresh


def enforcer_layer(document):
    return next(layer for layer in document["posture"]["layers"] if layer["name"] == "enforcer")


def test_a_task_with_an_enforcer_that_only_counts(counted):
    result = counted.sandbox("true")
    document = result.task("succeeded", 0)
    assert document["posture"]["enforcer"] == "count-enforcer: loadable, audit only"
    layer = enforcer_layer(document)
    assert layer["armed"] is False and layer["weaker"] is True, layer
    counters = document["enforcement_counters"]
    assert [(c["operation"], int(c["allowed"]), int(c["denied"])) for c in counters] == [("exec", 1, 0)]
    events = document["enforcement_events"]
    assert [(e["name"], e["source"], e["zone_id"]) for e in events] == [("count.labelled", "count-enforcer", document["zone_id"])]
    assert not [e for e in document["events"] if e["source"] == "count-enforcer"]
    info = plugin(counted, "count-enforcer")
    assert info["loaded"] and info["capabilities"] == ["loadable", "audit only"] and info["interfaces"] == ["rauha.enforcer/1"]
    checks = {c["name"]: c for c in counted.run("doctor", "--json").json["checks"]}
    assert checks["enforcer"]["status"] == "weaker" and "count-enforcer" in checks["enforcer"]["detail"]


def test_counting_does_not_satisfy_who_requires_enforcing(counted, policy_file):
    error = counted.sandbox("true", options=policy_file(require=["enforcer"])).refused(125, mentions="enforcer")
    assert "it counts, and lets pass what it would deny" in error["text"]


def test_a_kept_zone_is_known_to_the_enforcer_again_after_a_killed_daemon(counted):
    counted.run("zone", "create", "--name", "kept", "--json").exited(0)
    counted.kill_daemon()
    zones = counted.zones()
    assert [(z["name"], z["state"]) for z in zones] == [("kept", "ready")]
    counted.run("zone", "delete", "--name", "kept", "--json").exited(0)


def test_an_enforcer_that_is_configured_and_missing_refuses_every_run(counted):
    (counted.root / "plugins/count-enforcer.so").unlink()
    result = counted.sandbox("true")
    assert result.returncode == 125 and "count-enforcer" in result.stdout.decode() + result.stderr.decode(), result.explain("not refused by name")
