"""More of what a hostile task tries: roads that container runtimes of the last years left open. Run as probe.py is: inside a zone everything must
be refused; on the host, with objects that the test made, the same code succeeds.

Each probe names the hole that it is modelled on, where there is one. Nothing here changes the machine when it succeeds.
"""

import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import sys

import probe
from probe import Refused, call, libc, reaches

PROBES = {}
OPTIONS = probe.OPTIONS
SYS = dict(process_vm_writev=311, process_madvise=440, migrate_pages=256, mq_open=240, semget=64, msgget=68, capset=126, setns=308, pidfd_open=434, prctl=157,
           personality=135, modify_ldt=154, ioprio_set=251, sched_setaffinity=203, name_to_handle_at=303, open_by_handle_at=304, mount=165)


def escape(function):
    PROBES[function.__name__] = function
    return function


def number(name, *arguments):
    probe.SYS.update(SYS)
    return call(name, *arguments)


def processes():
    """Every process that can be seen and is not one of ours."""
    mine = {os.getpid(), os.getppid()}
    wanted = [OPTIONS["target"]] if not OPTIONS.get("inside") else [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in wanted if pid not in mine]


def foreign():
    """Processes whose program is none of the task's: the runtime's own, and whatever of the host is seen."""
    if not OPTIONS.get("inside"):
        return processes()
    found = []
    for pid in processes():
        try:
            if open(f"/proc/{pid}/comm").read().strip() in ("python3", "sh", "cat"):
                continue
        except OSError:
            pass
        found.append(pid)
    return found


def first(candidates, action, nothing="there is nothing to try"):
    last = Refused(nothing)
    for item in candidates:
        try:
            return f"{item}: {action(item)}"
        except OSError as error:
            last = error
        except Refused as error:
            last = error
    raise last


# --- the runtime's own program and descriptors

@escape
def write_the_runtimes_program():
    """CVE-2019-5736: the program behind /proc/<pid>/exe of whoever sets the container up, opened for writing or changed in place."""
    def touch(pid):
        path = f"/proc/{pid}/exe"
        fd = os.open(path, os.O_RDONLY)
        os.utime(fd, ns=(os.fstat(fd).st_atime_ns, os.fstat(fd).st_mtime_ns))
        return "its times can be set"
    return first(foreign(), touch)


@escape
def a_directory_behind_any_descriptor():
    """CVE-2024-21626: a descriptor of a host directory, open in the process that became the task, or in any that is seen."""
    def through(pid):
        for name in os.listdir(f"/proc/{pid}/fd"):
            # Up from there: is there something that the zone's root does not show?
            for up in ("", "/..", "/../..", "/../../../../../.."):
                if os.path.exists(f"/proc/{pid}/fd/{name}{up}{OPTIONS['canary_path']}"):
                    return name + up
        raise Refused("no directory that leads anywhere")
    return first([os.getpid(), *processes()], through)


@escape
def working_directory_outside_the_root():
    def above(pid):
        for up in ("", "/..", "/../../../../.."):
            if os.path.exists(f"/proc/{pid}/cwd{up}{OPTIONS['canary_path']}"):
                return up or "."
        raise Refused("inside the root")
    return first([os.getpid(), *processes()], above)


@escape
def enter_a_foreign_namespace():
    """setns to whatever is left open or can be named: descriptors of namespaces and processes, /proc/<pid>/ns."""
    def enter(pid):
        for kind in ("mnt", "net", "ipc", "uts", "cgroup", "pid"):
            path = f"/proc/{pid}/ns/{kind}"
            fd = os.open(path, os.O_RDONLY)
            number("setns", fd, 0)
            return path
    return first(foreign(), enter)


@escape
def enter_by_pidfd():
    """All namespaces of a process at once, by its pidfd."""
    return first(foreign(), lambda pid: number("setns", number("pidfd_open", pid, 0), 0x20000000 | 0x4000000))


@escape
def write_foreign_memory():
    def poke(pid):
        local = ctypes.create_string_buffer(8)
        mine = ctypes.c_char_p(struct.pack("QQ", ctypes.addressof(local), 8))
        probe.SYS.update(SYS)
        return reaches("process_vm_writev", pid, mine, 1, ctypes.c_char_p(struct.pack("QQ", 8, 8)), 1, 0, proof=(errno.EFAULT,))
    return first(foreign(), poke)


@escape
def trace_any_process():
    return first(foreign(), lambda pid: call("ptrace", 0x4206, pid, 0, 0))


@escape
def foreign_root():
    def look(pid):
        names = os.listdir(f"/proc/{pid}/root/" + OPTIONS["canary_path"].lstrip("/").rsplit("/", 1)[0])
        if OPTIONS["canary"] not in names:
            raise Refused("another root")
        return "the host's files"
    return first(foreign(), look)


# --- files of the kernel that were masked or protected, by other names

def everywhere(names):
    """The named files below every mount that is seen, /proc first."""
    for line in open("/proc/self/mountinfo"):
        fields = line.split()
        kind = fields[fields.index("-") + 1]
        if kind in ("proc", "sysfs", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "bpf", "configfs", "efivarfs"):
            for name in names:
                yield os.path.join(fields[4], name)


def truly_writable(path):
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        if probe.is_masked(fd):
            raise Refused("masked")
    finally:
        os.close(fd)
    return "writable"


@escape
def core_pattern_by_any_name():
    """CVE-2025-31133 and -52565 led here: through a mask that was not one, or another mount of proc."""
    names = ["sys/kernel/core_pattern", "self/../sys/kernel/core_pattern", "thread-self/../../sys/kernel/core_pattern", "1/root/proc/sys/kernel/core_pattern"]
    return first(everywhere(names), truly_writable)


@escape
def sysrq_by_any_name():
    return first(everywhere(["sysrq-trigger", "self/../sysrq-trigger", "sys/kernel/sysrq"]), truly_writable)


@escape
def usermode_helpers():
    """Everything whose content the kernel runs as root of the host: modprobe, uevent_helper, release_agent, binfmt_misc, poweroff_cmd, core_pattern."""
    names = ["sys/kernel/modprobe", "kernel/uevent_helper", "release_agent", "sys/fs/binfmt_misc/register", "sys/kernel/poweroff_cmd", "sys/kernel/hotplug",
             "sys/kernel/usermodehelper/bset"]
    return first(everywhere(names), truly_writable)


@escape
def release_agent_of_a_group():
    """CVE-2022-0492: a v1 hierarchy with a writable release_agent or notify_on_release."""
    def below():
        for line in open("/proc/self/mountinfo"):
            fields = line.split()
            if fields[fields.index("-") + 1].startswith("cgroup"):
                for directory, _, files in os.walk(fields[4]):
                    for name in files:
                        if name in ("release_agent", "notify_on_release", "cgroup.subtree_control", "cgroup.kill", "memory.max", "pids.max", "devices.allow"):
                            yield os.path.join(directory, name)
    return first(below(), truly_writable)


@escape
def mount_a_hierarchy_of_version_1():
    """The same, with a hierarchy of its own: needs a mount that a user namespace could allow."""
    if not OPTIONS.get("inside"):
        return "not tried: a new hierarchy would be the whole machine's"
    return first(("rdma", "memory", "none,name=rauha-probe"), lambda option: probe.mount("none", probe.scratch(), "cgroup", data=option))


@escape
def label_of_security_modules():
    """CVE-2025-52881: what is written to attr/ reaches the kernel and not a file that stands in for it; here, that proc is a real one."""
    if not OPTIONS.get("inside"):
        return "the control is the kernel's own proc"
    facts = os.statvfs("/proc/self/attr") if os.path.isdir("/proc/self/attr") else os.statvfs("/proc/self")
    if facts.f_fsid == os.statvfs("/proc").f_fsid and os.readlink("/proc/self") == str(os.getpid()):
        raise Refused("proc is proc")
    return "something else stands in for proc"


# --- IPC of the host

@escape
def system_v_semaphores():
    return number("semget", OPTIONS["shm_key"], 0, 0)


@escape
def system_v_messages():
    return number("msgget", OPTIONS["shm_key"], 0)


@escape
def posix_queue():
    return number("mq_open", ctypes.c_char_p(OPTIONS["canary"].encode()), os.O_RDONLY, 0, None)


@escape
def posix_shared_memory():
    return os.open("/dev/shm/" + OPTIONS["canary"], os.O_RDONLY)


@escape
def abstract_sockets_are_listed():
    """CVE-2020-15257: sockets without a file are everybody's in one network namespace, the runtime's own among them."""
    names = [line.split()[-1] for line in open("/proc/net/unix") if " @" in line]
    names = [name for name in names if OPTIONS["canary"] in name or "rauha" in name]
    if not names:
        raise Refused("none of the host's")
    return names


@escape
def path_sockets_of_the_host():
    return first(["/run/rauha/rauhad.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/docker.sock", "/var/run/docker.sock", OPTIONS["path_socket"]],
                 lambda path: probe.connect(socket.AF_UNIX, path))


# --- rights

@escape
def ambient_capability():
    """A capability that the policy does not give: first permitted, then inheritable, then ambient."""
    permitted = int(probe.status_of()["CapPrm"], 16)
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    number("capset", ctypes.c_char_p(struct.pack("Ii", 0x20080522, 0)), ctypes.c_char_p(struct.pack("6I", low, low, low, high, high, high)))
    if libc.prctl(47, 2, 21, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_CAP_AMBIENT")
    return "CAP_SYS_ADMIN is ambient"


@escape
def move_pages_of_others():
    return first(foreign(), lambda pid: number("migrate_pages", pid, 64, ctypes.c_char_p(struct.pack("Q", 1)), ctypes.c_char_p(struct.pack("Q", 1))))


@escape
def core_file_limit():
    """A core file would be written where the host's core_pattern says."""
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard in (0, 1):
        raise Refused(f"limit {hard}")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    return hard


@escape
def terminal_of_the_host():
    """The controlling terminal, and every terminal device that is seen (TIOCSTI would type into the operator's shell)."""
    if not OPTIONS.get("inside"):
        master, slave = os.openpty()
        return os.ttyname(slave)
    def is_foreign(path):
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            fcntl.ioctl(fd, 0x5401, bytes(64))
        finally:
            os.close(fd)
        return "a terminal"
    return first(["/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/ttyS0", *["/dev/pts/" + name for name in os.listdir("/dev/pts") if name.isdigit()]], is_foreign)


@escape
def raw_network():
    """Frames on an interface that is not the zone's own loopback."""
    packet = socket.socket(17, socket.SOCK_RAW, 0x0300)
    for _, name in socket.if_nameindex():
        if name != "lo" or not OPTIONS.get("inside"):
            packet.bind((name, 0))
            return name
    raise Refused("only lo")


@escape
def network_settings():
    """netlink: a new link in the namespace (CAP_NET_ADMIN)."""
    route = socket.socket(16, socket.SOCK_RAW, 0)
    body = struct.pack("BxHiII", 0, 0, 0, 0, 0) + struct.pack("HH", 12, 3) + b"rauhap0\0" + struct.pack("HHHH", 16, 18, 9, 1) + b"dummy\0\0\0"
    if not OPTIONS.get("inside"):
        call("unshare", 0x40000000)  # the control changes a namespace of its own
    route.send(struct.pack("IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
    code = struct.unpack_from("i", route.recv(4096), 16)[0]
    if code not in (0, -errno.EOPNOTSUPP):  # no such kind of link: the right was there
        raise OSError(-code, "RTM_NEWLINK")
    return "a link"


if __name__ == "__main__":
    json.dump({name: probe.run(function) for name, function in PROBES.items()}, sys.stdout)
