"""Deadlines and polling. No test sleeps for a fixed time and hopes."""

import time


def eventually(predicate, seconds, what):
    """Calls predicate until it returns something true, and returns that. Fails after `seconds`, naming `what`."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def stays(predicate, seconds, what):
    """Fails as soon as predicate returns something false within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert predicate(), f"did not stay: {what}"
        time.sleep(0.05)
