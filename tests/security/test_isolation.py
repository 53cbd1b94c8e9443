"""From inside a zone nothing of the host is reached. Each probe of probe.py has its control: the same code, run on the host, succeeds."""

import ctypes
import gzip
import hashlib
import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
import warnings

import pytest

import probe
from support import procs
from support.images import File, Image, busybox_layer
from support.make_oci_image import Device, Dir, Hardlink, Opaque, Symlink, Whiteout
from support.instance import BIN, REPOSITORY
from support.waiting import eventually, patient

pytestmark = pytest.mark.guest
SOURCE = pathlib.Path(probe.__file__).read_text()
PYTHON = ("python3", "-c")
RANGE_START, RANGE_END = 0x70000000, 0x70000000 + 4095 * 65536

# On each machine that Rauha supports the control of these must succeed: without that, the suite proves nothing.
CONTROLS_THAT_MUST_WORK = """mount_tmpfs mount_proc mount_bind remount_read_write remount_proc_sys pivot_root new_mount_api open_tree_clone unshare_user
unshare_mnt unshare_net unshare_pid unshare_cgroup clone_new_user setns_own setns_of_pid_1 set_hostname clone_into_cgroup write_a_cgroup_file
mknod_null socket_packet socket_netlink_audit bpf_map userfaultfd keyctl_user_keyring add_key open_by_handle kernel_log reboot swap_on set_time
pid1_root pid1_exe pid1_environ pid1_memory pid1_ptrace chown_a_program read_shadow host_loopback_tcp host_loopback_udp host_abstract_socket
system_v_memory host_processes host_files become_an_unmapped_user any_writable_file_of_proc_sys any_writable_file_of_sys
any_writable_file_of_proc""".split()


class HostServices:
    """Things of the host that a zone must not reach: servers, files, a process, a shared memory segment."""

    def __init__(self):
        self.token = "rauha-canary-" + secrets.token_hex(8)
        self.tcp = socket.create_server(("0.0.0.0", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0" + self.token)
        self.abstract.listen(16)
        self.arrivals = 0
        threading.Thread(target=self._echo, daemon=True).start()
        self.files = []
        for place in ("/tmp", "/var/tmp", "/root", "/run", "/home", "/etc", "/srv", "/"):
            if os.path.isdir(place):
                path = pathlib.Path(place) / self.token
                path.write_text(self.token)
                self.files.append(path)
        self.process = subprocess.Popen(["sh", "-c", "while :; do sleep 5; done", self.token])
        libc = ctypes.CDLL(None)
        self.shm_key = 0x52410000 | os.getpid() & 0xFFFF
        self.shm = libc.shmget(self.shm_key, 4096, 0o1666)

    def _echo(self):
        while True:
            try:
                data, peer = self.udp.recvfrom(100)
            except OSError:
                return
            self.arrivals += 1
            self.udp.sendto(data, peer)

    def options(self, inside):
        addresses = []
        listing = subprocess.run(["ip", "-json", "address"], capture_output=True)
        if listing.returncode == 0:
            addresses = [item["local"] for link in json.loads(listing.stdout) for item in link["addr_info"]
                         if item["family"] == "inet" and not item["local"].startswith("127.")]
        return {"inside": inside, "target": 1 if inside else self.process.pid, "tcp_port": self.tcp.getsockname()[1], "udp_port": self.udp.getsockname()[1], "abstract": self.token,
                "host_addresses": addresses, "shm_key": self.shm_key, "marker": self.token, "canary": self.token}

    def close(self):
        for path in self.files:
            path.unlink()
        self.process.kill()
        self.process.wait()
        for peer in (self.tcp, self.udp, self.abstract):
            peer.close()
        ctypes.CDLL(None).shmctl(self.shm, 0, None)


@pytest.fixture(scope="module")
def host():
    services = HostServices()
    yield services
    services.close()


@pytest.fixture(scope="module")
def inside(rauha, host):
    """The probe's findings in a zone of the default policy. The token is not in the command line: it comes as standard input."""
    wrapper = "import sys; sys.argv = ['probe', sys.stdin.readline()]; exec(compile(sys.stdin.read(), 'probe', 'exec'))"
    feed = json.dumps(host.options(True)) + "\n" + SOURCE
    result = rauha.sandbox(*PYTHON, wrapper, input=feed.encode(), options=["--timeout", "240s"], timeout=240)
    result.task("succeeded", 0)
    findings = json.loads(result.json["stdout"])
    findings["result"] = result.json
    return findings


@pytest.fixture(scope="module")
def outside(host):
    with tempfile.TemporaryDirectory(prefix="rauha-probe-") as scratch:
        done = subprocess.run(["/usr/bin/python3", probe.__file__, json.dumps({**host.options(False), "scratch": scratch})], capture_output=True,
                              timeout=240, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", sorted(probe.PROBES))
def test_refused_inside(inside, outside, name):
    found = inside["probes"][name]
    assert found.startswith(("refused: ", "killed: -31")), f"{name} inside the zone: {found}"
    control = outside["probes"][name]
    assert not control.startswith("BROKEN"), f"the control itself is broken: {control}"
    if not control.startswith("allowed"):
        warnings.warn(f"{name}: refused inside, but this machine refuses the host too ({control})")


@pytest.mark.parametrize("name", CONTROLS_THAT_MUST_WORK)
def test_control_succeeds_outside(outside, name):
    assert outside["probes"][name].startswith("allowed"), f"{name} on the host: {outside['probes'][name]}; a refusal inside proves nothing"


# --- what the zone is

def test_process_1_is_the_zones_init(inside):
    assert inside["facts"]["pid1"] == "rauha-init" and inside["facts"]["pid"] > 1


def test_only_loopback(inside):
    assert inside["facts"]["interfaces"] == ["lo"]


def test_loopback_is_up(rauha):
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); c.send(b'x'); print(s.accept()[0].recv(1))"
    assert rauha.sandbox(*PYTHON, script).task("succeeded", 0)["stdout"] == "b'x'\n"


def test_low_ports_are_the_zones_own(rauha):
    """The network namespace belongs to the zone's user namespace (net_bind_service is in the policy, or the sysctl allows it)."""
    script = "import os; print(os.stat('/sys/class/net/lo').st_uid, open('/proc/sys/net/ipv4/ip_unprivileged_port_start').read())"
    rauha.sandbox(*PYTHON, script).task("succeeded", 0)


def test_hostname_is_not_the_hosts(inside, rauha):
    assert inside["facts"]["hostname"] != os.uname().nodename


def test_every_namespace_is_another_one(inside, outside):
    ours, theirs = inside["facts"]["namespaces"], outside["facts"]["namespaces"]
    for name in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup"):
        assert ours[name] != theirs[name], f"the {name} namespace is the host's"


def test_no_path_of_the_host_in_the_mount_table(inside, rauha):
    """Neither the instance's directories nor layers and upper directories of an overlay are told."""
    text = inside["facts"]["mountinfo"]
    for word in (str(rauha.root), rauha.root.name, rauha.name, "upperdir=/", "lowerdir=/", "workdir=/", "zone_", "/var/lib/rauha"):
        assert word not in text, f"{word} in:\n{text}"


def test_overlay_tells_no_path(rauha, tmp_path):
    image = f"dir:{Image(busybox_layer()).directory(tmp_path / 'tree')}"
    text = rauha.sandbox("/bin/cat", "/proc/self/mountinfo", image=image).task("succeeded", 0)["stdout"]
    for word in (rauha.root.name, str(tmp_path), tmp_path.name, "zone_"):
        assert word not in text, f"{word} in:\n{text}"


def test_mounts_are_locked_down(inside):
    for line in inside["facts"]["mountinfo"].splitlines():
        fields = line.split()
        target, options, kind = fields[4], set(fields[5].split(",")), fields[fields.index("-") + 1]
        if target != "/" and kind != "devpts":
            assert "nosuid" in options, line
        if kind in ("sysfs", "cgroup", "cgroup2") or target == "/proc/sys":
            assert "ro" in options, line
        if target.startswith(("/usr", "/bin", "/lib", "/sbin", "/opt", "/etc")):
            assert "ro" in options and "nodev" in options, line
        assert not [field for field in fields[6:fields.index("-")] if field.startswith(("shared", "master"))], f"propagation: {line}"


def test_control_groups_are_not_told(inside, rauha):
    for line in inside["facts"]["cgroup"].splitlines():
        assert rauha.name not in line and "zone_" not in line, line


def test_devices_are_the_minimum(inside):
    allowed = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd", "stdin", "stdout", "stderr", "mqueue", "core", "console"}
    assert set(inside["facts"]["dev"]) <= allowed, set(inside["facts"]["dev"]) - allowed
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd"} <= set(inside["facts"]["dev"])


def test_devices_work(rauha):
    script = ("import os; open('/dev/null','w').write('x'); assert open('/dev/zero','rb').read(4) == bytes(4); assert len(open('/dev/urandom','rb').read(9)) == 9\n"
              "import pty; m, s = pty.openpty(); os.write(s, b'x'); print(os.read(m, 1))\n"
              "try: open('/dev/full','w', buffering=1).write('x\\n')\nexcept OSError as e: print(e.errno)")
    assert rauha.sandbox(*PYTHON, script).task("succeeded", 0)["stdout"] == "b'x'\n28\n"


def test_no_name_service(inside):
    assert not [line for line in (inside["facts"]["resolv"] or "").splitlines() if line.startswith("nameserver")]


def test_sandbox_within_the_sandbox(inside, outside):
    """Landlock and seccomp stay usable inside, as a build tool or a browser expects."""
    assert inside["facts"]["seccomp"] == "allowed: works"
    if outside["facts"]["landlock"] == "allowed: works":
        assert inside["facts"]["landlock"] == "allowed: works"


def test_nothing_arrived_at_the_host(inside, host):
    before = host.arrivals
    assert inside["probes"]["host_loopback_udp"].startswith("refused")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"control", host.udp.getsockname())
        peer.settimeout(5)
        peer.recv(100)
    assert host.arrivals == before + 1, "the control: an arrival is counted"


# --- rights

def capabilities_of(names):
    numbers = {name: number for number, name in enumerate(
        """chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw
        ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod
        lease audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore""".split())}
    return sum(1 << numbers[name.removeprefix("cap_")] for name in names)


def test_capabilities_are_exactly_the_policys(inside):
    status, posture = inside["facts"]["status"], inside["result"]["posture"]
    expected = capabilities_of(posture["capabilities"])
    assert int(status["CapBnd"], 16) == int(status["CapPrm"], 16) == int(status["CapEff"], 16) == expected
    assert int(status["CapInh"], 16) in (0, expected) and int(status["CapAmb"], 16) == 0
    dangerous = capabilities_of("sys_admin sys_module sys_rawio sys_ptrace sys_boot sys_time net_admin mac_admin bpf perfmon dac_read_search syslog".split())
    assert expected & dangerous == 0, posture["capabilities"]


@pytest.mark.parametrize("granted", [[], ["chown"], ["chown", "kill", "setuid", "setgid"]], ids=lambda names: "+".join(names) or "none")
def test_capabilities_from_the_policy(rauha, policy_file, granted):
    document = rauha.sandbox("grep", "^Cap", "/proc/self/status", options=policy_file(capabilities=granted)).task("succeeded", 0)
    sets = {line.split(":")[0]: int(line.split()[1], 16) for line in document["stdout"].splitlines()}
    expected = capabilities_of(granted)
    assert sets["CapBnd"] == sets["CapPrm"] == sets["CapEff"] == expected and sets["CapInh"] in (0, expected) and sets["CapAmb"] in (0, expected)
    assert sorted(document["posture"]["capabilities"]) == sorted(granted)


def test_capability_has_an_effect(rauha, policy_file):
    """Control of the one above: chown works with the capability and fails without it."""
    script = "import os; open('/tmp/f', 'w').close(); os.chown('/tmp/f', 5, 5); print('CHANGED')"
    assert rauha.sandbox(*PYTHON, script, options=policy_file(capabilities=["chown"])).task("succeeded", 0)["stdout"] == "CHANGED\n"
    assert "PermissionError" in rauha.sandbox(*PYTHON, script, options=policy_file(capabilities=[])).task("failed", 1)["stderr"]


def test_no_new_privileges_and_seccomp(inside):
    status = inside["facts"]["status"]
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"


def test_policy_denies_on_top(rauha, policy_file):
    script = "import os; os.mkdir('/tmp/made'); print('MADE')"
    assert rauha.sandbox(*PYTHON, script).task("succeeded", 0)["stdout"] == "MADE\n", "the control"
    denied = rauha.sandbox(*PYTHON, script, options=policy_file(syscalls={"deny": ["mkdir", "mkdirat"]})).task("failed", 1)
    assert "PermissionError" in denied["stderr"]


def test_policy_masks_and_protects(rauha, policy_file):
    script = "cat /usr/bin/env | wc -c; ls /usr/share | wc -l; touch /var/x 2>&1; echo $?"
    plain = rauha.sandbox("sh", "-c", script).task("succeeded", 0)["stdout"].split("\n")
    assert int(plain[0]) > 0 and int(plain[1]) > 0 and plain[2] == "0", "the control"
    options = policy_file(filesystem={"masked": ["/usr/bin/env", "/usr/share"], "read_only": ["/var"]})
    lines = rauha.sandbox("sh", "-c", script, options=options).task("succeeded", 0)["stdout"].split("\n")
    assert lines[0] == "0" and lines[1] == "0" and lines[3] == "1", lines


def test_policy_read_only_root(rauha, policy_file):
    script = "for d in / /etc /var /root /home; do touch $d/probe 2>/dev/null && echo WROTE $d; done; echo x > /tmp/probe && cat /tmp/probe"
    document = rauha.sandbox("sh", "-c", script, options=policy_file(filesystem={"read_only_root": True})).task("succeeded", 0)
    assert document["stdout"] == "x\n"


# --- seen from the host

@pytest.fixture
def sleeping(rauha):
    """A running task, and its process as the host sees it."""
    marker = f"{86000 + secrets.randbelow(300)}.{secrets.randbelow(10**9)}"
    running = rauha.start_sandbox("sleep", marker)
    found = eventually(lambda: procs.with_marker(marker), 30, "the task's process")
    yield found[0]
    running.process.send_signal(signal.SIGTERM)
    running.wait(30)


def test_ids_on_the_host(sleeping):
    maps = {name: list(map(int, pathlib.Path(f"/proc/{sleeping.pid}/{name}").read_text().split())) for name in ("uid_map", "gid_map")}
    for name, values in maps.items():
        assert len(values) == 3 and values[0] == 0 and values[2] == 65536 and RANGE_START <= values[1] < RANGE_END, f"{name}: {values}"
    assert sleeping.uid == maps["uid_map"][1], "zone root is not the first id of its range on the host"


def test_posture_is_true_on_the_host(sleeping):
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{sleeping.pid}/status").read_text().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert len(status["NSpid"].split()) == 2 and int(status["NSpid"].split()[1]) > 1
    for name in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup"):
        assert os.readlink(f"/proc/{sleeping.pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")


def test_descriptors_on_the_host(sleeping):
    assert sorted(os.listdir(f"/proc/{sleeping.pid}/fd")) == ["0", "1", "2"]


def test_root_of_the_process_holds_no_host_tree(sleeping):
    top = f"/proc/{sleeping.pid}/root/"
    assert not os.path.exists(top + "root/.bashrc") and not os.path.exists(top + "boot") and os.stat(top).st_ino != os.stat("/").st_ino


def test_two_zones_have_disjoint_ids(rauha):
    markers = [f"85{index}.{secrets.randbelow(10**9)}" for index in range(3)]
    running = [rauha.start_sandbox("sleep", marker) for marker in markers]
    try:
        bases = [eventually(lambda m=marker: procs.with_marker(m), 30, "a task")[0].uid for marker in markers]
        assert len({base // 65536 for base in bases}) == 3 and all(RANGE_START <= base < RANGE_END for base in bases), bases
    finally:
        for task in running:
            task.process.send_signal(signal.SIGTERM)
        for task in running:
            task.wait(30)


def test_descriptors_of_the_caller_do_not_come_along(rauha):
    """A caller with a directory open: no tool that runs the task may hand it in."""
    opened = [os.open("/", os.O_RDONLY | os.O_DIRECTORY), os.open("/etc/shadow", os.O_RDONLY)]
    for fd in opened:
        os.set_inheritable(fd, True)
    try:
        script = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))), [os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.lexists(f'/proc/self/fd/{n}')])"
        for number in range(2):
            if number == 1:  # also as the first command of a fresh daemon, which could have kept them
                rauha.kill_daemon(signal.SIGTERM)
            document = rauha.sandbox(*PYTHON, script, pass_fds=opened).task("succeeded", 0)
            assert document["stdout"].startswith("[0, 1, 2, 3] "), "3 is the listing itself: " + document["stdout"]
            assert "shadow" not in document["stdout"]
        daemon = rauha.daemon_pid()
        assert "/etc/shadow" not in [os.readlink(f"/proc/{daemon}/fd/{n}") for n in os.listdir(f"/proc/{daemon}/fd")], "the daemon keeps the caller's files open"
    finally:
        for fd in opened:
            os.close(fd)


# --- signals and the zone's own end

def test_kill_everybody(rauha, host):
    """kill(-1) inside ends only what is inside: not the host's process, not the shim, not the daemon."""
    daemon = rauha.ensure_daemon()
    script = "import os, signal; os.kill(-1, signal.SIGKILL) if os.fork() == 0 else os.wait(); print('parent is alive')"
    result = rauha.sandbox(*PYTHON, script)
    assert result.json["status"] in ("killed", "succeeded"), result.explain()
    assert host.process.poll() is None and rauha.daemon_pid() == daemon


def test_process_1_cannot_be_killed(rauha):
    script = "import os, signal\nfor n in range(1, 65):\n    try: os.kill(1, n)\n    except OSError: pass\nprint('alive')"
    assert rauha.sandbox(*PYTHON, script).task("succeeded", 0)["stdout"] == "alive\n"


def test_orphans_are_reaped(rauha):
    script = """
import os, time
for _ in range(30):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    zombies = []
    for n in os.listdir('/proc'):
        try:
            if n.isdigit() and ' Z ' in open(f'/proc/{n}/stat').read():
                zombies.append(n)
        except OSError:  # reaped between the two
            pass
    if not zombies:
        break
    time.sleep(0.05)
print(len(zombies))
"""
    assert rauha.sandbox(*PYTHON, script).task("succeeded", 0)["stdout"] == "0\n"


def test_the_shims_protection_is_not_inherited(rauha):
    """The shim may lower its own out-of-memory score; a task with that score would outlive everybody else's processes."""
    result = rauha.sandbox("/bin/cat", "/proc/self/oom_score_adj", "/proc/1/oom_score_adj").task("succeeded", 0)
    assert all(int(line) >= 0 for line in result["stdout"].split()), result["stdout"]


# --- privileged zones: the control of the whole, and said so

def test_privileged_zone_is_the_hosts_root(rauha):
    path = REPOSITORY / "policies" / "privileged.toml"
    document = rauha.sandbox("cat", "/proc/self/uid_map", options=["--policy", str(path)]).task("succeeded", 0)
    assert document["stdout"].split() == ["0", "0", "4294967295"]
    posture = document["posture"]
    layers = {layer["name"]: layer for layer in posture["layers"]}
    assert posture["user_namespace"] == "host" and layers["user_namespace"]["armed"] is False, posture


# What a process with the host's root does to a program's file through /proc; all of it changes nothing where it is allowed.
TOUCH = """
import ctypes, errno, json, os, struct, subprocess
def attempts(exe):
    seen = os.stat(exe)
    def unlock():
        fd = os.open(exe, os.O_PATH)
        attributes = ctypes.create_string_buffer(struct.pack('QQQQ', 0, 1, 0, 0))
        if ctypes.CDLL(None, use_errno=True).syscall(442, fd, b'', 0x1000, attributes, 32) != 0:
            raise OSError(ctypes.get_errno(), 'mount_setattr')
    def mark():
        os.setxattr(exe, 'user.rauha', b'x')
        os.removexattr(exe, 'user.rauha')
    found = {'inode': seen.st_ino}
    for name, call in (('unlock', unlock), ('chmod', lambda: os.chmod(exe, seen.st_mode & 0o7777)), ('chown', lambda: os.chown(exe, seen.st_uid, seen.st_gid)),
                       ('utime', lambda: os.utime(exe, ns=(seen.st_atime_ns, seen.st_mtime_ns))), ('mark', mark)):
        try:
            call()
            found[name] = 'allowed'
        except OSError as error:
            found[name] = errno.errorcode[error.errno]
    return found
own = '/tmp/own'
subprocess.run(['cp', '/usr/bin/sleep', own], check=True)
sleeper = subprocess.Popen([own, '1000'])
while os.readlink(f'/proc/{sleeper.pid}/exe') != own:
    pass
print(json.dumps({'own': attempts(f'/proc/{sleeper.pid}/exe'), 'shim': attempts('/proc/1/exe')}))
"""


@pytest.mark.parametrize("more", [[], ["sys_admin"]], ids=["shipped", "sys_admin"])
def test_privileged_zone_cannot_change_the_shim(rauha, tmp_path, more):
    """Root of a privileged zone sees the host's rauha-shim behind /proc/1/exe. The control is the same on a program of its own."""
    text = (REPOSITORY / "policies" / "privileged.toml").read_text().replace('"mknod",', ", ".join(f'"{name}"' for name in ["mknod", *more]) + ",")
    path = tmp_path / "policy.toml"
    path.write_text(text)
    document = rauha.sandbox(*PYTHON, TOUCH, options=["--policy", str(path)]).task("succeeded", 0)
    found = json.loads(document["stdout"])
    assert found["shim"]["inode"] == (BIN / "rauha-shim").stat().st_ino, "the control: this is the host's file"
    assert found["own"]["chmod"] == found["own"]["chown"] == found["own"]["utime"] == "allowed", found
    assert found["shim"]["chmod"] == found["shim"]["chown"] == found["shim"]["utime"] == "EROFS", found
    assert found["shim"]["mark"] != "allowed" and found["shim"]["unlock"] == ("EINVAL" if more else "EPERM"), found


# --- hostile images

@pytest.fixture
def victim(tmp_path):
    """A place of the host that hostile images point to."""
    path = tmp_path / "victim"
    path.mkdir()
    (path / "file").write_text("canary")
    path.chmod(0o755)
    return path


def tree(victim):
    return sorted((str(path.relative_to(victim)), path.lstat().st_mode, path.lstat().st_uid, path.read_bytes() if path.is_file() else b"")
                  for path in victim.rglob("*"))


@pytest.mark.parametrize("target", ["proc", "sys", "dev", "workspace", "tmp", "etc", "dev/shm", "dev/pts", "var", "run", "root"])
@pytest.mark.parametrize("kind", ["absolute", "relative", "to-root", "file"])
def test_image_whose_mount_points_are_links(rauha, tmp_path, victim, target, kind):
    """A mount point that is a link to a place of the host (or a file): refused or contained, but never followed."""
    image = Image([item for item in busybox_layer() if item[0].name.split("/")[0] != target.split("/")[0]], Env=["PATH=/bin"])
    path = image.directory(tmp_path / "tree")
    place = path / target
    place.parent.mkdir(parents=True, exist_ok=True)
    link = {"absolute": str(victim), "relative": "../" * 20 + str(victim).lstrip("/"), "to-root": "/"}.get(kind)
    if link:
        place.symlink_to(link)
    else:
        place.write_text("a file")
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "mine").write_text("x")
    before = tree(victim)
    script = f"cat {victim}/file; echo written > /{target}/new; echo written > {victim}/new; ls /{target}; cat /proc/self/mountinfo"
    result = rauha.sandbox("/bin/sh", "-c", script, image=f"dir:{path}", options=["--repo-path", str(repo), "--repo-mode", "ro"])
    assert result.json["status"] in ("succeeded", "failed", "runtime_error"), result.explain()
    if result.json["status"] == "runtime_error":
        result.refused(result.returncode)
    assert "canary" not in result.json["stdout"], result.explain("a file of the host was read")
    assert tree(victim) == before, result.explain("the host was changed")


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "huge", "endless-line", "binary", "device"])
def test_image_with_a_hostile_user_file(rauha, tmp_path, name, kind):
    """The user is looked up inside the image, by the agent: bounded, without following links to the host, without blocking."""
    path = Image([item for item in busybox_layer() if item[0].name != f"etc/{name}"], Env=["PATH=/bin"]).directory(tmp_path / "tree")
    file = path / "etc" / name
    if kind == "link":
        file.symlink_to("/etc/" + name if name == "group" else "../" * 20 + "etc/passwd")
    elif kind == "directory":
        file.mkdir()
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        os.mknod(file, 0o20666, os.makedev(1, 5))
    elif kind == "huge":
        with open(file, "wb") as out:
            out.truncate(4 << 30)
    elif kind == "endless-line":
        file.write_bytes(b"x" * (16 << 20))
    else:
        file.write_bytes(os.urandom(100_000))
    for options in ([], ["--user", "user"]):
        result = rauha.sandbox("/bin/echo", "ran", image=f"dir:{path}", options=options, timeout=30)
        if result.returncode == 0:
            assert result.task("succeeded", 0)["stdout"] == "ran\n"
        else:
            result.refused(125)
        assert result.seconds < patient(10), result.explain("it took long")


def test_user_file_that_leads_out_of_the_image(rauha, tmp_path):
    """It is read with the host's rights before anything is masked: a link into /proc must not be followed."""
    path = Image([item for item in busybox_layer() if item[0].name != "etc/passwd"], Env=["PATH=/bin"]).directory(tmp_path / "tree")
    for target in ("/proc/version", "../proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled", "/dev/null"):
        (path / "etc/passwd").unlink(missing_ok=True)
        (path / "etc/passwd").symlink_to(target)
        rauha.sandbox("/bin/true", image=f"dir:{path}", options=["--user", "nobody"]).refused(125, "image", "denied", "out of the image")


@pytest.mark.parametrize("target", ["tmp", "workspace"])
def test_mount_point_that_leads_to_the_root(rauha, tmp_path, target):
    path = Image([item for item in busybox_layer() if item[0].name.split("/")[0] != target], Env=["PATH=/bin"]).directory(tmp_path / "tree")
    (path / target).symlink_to("/")
    repo = tmp_path / "repo"
    repo.mkdir()
    result = rauha.sandbox("/bin/true", image=f"dir:{path}", options=["--repo-path", str(repo), "--repo-mode", "ro"])
    result.refused(125, "image", "invalid", f"/{target}")


def layer_image(tmp_path, *entries):
    return f"oci:{Image(busybox_layer(), list(entries), Env=['PATH=/bin']).oci(tmp_path / 'oci')}"


@pytest.mark.parametrize("attack", ["dotdot", "absolute", "through-link", "through-absolute-link", "hardlink", "hardlink-absolute", "hardlink-through-link",
                                    "whiteout-dotdot", "opaque-through-link", "device"])
def test_layer_that_leaves_its_directory(rauha, tmp_path, victim, attack):
    up = "../" * 20 + str(victim).lstrip("/")
    entries = {
        "dotdot": [File(f"{up}/new", b"x")],
        "absolute": [File(f"{victim}/new", b"x")],
        "through-link": [Symlink("etc/out", up.replace("../", "../", 1)), File("etc/out/new", b"x")],
        "through-absolute-link": [Symlink("out", str(victim)), File("out/new", b"x"), File("out/file", b"overwritten")],
        "hardlink": [Hardlink("stolen", f"{up}/file"), File("stolen", b"overwritten")],
        "hardlink-absolute": [Hardlink("stolen", f"{victim}/file"), File("stolen", b"overwritten")],
        "hardlink-through-link": [Symlink("out", str(victim)), Hardlink("stolen", "out/file")],
        "whiteout-dotdot": [Whiteout(f"{up}/file"), Whiteout("etc/.."), Whiteout("..")],
        "opaque-through-link": [Symlink("out", str(victim)), Opaque("out"), Whiteout("out/file")],
        "device": [Device("dev/disk", "b", 254, 0), Device("disk", "b", 254, 0)],
    }[attack]
    before = tree(victim)
    result = rauha.sandbox("/bin/sh", "-c", f"cat /stolen /out/file /etc/out/file; head -c 16 /disk /dev/disk | wc -c; cat {victim}/file",
                           image=layer_image(tmp_path, *entries))
    assert tree(victim) == before, result.explain("the host was changed")
    assert "canary" not in result.json["stdout"], result.explain("a file of the host was read")
    if result.json["status"] == "runtime_error":
        result.refused(125, "image")
    elif attack == "device":
        assert result.json["stdout"].split() and result.json["stdout"].split()[0] == "0", result.explain("a block device of the image opened")


def test_bomb_of_compressed_zeros(rauha, tmp_path):
    """A layer of many gigabytes that compresses to nothing is refused, or unpacked within a bound, and the message says so."""
    image = Image(busybox_layer(), Env=["PATH=/bin"])
    layout = image.oci(tmp_path / "oci")
    size, chunk = 80 << 30, bytes(16 << 20)
    info = tarfile.TarInfo("bomb")
    info.size = size
    block = info.tobuf(format=tarfile.GNU_FORMAT)
    compressed = gzip.compress(chunk, 9)
    blob = gzip.compress(block, 9) + compressed * (size // len(chunk)) + gzip.compress(bytes(1024), 9)
    name = hashlib.sha256(blob).hexdigest()
    (layout / "blobs" / "sha256" / name).write_bytes(blob)
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((layout / "blobs" / "sha256" / index["manifests"][0]["digest"].split(":")[1]).read_text())
    manifest["layers"].append({"mediaType": manifest["layers"][0]["mediaType"], "digest": "sha256:" + name, "size": len(blob)})
    data = json.dumps(manifest).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(data)
    index["manifests"][0].update(digest="sha256:" + digest, size=len(data))
    (layout / "index.json").write_text(json.dumps(index))
    rauha.sandbox("/bin/true", image=f"oci:{layout}", timeout=60).refused(125, "image")


def test_set_user_id_program_gains_nothing(rauha, tmp_path):
    """A set-user-ID program of the image, started by another user. The control runs the same file on the host in a chroot."""
    path = Image(busybox_layer(), [Dir("lib"), Dir("lib64"), Dir("usr")], Env=["PATH=/bin"], User="1000:1000")
    tar = path.directory(tmp_path / "tree")
    libraries = [word for line in subprocess.run(["ldd", "/usr/bin/id"], capture_output=True, text=True, check=True).stdout.splitlines()
                 for word in line.split() if word.startswith("/")]
    files = []
    for library in libraries:
        files.append(File(library.lstrip("/"), pathlib.Path(library).read_bytes(), mode=0o755))
        target = tar / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(pathlib.Path(library).read_bytes())
        target.chmod(0o755)
    program = pathlib.Path("/usr/bin/id").read_bytes()
    (tar / "suid-id").write_bytes(program)
    (tar / "suid-id").chmod(0o4755)

    def become_user():
        os.chroot(tar)
        os.chdir("/")
        os.setgroups([])
        os.setgid(1000)
        os.setuid(1000)

    control = subprocess.run(["/suid-id", "-u"], capture_output=True, text=True, preexec_fn=become_user)
    assert control.stdout == "0\n", f"the control: the bit works on the host: {control}"
    layer = [*files, File("suid-id", program, mode=0o4755)]
    layout = Image(busybox_layer(), layer, Env=["PATH=/bin"], User="1000:1000").oci(tmp_path / "oci")
    document = rauha.sandbox("/suid-id", "-u", image=f"oci:{layout}").task("succeeded", 0)
    assert document["stdout"] == "1000\n"


@pytest.mark.parametrize("where", ["/proc/self/fd/{}", "/proc/thread-self/fd/{}", "/workspace/link-{}"])
def test_workdir_through_an_open_descriptor(rauha, tmp_path, where):
    """While a process is made, descriptors of host directories are open in it; a working directory there has the host's root above it."""
    repo = tmp_path / "repo"
    repo.mkdir()
    for number in range(3, 32):
        (repo / f"link-{number}").symlink_to(f"/proc/self/fd/{number}")
    for number in range(3, 32):
        result = rauha.sandbox("readlink", "/proc/self/cwd", options=["--repo-path", str(repo), "--repo-mode", "ro", "--workdir", where.format(number)])
        result.refused(125, "zone")


def test_image_with_a_workdir_of_an_open_descriptor(rauha, tmp_path):
    for number in range(3, 32):
        path = f"/proc/self/fd/{number}"
        layout = Image(busybox_layer(), [Symlink("work", path)], Env=["PATH=/bin"], WorkingDir=path).oci(tmp_path / f"oci-{number}")
        rauha.sandbox("pwd", image=f"oci:{layout}").refused(125, "zone")


def test_archive_of_endless_names(rauha, tmp_path):
    """Names of an archive stay in memory until it is read: no name is longer than a file system takes."""
    path = tmp_path / "names.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("a/" * 3000))
    assert "longer than" in rauha.sandbox("true", image=f"docker-archive:{path}").refused(125, "image", "limit")["text"]
