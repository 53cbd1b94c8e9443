"""Images from registries: pulling, credentials, and everything that a registry can do wrong. The registry is tests/support/registry.py."""

import base64
import gzip
import io
import json
import os
import tarfile
import threading
import time

import pytest

from support import make_oci_image
from support.images import File, Image, busybox, busybox_layer
from support.make_oci_image import Layer
from support.registry import MANIFEST_V1, PASSWORD, USER, Certificates, Proxy, Registry, digest, outside_address, times
from support.waiting import eventually

LAYERS = ("application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.container.image.v1+json",
          "application/vnd.docker.distribution.manifest.v2+json")


def noise(size, seed=1):
    """Bytes that do not compress, the same each time."""
    import random
    return random.Random(seed).randbytes(size)


@pytest.fixture
def registry():
    with Registry() as one:
        yield one


PATIENCE = 'stall_timeout = "1s"\nretry_pause = "20ms"\n'


@pytest.fixture
def instance_factory(make_instance):
    """An empty store, little patience, and what the test adds."""
    return lambda toml="": make_instance(f"[plugin.image-oci]\n{PATIENCE}{toml}")


@pytest.fixture
def fresh(instance_factory):
    return instance_factory()


def soon(predicate, what="it happens"):
    return eventually(predicate, 20, what)


def pull(rauha, reference, *options, **more):
    return rauha.run("image", "pull", "--json", *options, reference, **more)


def refused(rauha, reference, code, *mentions, options=(), **more):
    result = pull(rauha, reference, *options, **more)
    result.check(result.returncode != 0, "it was accepted")
    error = result.json["error"]
    everything = " ".join(str(error.get(key) or "") for key in ("text", "object", "hint"))
    codes = {code} if isinstance(code, str) else set(code)
    result.check(error["code"] in codes, f"the error's code is not {sorted(codes)}")
    for word in mentions:
        result.check(word in everything, f"the error does not mention {word!r}")
    store_is_clean(rauha)
    return error


def store_is_clean(rauha):
    """Nothing half-done is visible; what may stay is the beginning of a blob."""
    store = rauha.root / "state" / "plugins" / "image-oci"
    assert [p.name for p in (store / "tmp").iterdir() if not p.name.startswith("partial-")] == []
    for layer in (store / "layers").iterdir():
        assert (layer / "layer.json").is_file()
    assert rauha.run("image", "list", "--json").json["images"] == []


# --- what works

def test_pull_then_run(fresh, registry):
    image = busybox()
    reference = registry.push("team/app", image, "1")
    result = pull(fresh, reference).exited(0)
    assert result.json["digest"] == image.digest and result.json["source"] == "registry" and len(result.json["layers"]) == 3
    assert b"plain HTTP; accepted" in result.stderr  # loopback: allowed, and said
    document = fresh.sandbox("/bin/sh", "-c", "cat /etc/second; echo $FROM_IMAGE", image=reference).task("succeeded", 0)
    assert document["stdout"] == "upper\nyes\n" and document["image_digest"] == image.digest


def test_sandbox_pulls_when_absent_and_only_then(fresh, registry):
    reference = registry.push("app", busybox())
    fresh.sandbox("/bin/true", image=reference, options=["--pull", "never"]).refused(125, "image", "not_found", reference)
    assert registry.requests == []
    fresh.sandbox("/bin/true", image=reference).task("succeeded", 0)
    before = len(registry.requests)
    assert before >= 5
    fresh.sandbox("/bin/true", image=reference).task("succeeded", 0)
    assert len(registry.requests) == before
    # Unchanged: one round trip.
    fresh.sandbox("/bin/true", image=reference, options=["--pull", "always"]).task("succeeded", 0)
    assert len(registry.requests) == before + 1


def test_a_tag_that_moved(fresh, registry):
    reference = registry.push("app", busybox())
    pull(fresh, reference).exited(0)
    newer = Image(busybox_layer(), [File("etc/second", "newer\n")])
    registry.push("app", newer)
    registry.behave()
    assert pull(fresh, reference).exited(0).json["digest"] == newer.digest
    assert len(registry.asked("/blobs/")) == 2  # the configuration and one layer: busybox is there
    assert fresh.sandbox("/bin/cat", "/etc/second", image=reference).task("succeeded", 0)["stdout"] == "newer\n"


def test_by_digest_and_by_both(fresh, registry):
    image = busybox()
    registry.push("app", image, "1")
    for reference in (f"{registry.name}/app@{image.digest}", f"{registry.name}/app:other@{image.digest}"):
        assert pull(fresh, reference).exited(0).json["reference"] == f"{registry.name}/app@{image.digest}"
    assert pull(fresh, f"{registry.name}/app@sha256:{'0' * 64}").json["error"]["code"] == "not_found"


def test_the_platform_is_chosen(fresh, registry):
    own, other = busybox(Labels={"which": "own"}), Image(busybox_layer(), [File("etc/arch", "other")])
    foreign = make_oci_image.Image([Layer([File("etc/foreign", "x")])], architecture="mips64le")
    registry.push("app", own, "own")
    registry.push("app", foreign, "foreign")
    entry = lambda image, arch: {"mediaType": make_oci_image.OCI_MANIFEST, "digest": image.digest, "size": len(image.manifest),  # noqa: E731
                                 "platform": {"os": "linux", "architecture": arch}}
    index = {"schemaVersion": 2, "mediaType": make_oci_image.OCI_INDEX, "manifests": [entry(foreign, "mips64le"), entry(own, make_oci_image.ARCH)]}
    reference = registry.put_manifest("app", index, "both", make_oci_image.OCI_INDEX)
    assert pull(fresh, reference).exited(0).json["digest"] == own.digest
    assert pull(fresh, reference, "--platform", "linux/mips64le").exited(0).json["digest"] == foreign.digest
    # What the store has for another machine is not run; it is fetched for this one.
    fresh.sandbox("/bin/true", image=reference).task("succeeded", 0)
    missing = pull(fresh, reference, "--platform", "linux/s390x")
    assert missing.json["error"]["code"] == "not_found" and "linux/mips64le" in missing.json["error"]["hint"]
    assert pull(fresh, reference, "--platform", "amd64").json["error"]["code"] == "invalid"


def test_docker_schema_2(fresh, registry):
    image = make_oci_image.Image([Layer(busybox_layer())], layer_media_type=LAYERS[0])
    manifest = json.loads(image.manifest)
    manifest["mediaType"], manifest["config"]["mediaType"] = LAYERS[2], LAYERS[1]
    registry.blobs.update(image.blobs)
    reference = registry.put_manifest("app", manifest, media_type=LAYERS[2])
    fresh.sandbox("/bin/true", image=reference).task("succeeded", 0)


def test_two_pulls_share_the_work(fresh, registry):
    image = Image(busybox_layer(), [File("noise", noise(3 << 20))])
    reference = registry.push("app", image)
    fresh.run("image", "list", "--json").exited(0)
    slow = threading.Event()
    big = digest(image.layers[1].blob)
    registry.on(big, times(1, lambda handler: slow.wait(20) and False))
    first = fresh.start("image", "pull", "--json", reference)
    assert soon(lambda: registry.asked(big))
    second = fresh.start("image", "pull", "--json", reference)
    assert soon(lambda: len(registry.asked("/manifests/")) >= 2)
    slow.set()
    assert first.wait().exited(0).json["digest"] == second.wait().exited(0).json["digest"] == image.digest
    assert len(registry.asked(big)) == 1


def test_layers_go_in_parallel(fresh, registry):
    image = Image(busybox_layer(), *[[File(f"layer-{i}", f"{i}")] for i in range(3)])
    reference = registry.push("app", image)
    together = threading.Barrier(4, timeout=20)
    blobs = [digest(layer.blob) for layer in image.layers]

    def meet(handler):
        together.wait()  # only when all four are asked for at once
        return False
    for blob in blobs:
        registry.on(blob, times(1, meet))
    pull(fresh, reference).exited(0)


# --- authentication and TLS

def login(rauha, registry, tmp_path, password=PASSWORD):
    env = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    rauha.run("login", "--json", "--username", USER, "--password-stdin", registry.name, input=password.encode() + b"\n", env=env).exited(0)
    return env


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_credentials(fresh, tmp_path, kind):
    with Registry(auth=kind) as registry:
        reference = registry.push("team/app", busybox())
        nobody = {"REGISTRY_AUTH_FILE": str(tmp_path / "none.json")}
        refused(fresh, reference, "denied", "rauha login", env=nobody)
        wrong = login(fresh, registry, tmp_path, "wrong")
        refused(fresh, reference, "denied", "rauha login", env=wrong)
        env = login(fresh, registry, tmp_path)
        assert (tmp_path / "auth.json").stat().st_mode & 0o7777 == 0o600
        pull(fresh, reference, env=env).exited(0)
        registry.behave()
        pull(fresh, reference, env=env).exited(0)
        assert len(registry.requests) == 1  # what was learnt is remembered
        # Neither the log nor the store knows the secret.
        for path in [*fresh.root.rglob("*.log"), *fresh.root.rglob("*.json"), *fresh.root.rglob("*.db*")]:
            assert PASSWORD.encode() not in path.read_bytes()
        fresh.run("logout", "--json", registry.name, env=env).exited(0)
        assert "auths" in json.loads((tmp_path / "auth.json").read_text())
        # Memory of one caller's credentials serves no other caller.
        assert pull(fresh, reference, env=env).json["error"]["code"] == "denied"


def test_docker_config_and_helper(fresh, tmp_path):
    with Registry(auth="basic") as registry:
        reference = registry.push("app", busybox())
        config = tmp_path / "docker"
        config.mkdir()
        (config / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}}))
        env = {"DOCKER_CONFIG": str(config), "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        pull(fresh, reference, env=env).exited(0)
        fresh.run("image", "remove", "--json", reference).exited(0)
        helper = tmp_path / "docker-credential-test"
        helper.write_text(f"#!/bin/sh\ncat >> {tmp_path}/asked\necho '{json.dumps({'Username': USER, 'Secret': PASSWORD})}'\n")
        helper.chmod(0o755)
        (config / "config.json").write_text(json.dumps({"credHelpers": {registry.name: "test"}}))
        env["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
        fresh.sandbox("/bin/true", image=reference, env=env).task("succeeded", 0)
        assert (tmp_path / "asked").read_text() == registry.name
        fresh.sandbox("/bin/true", image=reference, env=env).task("succeeded", 0)
        assert (tmp_path / "asked").read_text() == registry.name  # stored: nobody is asked


def test_tls(instance_factory, tmp_path):
    good = Certificates(tmp_path / "good")
    with Registry(tls=good) as registry:
        reference = registry.push("app", busybox())
        refused(instance_factory(), reference, "denied", registry.name, "ca = ")
        trusting = instance_factory(f'[plugin.image-oci.registry."{registry.name}"]\nca = "{good.ca}"\n')
        trusting.sandbox("/bin/true", image=reference).task("succeeded", 0)


@pytest.mark.parametrize("fault, word", [(dict(expired=True), "expired"), (dict(names=("other.example",)), "127.0.0.1")])
def test_bad_certificates(instance_factory, tmp_path, fault, word):
    bad = Certificates(tmp_path / "bad", **fault)
    with Registry(tls=bad) as registry:
        reference = registry.push("app", busybox())
        trusting = instance_factory(f'[plugin.image-oci.registry."{registry.name}"]\nca = "{bad.ca}"\n')
        refused(trusting, reference, "denied", word)


def test_client_certificate(instance_factory, tmp_path):
    both = Certificates(tmp_path / "both", client=True)
    with Registry(tls=both) as registry:
        reference = registry.push("app", busybox())
        table = f'[plugin.image-oci.registry."{registry.name}"]\nca = "{both.ca}"\n'
        refused(instance_factory(table), reference, "denied", "certificate", "certificate and key under")
        refused(instance_factory(table + f'certificate = "{both.ca}"\nkey = "{tmp_path}/none.key"\n'), reference, "invalid", "check ca, certificate and key")
        known = instance_factory(table + f'certificate = "{both.client_certificate}"\nkey = "{both.client_key}"\n')
        known.sandbox("/bin/true", image=reference).task("succeeded", 0)


def test_proxy(instance_factory, tmp_path):
    image = busybox()
    with Registry(auth="basic") as plain, Proxy({"registry.invalid:5000": plain.name}) as proxy:
        plain.push("app", image)
        one = instance_factory(f'proxy = "{proxy.url}"\n[plugin.image-oci.registry."registry.invalid:5000"]\ninsecure = true\n')
        env = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
        refused(one, "registry.invalid:5000/app", "denied", "rauha login", env=env)
        one.run("login", "--json", "--username", USER, "--password-stdin", "registry.invalid:5000", input=PASSWORD.encode(), env=env).exited(0)
        assert pull(one, "registry.invalid:5000/app", env=env).exited(0).json["digest"] == image.digest
        assert proxy.requests and plain.requests
        # What no_proxy names is asked directly.
        plain.auth, proxy.requests = None, []
        two = instance_factory(f'proxy = "{proxy.url}"\nno_proxy = "127.0.0.1"\n')
        pull(two, f"{plain.name}/app").exited(0)
        assert proxy.requests == []
        # Without the proxy nobody has this name.
        refused(instance_factory(), "registry.invalid:5000/app", "not_found", "DNS")


def test_proxy_sees_nothing_of_tls(instance_factory, tmp_path):
    certificates = Certificates(tmp_path / "tls", names=("registry.invalid",))
    with Registry(tls=certificates, auth="token") as registry, Proxy({"registry.invalid:443": registry.name}) as proxy:
        registry.url = "https://registry.invalid"
        registry.push("app", busybox())
        one = instance_factory(f'proxy = "{proxy.url}"\n[plugin.image-oci.registry."registry.invalid"]\nca = "{certificates.ca}"\n')
        env = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
        one.run("login", "--json", "--username", USER, "--password-stdin", "registry.invalid", input=PASSWORD.encode(), env=env).exited(0)
        one.sandbox("/bin/true", image="registry.invalid/app", env=env).task("succeeded", 0)
        assert {(method, host) for method, host, _ in proxy.requests} == {("CONNECT", "registry.invalid:443")}
        assert not any("Authorization" in headers for _, _, headers in proxy.requests)


def test_in_a_process_of_its_own(make_instance, tmp_path):
    tls = Certificates(tmp_path / "tls")
    with Registry(tls=tls, auth="token") as registry:
        reference = registry.push("app", Image(busybox_layer(), [File("noise", noise(3 << 20))]))
        table = f'[plugin.image-oci.registry."{registry.name}"]\nca = "{tls.ca}"\n'
        apart = f'[plugin.image-oci]\nisolation = "process"\n{PATIENCE}[plugin.image-oci.process]\nread = ["{tls.ca}"]\n'
        refused(make_instance(apart + table), reference, ("io", "not_found"), registry.name, "network = true")
        one = make_instance(apart + "network = true\n" + table)
        pull(one, reference, env=login(one, registry, tmp_path)).exited(0)
        checked = one.sandbox("/bin/sha256sum", "/noise", image=reference).task("succeeded", 0)["stdout"]
        assert checked.split()[0] == digest(noise(3 << 20))[7:]


def test_plain_http_elsewhere_needs_the_operator(instance_factory):
    address = outside_address()
    if address is None:
        pytest.skip("this machine has only loopback")
    with Registry(address=address) as registry:
        reference = registry.push("app", busybox())
        refused(instance_factory(), reference, ("io", "denied"), "insecure = true")
        willing = instance_factory(f'[plugin.image-oci.registry."{registry.name}"]\ninsecure = true\n')
        pull(willing, reference).exited(0)


def test_mirrors(instance_factory):
    image = busybox()
    with Registry() as origin, Registry() as mirror:
        reference = origin.push("app", image)
        mirror.push("app", image)
        one = instance_factory(f'[plugin.image-oci.registry."{origin.name}"]\nmirrors = ["{mirror.name}"]\n')
        pull(one, reference).exited(0)
        assert origin.requests == [] and mirror.requests != []
        # A mirror that lies about a blob, or lacks it, is passed over.
        two = instance_factory(f'[plugin.image-oci.registry."{origin.name}"]\nmirrors = ["{mirror.name}"]\n')
        mirror.on("/blobs/", lambda handler: handler.answer(404))
        pull(two, reference).exited(0)
        assert origin.asked("/blobs/")
        # One that sends other bytes, too: of a blob, of the configuration, of a manifest that was asked for by digest.
        mirror.behave()
        layer = image.layers[0].blob
        mirror.blobs[digest(layer)] = noise(len(layer))
        three = instance_factory(f'[plugin.image-oci.registry."{origin.name}"]\nmirrors = ["{mirror.name}"]\n')
        assert b"a mirror" in pull(three, reference).exited(0).stderr
        mirror.on("/manifests/", lambda handler: handler.answer(200, b'{"schemaVersion": 2}', headers=[("Content-Type", MANIFEST_V1)]))
        four = instance_factory(f'[plugin.image-oci.registry."{origin.name}"]\nmirrors = ["{mirror.name}"]\n')
        pull(four, f"{origin.name}/app@{image.digest}").exited(0)


# --- what a registry can do wrong

def test_wrong_digest(fresh, registry):
    image = busybox()
    reference = registry.push("app", image)
    registry.blobs[digest(image.layers[0].blob)] = busybox(Labels={"a": "b"}).layers[1].blob.ljust(len(image.layers[0].blob), b"\0")
    refused(fresh, reference, ("corrupt", "invalid"), digest(image.layers[0].blob))


def test_right_blob_of_a_wrong_tar(fresh, registry):
    refused(fresh, registry.push("app", Image(busybox_layer(), wrong_diff_id=0)), "corrupt", "digest mismatch")


def test_wrong_config_digest(fresh, registry):
    image = busybox()
    reference = registry.push("app", image)
    registry.blobs[digest(image.config)] = image.config[:-1] + b" "
    refused(fresh, reference, "corrupt", digest(image.config))


def test_manifest_of_another_digest(fresh, registry):
    image = busybox()
    registry.push("app", image)
    body = image.manifest + b" "
    registry.manifests[("app", image.digest)] = (body, make_oci_image.OCI_MANIFEST)
    refused(fresh, f"{registry.name}/app@{image.digest}", "corrupt", "digest mismatch", image.digest)


def test_wrong_length(fresh, registry):
    refused(fresh, registry.push("app", make_oci_image.Image([Layer(busybox_layer())], wrong_layer_size=0)), "corrupt", "size mismatch")


def test_short_body(fresh, registry):
    image = busybox()
    reference = registry.push("app", image)
    blob = image.layers[0].blob
    registry.on(digest(blob), lambda handler: (handler.answer(200, blob[:100], length=len(blob)), handler.hang_up())[1])
    refused(fresh, reference, ("corrupt", "io"), registry.name, timeout=120)


def test_endless_body(fresh, registry):
    image = busybox()
    reference = registry.push("app", image)

    def endless(handler):
        handler.answer(200, length=False, headers=[("Connection", "close")])
        handler.close_connection = True
        try:
            while True:
                handler.wfile.write(noise(1 << 16))
        except OSError:
            return True
    registry.on(digest(image.layers[1].blob), endless)
    refused(fresh, reference, ("corrupt", "invalid"))
    registry.behave()
    registry.on("/manifests/", endless)
    refused(fresh, reference, "limit", "larger than 4194304 bytes")


def test_endless_redirects(fresh, registry):
    reference = registry.push("app", busybox())
    registry.on("/manifests/", lambda handler: handler.answer(307, headers=[("Location", handler.path + "x")]))
    refused(fresh, reference, "limit", "5 redirects")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "//", "https://"])
def test_redirects_to_elsewhere(fresh, registry, target):
    reference = registry.push("app", busybox())
    registry.on("/blobs/", lambda handler: handler.answer(307, headers=[("Location", target)]))
    refused(fresh, reference, ("denied", "io", "invalid"))


def test_redirect_into_this_machine(instance_factory):
    address = outside_address()
    if address is None:
        pytest.skip("this machine has only loopback")
    with Registry(address=address) as registry, Registry() as inside:
        reference = registry.push("app", busybox())
        registry.on("/blobs/", lambda handler: handler.answer(307, headers=[("Location", f"{inside.url}{handler.path}")]))
        one = instance_factory(f'[plugin.image-oci.registry."{registry.name}"]\ninsecure = true\n')
        refused(one, reference, "denied", "nearer to this machine", inside.name)
        assert inside.requests == []
        # The same by the token server's address.
        registry.behave()
        registry.on("/manifests/", lambda handler: handler.answer(401, headers=[("WWW-Authenticate", f'Bearer realm="{inside.url}/token"')]))
        refused(one, reference, "denied", "nearer to this machine")
        assert inside.requests == []


def test_credentials_stay_with_their_registry(fresh, tmp_path):
    with Registry(auth="basic") as registry, Registry() as other:
        image = busybox()
        reference = registry.push("app", image)
        other.push("app", image)
        registry.on("/blobs/", lambda handler: handler.answer(307, headers=[("Location", f"{other.url}{handler.path}")]))
        pull(fresh, reference, env=login(fresh, registry, tmp_path)).exited(0)
        assert other.requests and not any("Authorization" in headers for _, _, headers in other.requests)
        assert any("Authorization" in headers for _, _, headers in registry.requests)


def test_credentials_do_not_go_out_in_the_clear(fresh, tmp_path):
    """A registry that may speak plain HTTP names a token server elsewhere that does so too."""
    with Registry(auth="token") as registry:
        reference = registry.push("app", busybox())
        env = login(fresh, registry, tmp_path)
        registry.on("/v2/", lambda handler: handler.answer(401, headers=[("WWW-Authenticate", 'Bearer realm="http://auth.invalid/token",service="x"')]))
        refused(fresh, reference, "denied", "auth.invalid", "not https", env=env)


def test_certificates_in_the_configuration_rule_plain_http_out(instance_factory, registry, tmp_path):
    """Whoever took the port of a registry on this machine does not get around its certificate by having none."""
    certificates = Certificates(tmp_path / "tls")
    reference = registry.push("app", busybox())
    one = instance_factory(f'[plugin.image-oci.registry."{registry.name}"]\nca = "{certificates.ca}"\n')
    refused(one, reference, ("denied", "io"))
    assert registry.requests == []


def test_401_for_ever(fresh, tmp_path):
    with Registry(auth="token") as registry:
        reference = registry.push("app", busybox())
        env = login(fresh, registry, tmp_path)
        registry.on("/v2/", lambda handler: handler.answer(401, headers=[("WWW-Authenticate", f'Bearer realm="{registry.url}/token",service="x"')]))
        refused(fresh, reference, "denied", "401", env=env)
        assert len(registry.requests) < 10
        registry.behave()
        registry.on("/token", lambda handler: handler.answer(200, json.dumps({"token": "token-for-repository:other:pull"}).encode()))
        refused(fresh, reference, "denied", "allow pulling app", env=env)
        for body in (b"<html>", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\nb"}'):
            registry.behave()
            registry.on("/token", lambda handler, body=body: handler.answer(200, body))
            refused(fresh, reference, "invalid", "token", env=env)
        registry.behave()
        registry.on("/v2/", lambda handler: handler.answer(401, headers=[("WWW-Authenticate", "Negotiate")]))
        refused(fresh, reference, "unsupported", "negotiate", env=env)


def test_documents_that_are_none(fresh, registry):
    reference = registry.push("app", busybox())
    for body, code, word in [(b"<html><body>Sign in</body></html>", "invalid", "HTML"), (b"", "invalid", "empty"), (b"[]", "invalid", "array"),
                             (b"{}", "invalid", "config"), (b'{"schemaVersion": 1, "fsLayers": []}', "unsupported", "schema 1"),
                             (b'{"schemaVersion": 2, "mediaType": "text/plain"}', "unsupported", "text/plain"), (b"{" * 100_000, "limit", "nested")]:
        registry.manifests[("app", "latest")] = (body, "application/json")
        refused(fresh, reference, code, word)
    registry.manifests[("app", "latest")] = (b'{"schemaVersion": 1}', MANIFEST_V1)
    refused(fresh, reference, "unsupported", "schema 1")


def test_a_manifest_of_a_gigabyte(fresh, registry):
    reference = registry.push("app", busybox())

    def huge(handler):
        handler.answer(200, length=1 << 30)
        try:
            for _ in range(1 << 14):
                handler.wfile.write(b" " * (1 << 16))
        except OSError:
            pass
        return handler.hang_up()
    registry.on("/manifests/", huge)
    refused(fresh, reference, "limit", "larger than 4194304 bytes")


def test_ten_thousand_layers(fresh, registry):
    image = busybox()
    reference = registry.push("app", image)
    manifest = json.loads(image.manifest)
    manifest["layers"] = manifest["layers"][:1] * 10_000
    registry.put_manifest("app", manifest)
    refused(fresh, reference, "limit", "10000 layers")


def test_unknown_media_types(fresh, registry):
    refused(fresh, registry.push("app", make_oci_image.Image([Layer(busybox_layer())], layer_media_type="application/x-unknown")), "unsupported", "application/x-unknown")
    image = busybox()
    manifest = json.loads(image.manifest)
    manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    registry.blobs.update(image.blobs)
    refused(fresh, registry.put_manifest("chart", manifest), "unsupported", "not a container image")


def raw_layer(blob, tar):
    layer = Layer(raw=tar)
    layer.blob = blob
    return layer


def test_bombs(instance_factory, registry):
    limited = instance_factory('layer_bytes_max = "64MiB"\nentries_max = 1000\n')
    zeros = io.BytesIO()
    with gzip.GzipFile(fileobj=zeros, mode="wb", compresslevel=9) as packed:
        info = tarfile.TarInfo("zeros")
        info.size = 1 << 28
        packed.write(info.tobuf())
        for _ in range(1 << 8):
            packed.write(bytes(1 << 20))
    refused(limited, registry.push("gzip", make_oci_image.Image([raw_layer(zeros.getvalue(), b"")])), "limit")
    entries = Layer([File(f"file-{i}") for i in range(2000)])
    refused(limited, registry.push("tar", make_oci_image.Image([entries])), "limit", "entries")


def test_hostile_paths_touch_nothing(fresh, registry, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("whole")
    up = "../" * 20
    for i, entries in enumerate([[File(up + str(canary)[1:], "gone")], [make_oci_image.Symlink("a", str(tmp_path)), File("a/canary", "gone")],
                                 [make_oci_image.Hardlink("b", up + str(canary)[1:])], [File("x/" + up + "y")], [make_oci_image.Hardlink("b", str(canary))]]):
        result = pull(fresh, registry.push(f"app{i}", make_oci_image.Image([Layer(entries)])))
        if result.returncode == 0:
            fresh.run("image", "remove", "--json", f"{registry.name}/app{i}").exited(0)
        assert canary.read_text() == "whole" and sorted(p.name for p in tmp_path.iterdir()) == ["canary"]


def test_too_many_requests(fresh, registry):
    reference = registry.push("app", busybox())
    registry.on("/manifests/", times(2, lambda handler: handler.answer(429, headers=[("Retry-After", "1")])))
    began = time.monotonic()
    pull(fresh, reference).exited(0)
    assert time.monotonic() - began >= 2 and len(registry.asked("/manifests/")) == 3
    registry.behave()
    registry.on("/manifests/", lambda handler: handler.answer(429, headers=[("Retry-After", "3600")]))
    error = pull(fresh, reference).json["error"]
    assert error["code"] == "busy" and "3600 s" in error["text"] and len(registry.requests) == 1


def test_servers_that_stumble(fresh, registry):
    image = busybox()
    reference = registry.push("app", image)
    registry.on("/manifests/", times(1, lambda handler: handler.answer(503)))
    registry.on(digest(image.layers[0].blob), times(1, lambda handler: handler.answer(500)))
    registry.on(digest(image.layers[1].blob), times(1, lambda handler: handler.hang_up()))
    pull(fresh, reference).exited(0)
    registry.behave()
    registry.on("/", lambda handler: handler.answer(403, b'{"errors":[{"code":"DENIED","message":"not for you\\u001b[31m"}]}'))
    error = pull(fresh, reference).json["error"]
    assert error["code"] == "denied" and "not for you" in error["text"] and "\x1b" not in error["text"]


def cut_at(blob, where):
    return lambda handler: (handler.answer(200, blob[:where], length=len(blob)), handler.hang_up())[1]


def test_a_cut_connection_goes_on(fresh, registry):
    image = Image(busybox_layer(), [File("noise", noise(4 << 20))])
    reference = registry.push("app", image)
    blob = image.layers[1].blob
    registry.on(digest(blob), times(1, cut_at(blob, 3 << 20)))
    pull(fresh, reference).exited(0)
    ranges = [headers.get("Range") for _, _, headers in registry.asked(digest(blob))]
    assert len(ranges) == 2 and ranges[0] is None and int(ranges[1][6:-1]) > 1 << 20
    checked = fresh.sandbox("/bin/sha256sum", "/noise", image=reference).task("succeeded", 0)["stdout"]
    assert checked.split()[0] == digest(noise(4 << 20))[7:]


def test_a_server_without_ranges(fresh, registry):
    image = Image(busybox_layer(), [File("noise", noise(4 << 20))])
    reference = registry.push("app", image)
    blob = image.layers[1].blob
    registry.on(digest(blob), lambda handler: handler.answer(200, blob))
    registry.on(digest(blob), times(1, cut_at(blob, 2 << 20)))
    pull(fresh, reference).exited(0)


def held_back(blob, where, release):
    """Sends `where` bytes, then nothing until `release`."""
    def act(handler):
        handler.answer(200, blob[:where], length=len(blob))
        release.wait(60)
        return handler.hang_up()
    return act


def test_a_stalled_server_is_given_up(fresh, registry):
    image = Image(busybox_layer(), [File("noise", noise(4 << 20))])
    reference = registry.push("app", image)
    blob, release = image.layers[1].blob, threading.Event()
    registry.on(digest(blob), times(1, held_back(blob, 2 << 20, release)))
    pull(fresh, reference).exited(0)
    release.set()
    assert len(registry.asked(digest(blob))) == 2


def test_after_a_kill_the_next_pull_goes_on(instance_factory, registry):
    rauha = instance_factory()
    image = Image(busybox_layer(), [File("noise", noise(8 << 20))])
    reference = registry.push("app", image)
    blob, release = image.layers[1].blob, threading.Event()
    registry.on(digest(blob), times(1, held_back(blob, 6 << 20, release)))
    running = rauha.start("image", "pull", "--json", reference)
    partial = rauha.root / "state/plugins/image-oci/tmp" / ("partial-" + digest(blob)[7:])
    assert soon(lambda: partial.exists() and partial.stat().st_size >= 5 << 20)
    rauha.kill_daemon()
    running.wait()
    release.set()
    registry.behave()
    rauha.run("image", "list", "--json").exited(0)  # the next daemon cleans up
    store_is_clean(rauha)
    pull(rauha, reference).exited(0)
    assert [int(headers["Range"][6:-1]) >= 5 << 20 for _, _, headers in registry.asked(digest(blob))] == [True]
    assert not partial.exists()
    checked = rauha.sandbox("/bin/sha256sum", "/noise", image=reference).task("succeeded", 0)["stdout"]
    assert checked.split()[0] == digest(noise(8 << 20))[7:]


def test_damage_in_what_was_kept_is_fetched_anew(instance_factory, registry):
    rauha = instance_factory()
    image = Image(busybox_layer(), [File("noise", noise(2 << 20))])
    reference = registry.push("app", image)
    blob = image.layers[1].blob
    rauha.run("image", "list", "--json").exited(0)
    partial = rauha.root / "state/plugins/image-oci/tmp" / ("partial-" + digest(blob)[7:])
    partial.write_bytes(blob[:1000] + b"damage" + blob[1006:1 << 20])
    pull(rauha, reference).exited(0)
    assert [headers.get("Range") for _, _, headers in registry.asked(digest(blob))][-1] is None


def test_cancel_works_at_once(fresh, registry):
    image = Image(busybox_layer(), [File("noise", noise(4 << 20))])
    reference = registry.push("app", image)
    blob, release = image.layers[1].blob, threading.Event()
    registry.on(digest(blob), held_back(blob, 2 << 20, release))
    running = fresh.start("image", "pull", "--json", reference)
    assert soon(lambda: registry.asked(digest(blob)))
    running.process.terminate()
    running.wait()
    leases = fresh.root / "state/plugins/image-oci/leases"
    assert soon(lambda: not list(leases.iterdir()))  # the call has ended
    release.set()
    store_is_clean(fresh)


# --- policy, pruning, switches

def test_policy_on_images(fresh, registry, tmp_path):
    image = busybox()
    reference = registry.push("app", image)
    policy = tmp_path / "p.toml"
    policy.write_text(f'name = "p"\ntype = "task"\n[images]\nrequire_digest = true\nregistries = ["{registry.name}"]\n')
    options = ["--policy", str(policy)]
    fresh.sandbox("/bin/true", image=reference, options=options).refused(125, "image", "denied", "images.require_digest")
    assert registry.requests == []
    pinned = f"{registry.name}/app@{image.digest}"
    assert fresh.sandbox("/bin/true", image=pinned, options=options).task("succeeded", 0)["image_digest"] == image.digest
    policy.write_text('name = "p"\ntype = "task"\n[images]\nregistries = ["other.example"]\n')
    error = fresh.sandbox("/bin/true", image=pinned, options=options).refused(125, "image", "denied")
    assert f'images.registries = ["other.example", "{registry.name}"]' in error["hint"]
    fresh.sandbox("/bin/true", image="host", options=options).refused(125, "image", "denied", '"host"')
    # An import under a registry's name does not pass for the registry's.
    layout = image.oci(tmp_path / "layout")
    fresh.run("image", "import", "--json", f"oci:{layout}", "--name", "other.example/app:1").exited(0)
    fresh.sandbox("/bin/true", image="other.example/app:1", options=options).refused(125, "image", "denied", "'oci'")


def test_prune(fresh, registry, tmp_path):
    reference = registry.push("app", busybox())
    pull(fresh, reference).exited(0)
    store = fresh.root / "state/plugins/image-oci"
    (store / "tmp" / ("partial-" + "0" * 64)).write_bytes(b"x")
    assert fresh.run("image", "prune", "--json").exited(0).json["removed"] == []
    assert len(fresh.run("image", "list", "--json").json["images"]) == 1 and not list((store / "tmp").iterdir())
    running = fresh.start("sandbox", "--image", reference, "--", "/bin/sleep", "60")
    assert soon(lambda: fresh.zones())
    assert fresh.run("image", "prune", "--all", "--json").exited(0).json["removed"] == []  # a zone uses it
    running.process.terminate()
    running.wait()
    removed = fresh.run("image", "prune", "--all", "--json").exited(0).json["removed"]
    assert [image["reference"] for image in removed] == [reference]
    assert not list((store / "layers").iterdir()) and not list((store / "blobs/sha256").iterdir())


def test_pulling_can_be_switched_off(instance_factory, registry):
    reference = registry.push("app", busybox())
    off = instance_factory("pull = false\n")
    refused(off, reference, "not_found", "pull = false")
    assert registry.requests == []


def test_progress_is_lines_and_json(fresh, registry):
    reference = registry.push("app", Image(busybox_layer(), [File("noise", noise(12 << 20))]))
    told = [json.loads(line) for line in pull(fresh, reference).exited(0).stderr.splitlines()]
    assert any("progress" in line and line["progress"]["total"] > 12 << 20 for line in told)
    fresh.run("image", "remove", "--json", reference).exited(0)
    plain = fresh.run("image", "pull", reference).exited(0)
    assert b"received" in plain.stderr and b"is stored" in plain.stdout and b"\x1b" not in plain.stderr
