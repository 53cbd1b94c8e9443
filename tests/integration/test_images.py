"""Images from local sources: the machine's programs, OCI layouts and archives, docker archives, directories."""

import json
import os
import pathlib

import pytest

from support.images import File, Image, busybox, busybox_layer


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    base = tmp_path_factory.mktemp("images")
    image = busybox(Labels={"who": "test"})
    return {"oci": image.oci(base / "layout"), "oci-archive": image.oci_archive(base / "oci.tar"),
            "docker-archive": image.docker_archive(base / "docker.tar"), "dir": image.directory(base / "tree")}


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive", "dir"])
def test_each_local_source_runs(rauha, sources, kind):
    result = rauha.sandbox("/bin/sh", "-c", "cat /etc/second; id -u; echo $FROM_IMAGE", image=f"{kind}:{sources[kind]}")
    document = result.task("succeeded", 0)
    lines = document["stdout"].splitlines()
    assert lines[:2] == ["upper", "0"] and (kind == "dir" or lines[2] == "yes")
    if kind == "dir":
        assert not document.get("image_digest")
    else:
        assert document["image_digest"].startswith("sha256:")


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive"])
def test_whiteouts_remove(rauha, sources, kind):
    document = rauha.sandbox("/bin/ls", "-A", "/etc", image=f"{kind}:{sources[kind]}").task("succeeded", 0)
    names = document["stdout"].split()
    assert "second" in names and "removed" not in names and not [name for name in names if name.startswith(".wh.")]


def test_tags(rauha, tmp_path):
    layout = busybox().oci(tmp_path / "oci", tags=("one", "two"))
    for tag in ("one", "two"):
        rauha.sandbox("/bin/true", image=f"oci:{layout}:{tag}").task("succeeded", 0)


def test_config_of_the_image(rauha, tmp_path):
    """Environment, working directory and user are the image's; the command is the caller's and replaces the image's own."""
    config = dict(Entrypoint=["/bin/echo", "entrypoint"], Cmd=["cmd"], WorkingDir="/etc", User="1000:1000", Env=["PATH=/bin", "A=image", "B=image"])
    layout = busybox(**config).oci(tmp_path / "oci")
    document = rauha.sandbox("sh", "-c", "pwd; id -u; id -g; echo $A $B", image=f"oci:{layout}", options=["--env", "A=mine"]).task("succeeded", 0)
    assert document["stdout"] == "/etc\n1000\n1000\nmine image\n" and document["command"][:2] == ["sh", "-c"]
    document = rauha.sandbox("id", "-u", image=f"oci:{layout}", options=["--user", "0", "--workdir", "/tmp"]).task("succeeded", 0)
    assert document["stdout"] == "0\n"


def test_user_by_name(rauha, tmp_path):
    layout = busybox(User="user").oci(tmp_path / "oci")
    assert rauha.sandbox("/bin/id", "-u", image=f"oci:{layout}").task("succeeded", 0)["stdout"] == "1000\n"
    layout = busybox(User="stranger").oci(tmp_path / "other")
    rauha.sandbox("/bin/id", image=f"oci:{layout}").refused(125, mentions="stranger")


def test_owners_inside_the_image(rauha, tmp_path):
    """Layers are id-mapped: file owners are the image's, also for high ids."""
    layer = [File("etc/owned", "x", uid=1000, gid=65000, mode=0o640)]
    layout = Image(busybox_layer(), layer, Env=["PATH=/bin"]).oci(tmp_path / "oci")
    document = rauha.sandbox("/bin/stat", "-c", "%u %g %a", "/etc/owned", image=f"oci:{layout}").task("succeeded", 0)
    assert document["stdout"] == "1000 65000 640\n"


def test_one_task_does_not_change_the_image(rauha, sources):
    image = f"oci:{sources['oci']}"
    rauha.sandbox("/bin/sh", "-c", "echo changed > /etc/second; rm /bin/cat; echo x > /new", image=image).task("succeeded", 0)
    document = rauha.sandbox("/bin/sh", "-c", "cat /etc/second; ls /", image=image).task("succeeded", 0)
    assert document["stdout"].startswith("upper\n") and "new" not in document["stdout"].split()


def test_directory_image_is_not_written(rauha, sources):
    tree = sources["dir"]
    before = sorted(str(path) for path in tree.rglob("*"))
    rauha.sandbox("/bin/sh", "-c", "echo changed > /etc/second; echo x > /new; rm /bin/cat", image=f"dir:{tree}").task("succeeded", 0)
    assert sorted(str(path) for path in tree.rglob("*")) == before and (tree / "etc" / "second").read_text() == "upper\n"


def test_many_tasks_share_one_image(rauha, sources):
    running = [rauha.start_sandbox("/bin/cat", "/etc/second", image=f"oci:{sources['oci']}") for _ in range(6)]
    for task in running:
        assert task.wait(60).task("succeeded", 0)["stdout"] == "upper\n"


def test_import_list_inspect_remove(rauha, sources):
    imported = rauha.run("image", "import", "--json", f"docker-archive:{sources['docker-archive']}", "--name", "mine").exited(0)
    assert isinstance(imported.json, dict)
    listed = rauha.run("image", "list", "--json").exited(0)
    images = listed.json["images"] if isinstance(listed.json, dict) else listed.json
    assert "mine:latest" in [image["reference"] for image in images], listed.explain()
    inspected = rauha.run("image", "inspect", "--json", "mine").exited(0).json
    assert "FROM_IMAGE=yes" in json.dumps(inspected)
    assert rauha.sandbox("/bin/cat", "/etc/second", image="mine").task("succeeded", 0)["stdout"] == "upper\n"
    rauha.run("image", "remove", "--json", "mine").exited(0).json
    rauha.sandbox("/bin/true", image="mine").refused(125, "image")
    removed = rauha.run("image", "remove", "--json", "mine")
    removed.refused(removed.returncode, "image", "not_found", "mine")


def test_import_under_a_bad_name(rauha, sources):
    for name in ("host", "oci:x", "../x", "", "A B"):
        result = rauha.run("image", "import", "--json", f"oci:{sources['oci']}", f"--name={name}")
        result.check(result.returncode != 0, "a bad name was accepted").refused(result.returncode, ("image", "usage"))


# --- the host image

def test_host_image_has_programs_and_nothing_else(rauha):
    script = """
import os, json
print(json.dumps({path: sorted(os.listdir(path)) if os.path.isdir(path) else None
                  for path in ("/", "/home", "/root", "/var", "/run", "/tmp", "/mnt", "/srv", "/media", "/boot", "/work", "/lost+found", "/etc")}))
"""
    listing = json.loads(rauha.sandbox("python3", "-c", script).task("succeeded", 0)["stdout"])
    allowed = {"bin", "sbin", "usr", "opt", "etc", "tmp", "var", "home", "run", "root", "proc", "sys", "dev", "workspace", "lib", "lib32", "lib64",
               "libx32", "mnt", "srv", "media"}
    assert set(listing["/"]) <= allowed, set(listing["/"]) - allowed
    for path in ("/home", "/root", "/tmp", "/boot", "/work", "/lost+found", "/mnt", "/srv", "/media"):
        assert not listing[path], f"{path} shows {listing[path]}"
    private = {"shadow", "gshadow", "shadow-", "gshadow-", "sudoers", "machine-id", "ssh", "fstab", "crontab", "rauha", "sudoers.d"}
    assert not private & set(listing["/etc"]), private & set(listing["/etc"])


@pytest.mark.parametrize("user, ids", [("nobody", "65534 65534"), ("root", "0 0"), ("0", "0 0"), ("4242", "4242 0"), ("4242:4243", "4242 4243"), ("nobody:daemon", "65534 1")])
def test_host_image_knows_the_machines_users(rauha, user, ids):
    """Its /etc/passwd and /etc/group are mounts of their own."""
    assert rauha.sandbox("sh", "-c", "echo $(id -u) $(id -g)", image="host", options=["--user", user]).task("succeeded", 0)["stdout"] == ids + "\n"


def test_host_image_is_read_only_where_the_machine_shows(rauha):
    script = "for d in /usr /usr/bin /bin /lib /opt /etc/ssl/certs /usr/lib; do [ -d $d ] && touch $d/rauha-probe 2>/dev/null && echo WROTE $d; done; echo end"
    document = rauha.sandbox("sh", "-c", script).task("succeeded", 0)
    assert document["stdout"] == "end\n"
    assert not [place for place in ("/usr", "/opt", "/etc", "/etc/ssl") if (pathlib.Path(place) / "rauha-probe").exists()]


def test_host_image_has_fresh_writable_places(rauha):
    script = "for d in /tmp /var/tmp /home /root /run /dev/shm; do echo x > $d/probe && cat $d/probe; done"
    document = rauha.sandbox("sh", "-c", script).task("succeeded", 0)
    assert document["stdout"] == "x\n" * 6
    assert rauha.sandbox("sh", "-c", "cat /tmp/probe /root/probe; true").task("succeeded", 0)["stdout"] == ""


def test_host_image_keeps_private_files_closed(rauha):
    """Not id-mapped: the zone's root is nobody to the machine's files. The readable file is the control."""
    base = pathlib.Path("/opt") / f"rauha-canary-{os.getpid()}"
    base.mkdir(mode=0o755)
    try:
        (base / "open").write_text("open")
        (base / "closed").write_text("closed")
        (base / "open").chmod(0o644)
        (base / "closed").chmod(0o600)
        document = rauha.sandbox("sh", "-c", f"stat -c %u {base}/open; cat {base}/open {base}/closed; chmod 644 {base}/closed").json
        assert document["stdout"] == "65534\nopen" and "closed" not in document["stdout"]
    finally:
        for path in base.iterdir():
            path.unlink()
        base.rmdir()
