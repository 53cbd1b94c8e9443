#!/usr/bin/env python3
"""Counts what Rauha may leave on a machine: processes, mounts, control groups, id ranges, network links, temporary directories.

  census.py take FILE            writes what is there now
  census.py compare FILE         fails when something is there that FILE does not have; waits up to --wait seconds for it to go
"""

import argparse
import glob
import json
import os
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = ("rauhad", "rauha-shim", "rauha")


def identity(path):
    """Device and inode: a shim shows its program on a mount of its own, without the way to it. Of a program that was rebuilt there is only its name."""
    status = os.stat(path)
    return (status.st_dev, status.st_ino) if status.st_nlink else os.path.basename(os.readlink(path))


def processes():
    """Processes whose program was built in this tree."""
    ours = {identity(path) for pattern in (ROOT + "/build*/bin/*", os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "rauha-dev/programs/*/build*/bin/*")) for path in glob.glob(pattern)}
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            program = os.readlink(f"/proc/{entry}/exe").removesuffix(" (deleted)")
            known = identity(f"/proc/{entry}/exe") in ours | {"rauha-shim (deleted)"}
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                started = stat.read().rpartition(")")[2].split()[19]
        except OSError:
            continue  # it ended, or is a kernel thread
        if (known or program.startswith(ROOT + "/build") or "/rauha-dev/programs/" in program) and os.path.basename(program) in PROGRAMS:
            found.add(f"{program} pid {entry} started {started}")
    return found


def mounts():
    found = set()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        for line in table:
            fields = line.split()
            if "rauha" in fields[4] and not fields[4].startswith(ROOT):
                found.add(f"{fields[4]} ({fields[fields.index('-') + 1]})")
    return found


def control_groups():
    found = set()
    for top, directories, _ in os.walk("/sys/fs/cgroup", onerror=lambda _error: None):
        for name in directories:
            path = os.path.join(top, name)
            if "/rauha" in path or "/zone_" in path:
                found.add(path)
    return found


def id_ranges():
    found = set()
    for path in glob.glob("/run/rauha-ids/[0-9]*"):
        try:
            with open(path, encoding="utf-8", errors="replace") as owner:
                found.add(f"{path}: {owner.read().strip()}")
        except OSError:
            continue
    return found


def links():
    return {path for path in glob.glob("/sys/class/net/*") if os.path.basename(path).startswith(("rauha", "rz"))}


def directories():
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "rauha*")))


KINDS = {
    "process": processes,
    "mount": mounts,
    "control group": control_groups,
    "id range": id_ranges,
    "network link": links,
    "temporary directory": directories,
}


def take():
    return {kind: sorted(count()) for kind, count in KINDS.items()}


def extra(before):
    now = take()
    return [(kind, item) for kind in KINDS for item in now[kind] if item not in before.get(kind, [])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["take", "compare"])
    parser.add_argument("file")
    parser.add_argument("--wait", type=float, default=20, help="seconds that what is ending may take, default 20")
    options = parser.parse_args()
    if options.action == "take":
        with open(options.file, "w", encoding="utf-8") as out:
            json.dump(take(), out, indent=1)
        return 0
    with open(options.file, encoding="utf-8") as saved:
        before = json.load(saved)
    deadline = time.monotonic() + options.wait
    left = extra(before)
    while left and time.monotonic() < deadline:
        time.sleep(0.2)
        left = extra(before)
    for kind, item in left:
        print(f"left behind: {kind} {item}")
    if not left:
        print("nothing is left behind: " + ", ".join(KINDS))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
