"""Images in and out: rootfs tars, exports, the look at what is stored, history, and what an image says about how it is run."""

import gzip
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import tarfile
import time

import pytest

from support import make_oci_image
from support.images import Dir, File, Image, busybox, busybox_layer
from support.instance import RAUHA
from support.make_oci_image import tar_bytes
from support.waiting import duration, eventually


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def noise(size):
    return hashlib.shake_128(b"noise").digest(size)


def store(rauha):
    return rauha.root / "state/plugins/image-oci"


@pytest.fixture
def stored(rauha, tmp_path):
    """An image of three layers under a name of this test's own; what is stored of it goes with the test."""
    name = f"formats-{os.getpid()}-{time.monotonic_ns()}:v1"
    image = busybox(Labels={"test": name})
    rauha.run("image", "import", "--json", f"oci:{image.oci(tmp_path / 'source')}", "--name", name).exited(0)
    yield name, image
    rauha.run("image", "remove", "--json", name)


def blobs_of_layout(directory):
    return {path.name: path.read_bytes() for path in (pathlib.Path(directory) / "blobs/sha256").iterdir()}


def manifest_of_layout(directory):
    index = json.loads((pathlib.Path(directory) / "index.json").read_bytes())
    return index["manifests"][0]


def hidden(directory):
    return [path.name for path in pathlib.Path(directory).iterdir() if path.name.startswith(".")]


# --- export

def test_export_keeps_every_digest(rauha, stored, tmp_path):
    name, image = stored
    wanted = {key[7:]: value for key, value in image.blobs.items()}
    exported = rauha.run("image", "export", "--json", name, "--to", f"oci:{tmp_path / 'layout'}").exited(0).json
    assert exported["digest"] == image.digest
    assert blobs_of_layout(tmp_path / "layout") == wanted
    entry = manifest_of_layout(tmp_path / "layout")
    assert entry["digest"] == image.digest and entry["annotations"]["org.opencontainers.image.ref.name"] == "v1"
    archive = tmp_path / "image.tar"
    rauha.run("image", "export", "--json", name, "--to", f"oci-archive:{archive}:other").exited(0)
    with tarfile.open(archive) as tar:
        inside = {member.name: tar.extractfile(member).read() for member in tar}
    assert {key[13:]: value for key, value in inside.items() if key.startswith("blobs/")} == wanted
    assert b'"other"' in inside["index.json"] and archive.stat().st_uid == os.geteuid()
    # Both can be read back, and mean the same image.
    for reference in (f"oci:{tmp_path / 'layout'}:v1", f"oci-archive:{archive}:other"):
        assert rauha.run("image", "inspect", "--json", reference).exited(0).json["digest"] == image.digest
    assert hidden(tmp_path) == []
    text = rauha.run("image", "export", name, "--to", f"oci-archive:{tmp_path / 'again.tar'}").exited(0)
    assert b"is exported to" in text.stdout and b"\x1b" not in text.stderr


def test_export_refuses_by_name(rauha, stored, tmp_path):
    name, _ = stored
    there = tmp_path / "there.tar"
    there.write_text("mine")
    rauha.run("image", "export", "--json", name, "--to", f"oci-archive:{there}").refused(1, "image", "exists", "there.tar")
    assert there.read_text() == "mine"
    rauha.run("image", "export", "--json", name, "--to", f"oci:{tmp_path}").refused(1, "image", "exists")
    rauha.run("image", "export", "--json", name, "--to", f"oci:{tmp_path / 'no/such/place'}").refused(1, "image", "not_found")
    rauha.run("image", "export", "--json", "nobody-has:this", "--to", f"oci:{tmp_path / 'x'}").refused(1, "image", "not_found", "nobody-has:this")
    rauha.run("image", "export", "--json", name, "--to", "docker-archive:x").refused(2, "usage", "invalid", "oci-archive:")
    rauha.run("image", "export", "--json", name).refused(2, "usage", "invalid", "--to")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "there.tar"]


def test_export_of_what_was_not_kept(make_instance, tmp_path):
    rauha = make_instance("[plugin.image-oci]\nkeep_blobs = false\n")
    image = busybox()
    rauha.run("image", "import", "--json", f"oci:{image.oci(tmp_path / 'source')}", "--name", "one:1").exited(0)
    assert not (store(rauha) / "blobs/sha256" / digest(image.layers[0].blob)[7:]).exists()
    result = rauha.run("image", "export", "--json", "one:1", "--to", f"oci:{tmp_path / 'out'}")
    error = result.refused(1, "image", "not_found", [digest(image.layers[0].blob), "keep_blobs = true"])
    assert "2 more" in error["text"] and not (tmp_path / "out").exists() and hidden(tmp_path) == []
    report = rauha.run("image", "verify", "--json").exited(0).json
    assert report["unknown"] == 3 and report["damaged"] == 0


def test_damage_ends_an_export(make_instance, tmp_path):
    rauha = make_instance("")
    image = busybox()
    rauha.run("image", "import", "--json", f"oci:{image.oci(tmp_path / 'source')}", "--name", "one:1").exited(0)
    blob = store(rauha) / "blobs/sha256" / digest(image.layers[0].blob)[7:]
    whole = blob.read_bytes()
    blob.write_bytes(whole[:1000] + b"?" + whole[1001:])
    for target in (f"oci:{tmp_path / 'out'}", f"oci-archive:{tmp_path / 'out'}"):
        rauha.run("image", "export", "--json", "one:1", "--to", target).refused(1, "image", "corrupt", digest(image.layers[0].blob))
        assert not (tmp_path / "out").exists() and hidden(tmp_path) == []


def in_small_disk(size, script, mount_point, env):
    """Runs a shell script where `mount_point` is a file system of `size` of its own; the mount goes with the command."""
    quiet = f"mount -t tmpfs -o size={size},nr_inodes=64 rauha-test {mount_point} || exit 99\n"
    return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", quiet + script], env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_a_full_disk_leaves_nothing(rauha, stored, tmp_path, kind):
    name, _ = stored
    disk = tmp_path / "disk"
    disk.mkdir()
    rauha.ensure_daemon()
    script = f'"{RAUHA}" image export --json {name} --to {kind}:{disk}/out; echo "status $?"; ls -A {disk}; echo end'
    done = in_small_disk("256k", script, disk, rauha.environment())
    lines = done.stdout.splitlines()
    assert lines[1:] == ["status 1", "end"], done.stdout + done.stderr
    error = json.loads(lines[0])["error"]
    assert error["code"] == "limit" and "out" in error["text"], error


def test_kill_at_any_point_leaves_no_half_file(rauha, tmp_path):
    name, image = "formats-kill:1", Image(busybox_layer(), [File("noise", noise(24 << 20))])
    rauha.run("image", "import", "--json", f"oci:{image.oci(tmp_path / 'source')}", "--name", name).exited(0)
    for turn in range(12):
        kind = ("oci", "oci-archive")[turn % 2]
        target = tmp_path / f"out-{kind}"
        running = rauha.start("image", "export", "--json", name, "--to", f"{kind}:{target}")
        time.sleep(0.003 * turn)  # the moment of the kill, not a wait for something
        running.process.kill()
        running.process.wait()
        if not target.exists():
            continue
        if kind == "oci":
            assert blobs_of_layout(target) == {key[7:]: value for key, value in image.blobs.items()}
            subprocess.run(["rm", "-r", str(target)], check=True)
        else:
            assert rauha.run("image", "inspect", "--json", f"oci-archive:{target}").exited(0).json["digest"] == image.digest
            target.unlink()
    # What a killed export left beside its target goes with the next to that name.
    rauha.run("image", "export", "--json", name, "--to", f"oci:{tmp_path / 'out-oci'}").exited(0)
    assert hidden(tmp_path) == []
    leases = store(rauha) / "leases"
    eventually(lambda: not [path for path in leases.iterdir() if path.name.startswith("op")], 20, "the daemon's calls have ended")
    rauha.run("image", "remove", "--json", name).exited(0)


def test_what_a_killed_export_left_goes_with_the_next(fresh, tmp_path):
    rauha, name = fresh, "one:1"
    rauha.run("image", "import", "--json", f"oci:{busybox().oci(tmp_path / 'source')}", "--name", name).exited(0)
    pid = rauha.daemon_pid()
    os.kill(pid, signal.SIGSTOP)  # so that the export waits
    try:
        running = rauha.start("image", "export", "--json", name, "--to", f"oci:{tmp_path / 'out'}")
        eventually(lambda: hidden(tmp_path), 20, "the half-done export's directory")
        running.process.kill()
        running.process.wait()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert not (tmp_path / "out").exists() and len(hidden(tmp_path)) == 1
    eventually(lambda: rauha.daemon_pid() == pid, 20, "the same daemon")
    rauha.run("image", "export", "--json", name, "--to", f"oci:{tmp_path / 'out'}").exited(0)
    assert hidden(tmp_path) == []


# --- verify

def test_verify_of_what_is_whole(rauha, stored):
    name, image = stored
    report = rauha.run("image", "verify", "--json", name).exited(0).json
    assert report["schema_version"] == 1 and report["damaged"] == report["missing"] == report["unknown"] == 0
    kinds = sorted(check["kind"] for check in report["checks"])
    assert kinds == ["blob"] * 3 + ["configuration"] + ["layer"] * 3 + ["manifest", "record"]
    assert {digest(layer.blob) for layer in image.layers} == {check["digest"] for check in report["checks"] if check["kind"] == "blob"}
    text = rauha.run("image", "verify", name).exited(0)
    assert b"9 good" in text.stdout and b"checked" in text.stderr
    rauha.run("image", "verify", "--json", "nobody-has:this").refused(1, "image", "not_found", "nobody-has:this")


def test_verify_names_what_is_damaged(make_instance, tmp_path):
    rauha = make_instance("")
    image = busybox()
    layout = image.oci(tmp_path / "source")
    for name in ("one:1", "two:1"):
        rauha.run("image", "import", "--json", f"oci:{layout}", "--name", name).exited(0)
    assert rauha.run("image", "verify", "--json").exited(0).json["damaged"] == 0
    layer = store(rauha) / "layers" / image.layers[0].diff_id[7:] / "fs"
    passwd = layer / "etc/passwd"
    text = passwd.read_text()
    passwd.write_text(text.replace("root", "toor"))
    report = rauha.run("image", "verify", "--json").exited(1).json
    assert report["damaged"] == 1
    bad = report["checks"][0]
    assert bad["state"] == "damaged" and bad["kind"] == "layer" and bad["digest"] == image.layers[0].diff_id
    assert bad["path"] == str(layer) and "etc/passwd" in bad["text"] and bad["images"] == ["one:1", "two:1"]
    shown = rauha.run("image", "verify").exited(1)
    for word in (b"DAMAGED: layer", b"etc/passwd", b"needed by one:1, two:1", b"rauha image remove one:1"):
        assert word in shown.stdout, shown.explain()
    # The remedy is one: it is done word for word.
    for command in bad["remedy"].split("; "):
        rauha.run(*command.split()[1:]).exited(0)
    assert rauha.run("image", "verify", "--json").exited(0).json["unknown"] == 0
    assert passwd.read_text() == text


def test_verify_and_damage_of_each_part(make_instance, tmp_path):
    rauha = make_instance("")
    image = busybox()
    rauha.run("image", "import", "--json", f"oci:{image.oci(tmp_path / 'source')}", "--name", "one:1").exited(0)
    blobs = store(rauha) / "blobs/sha256"

    def faults():
        return [(check["kind"], check["state"]) for check in rauha.run("image", "verify", "--json").json["checks"] if check["state"] != "good"]

    for data, kind in ((image.manifest, "manifest"), (image.config, "configuration"), (image.layers[1].blob, "blob")):
        path = blobs / digest(data)[7:]
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert (kind, "damaged") in faults()
        path.write_bytes(data)
        assert faults() == []
    (blobs / digest(image.config)[7:]).unlink()
    assert faults() == [("configuration", "missing")]


# --- rootfs tars

ROOT = [Dir(".")] + [(info, content) for info, content in busybox_layer()]


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.zst"])
def test_a_root_tar_runs(rauha, tmp_path, ending):
    data = tar_bytes(ROOT)
    if ending == "tar.gz":
        data = gzip.compress(data)
    elif ending == "tar.zst":
        data = subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    file = tmp_path / f"root.{ending}"
    file.write_bytes(data)
    name = f"root-{ending.replace('.', '-')}:1"
    image = rauha.run("image", "import", "--json", f"tar:{file}", "--name", name).exited(0).json
    assert image["source"] == "tar" and [layer["digest"] for layer in image["layers"]] == [digest(data)]
    document = rauha.sandbox("/bin/sh", "-c", "cat /etc/passwd | head -n 1; stat -c %a /bin/busybox", image=name).task("succeeded", 0)
    assert document["stdout"] == "root:x:0:0:root:/root:/bin/sh\n755\n" and document["image_digest"] == image["digest"]
    again = rauha.run("image", "import", "--json", f"tar:{file}").exited(0).json
    assert again["reference"] == "root:latest" and again["digest"] == image["digest"]
    rauha.run("image", "export", "--json", name, "--to", f"oci:{tmp_path / 'out'}").exited(0)
    assert manifest_of_layout(tmp_path / "out")["digest"] == image["digest"]
    for one in (name, "root:latest"):
        rauha.run("image", "remove", "--json", one).exited(0)


def test_bad_root_tars(rauha, tmp_path):
    whole = tar_bytes(ROOT)
    canary = tmp_path / "canary"
    bad = {"cut": whole[:len(whole) // 2], "cut-at-a-header": whole[:512 * 8], "empty": b"", "text": b"hello\n" * 1000, "zeros": bytes(10240),
           "cut-gzip": gzip.compress(whole)[:20000], "outside": tar_bytes([File(f"../../../../../../../..{canary}", "x")])}
    for name, data in bad.items():
        file = tmp_path / name
        file.write_bytes(data)
        result = rauha.run("image", "import", "--json", f"tar:{file}", "--name", "bad:1")
        result.refused(1, "image", ("corrupt", "invalid"))
    assert not canary.exists()
    rauha.run("image", "import", "--json", f"tar:{tmp_path}", "--name", "bad:1").refused(1, "image", "invalid", "directory")
    rauha.sandbox("/bin/true", image=f"tar:{tmp_path / 'cut'}").refused(125, "image", "unsupported", "rauha image import")
    assert "bad:1" not in [image["reference"] for image in rauha.run("image", "list", "--json").json["images"]]
    assert not list((store(rauha) / "tmp").iterdir())


# --- what an image says about itself

def test_history_and_platform(rauha, tmp_path):
    image = busybox()
    history = [{"created": "2024-01-01T00:00:00Z", "created_by": "ADD base"}, {"created_by": "ENV A=1 \x1b[31m", "empty_layer": True},
               {"created_by": "RUN second", "comment": "why"}, {"created_by": "RUN third"}]
    document = {**json.loads(image.config), "history": history, "created": "2024-01-02T03:04:05Z", "variant": "v1"}
    layers = image.layers
    built = make_oci_image.Image(layers, config_override={key: document[key] for key in ("history", "created", "variant")})
    built.write_layout(tmp_path / "layout")
    reference = f"oci:{tmp_path / 'layout'}"
    told = rauha.run("image", "history", "--json", reference).exited(0).json["history"]
    assert [step["created_by"] for step in told] == [step["created_by"] for step in history]
    assert [step.get("diff_id") for step in told] == [layers[0].diff_id, None, layers[1].diff_id, layers[2].diff_id]
    assert told[0]["size_bytes"] == len(layers[0].blob) and told[2]["comment"] == "why"
    text = rauha.run("image", "history", reference).exited(0).stdout
    assert text.splitlines()[1].endswith(b"RUN third") and b"\x1b" not in text
    shown = rauha.run("image", "inspect", "--json", reference).exited(0).json
    assert shown["platform"].startswith("linux/") and shown["platform"].endswith("/v1") and shown["built_at"] == "2024-01-02T03:04:05Z"
    assert len(shown["history"]) == 4 and [layer["size_bytes"] for layer in shown["layers"]] == [len(layer.blob) for layer in layers]
    assert "says nothing" in rauha.run("image", "history", "host").exited(0).stdout.decode()


def test_without_a_command_the_images_own_runs(rauha, tmp_path):
    layout = busybox(Entrypoint=["/bin/echo", "from"], Cmd=["the image"]).oci(tmp_path / "both")
    result = rauha.run("sandbox", "--json", "--image", f"oci:{layout}")
    document = result.task("succeeded", 0)
    assert document["stdout"] == "from the image\n" and document["command"] == ["/bin/echo", "from", "the image"]
    listed = rauha.run("task", "list", "--json").exited(0).json["tasks"]
    assert [task["command"] for task in listed if task["task_id"] == document["task_id"]] == [["/bin/echo", "from", "the image"]]
    rauha.run("sandbox", "--json", "--image", "host").refused(125, "usage", "invalid", "no command was given")
    rauha.run("sandbox", "--json", "--image", f"oci:{layout}", "--").refused(125, "usage", "invalid", "no command after --")


def test_stop_signal_of_the_image(rauha, tmp_path):
    layout = busybox(StopSignal="SIGUSR1").oci(tmp_path / "oci")
    policy = tmp_path / "p.toml"
    policy.write_text('name = "p"\ntype = "task"\n[resources]\nstop_grace = "30s"\n')
    script = 'trap "echo told; exit 3" USR1; trap "echo wrong; exit 4" TERM; while :; do sleep 0.05; done'
    options = ["--timeout", duration(2), "--policy", str(policy)]
    document = rauha.sandbox("/bin/sh", "-c", script, image=f"oci:{layout}", options=options).task("timed_out", 124)
    assert document["stdout"] == "told\n"
