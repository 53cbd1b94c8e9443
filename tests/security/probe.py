"""What a process can reach from where it stands. Prints one JSON object: name of the probe -> what happened.

Run inside a zone it must be refused everything; run on the host as root it is the control: the same code, and it succeeds.
A probe returns "allowed" (with details after a colon) or "refused: ERRNO"; each one runs in a child of its own, so that a probe which is
killed tells just that. Nothing here changes the machine when it succeeds: values are written back as they were, files are only opened.
"""

import ctypes
import errno
import fcntl
import json
import os
import pty
import signal
import socket
import stat
import struct
import sys
import tempfile

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
PROBES = {}
OPTIONS = json.loads(sys.argv[1]) if __name__ == "__main__" and len(sys.argv) > 1 else {}

# x86-64 numbers
SYS = dict(pivot_root=155, mount=165, umount2=166, reboot=169, sethostname=170, iopl=172, init_module=175, quotactl=179, settimeofday=164, acct=163,
           swapon=167, delete_module=176, unshare=272, add_key=248, request_key=249, keyctl=250, perf_event_open=298, name_to_handle_at=303,
           open_by_handle_at=304, setns=308, process_vm_readv=310, finit_module=313, bpf=321, userfaultfd=323, io_uring_setup=425, open_tree=428,
           move_mount=429, fsopen=430, fsmount=432, clone3=435, pidfd_open=434, pidfd_getfd=438, mount_setattr=442, kexec_load=246, syslog=103,
           ptrace=101, kcmp=312, move_pages=279, mbind=237, lookup_dcookie=212, nfsservctl=180, vhangup=153, uselib=134, sysfs=139, ustat=136,
           create_module=174, fanotify_init=300, landlock_create_ruleset=444, memfd_secret=447, statmount=457, listmount=458, fsconfig=431,
           quotactl_fd=443, clock_settime=227, adjtimex=159, ioperm=173, set_mempolicy=238, pidfd_send_signal=424)


class Refused(Exception):
    pass


def probe(function):
    PROBES[function.__name__] = function
    return function


def call(name, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(SYS[name]), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def reaches(name, *arguments, proof=()):
    """Refused only when the kernel says that it may not be: one of `proof` shows that the call itself was reached and only its arguments are wrong."""
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno in proof:
            return f"reached: {errno.errorcode[error.errno]}"
        raise
    return "done"


def run(function):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        signal.alarm(OPTIONS.get("seconds", 30))
        try:
            if not OPTIONS.get("inside"):
                # The control must not change the machine's mounts: a mount namespace of its own, nothing of it propagates.
                call("unshare", 0x20000)
                mount("none", "/", None, 1 << 18 | 16384)
            text = "allowed: " + str(function())
        except OSError as error:
            text = "refused: " + errno.errorcode.get(error.errno, str(error.errno))
        except Refused as error:
            text = f"refused: {error}"
        except Exception as error:  # a mistake of the probe must not look like a refusal
            text = f"BROKEN: {type(error).__name__}: {error}"
        os.write(writer, text.encode("utf-8", "replace")[:60000])
        os._exit(0)
    os.close(writer)
    data = b""
    while True:
        chunk = os.read(reader, 65536)
        if not chunk:
            break
        data += chunk
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    return data.decode() if data else f"killed: {os.waitstatus_to_exitcode(status)}"


SCRATCH = OPTIONS.get("scratch", "/tmp")


def scratch():
    return tempfile.mkdtemp(prefix="probe-", dir=SCRATCH)


# --- mounts and namespaces (the control runs in a mount namespace of its own)

MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096


def mount(source, target, kind, flags=0, data=None):
    def c(text):
        return ctypes.c_char_p(text.encode() if text is not None else None)
    return call("mount", c(source), c(target), c(kind), flags, c(data))


@probe
def mount_tmpfs():
    return mount("none", scratch(), "tmpfs")


@probe
def mount_proc():
    return mount("none", scratch(), "proc")


@probe
def mount_sysfs():
    return mount("none", scratch(), "sysfs")


@probe
def mount_cgroup2():
    return mount("none", scratch(), "cgroup2")


@probe
def mount_devpts():
    return mount("none", scratch(), "devpts", data="newinstance")


@probe
def mount_bind():
    return mount("/usr", scratch(), None, MS_BIND)


@probe
def remount_read_write():
    return mount(None, "/usr" if os.path.ismount("/usr") else "/", None, MS_REMOUNT | MS_BIND)


@probe
def remount_proc_sys():
    return mount(None, "/proc/sys" if os.path.ismount("/proc/sys") else "/proc", None, MS_REMOUNT | MS_BIND)


@probe
def unmount_a_mask():
    for path in ("/proc/kcore", "/proc/keys", "/sys/firmware", "/proc/sys", "/proc"):
        if os.path.ismount(path):
            return call("umount2", ctypes.c_char_p(path.encode()), 2)
    raise Refused("nothing is mounted")


@probe
def pivot_root():
    return reaches("pivot_root", ctypes.c_char_p(b"/tmp"), ctypes.c_char_p(b"/tmp"), proof=(errno.EINVAL, errno.EBUSY))


@probe
def new_mount_api():
    return call("fsopen", ctypes.c_char_p(b"tmpfs"), 0)


@probe
def open_tree_clone():
    return call("open_tree", -100, ctypes.c_char_p(b"/usr"), 1)


@probe
def move_mount():
    return reaches("move_mount", -100, ctypes.c_char_p(b""), -100, ctypes.c_char_p(b"/tmp"), 0, proof=(errno.EINVAL, errno.ENOENT))


@probe
def mount_setattr():
    attributes = struct.pack("QQQQ", 0, 0, 0, 0)
    return call("mount_setattr", -100, ctypes.c_char_p(b"/usr" if os.path.ismount("/usr") else b"/"), 0, ctypes.c_char_p(attributes), 32)


def unshare_probe(name, flag):
    def run_it():
        return call("unshare", flag)
    run_it.__name__ = "unshare_" + name
    probe(run_it)


for _name, _flag in dict(user=0x10000000, mnt=0x20000, net=0x40000000, pid=0x20000000, ipc=0x8000000, uts=0x4000000, cgroup=0x2000000,
                         time=0x80).items():
    unshare_probe(_name, _flag)


@probe
def clone_new_user():
    pid = call("clone3", ctypes.c_char_p(struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)), 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "a user namespace"


@probe
def setns_own():
    return call("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), 0)


@probe
def setns_of_pid_1():
    return call("setns", os.open(f"/proc/{OPTIONS.get('target', 1)}/ns/mnt", os.O_RDONLY), 0x20000)


@probe
def set_hostname():
    name = os.uname().nodename.encode()
    return call("sethostname", ctypes.c_char_p(name), len(name))


@probe
def clone_into_cgroup():
    """A child in a group of somebody else, through any directory of a cgroup file system that can be opened."""
    last = Refused("no cgroup file system is visible")
    for line in open("/proc/self/mountinfo"):
        fields = line.split()
        if fields[fields.index("-") + 1] != "cgroup2":
            continue
        for directory, _, _ in os.walk(fields[4]):
            try:
                fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
                arguments = struct.pack("QQQQQQQQQQQ", 0x200000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, fd)
                pid = call("clone3", ctypes.c_char_p(arguments), 88)
                if pid == 0:
                    os._exit(0)
                os.waitpid(pid, 0)
                return directory
            except OSError as error:
                last = error
    raise last


@probe
def write_a_cgroup_file():
    last = Refused("no cgroup file system is visible")
    for line in open("/proc/self/mountinfo"):
        fields = line.split()
        if not fields[fields.index("-") + 1].startswith("cgroup"):
            continue
        for directory, _, names in os.walk(fields[4]):
            for name in names:
                if name in ("cgroup.procs", "tasks"):
                    try:
                        os.close(os.open(os.path.join(directory, name), os.O_WRONLY))
                        return os.path.join(directory, name)
                    except OSError as error:
                        last = error
    raise last


# --- devices and special files

@probe
def mknod_null():
    path = scratch() + "/null"
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.unlink(path)
    return path


@probe
def mknod_disk():
    path = scratch() + "/disk"
    os.mknod(path, 0o666 | stat.S_IFBLK, os.makedev(254, 0))
    os.unlink(path)
    return path


@probe
def open_kmsg():
    return os.open("/dev/kmsg", os.O_RDONLY)


@probe
def open_a_block_device():
    for name in os.listdir("/dev"):
        if stat.S_ISBLK(os.stat("/dev/" + name).st_mode):
            return os.open("/dev/" + name, os.O_RDONLY)
    raise Refused("there is none")


@probe
def open_tun():
    return os.open("/dev/net/tun", os.O_RDWR)


@probe
def open_dev_mem():
    return os.open("/dev/mem", os.O_RDONLY)


# --- terminals

def with_terminal(action):
    pid, master = pty.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise OSError(code, "terminal")
    return "on the own terminal"


@probe
def tiocsti():
    return with_terminal(lambda: fcntl.ioctl(0, 0x5412, b"x"))


@probe
def tioclinux():
    return with_terminal(lambda: fcntl.ioctl(0, 0x541C, b"\x02")) if OPTIONS.get("inside") else "the control would need a console"


@probe
def tiocsti_high_bits():
    """The kernel looks at 32 bits of the command; a filter that compares 64 is passed by setting a higher one."""
    def action():
        ctypes.set_errno(0)
        if libc.syscall(ctypes.c_long(16), ctypes.c_long(0), ctypes.c_long(0x5412 | 1 << 40), ctypes.c_char_p(b"x")) < 0:
            raise OSError(ctypes.get_errno(), "ioctl")
    return with_terminal(action)


# --- keys

@probe
def keyctl_user_keyring():
    return call("keyctl", 0, -4, 1, 0, 0)


@probe
def keyctl_session_keyring():
    return call("keyctl", 0, -3, 1, 0, 0)


@probe
def add_key():
    return call("add_key", ctypes.c_char_p(b"user"), ctypes.c_char_p(b"rauha-probe"), ctypes.c_char_p(b"x"), 1, -2)


@probe
def request_key():
    return reaches("request_key", ctypes.c_char_p(b"user"), ctypes.c_char_p(b"rauha-none"), None, 0, proof=(errno.ENOKEY,))


# --- socket families

def family_probe(name, family, kind, protocol=0):
    def make():
        socket.socket(family, kind, protocol).close()
        return "made"
    make.__name__ = "socket_" + name
    probe(make)


family_probe("vsock", 40, socket.SOCK_STREAM)
family_probe("alg", 38, socket.SOCK_SEQPACKET)
family_probe("packet", 17, socket.SOCK_RAW, 0x0300)
family_probe("packet_dgram", 17, socket.SOCK_DGRAM, 0x0300)
family_probe("xdp", 44, socket.SOCK_RAW)
family_probe("bluetooth", 31, socket.SOCK_RAW, 1)
family_probe("tipc", 30, socket.SOCK_STREAM)
family_probe("can", 29, socket.SOCK_RAW, 1)
family_probe("rds", 21, socket.SOCK_SEQPACKET)
family_probe("smc", 43, socket.SOCK_STREAM)
family_probe("qipcrtr", 42, socket.SOCK_DGRAM)
family_probe("rxrpc", 33, socket.SOCK_DGRAM, 2)
family_probe("netlink_audit", 16, socket.SOCK_RAW, 9)
family_probe("netlink_netfilter", 16, socket.SOCK_RAW, 12)
family_probe("netlink_uevent", 16, socket.SOCK_RAW, 15)
family_probe("netlink_crypto", 16, socket.SOCK_RAW, 21)
family_probe("netlink_xfrm", 16, socket.SOCK_RAW, 6)


# --- the kernel's large doors

@probe
def bpf_map():
    return call("bpf", 0, ctypes.c_char_p(struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(100)), 72)


@probe
def perf_event():
    attributes = struct.pack("IIQ", 1, 112, 0) + bytes(24) + struct.pack("Q", 1 << 5 | 1 << 6) + bytes(64)
    return call("perf_event_open", ctypes.c_char_p(attributes), 0, -1, -1, 0)


@probe
def userfaultfd():
    return call("userfaultfd", 1)


@probe
def userfaultfd_kernel():
    return call("userfaultfd", 0)


@probe
def io_uring():
    return call("io_uring_setup", 4, ctypes.create_string_buffer(120))


@probe
def open_by_handle():
    handle = ctypes.create_string_buffer(struct.pack("Ii", 120, 0) + bytes(120), 128)
    where = ctypes.c_int()
    directory = os.open("/usr", os.O_RDONLY)
    call("name_to_handle_at", -100, ctypes.c_char_p(b"/usr"), handle, ctypes.byref(where), 0)
    return call("open_by_handle_at", directory, handle, os.O_RDONLY)


@probe
def open_by_handle_of_another_tree():
    """The classic: the root directory's handle (inode 2 of ext4) through any descriptor of that file system."""
    handle = ctypes.create_string_buffer(struct.pack("IiII", 8, 1, 2, 0), 16)
    return reaches("open_by_handle_at", os.open("/usr", os.O_RDONLY), handle, os.O_RDONLY, proof=(errno.ESTALE,))


@probe
def kernel_log():
    return len(call("syslog", 10, None, 0).to_bytes(8, "little"))


@probe
def kexec():
    return reaches("kexec_load", 0, 99, None, 0, proof=(errno.EINVAL, errno.EBUSY))


@probe
def load_module():
    return reaches("init_module", None, 0, ctypes.c_char_p(b""), proof=(errno.ENOEXEC, errno.EFAULT, errno.EINVAL))


@probe
def load_module_file():
    return reaches("finit_module", os.open("/dev/null", os.O_RDONLY), ctypes.c_char_p(b""), 0,
                   proof=(errno.ENOEXEC, errno.EINVAL, errno.ETXTBSY, errno.EBADF))


@probe
def delete_module():
    return reaches("delete_module", ctypes.c_char_p(b"rauha_no_such_module"), 0x800, proof=(errno.ENOENT,))


@probe
def reboot():
    """With wrong magic numbers: nothing can happen but EINVAL, which comes after the check of rights."""
    return reaches("reboot", 0, 0, 0, None, proof=(errno.EINVAL,))


@probe
def swap_on():
    return reaches("swapon", ctypes.c_char_p(b"/no/such/file"), 0, proof=(errno.ENOENT,))


@probe
def accounting():
    return reaches("acct", ctypes.c_char_p(b"/no/such/file"), proof=(errno.ENOENT,))


@probe
def set_time():
    return call("settimeofday", None, None)


@probe
def set_clock():
    return reaches("clock_settime", 0, None, proof=(errno.EFAULT, errno.EINVAL))


@probe
def port_level():
    return call("iopl", 3)


@probe
def quota():
    return reaches("quotactl", 0x800007 << 8, ctypes.c_char_p(b"/no/such/device"), 0, None, proof=(errno.ENOENT, errno.ENODEV, errno.ENOTBLK, errno.EINVAL))


@probe
def fanotify():
    return call("fanotify_init", 0, 0)


@probe
def list_mounts():
    """statmount and listmount tell the sources of mounts, where the kernel has them."""
    request = struct.pack("IIQQQ", 32, 0, 0xFFFFFFFFFFFFFFFF, 0, 0)
    return call("listmount", ctypes.c_char_p(request), ctypes.create_string_buffer(800), 100, 0)


@probe
def vhangup():
    return call("vhangup") if OPTIONS.get("inside") else "the control would hang up"


def int80(number, *arguments):
    """A call through the 32-bit door: eax, ebx, ecx, edx. A filter of 64-bit numbers alone does not see it as what it is."""
    import mmap
    code = (b"\x53" + b"\xb8" + struct.pack("<I", number & 0xFFFFFFFF) +
            b"".join(op + struct.pack("<I", value & 0xFFFFFFFF) for op, value in zip((b"\xbb", b"\xb9", b"\xba"), arguments)) + b"\xcd\x80" + b"\x5b" + b"\xc3")
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    if result < 0:
        raise OSError(-result, "int80")
    return result


@probe
def int80_unshare_user():
    return int80(310, 0x10000000, 0, 0)


@probe
def int80_keyctl():
    return int80(288, 0, -3, 1)


@probe
def x32_keyctl():
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(0x40000000 | 250), ctypes.c_long(0), ctypes.c_long(-3), ctypes.c_long(1)) < 0:
        raise OSError(ctypes.get_errno(), "x32")
    return "x32"


# --- process 1 of the zone; the control looks at a process that the test made, because the host's own process 1 may be out of reach for root

TARGET = OPTIONS.get("target", 1)


@probe
def pid1_root():
    return os.listdir(f"/proc/{TARGET}/root/")


@probe
def pid1_exe():
    return os.readlink(f"/proc/{TARGET}/exe")


@probe
def pid1_open_exe():
    return os.open(f"/proc/{TARGET}/exe", os.O_RDONLY)


@probe
def pid1_descriptors():
    return os.listdir(f"/proc/{TARGET}/fd")


@probe
def pid1_environ():
    return open(f"/proc/{TARGET}/environ", "rb").read()


@probe
def pid1_memory():
    return os.open(f"/proc/{TARGET}/mem", os.O_RDONLY)


@probe
def pid1_maps():
    lines = open(f"/proc/{TARGET}/maps").read()
    if not lines:
        raise Refused("empty")
    return lines


@probe
def pid1_ptrace():
    return call("ptrace", 0x4206, TARGET, 0, 0)


@probe
def pid1_read_memory():
    target = TARGET
    local, remote = ctypes.create_string_buffer(8), ctypes.c_char_p(struct.pack("QQ", 0x400000, 8))
    mine = ctypes.c_char_p(struct.pack("QQ", ctypes.addressof(local), 8))
    return reaches("process_vm_readv", target, mine, 1, remote, 1, 0, proof=(errno.EFAULT,))


@probe
def pid1_take_descriptor():
    pidfd = call("pidfd_open", TARGET, 0)
    return reaches("pidfd_getfd", pidfd, 0, 0, proof=(errno.EBADF,))


# --- files of the kernel

def is_masked(fd):
    """A mask is the null device, which takes everything and keeps nothing: what it covers is not written to."""
    facts = os.fstat(fd)
    return stat.S_ISCHR(facts.st_mode) and facts.st_rdev == os.makedev(1, 3)


def writable(path):
    fd = os.open(path, os.O_WRONLY)
    masked = is_masked(fd)
    os.close(fd)
    if masked:
        raise Refused("masked")
    return path


for _path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory",
              "/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/protected_symlinks", "/proc/sysrq-trigger", "/proc/sys/kernel/randomize_va_space",
              "/proc/irq/default_smp_affinity", "/proc/mtrr", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/uevent_helper",
              "/sys/power/state", "/sys/kernel/profiling"):
    def _write(path=_path):
        return writable(path)
    _write.__name__ = "write " + _path
    probe(_write)


def readable(path):
    with open(path, "rb", buffering=0) as file:
        data = file.read(4096)
    if not data:
        raise Refused("empty")
    return f"{len(data)} bytes"


for _path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/interrupts", "/proc/vmallocinfo", "/proc/iomem",
              "/proc/slabinfo", "/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup", "/proc/kmsg", "/proc/latency_stats", "/proc/pagetypeinfo",
              "/proc/sysrq-trigger"):
    def _read(path=_path):
        return readable(path)
    _read.__name__ = "read " + _path
    probe(_read)


def has_entries(path):
    entries = os.listdir(path)
    if not entries:
        raise Refused("empty")
    return f"{len(entries)} entries"


for _path in ("/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security",
              "/sys/fs/bpf", "/sys/devices/virtual/powercap", "/sys/class/dmi/id"):
    def _list(path=_path):
        return has_entries(path)
    _list.__name__ = "list " + _path
    probe(_list)


@probe
def kernel_addresses():
    for line in open("/proc/kallsyms"):
        if int(line.split()[0], 16):
            return line.split()[2]
    raise Refused("only zeros")


def walk_writable(top, limit=200_000):
    found, seen = [], 0
    for directory, children, names in os.walk(top):
        children[:] = [child for child in children if not os.path.islink(os.path.join(directory, child))]
        for name in names:
            path = os.path.join(directory, name)
            seen += 1
            if seen > limit:
                return found
            if os.path.islink(path) or not os.access(path, os.W_OK):
                continue
            try:
                fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                if not is_masked(fd):
                    found.append(path)
                os.close(fd)
            except OSError:
                continue
    return found


@probe
def any_writable_file_of_proc_sys():
    found = walk_writable("/proc/sys") if OPTIONS.get("inside") else [writable("/proc/sys/kernel/core_pattern")]
    if not found:
        raise Refused("none")
    return found[:20]


@probe
def any_writable_file_of_sys():
    if OPTIONS.get("inside"):
        found = walk_writable("/sys")
    else:
        found = [writable("/sys/kernel/mm/transparent_hugepage/enabled")]
    if not found:
        raise Refused("none")
    return found[:20]


@probe
def any_writable_file_of_proc():
    """Files of /proc itself and of process 1; those of the own process are its own."""
    found = []
    for name in sorted(os.listdir("/proc")):
        path = "/proc/" + name
        if name.isdigit() or os.path.islink(path) or os.path.isdir(path):
            continue
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            if not (stat.S_ISCHR(os.stat(path).st_mode) and os.stat(path).st_rdev == os.makedev(1, 3)):
                found.append(path)
        except OSError:
            continue
    if not found:
        raise Refused("none")
    return found


# --- ids and rights

@probe
def become_an_unmapped_user():
    os.setresuid(1879048192, 1879048192, 1879048192)
    return os.getuid()


@probe
def read_shadow():
    return readable("/etc/shadow")


@probe
def chown_a_program():
    path = "/usr/bin/env"
    found = os.stat(path)
    os.chown(path, found.st_uid, found.st_gid)
    return path


@probe
def raise_a_limit():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))
    except ValueError as error:
        raise Refused(str(error)) from None
    return hard + 1


@probe
def lower_the_oom_score():
    with open("/proc/self/oom_score_adj") as file:
        score = int(file.read())
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(score - 1))
    return score - 1


@probe
def real_time_priority():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "SCHED_FIFO"


# --- network

def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as peer:
        peer.settimeout(5)
        peer.connect(address)
        return "connected"


@probe
def host_loopback_tcp():
    return connect(socket.AF_INET, ("127.0.0.1", OPTIONS["tcp_port"]))


@probe
def host_loopback_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(2)
        peer.connect(("127.0.0.1", OPTIONS["udp_port"]))
        peer.send(b"ping")
        try:
            return peer.recv(10)
        except socket.timeout:
            raise Refused("no answer") from None


@probe
def host_abstract_socket():
    return connect(socket.AF_UNIX, "\0" + OPTIONS["abstract"])


@probe
def host_address_tcp():
    last = Refused("the host has no other address")
    for address in OPTIONS["host_addresses"]:
        try:
            return connect(socket.AF_INET, (address, OPTIONS["tcp_port"]))
        except OSError as error:
            last = error
    raise last


@probe
def metadata_service():
    if not OPTIONS.get("inside"):
        return "not asked from the host"
    return connect(socket.AF_INET, ("169.254.169.254", 80))


@probe
def anywhere_udp():
    """A datagram to an address outside: the route itself is missing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(("192.0.2.1", 9))
        return peer.getsockname()


@probe
def anywhere_ipv6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        peer.connect(("2001:db8::1", 9))
        return peer.getsockname()


@probe
def system_v_memory():
    key = OPTIONS["shm_key"]
    identifier = libc.shmget(key, 0, 0)
    if identifier < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    return identifier


@probe
def host_processes():
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if OPTIONS["marker"].encode() in open(f"/proc/{name}/cmdline", "rb").read():
                    found.append(name)
            except OSError:
                continue
    if not found:
        raise Refused("not seen")
    return found


@probe
def host_files():
    """Every name and the mount table, searched for the canaries of the host."""
    found, token = [], OPTIONS["canary"]
    for top, children, names in os.walk("/" if OPTIONS.get("inside") else "/root"):
        children[:] = [child for child in children if os.path.join(top, child) not in ("/proc", "/sys")]
        found.extend(os.path.join(top, name) for name in children + names if token in name)
    if token in open("/proc/self/mountinfo").read():
        found.append("/proc/self/mountinfo")
    for name in ("mounts", "mountstats", "environ"):
        if token in open(f"/proc/self/{name}", errors="replace").read():
            found.append(f"/proc/self/{name}")
    if not found:
        raise Refused("not found")
    return found


# --- facts that are not a matter of allowed or refused

def status_of(pid="self"):
    return dict(line.rstrip("\n").split(":\t", 1) for line in open(f"/proc/{pid}/status") if ":\t" in line)


def landlock_works():
    attributes = struct.pack("Q", 1 << 1)  # write to files
    ruleset = call("landlock_create_ruleset", ctypes.c_char_p(attributes), 8, 0)
    if libc.prctl(38, 1, 0, 0, 0) or libc.syscall(ctypes.c_long(446), ctypes.c_long(ruleset), ctypes.c_long(0)) < 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    try:
        open(SCRATCH + "/rauha-landlock", "w").close()
        return "armed without effect"
    except PermissionError:
        return "works"


def seccomp_works():
    # getppid (110) fails with ENOTTY (25), everything else is allowed
    program = b"".join(struct.pack("HBBI", *line) for line in ((0x20, 0, 0, 0), (0x15, 0, 1, 110), (0x06, 0, 0, 0x00050019), (0x06, 0, 0, 0x7FFF0000)))
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", 4, ctypes.addressof(buffer))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(header), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
    libc.syscall(ctypes.c_long(110))
    return "works" if ctypes.get_errno() == 25 else "armed without effect"


def facts():
    links = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            links[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return {
        "status": status_of(),
        "descriptors": links,
        "uid_map": open("/proc/self/uid_map").read().split(),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "hostname": os.uname().nodename,
        "dev": sorted(os.listdir("/dev")),
        "mountinfo": open("/proc/self/mountinfo").read(),
        "cgroup": open("/proc/self/cgroup").read(),
        "pid": os.getpid(), "ppid": os.getppid(),
        "pid1": open("/proc/1/comm").read().strip(),
        "landlock": run(landlock_works), "seccomp": run(seccomp_works),
        "resolv": os.path.exists("/etc/resolv.conf") and open("/etc/resolv.conf").read(),
        "environ": dict(os.environ),
        "usr_owner": os.stat("/usr").st_uid,
        "sid": os.getsid(0),
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
        "boot_id": open("/proc/sys/kernel/random/boot_id").read().strip() if os.path.exists("/proc/sys/kernel/random/boot_id") else None,
    }


if __name__ == "__main__":
    result = {"facts": facts()}
    result["probes"] = {name: run(function) for name, function in PROBES.items() if name not in OPTIONS.get("leave_out", ())}
    json.dump(result, sys.stdout)
