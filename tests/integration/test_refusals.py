"""What Rauha does not run, it refuses with exactly one JSON document, the right exit code and a complete error."""

import json
import os
import shutil

import pytest

from support.images import File, Image, busybox, busybox_layer
from support.instance import RAUHA


# --- the command line

@pytest.mark.parametrize("arguments", [
    ["sandbox", "--json"],
    ["sandbox", "--json", "--"],
    ["sandbox", "--json", "--image", "host"],
    ["sandbox", "--json", "--image", "host", "--"],
    ["sandbox", "--json", "--no-such-option", "--image", "host", "--", "true"],
    ["sandbox", "--json", "--image"],
    ["sandbox", "--json", "--image", "host", "--timeout", "--", "true"],
    ["sandbox", "--json", "--image", "host", "--timeout", "soon", "--", "true"],
    ["sandbox", "--json", "--image", "host", "--timeout", "-1s", "--", "true"],
    ["sandbox", "--json", "--image", "host", "--timeout", "5", "--", "true"],
    ["sandbox", "--json", "--image", "host", "--timeout", "99999999999999999999s", "--", "true"],
    ["sandbox", "--json", "--image", "host", "--repo-mode", "sideways", "--repo-path", "/", "--", "true"],
    ["sandbox", "--json", "--image", "host", "--repo-mode", "ro", "--", "true"],
    ["sandbox", "--json", "-t", "--image", "host", "--", "true"],
    ["sandbox", "--json", "--json=maybe", "--image", "host", "--", "true"],
    ["--json"],
    ["--json", "no-such-command"],
    ["no-such-command", "--json"],
    ["--no-such-option", "--json"],
    ["zone", "--json"],
    ["zone", "explode", "--json"],
    ["zone", "show", "--json"],
    ["zone", "create", "--json"],
    ["policy", "validate", "--json"],
    ["image", "inspect", "--json"],
    ["image", "remove", "--json"],
], ids=" ".join)
def test_usage_errors(rauha, arguments):
    result = rauha.run(*arguments)
    sandbox = arguments[0] == "sandbox"
    # `sandbox` keeps 125 for itself: every other number may be the task's.
    error = result.refused(125 if sandbox else 2, "usage" if not sandbox else ("usage", "repository"), "invalid")
    assert error.get("hint"), result.explain("no remedy is named")
    if sandbox:
        result.task("runtime_error")


@pytest.mark.parametrize("arguments, text, hint", [
    (["--imag", "host"], "unknown option '--imag'", "did you mean '--image'?"),
    (["--image"], "--image needs a value, found none", "write --image IMAGE"),
    (["--image", "--json"], "--image needs a value, found the option '--json'", "write --image IMAGE"),
    (["--image", "host", "--name", "a", "--name", "b"], "--name is given twice: 'a' and 'b'", "give it once"),
    (["--image", "host", "--keep-zone=7"], "--keep-zone takes no value, found '7'", "write --keep-zone alone"),
    (["--image", "host", "ls"], "unexpected argument 'ls'", "two dashes: -- ls"),
], ids=str)
def test_usage_errors_in_words_of_the_command_line(rauha, arguments, text, hint):
    error = rauha.run("sandbox", "--json", *arguments, "--", "true").refused(125, "usage", "invalid")
    assert error["text"] == "rauha sandbox: " + text and hint in error["hint"] and "rauha sandbox --help" in error["hint"], error
    assert error["object"], error


@pytest.mark.parametrize("image, meant", [("hots", "'host'"), ("dri:/srv", "'dir:PATH'"), ("oci-archiv:x.tar", "'oci-archive:PATH'")])
def test_slip_of_a_local_kind_of_image(rauha, image, meant):
    error = rauha.sandbox("true", image=image).refused(125, "image")
    assert error["hint"].startswith(f"did you mean {meant}?"), error


def test_what_was_never_armed_is_not_shown(rauha):
    result = rauha.sandbox("true", image="no-such-image", options=["--pull", "never"])
    result.refused(125, "image")
    assert not result.json.get("posture"), result.explain("a posture of a run that had none")
    told = rauha.sandbox("true", image="no-such-image", options=["--pull", "never"], json_output=False).exited(125)
    assert b"weaker" not in told.stderr, told.explain()


def test_no_command_at_all(rauha):
    result = rauha.run()
    assert result.returncode == 2 and result.stderr and not result.stdout, result.explain()


def test_usage_error_without_json_goes_to_standard_error(rauha):
    result = rauha.run("sandbox", "--no-such-option").exited(125)
    assert result.stdout == b"" and b"no-such-option" in result.stderr, result.explain()


def test_help_is_help(rauha):
    for arguments in (["--help"], ["sandbox", "--help"], ["zone", "--help"]):
        result = rauha.run(*arguments).exited(0)
        assert b"rauha" in result.stdout.lower() and not result.stderr, result.explain()
        assert rauha.run(*arguments, "--json").returncode == 0


def test_json_after_the_double_dash_is_the_tasks(rauha):
    result = rauha.run("sandbox", "--image", "host", "--", "echo", "--json").exited(0)
    assert result.stdout == b"--json\n", result.explain()


@pytest.mark.parametrize("name", ["A", "a b", "../x", "a/b", "-a", ".a", "a" * 64, "ä", ""])
def test_bad_zone_names(rauha, name):
    result = rauha.sandbox("true", options=[f"--name={name}"])
    result.task("runtime_error")
    result.refused(125, error_code="invalid")


# --- images

@pytest.mark.parametrize("reference", ["", "oci:", "dir:", "docker-archive:", "oci-archive:", "foo::bar", "UPPER/Case", "a b", "x" * 5000, "oci",
                                       "\x01", "host:latest:x", "-x"])
def test_malformed_references(rauha, reference):
    result = rauha.run("sandbox", "--json", f"--image={reference}", "--", "true")
    result.task("runtime_error")
    result.refused(125, ("image", "usage"))


@pytest.mark.parametrize("reference", ["oci:/no/such/layout", "dir:/no/such/directory", "oci-archive:/no/such.tar", "docker-archive:/no/such.tar"])
def test_missing_image_files(rauha, reference):
    result = rauha.sandbox("true", image=reference)
    result.task("runtime_error")
    result.refused(125, ("image", "usage"), "not_found", reference.split(":", 1)[1])


@pytest.mark.parametrize("reference", ["alpine", "alpine:latest", "python:3.12", "registry.example.com/team/app:1.0",
                                       "docker.io/library/alpine@sha256:" + "a" * 64])
def test_absent_images_that_may_not_be_fetched(rauha, reference):
    error = rauha.sandbox("true", image=reference, options=["--pull", "never"]).refused(125, "image", "not_found", reference)
    assert "--pull never" in error["text"] and "rauha image pull" in error["hint"], error


def test_a_registry_that_nobody_has(rauha):
    error = rauha.sandbox("true", image="registry.invalid/team/app:1.0").refused(125, "image", "not_found", "registry.invalid")
    assert "https://registry.invalid/v2/team/app/" in error["text"] and "DNS" in error["hint"], error


def test_image_of_the_wrong_kind(rauha, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    rauha.sandbox("true", image=f"dir:{file}").refused(125, ("image", "usage"))
    rauha.sandbox("true", image=f"oci:{file}").refused(125, ("image", "usage"))
    rauha.sandbox("true", image=f"docker-archive:{tmp_path}").refused(125, ("image", "usage"))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    base = tmp_path_factory.mktemp("images")
    return busybox().docker_archive(base / "good.tar"), busybox().oci_archive(base / "good-oci.tar")


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("damage", ["empty", "garbage", "half", "zeros", "gzip-of-nothing"])
def test_broken_archives(rauha, good, tmp_path, kind, damage):
    data = good[0 if kind == "docker-archive" else 1].read_bytes()
    broken = {"empty": b"", "garbage": os.urandom(100_000), "half": data[:len(data) // 2], "zeros": bytes(1 << 20),
              "gzip-of-nothing": b"\x1f\x8b\x08" + bytes(100)}[damage]
    file = tmp_path / "broken.tar"
    file.write_bytes(broken)
    result = rauha.sandbox("true", image=f"{kind}:{file}")
    result.task("runtime_error")
    result.refused(125, "image")


def unique(**options):
    """An image that the store has never seen: what it has verified once, it does not read again."""
    return Image(busybox_layer(), [File("etc/unique", os.urandom(100_000))], Env=["PATH=/bin"], **options)


def _blobs(layout):
    return sorted((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)


def test_layer_with_another_digest(rauha, tmp_path):
    layout = unique().oci(tmp_path / "oci")
    blob = _blobs(layout)[-2]  # the largest is busybox, which the store may have
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    error = rauha.sandbox("true", image=f"oci:{layout}").refused(125, "image", "corrupt")
    assert blob.name[:12] in json.dumps(error), f"the error does not name the blob {blob.name}: {error}"


def test_manifest_with_another_digest(rauha, tmp_path):
    layout = unique().oci(tmp_path / "oci")
    manifest = layout / "blobs" / "sha256" / json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].split(":")[1]
    manifest.write_bytes(manifest.read_bytes() + b" ")
    rauha.sandbox("true", image=f"oci:{layout}").refused(125, "image", "corrupt")


def test_layer_that_unpacks_to_something_else(rauha, tmp_path):
    """The blob's digest is right, the config's diff_id is not."""
    rauha.sandbox("true", image=f"oci:{unique(wrong_diff_id=1).oci(tmp_path / 'oci')}").refused(125, "image", "corrupt")


@pytest.mark.parametrize("edit", [
    lambda index: index.update(manifests=[]),
    lambda index: index["manifests"][0].update(digest="sha256:short"),
    lambda index: index["manifests"][0].update(digest="sha256:../../../../etc/passwd"),
    lambda index: index["manifests"][0].update(digest="md5:" + "0" * 32),
    lambda index: index["manifests"][0].update(size=-1),
    lambda index: index.update(manifests="x"),
    lambda index: index.clear(),
], ids=["none", "short-digest", "path-digest", "md5", "negative-size", "wrong-type", "empty"])
def test_malformed_index(rauha, tmp_path, edit):
    layout = unique().oci(tmp_path / "oci")
    index = json.loads((layout / "index.json").read_text())
    edit(index)
    (layout / "index.json").write_text(json.dumps(index))
    rauha.sandbox("true", image=f"oci:{layout}").refused(125, "image")


def test_blob_that_is_missing(rauha, tmp_path):
    layout = unique().oci(tmp_path / "oci")
    _blobs(layout)[-2].unlink()
    rauha.sandbox("true", image=f"oci:{layout}").refused(125, "image")


def test_tag_that_is_missing(rauha, tmp_path):
    layout = busybox().oci(tmp_path / "oci", tags=("one", "two"))
    rauha.sandbox("true", image=f"oci:{layout}:three").refused(125, "image", "not_found", "three")


# --- policies

@pytest.mark.parametrize("text, word", [
    ('name = "x"\ntype = "task"\ncolour = "red"\n', "colour"),
    ('name = "x"\ntype = "task"\n[resources]\nmemory_limit = "1GiB"\n', "memory_limit"),
    ('name = "x"\ntype = "task"\n[resources]\nmemory = "12 parsecs"\n', "memory"),
    ('name = "x"\ntype = "task"\n[resources]\nmemory = 512\n', "memory"),
    ('name = "x"\ntype = "task"\n[resources]\nmemory = "-1MiB"\n', "memory"),
    ('name = "x"\ntype = "task"\n[resources]\npids = -5\n', "pids"),
    ('name = "x"\ntype = "task"\n[resources]\ntimeout = "1 fortnight"\n', "timeout"),
    ('name = "x"\ntype = "nonsense"\n', "nonsense"),
    ('name = "Bad Name"\ntype = "task"\n', "Bad Name"),
    ('name = "x"\ntype = "task"\nrequire = ["seccomp", "magic"]\n', "magic"),
    ('name = "x"\ntype = "task"\ncapabilities = ["fly"]\n', "fly"),
    ('name = "x"\ntype = "task"\n[network]\nmode = "warp"\n', "warp"),
    ('name = "x"\ntype = "task"\n[filesystem]\nmasked = ["relative/path"]\n', "relative/path"),
    ('name = "x"\ntype = "task"\n[filesystem]\nscratch = "cloud"\n', "cloud"),
    ('name = "x"\nname = "y"\n', "name"),
    ('this is not toml', ""),
    ('name = "x', ""),
    ('', ""),
], ids=lambda item: item if item and "\n" not in item and "=" not in item else None)
def test_bad_policies(rauha, policy_file, text, word):
    options = policy_file(text)
    if text == "":
        # An empty policy may be refused or be the defaults, never something in between.
        result = rauha.sandbox("true", options=options)
        assert result.returncode == 0 or result.refused(125, "policy")
        return
    result = rauha.sandbox("true", options=options)
    result.task("runtime_error")
    error = result.refused(125, "policy", "invalid", word)
    assert options[1] in json.dumps(error), f"the policy's file is not named: {error}"
    assert ":" in error["text"] and any(part.isdigit() for part in error["text"].replace(":", " ").replace(",", " ").split()), f"no line: {error}"
    validated = rauha.run("policy", "validate", "--json", options[1])
    validated.refused(validated.returncode, "policy", "invalid", word).items()
    assert validated.returncode != 0


@pytest.mark.parametrize("name", ["kexec_load", "bpf", "init_module"])
def test_system_calls_that_are_never_allowed(rauha, tmp_path, name):
    path = tmp_path / "policy.toml"
    path.write_text(f'name = "x"\ntype = "task"\n[syscalls]\nallow = [\n  "ptrace",\n  "{name}",\n]\n')
    for result in (rauha.sandbox("true", options=["--policy", path]), rauha.run("policy", "validate", "--json", path)):
        error = result.refused(result.returncode, "policy", "invalid", f"{path}:6: syscalls.allow[1]: '{name}' is never admitted: it replaces")
        assert "privileged zone" in error["hint"] and error["object"] == "syscalls.allow[1]", error


@pytest.mark.parametrize("kind", ["deny", "allow"])
def test_system_calls_that_are_not(rauha, tmp_path, kind):
    path = tmp_path / "policy.toml"
    path.write_text(f'name = "x"\ntype = "task"\n[syscalls]\n{kind} = ["mkdri"]\n')
    for result in (rauha.sandbox("true", options=["--policy", path]), rauha.run("policy", "validate", "--json", path)):
        error = result.refused(result.returncode, "policy", "invalid", f"{path}:4: syscalls.{kind}[0]: unknown system call 'mkdri'")
        assert error["hint"] == "did you mean 'mkdir'?" and error["object"] == f"syscalls.{kind}[0]", error


def test_validate_warns_of_what_this_version_cannot_run(rauha, tmp_path):
    path = tmp_path / "later.toml"
    path.write_text('name = "later"\ntype = "task"\nrequire = ["enforcer"]\n[network]\nmode = "bridged"\n')
    document = rauha.run("policy", "validate", "--json", path).exited(0).json
    assert document["valid"] is True
    assert [w.split(": ")[0] for w in document["warnings"]] == [f"{path}:3", f"{path}:5"], document["warnings"]
    told = rauha.run("policy", "validate", path).exited(0)
    assert told.stderr.count(b"warning:") == 2 and b"later.toml:5: network.mode" in told.stderr, told.explain()


def test_policy_that_is_not_utf8(rauha, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_bytes(b'name = "\xff\xfe"\n')
    rauha.sandbox("true", options=["--policy", str(path)]).refused(125, "policy")


def test_policy_that_is_huge(rauha, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text("# " + "x" * (8 << 20))
    rauha.sandbox("true", options=["--policy", str(path)]).refused(125)


def test_policy_file_is_missing(rauha):
    rauha.sandbox("true", options=["--policy", "/no/such/policy.toml"]).refused(125, ("policy", "usage"), "not_found", "/no/such/policy.toml")


def test_policy_is_a_directory_or_device(rauha, tmp_path):
    rauha.sandbox("true", options=["--policy", str(tmp_path)]).refused(125, ("policy", "usage"))
    rauha.sandbox("true", options=["--policy", "/dev/zero"], timeout=20).refused(125)


def test_required_layer_that_cannot_be_armed(rauha, policy_file):
    result = rauha.sandbox("true", options=policy_file(require=["enforcer"]))
    result.task("runtime_error")
    error = result.refused(125, mentions="enforcer")
    assert error["code"] in ("unsupported", "denied"), error
    assert not result.json.get("posture") or not any(
        layer["name"] == "enforcer" and layer["armed"] for layer in result.json["posture"]["layers"])


def test_waived_layer_is_said(rauha, policy_file):
    result = rauha.sandbox("true", options=[*policy_file(require=["seccomp", "enforcer"]), "--allow-degraded", "enforcer"])
    document = result.task("succeeded", 0)
    assert document["posture"]["degraded"] == ["enforcer"]


def test_bridged_network_is_refused_by_name(rauha, policy_file):
    result = rauha.sandbox("true", options=policy_file(network={"mode": "bridged"}))
    error = result.refused(125, mentions="bridged")
    assert "mode" in json.dumps(error), f"the policy line that would allow it is missing: {error}"


def test_host_network_needs_a_privileged_zone(rauha, policy_file):
    error = rauha.sandbox("true", options=policy_file(network={"mode": "host"})).refused(125, "policy")
    assert "privileged" in json.dumps(error), error


def test_policy_validate_accepts_the_built_in_ones(rauha):
    policies = (RAUHA.parents[2] / "policies")
    found = sorted(policies.glob("*.toml")) if policies.is_dir() else []
    assert found or not policies.is_dir(), "no policies in policies/"
    for path in found:
        result = rauha.run("policy", "validate", "--json", str(path)).exited(0)
        assert isinstance(result.json, dict)


# --- repositories

def test_repository_is_missing(rauha, tmp_path):
    result = rauha.sandbox("true", options=["--repo-path", str(tmp_path / "none"), "--repo-mode", "ro"])
    result.task("runtime_error")
    result.refused(125, ("repository", "usage"), "not_found", str(tmp_path / "none"))


def test_repository_is_a_file(rauha, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    rauha.sandbox("true", options=["--repo-path", str(file), "--repo-mode", "ro"]).refused(125, ("repository", "usage"), mentions=str(file))


def without_dac(*arguments):
    """The command as root without the capabilities that ignore permission bits: a caller who is not allowed everything."""
    return ["/usr/bin/setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search", *map(str, arguments)]


def test_repository_not_readable_by_the_caller(rauha, tmp_path):
    rauha.ensure_daemon()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("canary")
    os.chown(secret, 12345, 12345)
    secret.chmod(0o700)
    arguments = ["sandbox", "--json", "--image", "host", "--repo-path", secret, "--repo-mode", "ro", "--", "cat", "/workspace/file"]
    result = rauha.run(*without_dac(RAUHA, *arguments)[1:], program="/usr/bin/setpriv")
    result.refused(125, ("repository", "usage"), "denied", str(secret))
    assert b"canary" not in result.stdout
    # Control: the same directory with the caller's full rights.
    os.chown(secret, 0, 0)
    assert rauha.run(*without_dac(RAUHA, *arguments)[1:], program="/usr/bin/setpriv").task("succeeded", 0)["stdout"] == "canary"


@pytest.mark.parametrize("kind", ["docker-archive", "dir", "oci"])
def test_image_not_readable_by_the_caller(rauha, tmp_path, kind):
    rauha.ensure_daemon()
    target = {"docker-archive": lambda: busybox().docker_archive(tmp_path / "image.tar"), "dir": lambda: busybox().directory(tmp_path / "image"),
              "oci": lambda: busybox().oci(tmp_path / "image")}[kind]()
    os.chown(target, 12345, 12345)
    target.chmod(0o700 if target.is_dir() else 0o600)
    arguments = ["sandbox", "--json", "--image", f"{kind}:{target}", "--", "/bin/true"]
    rauha.run(*without_dac(RAUHA, *arguments)[1:], program="/usr/bin/setpriv").refused(125, ("image", "usage"), "denied", str(target))


def as_nobody(instance):
    """How to run a command as an ordinary user: with a copy of the program, since the checkout may lie where that user cannot go (/root)."""
    program = instance.files / "rauha"
    shutil.copy(RAUHA, program)
    program.chmod(0o755)

    def become_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    return {"program": program, "preexec_fn": become_nobody}


def test_stranger_at_the_socket(rauha):
    """An unprivileged user of the machine gets a clear refusal, not a zone."""
    rauha.ensure_daemon()

    result = rauha.run("sandbox", "--json", "--image", "host", "--", "true", **as_nobody(rauha))
    result.task("runtime_error")
    result.refused(125, "daemon", "denied")


def test_stranger_cannot_start_a_daemon(fresh):
    result = fresh.run("sandbox", "--json", "--image", "host", "--", "true", **as_nobody(fresh))
    result.refused(125)
    assert fresh.daemon_pid() is None


def test_root_that_cannot_be(rauha, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    for root in (file, "/proc/nowhere"):
        result = rauha.run("sandbox", "--json", "--image", "host", "--", "true", env={"RAUHA_ROOT": str(root)})
        result.task("runtime_error")
        result.refused(125)
