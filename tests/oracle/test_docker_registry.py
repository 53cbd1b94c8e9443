"""The registry that everybody runs, with TLS and passwords; pushed to and checked with skopeo."""

import json
import shutil

import pytest

from support.docker_registry import PROGRAM, DockerRegistry
from support.images import File, Image, busybox_layer
from support.registry import PASSWORD, USER

pytestmark = pytest.mark.skipif(PROGRAM is None or shutil.which("skopeo") is None, reason="docker-registry and skopeo are not installed")


@pytest.fixture
def docker_registry(tmp_path):
    with DockerRegistry(tmp_path / "registry") as one:
        yield one


def push(registry, image, tmp_path, name):
    layout = image.oci(tmp_path / "layout", tags=(name,))
    copied = registry.skopeo("copy", "--dest-creds", f"{USER}:{PASSWORD}", "--dest-cert-dir", str(registry.directory / "certs"),
                             f"oci:{layout}:{name}", f"docker://{registry.name}/team/{name}:1")
    assert copied.returncode == 0, copied.stderr
    return f"{registry.name}/team/{name}:1"


def test_pull_with_tls_and_password(make_instance, docker_registry, tmp_path):
    rauha = make_instance(f'[plugin.image-oci.registry."{docker_registry.name}"]\nca = "{docker_registry.certificates.ca}"\n')
    docker_registry.skopeo("--version")
    image = Image(busybox_layer(), [File("noise", bytes(range(256)) * (5 << 12)), File("etc/x", "y", mode=0o600)], Env=["PATH=/bin"])
    reference = push(docker_registry, image, tmp_path, "app")
    env = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    denied = rauha.run("image", "pull", "--json", reference, env=env)
    assert denied.json["error"]["code"] == "denied" and "rauha login" in denied.json["error"]["hint"]
    rauha.run("login", "--json", "--username", USER, "--password-stdin", docker_registry.name, input=PASSWORD.encode(), env=env).exited(0)
    pulled = rauha.run("image", "pull", "--json", reference, env=env).exited(0).json
    # What skopeo sees there is what we have, down to each layer.
    seen = docker_registry.skopeo("inspect", "--creds", f"{USER}:{PASSWORD}", "--cert-dir", str(docker_registry.directory / "certs"),
                                  f"docker://{reference}")
    assert seen.returncode == 0, seen.stderr
    there = json.loads(seen.stdout)
    assert there["Digest"] == pulled["digest"] and there["Layers"] == [layer["digest"] for layer in pulled["layers"]]
    document = rauha.sandbox("/bin/sh", "-c", "wc -c < /noise; cat /etc/x", image=reference).task("succeeded", 0)
    assert document["stdout"] == f"{5 << 20}\ny" and document["image_digest"] == pulled["digest"]
    # skopeo reads the file that `rauha login` wrote.
    copied = docker_registry.skopeo("inspect", "--authfile", str(tmp_path / "auth.json"), "--cert-dir", str(docker_registry.directory / "certs"), f"docker://{reference}")
    assert copied.returncode == 0, copied.stderr
