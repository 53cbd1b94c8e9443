"""`-t`: a terminal for the task, with its size, its keys, and its end."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

from support import procs
from support.instance import RAUHA
from support.waiting import eventually


class Terminal:
    """The command line on a pseudo terminal of its own, as the leader of a session."""

    def __init__(self, instance, *command, options=("-t",), rows=31, columns=97):
        go, tell = os.pipe()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.read(go, 1)  # the modes are looked at before the command can change them
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execve(RAUHA, [str(RAUHA), "sandbox", *options, "--image", "host", "--", *command], instance.environment({"TERM": "dumb"}))
            finally:
                os._exit(99)
        self.before = termios.tcgetattr(self.master)
        os.write(tell, b"x")
        os.close(go)
        os.close(tell)
        self.text, self.status = b"", None

    def until(self, word, seconds=20):
        deadline = time.monotonic() + seconds
        while word not in self.text:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.master], [], [], left)[0], f"no {word!r} within {seconds} s: {self.text!r}"
            try:
                chunk = os.read(self.master, 65536)
            except OSError:
                chunk = b""
            assert chunk, f"the terminal closed before {word!r}: {self.text!r}"
            self.text += chunk
        return self.text

    def drain(self):
        try:
            while select.select([self.master], [], [], 0)[0]:
                chunk = os.read(self.master, 65536)
                if not chunk:
                    return
                self.text += chunk
        except OSError:
            return

    def end(self, seconds=20):
        def gone():
            self.drain()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
            return pid != 0
        eventually(gone, seconds, lambda: f"the command's end; it printed {self.text!r}")
        return self.status

    def close(self):
        try:
            os.close(self.master)
        except OSError:
            pass
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


def test_the_task_has_a_terminal(rauha):
    terminal = Terminal(rauha, "sh", "-c", "tty; test -t 0 && test -t 1 && test -t 2 && echo ALL; exit 5")
    try:
        assert terminal.end() == 5
        assert b"/dev/pts/0" in terminal.text and b"ALL" in terminal.text, terminal.text
    finally:
        terminal.close()


def test_size_and_resize(rauha):
    terminal = Terminal(rauha, "sh", "-c", "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.1; done")
    try:
        assert b"31 97" in terminal.until(b"ready")
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 133, 0, 0))
        terminal.until(b"44 133")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_keys_reach_the_task_and_modes_come_back(rauha):
    terminal = Terminal(rauha, "sh", "-c", "echo ready; cat")
    try:
        terminal.until(b"ready")
        os.write(terminal.master, b"typed\n\x04")
        terminal.until(b"typed\r\ntyped")
        assert terminal.end() == 0
        assert termios.tcgetattr(terminal.master)[:4] == terminal.before[:4], "the terminal's modes were not restored"
    finally:
        terminal.close()


def test_control_c_goes_to_the_task(rauha):
    terminal = Terminal(rauha, "sh", "-c", "trap 'echo CAUGHT; exit 9' INT; echo ready; while :; do sleep 0.1; done")
    try:
        terminal.until(b"ready")
        os.write(terminal.master, b"\x03")
        terminal.until(b"CAUGHT")
        assert terminal.end() == 9
    finally:
        terminal.close()


def test_control_c_without_a_terminal_cancels(rauha):
    terminal = Terminal(rauha, "sh", "-c", "echo ready; sleep 86398.5", options=())
    try:
        terminal.until(b"ready")
        os.write(terminal.master, b"\x03")
        assert terminal.end() == 130
        eventually(lambda: not procs.with_marker("86398.5"), 5, "the task is dead")
    finally:
        terminal.close()


def test_closed_terminal_ends_the_task(rauha):
    for options in (("-t",), ()):
        terminal = Terminal(rauha, "sh", "-c", "echo ready; sleep 86397.5", options=options)
        try:
            terminal.until(b"ready")
            os.close(terminal.master)
            terminal.drain = lambda: None
            eventually(lambda: not procs.with_marker("86397.5"), 15, "the task is dead after its terminal closed")
            terminal.end()
        finally:
            terminal.close()


def test_no_terminal_to_give(rauha):
    """-t without a terminal on standard input is refused or works with a default size; it does not hang."""
    result = rauha.run("sandbox", "-t", "--image", "host", "--", "true", timeout=30)
    assert result.returncode in (0, 125), result.explain()
