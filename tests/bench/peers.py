"""The tools that are measured beside each other, all on one root file system: Rauha, the floor, and whatever peers are installed.

A Bench owns everything that it makes (an instance with its daemon, a root file system, control groups, bundles) and takes it away again.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile

import bundle
import timing
from support import images
from support.instance import RAUHA, Instance

TRUE = ["/bin/true"]
PEERS = ("crun", "runc", "bubblewrap", "podman")  # Debian's names
SECCOMP_HEADER = 72  # of a cached program: its digest and a newline
FLOOR_LIMITS = {"memory": ["memory.limit_in_bytes=536870912"], "pids": ["pids.max=128"], "cpu": ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=100000"]}


class Tool:
    """One way to run a command. `command(words, number)`: the whole command line; number makes names unique ("{}" for `many`)."""

    def __init__(self, key, name, command, hide_v2=False, environment=None, slow=False):
        self.key, self.name, self.command, self.hide_v2, self.environment, self.slow = key, name, command, hide_v2, environment, slow
        self._timer, self._number = None, 0

    def run(self, words=None):
        """Microseconds of one run."""
        if self._timer is None:
            self._timer = timing.Timer(*["--hide-v2"] if self.hide_v2 and timing.HYBRID else [], environment=self.environment)
        self._number += 1
        return self._timer.run(self.command(words or TRUE, str(self._number)))

    def many(self, count, parallel):
        return timing.many(self.command(TRUE, f"m{self._number}-{{}}"), count, parallel, self.hide_v2, self.environment)

    def close(self):
        if self._timer is not None:
            self._timer.close()
            self._timer = None


class Groups:
    """The floor's groups: in the hierarchies that Rauha uses for a zone, found by looking where one has its groups."""

    def __init__(self, instance):
        self.made, self.arguments = [], []
        name = f"rauha-bench-{os.getpid()}"
        with open("/proc/self/mountinfo", encoding="utf-8") as table:
            mounts = [line.split() for line in table]
        for fields in mounts:
            kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
            if kind not in ("cgroup", "cgroup2") or not os.path.isdir(os.path.join(fields[4], instance.name)):
                continue
            directory = os.path.join(fields[4], name)
            os.mkdir(directory)
            self.made.append(directory)
            if kind == "cgroup2":
                self.arguments[:0] = ["--group", directory]
            else:
                self.arguments += ["--v1", directory, *[limit for controller in options for limit in FLOOR_LIMITS.get(controller, [])]]

    def remove(self):
        for directory in self.made:
            os.rmdir(directory)


class Bench:
    """Everything that scenarios share. Use as a context manager."""

    def __enter__(self):
        self.instance = Instance()
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="rauha-bench-"))
        self.groups, self.tools, self.skipped = None, [], {}
        try:
            self._prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for tool in self.tools:
            tool.close()
        self.instance.stop()
        self.instance.remove()
        if self.groups is not None:
            self.groups.remove()
        self._remove_podman()
        shutil.rmtree(self.work)

    def _prepare(self):
        probe = images.File("bin/inside_probe", (timing.PROGRAMS / "inside_probe").read_bytes(), 0o755)
        image = images.Image([*images.busybox_layer(), probe], Env=["PATH=/bin"])
        self.rootfs = image.directory(self.work / "rootfs")
        image.oci(self.work / "layout")
        self.instance.run("image", "import", f"oci:{self.work}/layout", "--name", "bench", "--json").exited(0)
        self.environment = timing.environment_of(self.instance)
        # A zone that stays for a moment shows where groups are made, and leaves the very seccomp program that the floor then loads.
        self.instance.run("zone", "create", "--name", "look").exited(0)
        self.groups = Groups(self.instance)
        self.instance.sandbox(*TRUE, image="bench").exited(0)
        self.instance.run("zone", "delete", "--name", "look").exited(0)
        self._check_floor()
        self.tools = [self._rauha(), self._floor(), *self._runtimes(), *self._bubblewrap(), *self._podman(), self._chroot()]
        for tool in list(self.tools):
            self._try(tool)

    def _try(self, tool):
        """A peer that does not work on this machine is left out, with its reason; ours and the floor must."""
        try:
            for _ in range(3):
                tool.run()
        except RuntimeError as error:
            if tool.key in ("rauha", "floor"):
                raise
            tool.close()
            self.tools.remove(tool)
            command = tool.command(TRUE, "why")
            shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.strip().splitlines()
            self.skipped[tool.name] = f"{error}: {shown[-1] if shown else 'it says nothing'}"[:300]

    def tool(self, key):
        return next((tool for tool in self.tools if tool.key == key), None)

    # --- the tools

    def _rauha(self):
        return Tool("rauha", "rauha sandbox", lambda words, _: [str(RAUHA), "sandbox", "--json", "--image", "bench", "--", *words], environment=self.environment)

    def floor_arguments(self):
        kept = max((self.instance.root / "state/plugins/backend-linux/seccomp").glob("*.bpf"), key=lambda path: path.stat().st_size)
        program = self.work / "seccomp.bpf"
        program.write_bytes(kept.read_bytes()[SECCOMP_HEADER:])
        return [str(timing.PROGRAMS / "floor"), "--rootfs", str(self.rootfs), *self.groups.arguments, "--seccomp", str(program)]

    def _check_floor(self):
        """A floor that lost a layer would make everybody look slow: it is asked what it stands in."""
        run = subprocess.run([*self.floor_arguments(), "--", "/bin/cat", "/proc/self/status", "/proc/self/uid_map", "/proc/self/cgroup", "/proc/self/mountinfo"],
                             stdout=subprocess.PIPE, text=True, check=True)
        groups = [line.split(":", 2)[2] for line in run.stdout.splitlines() if line.count(":") == 2 and line.split(":")[0].isdigit()]
        wanted = ("Seccomp:\t2", "NoNewPrivs:\t1", "Pid:\t1", "1879048192      65536", " / / rw,nosuid,nodev,relatime - overlay ")
        missing = [what for what in wanted if what not in run.stdout]
        if missing or not groups or set(groups) != {"/"}:
            raise RuntimeError(f"the floor does not have all layers: {missing or groups}")

    def _floor(self):
        arguments = self.floor_arguments()
        return Tool("floor", "floor: system calls alone", lambda words, _: [*arguments, "--", *words])

    def _runtimes(self):
        for runtime in ("crun", "runc"):
            path = shutil.which(runtime)
            if path is None:
                self.skipped[runtime] = "not installed"
                continue
            for seccomp in (True, False):
                directory = self.work / f"{runtime}-{'seccomp' if seccomp else 'plain'}"
                bundle.make_bundle(path, directory, self.rootfs, TRUE, seccomp)
                key = f"{runtime}-seccomp" if seccomp else runtime
                # The words are the bundle's: a runtime reads them there.
                command = lambda _, number, path=path, directory=directory, key=key: [
                    path, "--root", str(self.work / "runtimes"), "run", "--bundle", str(directory), f"bench-{os.getpid()}-{key}-{number}"]
                yield Tool(key, f"{runtime} run, {'' if seccomp else 'no '}seccomp", command, hide_v2=True)

    def _bubblewrap(self):
        path = shutil.which("bwrap")
        if path is None:
            self.skipped["bubblewrap"] = "not installed"
            return
        yield Tool("bwrap", "bubblewrap, no limits, no seccomp", lambda words, _: [
            path, "--unshare-all", "--ro-bind", str(self.rootfs), "/", "--proc", "/proc", "--dev", "/dev", *words])

    def _podman_base(self):
        return [shutil.which("podman"), "--root", str(self.work / "podman"), "--runroot", str(self.work / "podman-run"), "--cgroup-manager", "cgroupfs",
                "--events-backend", "none", "--runtime", shutil.which("crun") or "runc"]

    def _podman(self):
        if shutil.which("podman") is None:
            self.skipped["podman"] = "not installed"
            return
        # Its default limits need a capability that not every machine's root has; names and policies are looked for in files that nobody needs here.
        config = self.work / "containers.conf"
        config.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\npids_limit = 128\n[network]\n[engine]\n')
        environment = {**os.environ, "CONTAINERS_CONF": str(config), "TMPDIR": str(self.work)}
        yield Tool("podman", "podman run, no network", lambda words, _: [
            *self._podman_base(), "run", "--rm", "--network", "none", "--log-driver", "none", "--rootfs", f"{self.rootfs}:O", *words],
            hide_v2=True, environment=environment, slow=True)

    def _remove_podman(self):
        """Its storage may have stayed mounted."""
        for name in ("podman", "podman-run"):
            with open("/proc/self/mountinfo", encoding="utf-8") as table:
                points = sorted((line.split()[4] for line in table if f"{self.work}/{name}" in line), reverse=True)
            for point in points:
                subprocess.run(["umount", "-l", point], check=False)

    def _chroot(self):
        path = shutil.which("chroot")
        return Tool("chroot", "chroot, nothing else", lambda words, _: [path, str(self.rootfs), *words])
