"""Doors of a repository to the host: a Unix socket and a named pipe in it, and the name of the place where it lies. Overlay mode closes them."""

import json
import os
import secrets
import socket
import threading

import pytest

pytestmark = pytest.mark.guest

# Says how each door answered. A named pipe is opened without waiting: where nobody reads, that fails.
KNOCK = """
import errno, json, os, socket, sys

def knock_socket():
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect("/workspace/run/agent.sock")
        return peer.recv(100).decode()

def knock_pipe():
    pipe = os.open("/workspace/pipe", os.O_WRONLY | os.O_NONBLOCK)
    os.write(pipe, sys.argv[1].encode())
    return "written"

out = {}
for name, knock in (("socket", knock_socket), ("pipe", knock_pipe)):
    try:
        out[name] = knock()
    except OSError as error:
        out[name] = errno.errorcode[error.errno]
out["mountinfo"] = open("/proc/self/mountinfo").read()
print(json.dumps(out))
"""


class Doors:
    """A repository with two doors, and listeners of the host behind them."""

    def __init__(self, path):
        self.token = "rauha-door-" + secrets.token_hex(8)
        self.path = path / f"repo-{self.token}"
        (self.path / "run").mkdir(parents=True)
        (self.path / "ordinary").write_text("x")
        self.listener = socket.socket(socket.AF_UNIX)
        directory = os.open(self.path / "run", os.O_PATH)
        self.listener.bind(f"/proc/self/fd/{directory}/agent.sock")  # a socket's path is short
        os.close(directory)
        os.chmod(self.path / "run" / "agent.sock", 0o777)
        self.listener.listen(8)
        self.guests = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        os.mkfifo(self.path / "pipe")
        os.chmod(self.path / "pipe", 0o666)
        self.pipe = os.open(self.path / "pipe", os.O_RDWR | os.O_NONBLOCK)

    def _serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.guests += 1
            peer.sendall(self.token.encode())
            peer.close()

    def through_the_pipe(self):
        try:
            return os.read(self.pipe, 100).decode()
        except BlockingIOError:
            return ""

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        os.close(self.pipe)


@pytest.fixture
def doors(tmp_path):
    made = Doors(tmp_path)
    yield made
    made.close()


def knock(rauha, doors, mode, word="word"):
    document = rauha.sandbox("python3", "-c", KNOCK, word, options=["--repo-path", str(doors.path), "--repo-mode", mode]).task("succeeded", 0)
    return document, json.loads(document["stdout"])


def test_doors_are_open_in_rw_and_closed_in_overlay(rauha, doors):
    document, answers = knock(rauha, doors, "rw")
    assert answers["socket"] == doors.token and doors.guests == 1, "the control: in rw mode the socket is reached"
    assert answers["pipe"] == "written" and doors.through_the_pipe() == "word", "the control: in rw mode the pipe is reached"
    assert doors.path.name in answers["mountinfo"], "the control: in rw mode the place of the repository is told"
    [note] = document["notes"]
    assert "pipe, run/agent.sock" in note and "--repo-mode overlay" in note, note

    document, answers = knock(rauha, doors, "overlay", "smuggled")
    assert answers["socket"] == "ECONNREFUSED" and doors.guests == 1, answers
    assert answers["pipe"] == "ENXIO" and doors.through_the_pipe() == "", answers
    assert doors.token not in answers["mountinfo"] and str(doors.path.parent) not in answers["mountinfo"], answers["mountinfo"]
    assert document["notes"] == [] and document["changes"]["notes"] == [], document


def test_doors_of_a_read_only_repository_are_told(rauha, doors):
    """`ro` keeps nothing from knocking: the result says so, in the document and on standard error."""
    document, answers = knock(rauha, doors, "ro")
    assert answers["socket"] == doors.token and answers["pipe"] == "written" and doors.through_the_pipe() == "word"
    assert len(document["notes"]) == 1 and "run/agent.sock" in document["notes"][0], document["notes"]
    shown = rauha.sandbox("true", options=["--repo-path", str(doors.path), "--repo-mode", "ro"], json_output=False).exited(0)
    assert b"warning: repository: the task reaches who listens on the host" in shown.stderr, shown.explain()


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_repository_without_doors_has_no_note(rauha, tmp_path, mode):
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "file").write_text("x")
    assert rauha.sandbox("true", options=["--repo-path", str(tmp_path / "repo"), "--repo-mode", mode]).task("succeeded", 0)["notes"] == []
