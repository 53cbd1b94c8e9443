"""What `DESTDIR=x cmake --install build` makes is a tree that runs where it stands."""

import os
import subprocess

import pytest

from support.instance import BIN, REPOSITORY


@pytest.fixture(scope="module")
def tree(private_directories):
    """The installed prefix, below a directory that no build knew of."""
    destination = private_directories("installed")
    done = subprocess.run(["cmake", "--install", BIN.parent], env={**os.environ, "DESTDIR": str(destination)}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, umask=0o022)
    assert done.returncode == 0, done.stdout
    return next(destination.rglob("bin/rauha")).parents[1]


def test_tree_holds_what_its_documents_name(tree):
    for path in ("bin/rauha", "bin/rauhad", "libexec/rauha/rauha-shim", "lib/rauha/plugins/backend-linux.so", "lib/rauha/plugins/image-oci.so",
                 "share/rauha/policies/strict.toml", "share/doc/rauha/README.md", "share/doc/rauha/SECURITY.md", "share/doc/rauha/docs/policy.md",
                 "share/doc/rauha/schemas/task.capnp", "share/doc/rauha/plugins/image-oci/README.md",
                 "lib/systemd/system/rauhad.socket", "lib/sysusers.d/rauha.conf", "lib/tmpfiles.d/rauha.conf"):
        assert (tree / path).is_file(), path
    unit = (tree / "lib/systemd/system/rauhad.service").read_text()
    daemon = next(line.split("=")[1] for line in unit.splitlines() if line.startswith("ExecStart="))
    assert str(tree / "bin/rauhad").endswith(daemon) and os.path.isabs(daemon), unit


def test_tree_runs_a_sandbox(tree, fresh):
    result = fresh.run("sandbox", "--json", "--image", "host", "--", "echo", "hello", program=tree / "bin/rauha")
    assert result.task("succeeded", 0)["stdout"] == "hello\n"
    # The programs beside it did the work, not those of the build.
    assert os.readlink(f"/proc/{fresh.daemon_pid()}/exe") == str(tree / "bin/rauhad")


@pytest.mark.long
def test_units_under_a_real_systemd():
    """A guest whose first process is systemd, the installed tree in it: socket activation, limits, restarts that zones outlive."""
    script = REPOSITORY / "tests/guest/units.sh"
    done = subprocess.run([script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout[-6000:]
    promises = [line for line in done.stdout.splitlines() if line.startswith("units: ok")]
    assert len(promises) > 25, done.stdout[-6000:]
