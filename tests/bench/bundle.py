"""A bundle that crun and runc can run, with what `rauha sandbox` does too: namespaces, limits, a seccomp allow-list, few capabilities."""

import json
import os
import re
import subprocess

# Not on the allow-list: what changes the machine rather than the process. The rest of the kernel's table is allowed, some 300 names, as in the
# field's common profile; libseccomp compiles it at each start.
REFUSED = set("""acct add_key adjtimex bpf clock_adjtime clock_settime create_module delete_module finit_module fsconfig fsmount fsopen fspick
get_kernel_syms init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie
mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at open_tree perf_event_open pivot_root process_vm_readv process_vm_writev
ptrace query_module quotactl quotactl_fd reboot request_key setdomainname sethostname setns settimeofday swapoff swapon sysfs _sysctl umount2
unshare uselib userfaultfd ustat vhangup vmsplice afs_syscall getpmsg putpmsg security tuxcall vserver""".split())
TABLE = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"


def allowed_calls():
    with open(TABLE, encoding="ascii") as table:
        names = re.findall(r"#define __NR_(\w+) ", table.read())
    return [name for name in names if name not in REFUSED]


def make_bundle(runtime, directory, rootfs, command, seccomp):
    """directory/config.json for a root file system elsewhere. runtime: the program that writes its own default first."""
    os.makedirs(directory)
    subprocess.run([runtime, "spec"], cwd=directory, check=True)
    path = os.path.join(directory, "config.json")
    with open(path, encoding="utf-8") as source:
        config = json.load(source)
    config["process"]["terminal"] = False
    config["process"]["args"] = command
    config["process"]["noNewPrivileges"] = True
    config["process"]["rlimits"] = []  # raising one needs a capability that not every machine's root has
    config["root"] = {"path": str(rootfs), "readonly": True}
    config["linux"]["resources"] = {
        "memory": {"limit": 512 << 20}, "pids": {"limit": 128}, "cpu": {"quota": 100_000, "period": 100_000},
    }
    if seccomp:
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{"names": allowed_calls(), "action": "SCMP_ACT_ALLOW"}],
        }
    with open(path, "w", encoding="utf-8") as out:
        json.dump(config, out)
