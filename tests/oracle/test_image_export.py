"""What `rauha image export` writes, read by other tools: skopeo copies it with the same digests, umoci unpacks what was packed."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from support.images import File, Image, Symlink, busybox, busybox_layer

needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
needs_umoci = pytest.mark.skipif(shutil.which("umoci") is None, reason="umoci is not installed")


def tool(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


@pytest.fixture
def image(tmp_path):
    return Image(busybox_layer(), [File("etc/second", "lower\n", mode=0o640, uid=7), Symlink("etc/link", "second"), File("noise", os.urandom(1 << 20))],
                 [File("etc/second", "upper\n")], Env=["PATH=/bin"], Cmd=["/bin/sh"])


@needs_skopeo
@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_skopeo_reads_it(rauha, image, tmp_path, kind):
    name = f"export-{kind}:v1"
    rauha.run("image", "import", "--json", f"oci:{image.oci(tmp_path / 'source')}", "--name", name).exited(0)
    target = tmp_path / "out"
    rauha.run("image", "export", "--json", name, "--to", f"{kind}:{target}").exited(0)
    seen = json.loads(tool("skopeo", "inspect", f"{kind}:{target}:v1"))
    assert seen["Digest"] == image.digest and seen["Env"] == ["PATH=/bin"]
    tool("skopeo", "copy", "-q", f"{kind}:{target}:v1", f"oci:{tmp_path / 'copy'}:v1")
    index = json.loads((tmp_path / "copy/index.json").read_text())
    assert index["manifests"][0]["digest"] == image.digest
    # And what skopeo wrote means the same to us.
    assert rauha.run("image", "inspect", "--json", f"oci:{tmp_path / 'copy'}:v1").exited(0).json["digest"] == image.digest
    rauha.run("image", "remove", "--json", name).exited(0)


@needs_skopeo
def test_skopeo_reads_what_came_from_a_docker_archive(rauha, tmp_path):
    archive = busybox().docker_archive(tmp_path / "saved.tar")
    imported = rauha.run("image", "import", "--json", f"docker-archive:{archive}", "--name", "saved:1").exited(0).json
    rauha.run("image", "export", "--json", "saved:1", "--to", f"oci-archive:{tmp_path / 'out.tar'}").exited(0)
    assert json.loads(tool("skopeo", "inspect", f"oci-archive:{tmp_path / 'out.tar'}:1"))["Digest"] == imported["digest"]
    rauha.run("image", "remove", "--json", "saved:1").exited(0)


@needs_umoci
def test_umoci_unpacks_it(rauha, image, tmp_path):
    rauha.run("image", "import", "--json", f"oci:{image.oci(tmp_path / 'source')}", "--name", "export-umoci:v1").exited(0)
    rauha.run("image", "export", "--json", "export-umoci:v1", "--to", f"oci:{tmp_path / 'out'}").exited(0)
    tool("umoci", "unpack", "--image", f"{tmp_path / 'out'}:v1", str(tmp_path / "bundle"))
    root = tmp_path / "bundle/rootfs"
    assert (root / "etc/second").read_text() == "upper\n" and os.readlink(root / "etc/link") == "second"
    assert (root / "noise").stat().st_size == 1 << 20
    rauha.run("image", "remove", "--json", "export-umoci:v1").exited(0)


@needs_umoci
def test_umoci_unpacks_a_root_tar_that_was_imported(rauha, tmp_path):
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/motd").write_text("hello\n")
    tool("tar", "-C", str(tree), "-czf", str(tmp_path / "root.tgz"), ".")
    rauha.run("image", "import", "--json", f"tar:{tmp_path / 'root.tgz'}", "--name", "export-tar:v1").exited(0)
    rauha.run("image", "export", "--json", "export-tar:v1", "--to", f"oci:{tmp_path / 'out'}").exited(0)
    tool("umoci", "unpack", "--image", f"{tmp_path / 'out'}:v1", str(tmp_path / "bundle"))
    assert pathlib.Path(tmp_path / "bundle/rootfs/etc/motd").read_text() == "hello\n"
    rauha.run("image", "remove", "--json", "export-tar:v1").exited(0)
