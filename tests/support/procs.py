"""Processes as the host's /proc shows them."""

import collections
import os
import select

Process = collections.namedtuple("Process", "pid ppid program cmdline environ cgroup uid state")


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def read(pid):
    status = _read(f"/proc/{pid}/status").decode("utf-8", "replace")
    if not status:
        return None
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)")
    except OSError:
        program = fields.get("Name", "").strip()
    return Process(pid, int(fields["PPid"]), program, _read(f"/proc/{pid}/cmdline"), _read(f"/proc/{pid}/environ"), _read(f"/proc/{pid}/cgroup").decode(),
                   int(fields["Uid"].split()[1]), fields["State"].split()[0])


def all_processes():
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = read(int(name))
            if process:
                yield process


def of_root(root, instance=None):
    """Processes whose command line, environment or control group belongs to the instance at `root`; programs of Rauha only by the first two."""
    token = os.fsencode(os.path.basename(str(root)))
    for process in all_processes():
        if process.state in "ZX":
            continue
        ours = process.program.startswith("rauha") and (token in process.cmdline or token in process.environ or
                                                        (instance and instance.encode() in process.cmdline))
        if ours or (instance and instance in process.cgroup):
            yield process


def with_marker(marker):
    """Processes that carry `marker` in their command line, whoever's child they are (the command line of Rauha itself apart)."""
    token = os.fsencode(marker)
    return [p for p in all_processes()
            if token in p.cmdline and p.pid != os.getpid() and not p.program.startswith("rauha") and p.state not in "ZX"]


def wait_dead(pidfd, seconds, what):
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(seconds * 1000), f"still alive after {seconds} s: {what}"


def alive(pid):
    process = read(pid)
    return process is not None and process.state not in "ZX"
