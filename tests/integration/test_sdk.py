"""The SDK as a stranger has it: installed somewhere, its tutorial followed word by word, its examples built against it and used by real tasks."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from support.images import busybox
from support.instance import BIN, REPOSITORY
from support.waiting import eventually

SCRIPTS = REPOSITORY / "tests" / "sdk"


def run(*argv, **options):
    done = subprocess.run([os.fspath(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    assert done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout.decode('utf-8', 'replace')[-6000:]}"
    return done.stdout.decode("utf-8", "replace")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Everything, installed and then moved, as a package would have it in /usr/local."""
    build = next(place for place in (BIN.parent, REPOSITORY / "build") if (place / "cmake_install.cmake").exists())
    made = tmp_path_factory.mktemp("made")
    run("cmake", "--install", build, "--prefix", made)
    made.chmod(0o755)
    return made.rename(made.with_name("installed"))


@pytest.fixture(scope="module")
def examples(installed, private_directories, tmp_path_factory):
    """Directory with dir-snapshot.so (CMake) and count-enforcer.so (one line of cc)."""
    out, build = private_directories("plugins"), tmp_path_factory.mktemp("build")
    sources = installed / "share/doc/rauha-sdk/examples"
    env = {**os.environ, "PKG_CONFIG_PATH": str(installed / "lib/pkgconfig"), "CCACHE_BASEDIR": str(build.parent), "CCACHE_NOHASHDIR": "1"}
    cache = run("sh", "-c", "command -v ccache || :").strip()
    run("cmake", "-S", sources / "dir-snapshot", "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={installed}", f"-DCMAKE_CXX_COMPILER_LAUNCHER={cache}", env=env)
    run("cmake", "--build", build, "--target", "dir-snapshot", env=env)
    shutil.move(build / "dir-snapshot.so", out / "dir-snapshot.so")
    source = sources / "count-enforcer" / "count_enforcer.c"
    run("sh", "-c", f"cc -std=c11 -O2 $(pkg-config --cflags rauha-sdk) -o {out}/count-enforcer.so {source} $(pkg-config --libs rauha-sdk)", env=env)
    return out


def configure(instance, plugins, text):
    own = BIN.parent / "lib" / "rauha" / "plugins"
    instance.configure(f'[plugins]\ndirectories = ["{own}", "{plugins}"]\n{text}')


def loaded(instance):
    return {p["name"]: p for p in instance.run("plugin", "list", "--json").exited(0).json["plugins"] if p["loaded"]}


def test_tutorial(installed):
    """Word by word, where nothing of ours is but what was installed."""
    (installed / "tutorial.py").write_bytes((SCRIPTS / "tutorial.py").read_bytes())
    output = run(SCRIPTS / "fresh_root.sh", installed, "/usr/bin/python3", "/usr/local/tutorial.py", "/usr/local/share/doc/rauha-sdk/README.md")
    assert "blocks did what they say" in output


def check(*argv, code, plugin=BIN.parent / "test/subjects/image-subject.so"):
    """rauha-plugin-check; its standard output."""
    if not plugin.exists():
        pytest.skip("the subjects are only in a build with tests")
    done = subprocess.run([BIN / "rauha-plugin-check", plugin, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=120)
    assert done.returncode == code, f"{argv} ended with {done.returncode}:\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done.stdout.decode()


def test_plugin_check_says_what_failed_and_brings_it_back(tmp_path):
    config = tmp_path / "bad.toml"
    config.write_text('bad = "random.inputs"\n')
    first, second = (json.loads(check("--config", config, "--reproduce", "7", "--json", code=1)) for _ in range(2))
    for document in (first, second):
        assert (document["kind"], document["seed"], document["failed"], document["skipped"]) == ("image", 7, 1, 0)
        for case in document["cases"]:
            assert case["verdict"] in ("passed", "failed") and case["rule"] and case["where"] and case.pop("seconds") >= 0
    assert first == second and [c["name"] for c in first["cases"] if c["verdict"] == "failed"] == ["random.inputs"]
    only = json.loads(check("--config", config, "--reproduce", "7", "--json", "--only-failed", code=1))
    assert [c["name"] for c in only["cases"]] == ["random.inputs"] and "of the seed 7" in only["cases"][0]["seen"]
    text = check("--config", config, "--reproduce", "7", "--only-failed", code=1)
    assert "random.inputs" in text and "cancel.middle" not in text
    assert f"--config '{config}' --seed 7 --only-failed" in text.splitlines()[-1]


def test_plugin_check_in_process_and_its_exit_codes():
    assert json.loads(check("--in-process", "--include", "^(answers|errors.text)$", "--json", code=0))["passed"] == 2
    check("--include", "^nothing$", code=2)
    check("--include", "[", code=2)
    check("--seed", "x", code=2)
    names = [line.split()[0] for line in check("--list", code=0).splitlines()]
    groups = {name.split(".")[0] for name in names}
    assert groups == {"load", "versions", "config", "specs", "errors", "life", "answers", "idempotence", "cancel", "crash", "resources", "threads", "random"}


# --- dir-snapshot

@pytest.fixture
def snapshots(fresh, examples):
    configure(fresh, examples, 'images = ["image-oci", "dir-snapshot"]\n[plugin.dir-snapshot]\nschemes = ["snapshot"]\nmax_bytes = "64MiB"\n')
    assert "dir-snapshot" in loaded(fresh), fresh.log_tail()
    return fresh


@pytest.fixture
def tree(tmp_path):
    tree = busybox().directory(tmp_path / "tree")
    (tree / "note").write_text("first\n")
    return tree


def layers(instance):
    return sorted(path.name for path in (instance.root / "state/plugins/dir-snapshot/layers").iterdir())


def test_a_task_runs_in_a_snapshot(snapshots, tree):
    (tree / "shadow").symlink_to("/etc/shadow")
    os.mkfifo(tree / "pipe")
    document = snapshots.sandbox("/bin/sh", "-c", "cat /note; cat /shadow; ls /pipe; echo changed > /note; stat -c %u /note",
                                 image=f"snapshot:{tree}").task("succeeded", 0)
    assert document["stdout"] == "first\n0\n" and document["stderr"].count("No such file") == 2
    assert document["image_digest"].startswith("sha256:") and (tree / "note").read_text() == "first\n"
    assert "pipe is a pipe" in snapshots.log_tail(200)
    eventually(lambda: not layers(snapshots), 10, "no snapshot after the task that used it")
    # The other plugin still has everything that is not claimed.
    snapshots.sandbox("/bin/cat", "/note", image=f"dir:{tree}").task("succeeded", 0)


def test_named_snapshots(snapshots, tree):
    assert snapshots.run("image", "import", "--json", f"snapshot:{tree}", "--name", "base").exited(0).json["reference"] == "snapshot:base"
    (tree / "note").write_text("second\n")
    assert snapshots.sandbox("/bin/cat", "/note", image="snapshot:base").task("succeeded", 0)["stdout"] == "first\n"
    assert snapshots.sandbox("/bin/cat", "/note", image=f"snapshot:{tree}").task("succeeded", 0)["stdout"] == "second\n"
    listed = snapshots.run("image", "list", "--json").exited(0).json["images"]
    assert [image["reference"] for image in listed] == ["snapshot:base"] and listed[0]["source"] == "snapshot"
    inspected = snapshots.run("image", "inspect", "--json", "snapshot:base").exited(0).json
    assert inspected["digest"] == listed[0]["digest"]
    zone = snapshots.sandbox("/bin/true", image="snapshot:base", options=["--keep-zone"]).task("succeeded", 0)["zone_id"]
    snapshots.run("image", "remove", "--json", "snapshot:base").refused(1, "image", "busy", zone)
    snapshots.run("zone", "delete", "--force", zone).exited(0)
    snapshots.run("image", "remove", "--json", "snapshot:base").exited(0)
    snapshots.sandbox("/bin/true", image="snapshot:base").refused(125, "image", "not_found", "base")
    assert not layers(snapshots)


def test_names_stay_with_their_plugin(snapshots, tree, tmp_path):
    layout = busybox().oci(tmp_path / "oci")
    snapshots.run("image", "import", "--json", f"oci:{layout}", "--name", "snapshot:1").refused(1, "image", "invalid", "dir-snapshot")
    for name in ("../x", "A", "snapshot:"):
        snapshots.run("image", "import", "--json", f"snapshot:{tree}", "--name", name).refused(1, "image", "invalid")
    snapshots.sandbox("/bin/true", image="snapshot:/nonexistent").refused(125, "image", "not_found")
    snapshots.sandbox("/bin/true", image=f"snapshot:{tree}/note").refused(125, "image", "invalid", "directory")


def test_limits_refuse_and_leave_nothing(snapshots, tree):
    with open(tree / "sparse", "wb") as file:
        file.truncate(1 << 40)
    snapshots.sandbox("/bin/true", image=f"snapshot:{tree}").refused(125, "image", "limit", "max_bytes")
    assert not layers(snapshots) and not list((snapshots.root / "state/plugins/dir-snapshot/tmp").iterdir())


def test_killed_daemon_leaves_no_snapshot(snapshots, tree):
    task = snapshots.start_sandbox("/bin/sh", "-c", "echo runs; exec sleep 600", image=f"snapshot:{tree}", json_output=False)
    eventually(lambda: b"runs" in task.output(), 30, "the task runs")
    assert len(layers(snapshots)) == 1
    snapshots.kill_daemon(signal.SIGKILL)
    task.wait(30)
    snapshots.ensure_daemon()
    eventually(lambda: not layers(snapshots), 20, "the snapshot goes with its zone")


def test_in_a_process_of_its_own(fresh, examples, tree):
    configure(fresh, examples, 'images = ["image-oci", "dir-snapshot"]\n[plugin.dir-snapshot]\nschemes = ["snapshot"]\nisolation = "process"\n'
              '[plugin.dir-snapshot.process]\ncapabilities = ["chown", "fowner", "fsetid", "setgid", "setuid"]\n')
    assert loaded(fresh)["dir-snapshot"]["isolation"] == "process", fresh.log_tail()
    os.chown(tree / "note", 1000, 1000)
    document = fresh.sandbox("/bin/sh", "-c", "cat /note; stat -c %u /note /bin", image=f"snapshot:{tree}").task("succeeded", 0)
    assert document["stdout"] == "first\n1000\n0\n"
    fresh.run("image", "import", "--json", f"snapshot:{tree}", "--name", "base").exited(0)
    assert fresh.sandbox("/bin/cat", "/note", image="snapshot:base").task("succeeded", 0)["stdout"] == "first\n"
    assert len(layers(fresh)) == 1
    fresh.run("image", "remove", "--json", "snapshot:base").exited(0)
    assert not layers(fresh)


def test_configuration_that_the_plugin_refuses(fresh, examples):
    configure(fresh, examples, 'images = ["image-oci", "dir-snapshot"]\n[plugin.dir-snapshot]\nschemes = ["snapshot"]\n\nmax_byte = 1\n')
    plugins = fresh.run("plugin", "list", "--json").exited(0).json["plugins"]
    refused = next(p for p in plugins if p["name"] == "dir-snapshot")
    assert not refused["loaded"] and "line 7: unknown key 'max_byte'" in refused["refusal"]
    fresh.sandbox("/bin/true", image="snapshot:/usr").refused(125, "image", "not_found", "line 7")
    fresh.sandbox("true").task("succeeded", 0)


# --- count-enforcer

@pytest.fixture
def counting(fresh, examples):
    configure(fresh, examples, 'enforcer = "count-enforcer"\n[plugin.count-enforcer]\nmax_zones = 8\n')
    assert "count-enforcer" in loaded(fresh), fresh.log_tail()
    return fresh


def counted(document):
    assert [c["operation"] for c in document["enforcement_counters"]] == ["exec"], document["enforcement_counters"]
    return document["enforcement_counters"][0]


def test_counting_enforcer_is_seen_and_claims_nothing(counting):
    document = counting.sandbox("/bin/true").task("succeeded", 0)
    assert document["posture"]["enforcer"] == "count-enforcer: loadable, audit only"
    layer = next(layer for layer in document["posture"]["layers"] if layer["name"] == "enforcer")
    assert not layer["armed"] and "counts" in layer["detail"] + layer.get("reason", "")
    assert counted(document)["allowed"] == 1 and counted(document)["denied"] == 0
    assert [(e["name"], e["source"]) for e in document["enforcement_events"]] == [("count.labelled", "count-enforcer")]


def test_who_requires_an_enforcer_is_refused(counting, policy_file):
    counting.sandbox("/bin/true", options=policy_file(require=["enforcer"])).refused(125, mentions="enforcer")


def test_a_zone_outlives_a_killed_daemon(counting):
    zone = counting.sandbox("/bin/true", options=["--keep-zone"]).task("succeeded", 0)["zone_id"]
    counting.kill_daemon(signal.SIGKILL)
    counting.ensure_daemon()
    assert [z["id"] for z in counting.zones()] == [zone] and "count-enforcer" in loaded(counting)
    counting.run("zone", "delete", "--force", zone).exited(0)
    assert "could not be kept" not in counting.log_tail(500)
