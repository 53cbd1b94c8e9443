"""What an instance has on this machine right now: kernel objects, processes, descriptors, id ranges, files and records.

A clean instance has nothing after its daemon stopped. `take()` returns one line for each thing found; by itself:
    python3 tests/support/census.py ROOT
"""

import hashlib
import os
import pathlib
import re
import sqlite3
import sys
import time

if __package__:
    from . import procs, waiting
else:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    import procs
    import waiting

ZONE = re.compile(r"zone_[0-9a-v]{20}")


def name_of(root):
    return "rauha-" + hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:8]


# What lives and dies with the daemon: itself, and the processes of plugins (isolation = "process").
WITH_DAEMON = ("rauhad", "rauha-plugin-host")


def mounts(root, name, daemon_running):
    """Mounts in any mount namespace that name the root's directory or the instance; the mount of the root itself is the test's."""
    token, seen = os.path.basename(str(root)), set()
    for process in procs.all_processes():
        if daemon_running and process.program == "rauha-plugin-host":
            continue
        try:
            namespace = os.readlink(f"/proc/{process.pid}/ns/mnt")
        except OSError:
            continue
        if namespace in seen:
            continue
        seen.add(namespace)
        try:
            lines = pathlib.Path(f"/proc/{process.pid}/mountinfo").read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        for line in lines:
            target = line.split()[4]
            if (token in line or name in line) and target != str(root):
                yield f"mount in {namespace} (process {process.pid} {process.program}): {line}"


def cgroup_roots():
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] in ("cgroup", "cgroup2"):
            yield fields[4]


def cgroups(name, daemon_running):
    for path in sorted(_cgroups(name, daemon_running)):
        yield f"cgroup {path}"


def _cgroups(name, daemon_running):
    for top in set(cgroup_roots()):
        for directory, children, _ in os.walk(top):
            for child in children:
                path = os.path.join(directory, child)
                if name not in os.path.relpath(path, top):
                    continue
                # A living daemon may keep the empty parent group of its zones.
                if daemon_running and not ZONE.search(path):
                    continue
                yield path


def processes(root, name, daemon_running):
    for process in procs.of_root(root, name):
        if daemon_running and process.program in WITH_DAEMON and ZONE.search(process.cgroup) is None:
            continue
        words = process.cmdline.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "backslashreplace")
        yield f"process {process.pid} {process.program}: {words[:200]}"


def namespaces(root):
    """Named network namespaces and links; anonymous ones live only in processes and mounts, which are looked for above."""
    token = name_of(root)
    for directory in ("/run/netns", "/var/run/netns"):
        if os.path.isdir(directory):
            for entry in os.listdir(directory):
                if token in entry or ZONE.search(entry):
                    yield f"network namespace {directory}/{entry}"
    for entry in os.listdir("/sys/class/net"):
        if token[-8:] in entry:
            yield f"network link {entry}"


def loops(root):
    token = os.path.basename(str(root))
    for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = path.read_text().strip()
        except OSError:
            continue
        # The root itself may lie on a loop device of the test: its backing file is not below the root.
        if f"/{token}/" in backing:
            yield f"loop device {path.parts[3]}: {backing}"


def id_ranges(name):
    directory = pathlib.Path("/run/rauha-ids")
    if directory.is_dir():
        for path in directory.iterdir():
            try:
                if path.name != "lock" and name in path.read_text().split():
                    yield f"id range {path}: {path.read_text().strip()}"
            except OSError:
                continue


def files(root):
    """Directories and sockets of zones below state and run. Task results are kept on purpose, zones are not."""
    for top in ("state", "run"):
        for directory, children, names in os.walk(os.path.join(str(root), top)):
            for entry in children + names:
                if ZONE.search(entry):
                    yield f"file {os.path.join(directory, entry)}"
            children[:] = [child for child in children if not ZONE.search(child)]


def records(root):
    """Rows of the store's table of zones, and tasks that never ended."""
    # os.walk, unlike rglob, does not fail over a zone's directory that goes away under it.
    for path in (pathlib.Path(directory, name) for directory, _, names in os.walk(str(root)) for name in names if name.endswith(".db")):
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        except sqlite3.Error as error:
            yield f"store {path} cannot be opened: {error}"
            continue
        try:
            for row in connection.execute("select id, name, state from zone"):
                yield f"record of a zone in {path.name}: {row!r}"
            for row in connection.execute("select id, zone_id, state from task where state <> 'finished'"):
                yield f"record of a task that never ended in {path.name}: {row!r}"
        except sqlite3.Error as error:
            yield f"store {path}: {error}"
        finally:
            connection.close()


def descriptors(root, name):
    """What a living daemon still holds of zones that are gone: directories and groups of theirs, namespaces, processes. Plugins' processes it may hold."""
    programs = [process for process in procs.of_root(root, name) if process.program in WITH_DAEMON]
    hosts = sum(process.program == "rauha-plugin-host" for process in programs)
    for process in programs:
        if process.program != "rauhad":
            continue
        pidfds = []
        for number in _names(f"/proc/{process.pid}/fd"):
            try:
                target = os.readlink(f"/proc/{process.pid}/fd/{number}")
            except OSError:
                continue
            if ZONE.search(target) or re.match(r"(user|mnt|net|pid|ipc|uts|cgroup|time):\[", target):
                yield f"descriptor {number} of rauhad {process.pid}: {target}"
            if target == "anon_inode:[pidfd]":
                pidfds.append(number)
        if len(pidfds) > hosts:
            yield f"descriptors of rauhad {process.pid}: {len(pidfds)} of processes, {hosts} plugins run"


def _names(directory):
    try:
        return os.listdir(directory)
    except OSError:
        return []


def take(root, daemon_running=False):
    """Everything of the instance at `root`. With daemon_running, the daemon and the empty parent group are not counted."""
    root = os.path.realpath(root)
    name = name_of(root)
    found = []
    for part in (mounts(root, name, daemon_running), cgroups(name, daemon_running), processes(root, name, daemon_running), namespaces(root), loops(root),
                 id_ranges(name), files(root), records(root), descriptors(root, name) if daemon_running else ()):
        found.extend(part)
    return found


def _settled(root, daemon_running, seconds=5):
    """What is left when it has had some seconds to go: the end of a zone is not the end of the command."""
    deadline = time.monotonic() + waiting.patient(seconds)
    while True:
        left = take(root, daemon_running)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def eventually_clean(instance):
    return _settled(instance.root, True)


def eventually_nothing(instance):
    return _settled(instance.root, False)


if __name__ == "__main__":
    lines = take(sys.argv[1], daemon_running="--daemon-running" in sys.argv)
    print("\n".join(lines) or "nothing")
    sys.exit(1 if lines else 0)
