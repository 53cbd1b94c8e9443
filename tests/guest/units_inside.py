"""Runs in the guest of units.sh, as a service of its systemd: what packaging/systemd promises is tried, one line for each promise."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

RAUHA = "/usr/local/bin/rauha"
SERVICE = pathlib.Path("/sys/fs/cgroup/system.slice/rauhad.service")
ZONES = pathlib.Path("/sys/fs/cgroup/rauha")
failed = []


def say(text):
    print(text, flush=True)


def run(*argv, timeout=120):
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


def show(unit, name):
    return run("systemctl", "show", unit, "--property", name, "--value").stdout.strip()


def check(what, good, seen=""):
    say(f"units: {'ok ' if good else 'BAD'} {what}" + ("" if good else f": {seen}"))
    if not good:
        failed.append(what)


def eventually(predicate, seconds=60):
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def sandbox(*command):
    done = run(RAUHA, "sandbox", "--json", "--image", "host", "--", *command)
    try:
        return json.loads(done.stdout), done
    except ValueError:
        return {}, done


def zones():
    done = run(RAUHA, "zone", "list", "--json")
    return {zone["name"]: zone for zone in json.loads(done.stdout).get("zones", [])} if done.stdout else {}


def processes_of(group):
    return {int(pid) for file in group.rglob("cgroup.procs") for pid in file.read_text().split()}


def shims():
    out = set()
    for pid in processes_of(SERVICE):
        try:
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "rauha-shim" and int(pathlib.Path(f"/proc/{pid}/stat").read_text().split()[3]) != 0:
                out.add(pid)
        except OSError:
            pass
    return out


def activation():
    check("the socket unit is active", show("rauhad.socket", "ActiveState") == "active", run("systemctl", "status", "rauhad.socket").stdout)
    check("no daemon runs before somebody connects", show("rauhad.service", "ActiveState") == "inactive", show("rauhad.service", "ActiveState"))
    mode = run("stat", "-c", "%a %U %G", "/run/rauha/rauhad.sock").stdout.strip()
    check("the socket belongs to root and the group rauha", mode == "660 root rauha", mode)
    document, done = sandbox("sh", "-c", "echo hello")
    check("a sandbox runs", document.get("status") == "succeeded" and document.get("stdout") == "hello\n", done.stdout + done.stderr)
    pid = int(show("rauhad.service", "MainPID"))
    check("its daemon is the service's", pid != 0 and os.readlink(f"/proc/{pid}/exe") == "/usr/local/bin/rauhad", pid)
    check("the service reported that it is ready", show("rauhad.service", "ActiveState") == "active", show("rauhad.service", "SubState"))
    state = [run("stat", "-c", "%a", path).stdout.strip() for path in ("/var/lib/rauha", "/run/rauha")]
    check("the state directory is closed, the runtime directory is not", state == ["700", "755"], state)
    return document


def delegation(document):
    layers = {layer["name"]: layer for layer in document.get("posture", {}).get("layers", [])}
    for name in ("user_namespace", "seccomp", "capabilities", "cgroup_cpu", "cgroup_memory", "cgroup_pids", "network"):
        layer = layers.get(name, {})
        check(f"{name} is armed in full", layer.get("armed") and not layer.get("weaker"), layer)
    check("the layout is v2", document.get("posture", {}).get("cgroup_layout") == "v2", document.get("posture"))
    done = run(RAUHA, "zone", "create", "--name", "lasting", "--policy", "/usr/local/share/rauha/policies/task.toml", "--json")
    check("a lasting zone is made", done.returncode == 0, done.stdout + done.stderr)
    groups = [group for group in ZONES.glob("*") if group.is_dir()]
    check("its control group is the instance's, apart from the service", len(groups) == 1, sorted(str(p) for p in ZONES.rglob("*") if p.is_dir()))
    if groups:
        names = ("memory.max", "pids.max", "cpu.max")
        limits = [(groups[0] / name).read_text().strip() for name in names]
        check("its limits are in the kernel", not any(limit.startswith("max") for limit in limits), limits)
        run("systemctl", "daemon-reload")
        after = [(groups[0] / name).read_text().strip() for name in names]
        check("systemd leaves them alone when it reads its units again", after == limits, after)


def on_demand():
    """A daemon that a command of some service starts does not end with that service."""
    done = run(RAUHA, "--root", "/root/private", "sandbox", "--json", "--image", "host", "--", "true")
    check("a private instance runs a sandbox from within a service", json.loads(done.stdout or "{}").get("status") == "succeeded", done.stdout + done.stderr)
    pid = pathlib.Path("/root/private/run/rauhad.lock").read_text().strip()
    group = pathlib.Path(f"/proc/{pid}/cgroup").read_text().strip()
    check("its daemon left the caller's service", ".service" not in group and "rauha" in group, group)
    run(RAUHA, "--root", "/root/private", "daemon", "stop")


def restarts():
    """The zone outlives its daemon, however that one ends: a restart, a crash, a stop."""
    before = shims()
    check("the zone has a shim", len(before) == 1, before)

    def lives_on(how):
        document, done = sandbox("true")
        check(f"after {how} a sandbox runs", document.get("status") == "succeeded", done.stdout + done.stderr + run("systemctl", "status", "rauhad.service").stdout)
        check(f"after {how} the zone is there", "lasting" in zones(), zones())
        check(f"after {how} its shim is the same process", shims() == before, f"{before} {shims()}")

    done = run("systemctl", "restart", "rauhad.service")
    check("systemctl restart works", done.returncode == 0, done.stderr + run("systemctl", "status", "rauhad.service").stdout)
    lives_on("a restart")
    pid = int(show("rauhad.service", "MainPID"))
    if pid:
        os.kill(pid, signal.SIGKILL)
    check("a killed daemon is started again", eventually(lambda: show("rauhad.service", "MainPID") not in ("0", str(pid))
                                                        and show("rauhad.service", "ActiveState") == "active"), show("rauhad.service", "Result"))
    lives_on("kill -9")
    run("systemctl", "stop", "rauhad.service")
    check("systemctl stop leaves the zone alone", shims() == before, shims())
    lives_on("a stop and the next connection")


def the_end():
    done = run(RAUHA, "zone", "delete", "--name", "lasting", "--force", "--json")
    check("the zone is deleted", done.returncode == 0, done.stdout + done.stderr)
    run("systemctl", "stop", "rauhad.socket", "rauhad.service")
    check("a stopped service leaves no process", eventually(lambda: not SERVICE.exists() or not processes_of(SERVICE), 20), SERVICE)
    check("nor its socket", not os.path.exists("/run/rauha/rauhad.sock"))


def main():
    say(f"units: Linux {os.uname().release}, {run('systemctl', '--version').stdout.splitlines()[0]}")
    for step in (lambda: delegation(activation()), restarts, the_end, on_demand):
        try:
            step()
        except Exception as error:  # the guest ends with a result, whatever happens
            check("the checks themselves", False, repr(error))
    if failed:
        say(run("journalctl", "--no-pager", "-o", "cat", "-u", "rauhad.service", "-u", "rauhad.socket", "-n", "60").stdout)
    say("UNITS-RESULT " + ("ok" if not failed else "failed"))
    return 0


sys.exit(main())
