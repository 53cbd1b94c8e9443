#!/usr/bin/python3
"""Runs commands and says how long each took, from before the spawn until it is reaped. One JSON list of arguments a line in, one line out:
microseconds, exit status. Lives in a mount namespace of its own where a tool needs to be shown another one.

  timer.py [--hide-v2]    without the v2 tree of a hybrid machine, which crun refuses
"""

import ctypes
import json
import os
import sys
import time

UNIFIED = "/sys/fs/cgroup/unified"
MS_REC, MS_PRIVATE = 0x4000, 1 << 18


def leave_host_mounts():
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts = 0x00020000
    if libc.unshare(new_mounts) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) or libc.umount2(UNIFIED.encode(), 0):
        sys.exit(f"cannot hide {UNIFIED}: {os.strerror(ctypes.get_errno())}")


def main():
    if "--hide-v2" in sys.argv:
        leave_host_mounts()
    quiet = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    for line in sys.stdin:
        command = json.loads(line)
        start = time.perf_counter_ns()
        # posix_spawn and not fork: the time of copying this interpreter is not the tool's.
        child = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
        _, status = os.waitpid(child, 0)
        spent = time.perf_counter_ns() - start
        print(spent // 1000, os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
