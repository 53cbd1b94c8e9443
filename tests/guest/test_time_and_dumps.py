"""What only a machine of our own may try: the time of day is set, and crashes start a program of the host."""

import ctypes
import os
import pathlib
import subprocess
import time

import pytest

from support import procs
from support.random_kills import marker
from support.waiting import duration, eventually, patient

pytestmark = pytest.mark.guest


def set_clock(seconds):
    libc = ctypes.CDLL(None, use_errno=True)
    moment = (ctypes.c_long * 2)(int(seconds), 0)
    assert libc.clock_settime(0, moment) == 0, os.strerror(ctypes.get_errno())


@pytest.mark.parametrize("days", [400, -400])
def test_a_clock_that_jumps(fresh, days):
    """Neither does a timeout strike early, nor never; durations are what passed, and no record is lost."""
    fresh.ensure_daemon()
    wall, steady = time.time(), time.monotonic()
    mark = marker()
    running = fresh.start_sandbox("sleep", mark, options=["--timeout", duration(2)])
    eventually(lambda: procs.with_marker(mark), 30, "the task")
    try:
        set_clock(wall + days * 86400)
        result = running.wait(60)
        result.task("timed_out", 124)
        assert 1900 <= result.json["duration_ms"] < patient(20) * 1000, result.explain()
        fresh.sandbox("true").task("succeeded", 0)
    finally:
        set_clock(wall + time.monotonic() - steady)
    fresh.sandbox("true").task("succeeded", 0)


def test_a_crash_starts_no_program_of_the_host(rauha, tmp_path):
    """core_pattern is a program here: the kernel starts it as root of the host for every dump."""
    pattern, proof, helper = pathlib.Path("/proc/sys/kernel/core_pattern"), tmp_path / "dumped", tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\necho \"$1\" >> {proof}\ncat > /dev/null\n")
    helper.chmod(0o755)
    before = pattern.read_text()
    pattern.write_text(f"|{helper} %e")
    crash = ("/usr/bin/python3", "-c", "import os; os.abort()")
    try:
        subprocess.run(crash, check=False)
        eventually(lambda: proof.exists() and len(proof.read_text().splitlines()) == 1, 20, "the control: a crash of the host's is dumped")
        rauha.sandbox(*crash).task("killed", 134)
        assert len(proof.read_text().splitlines()) == 1, "a crash of the zone started a program of the host"
    finally:
        pattern.write_text(before)
