"""Deadlines and polling. No test sleeps for a fixed time and hopes."""

import functools
import subprocess
import time


@functools.cache
def slowness():
    """How much slower than a usual machine this one is (an emulated one is 10 to 30 times): all deadlines are stretched by it."""
    started = time.monotonic()
    subprocess.run(["/usr/bin/python3", "-c", "import json, subprocess"], check=True)
    return min(30.0, max(1.0, (time.monotonic() - started) / 0.15))


def patient(seconds):
    """A deadline in seconds, for this machine."""
    return seconds * slowness()


def duration(seconds):
    """A duration as the command line and policies take it, long enough for this machine."""
    return f"{int(patient(seconds) * 1000)}ms"


def eventually(predicate, seconds, what):
    """Calls predicate until it returns something true, and returns that. Fails after `seconds` (stretched), naming `what`."""
    deadline = time.monotonic() + patient(seconds)
    pause = 0.005
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {patient(seconds):.0f} s: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def stays(predicate, seconds, what):
    """Fails as soon as predicate returns something false within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert predicate(), f"did not stay: {what}"
        time.sleep(0.05)
