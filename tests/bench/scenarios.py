"""What is measured of running commands: start, calls of a client that stays, stages, throughput, zones that stand idle, a test suite, operations.

Each scenario is a function of (bench, figures, options); its docstring is what `--list` shows. Tools take turns in every round, so that a
busy moment of the machine hits all of them.
"""

import io
import os
import pathlib
import shutil
import stat
import statistics
import subprocess
import tarfile
import time

import timing
from support import procs
from support.instance import RAUHA
from support.make_python_image import build as build_python_image
from peers import TRUE

REPOSITORY = timing.HERE.parents[1]
EXAMPLE = REPOSITORY / "examples" / "wordcount"
PYTEST = ["/bin/sh", "-c", "cd /workspace && exec python3 -m pytest -q -p no:cacheprovider"]
KIB = 1024


def rounds(tools, count, run):
    """{tool: microseconds}; the order rotates."""
    times = {tool: [] for tool in tools}
    for number in range(count):
        for position in range(len(tools)):
            tool = tools[(position + number) % len(tools)]
            times[tool].append(run(tool))
    return times


def start(bench, figures, options):
    """/bin/true from the start of the process to its end, all tools side by side; the stages of rauha sandbox and of the floor"""
    quick = [tool for tool in bench.tools if not tool.slow]
    slow = [tool for tool in bench.tools if tool.slow]  # what goes on after it ended would be in the next one's time
    times = {**rounds(quick, options.runs, lambda tool: tool.run()), **rounds(slow, max(options.runs // 4, 5), lambda tool: tool.run())}
    medians = {tool.key: figures.spread(f"start/{tool.key}", values) for tool, values in times.items()}
    rows = []
    for tool, values in times.items():
        figures.add(f"start/{tool.key}/of_floor", medians[tool.key] / medians["floor"], "ratio")
        rows.append((tool.name, medians[tool.key], part_ms(values, 0.95), part_ms(values, 0.99), medians[tool.key] / medians["floor"],
                     medians[tool.key] / medians["rauha"], str(len(values))))
    figures.table("/bin/true, whole process", ["median ms", "p95", "p99", "x floor", "x rauha", "runs"], rows)
    for name, why in bench.skipped.items():
        figures.note(f"not measured: {name}: {why}")
    figures.target("start/rauha/of_floor", "rauha sandbox, times the floor", medians["rauha"] / medians["floor"], "<=", 1.6)
    if "crun-seccomp" in medians:
        ratio = figures.add("start/rauha/of_crun_seccomp", medians["rauha"] / medians["crun-seccomp"], "ratio")
        figures.target("start/rauha/of_crun_seccomp", "rauha sandbox, times crun run with a seccomp profile", ratio, "<=", 0.4)
    stages(bench, figures, options)


def part_ms(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] / 1000


def stages(bench, figures, options):
    spent, order = {}, []
    for _ in range(min(options.runs, 40)):
        result = bench.instance.sandbox(*TRUE, image="bench", options=["--trace"]).task("succeeded", 0)
        for stage in result["stages"]:
            if stage["name"] not in spent:
                order.append(stage["name"])
            spent.setdefault(stage["name"], []).append(int(stage["ns"]) / 1e6)
    for name in order:
        figures.add(f"stages/rauha/{name.replace(' ', '_')}", statistics.median(spent[name]), "ms")
    figures.table("stage of rauha sandbox", ["median ms", "p95"], [(name, statistics.median(spent[name]), part_ms(
        [value * 1000 for value in spent[name]], 0.95)) for name in order])
    floor = subprocess.run([*bench.floor_arguments(), "--stages", "--runs", str(options.runs)], stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = [(name, float(value) / 1000) for name, value in (line.split("\t") for line in floor.splitlines())]
    for name, value in rows:
        figures.add(f"stages/floor/{name.replace(', ', '_').replace(' ', '_')}", value, "ms")
    figures.table("stage of the floor, in one process", ["median ms"], rows)


def rpc(bench, figures, options):
    """/bin/true by call of a client that is connected already, beside the floor's whole process"""
    floor = bench.tool("floor")
    calls, whole = [], []
    for _ in range(5):  # in turns, some calls and some processes
        part = max(options.runs // 5, 1)
        run = subprocess.run([timing.PROGRAMS / "rpc_runs", bench.instance.root, "bench", str(part + 2), *TRUE], stdout=subprocess.PIPE, text=True, check=True)
        calls += [int(line) for line in run.stdout.split()][2:]
        whole += [floor.run() for _ in range(part)]
    median, beside = figures.spread("rpc/rauha", calls), figures.spread("rpc/floor", whole)
    figures.table("/bin/true, warm client", ["median ms", "p95", "p99", "x floor"],
                  [("rauha by call", median, part_ms(calls, 0.95), part_ms(calls, 0.99), median / beside),
                   ("floor: system calls alone, whole process", beside, part_ms(whole, 0.95), part_ms(whole, 0.99), 1.0)])
    ratio = figures.add("rpc/rauha/of_floor", median / beside, "ratio")
    figures.target("rpc/rauha/of_floor", "rauha by call, times the floor's whole process", ratio, "<=", 1.0)


def groups_left(instance):
    """Zones that the kernel still knows."""
    left = set()
    for mount in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = mount.split()
        if fields[fields.index("-") + 1] in ("cgroup", "cgroup2"):
            left |= {entry.name for entry in pathlib.Path(fields[4], instance.name).glob("zone_*")}
    return left


def throughput(bench, figures, options):
    """/bin/true 200 in a row and 200 by 8 at a time, until everything is taken down"""
    count = max(options.runs * 2, 10)
    rates, rows = {}, []
    for tool in bench.tools:
        if tool.key in ("crun", "runc"):
            continue  # the form with a filter is the one to compare with
        mine = max(count // 10, 5) if tool.slow else count
        for parallel in (1, 8):
            taken = tool.many(mine, parallel)["all_us"] / 1e6
            if tool.key == "rauha":
                before = time.perf_counter()
                while groups_left(bench.instance):
                    time.sleep(0.002)
                taken += time.perf_counter() - before
            rates[tool.key, parallel] = figures.add(f"throughput/{tool.key}/by_{parallel}", mine / taken, "/s")
        rows.append((tool.name, rates[tool.key, 1], rates[tool.key, 8], rates[tool.key, 1] / rates["floor", 1] if ("floor", 1) in rates else None,
                     rates[tool.key, 8] / rates["floor", 8] if ("floor", 8) in rates else None))
    ours = rows[0]
    rows[0] = (*ours[:3], rates["rauha", 1] / rates["floor", 1], rates["rauha", 8] / rates["floor", 8])
    figures.table(f"/bin/true, {count} runs", ["in a row /s", "8 at once /s", "x floor", "x floor"], rows)
    for parallel, words in ((1, "in a row"), (8, "8 at a time")):
        ratio = figures.add(f"throughput/rauha/of_floor_by_{parallel}", rates["rauha", parallel] / rates["floor", parallel], "ratio")
        figures.target(f"throughput/rauha/of_floor_by_{parallel}", f"runs a second, {words}, times the floor's", ratio, ">=", 0.7)


# --- zones that stand idle

def pss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no Pss")


def memory(bench, figures, count):
    instance = bench.instance
    shims, inits = instance.shim_pids(), instance.init_pids()
    if len(shims) != count or len(inits) != count:
        raise RuntimeError(f"{count} zones have {len(shims)} shims and {len(inits)} inits")
    zone = sum(pss_kib(pid) for pid in shims + inits) / count
    daemon = pss_kib(instance.daemon_pid())
    figures.add(f"memory/zone/at_{count}", zone, "KiB")
    figures.add(f"memory/daemon/at_{count}", daemon / KIB, "MiB")
    return zone, daemon


def start_beside(bench, figures, options, count):
    times = rounds([bench.tool("rauha"), bench.tool("floor")], options.runs, lambda tool: tool.run())
    medians = {tool.key: figures.spread(f"idle/{tool.key}/at_{count}", values) for tool, values in times.items()}
    return medians["rauha"], medians["floor"]


def idle(bench, figures, options):
    """memory of shim, init and daemon with 1, 50, 300 idle zones; start latency with 0, 100, 300 of them (1000 with --thousand)"""
    steps = [0, 1, 50, 100, 300, *([1000] if options.thousand else [])]
    instance, made, rows, starts = bench.instance, 0, [], {}
    making = 0.0
    for step in steps:
        begun = time.perf_counter()
        for number in range(made, step):
            instance.run("zone", "create", "--name", f"idle-{number}").exited(0)
        making += time.perf_counter() - begun
        made = step
        zone = daemon = None
        if step:
            zone, daemon = memory(bench, figures, step)
        if step not in (1, 50):
            starts[step] = start_beside(bench, figures, options, step)
        rows.append((f"{step} idle zones", zone, None if daemon is None else daemon / KIB, *starts.get(step, (None, None)),
                     starts[step][0] / starts[0][0] if step in starts else None))
        if step == 50:
            at_50 = zone
    began = time.perf_counter()
    for number in range(made):
        instance.run("zone", "delete", "--name", f"idle-{number}").exited(0)
    taken = time.perf_counter() - began
    figures.add("idle/make_one", making * 1000 / made, "ms")
    figures.add("idle/delete_one", taken * 1000 / made, "ms")
    figures.table("zones that stand idle", ["zone KiB", "daemon MiB", "start ms", "floor ms", "x first"], rows)
    figures.say(f"  making one took {making * 1000 / made:.1f} ms, deleting one {taken * 1000 / made:.1f} ms, through the command line")
    figures.target("memory/zone/at_50", "KiB of shim and init for each of 50 idle zones", at_50, "<=", 300)
    _, _, daemon_mib, *_ = rows[-1]
    figures.target("memory/daemon", f"MiB of the daemon with {made} idle zones", daemon_mib, "<=", round(16 + made * 30 / KIB, 2))
    ratio = figures.add("idle/growth", starts[made][0] / starts[0][0], "ratio")
    figures.target("idle/growth", f"start with {made} idle zones, times the first", ratio, "<=", 1.2)


# --- work in a zone

def pytest(bench, figures, options):
    """pytest on the example repository in a zone, beside a plain chroot of the same image"""
    image = build_python_image()
    layout = bench.work / "python"
    image.write(str(layout), "layout", "latest")
    bench.instance.run("image", "import", f"oci:{layout}", "--name", "python", "--json", timeout=300).exited(0)
    chroot = bench.work / "python-root"
    unpack(image, chroot)
    os.mknod(chroot / "dev" / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    shutil.copytree(EXAMPLE, chroot / "workspace", dirs_exist_ok=True)
    zone = [str(RAUHA), "sandbox", "--json", "--image", "python", "--repo-path", str(EXAMPLE), "--repo-mode", "ro", "--", *PYTEST]
    plain = ["/usr/sbin/chroot", str(chroot), *PYTEST]
    timers = {"rauha": timing.Timer(environment=bench.environment), "chroot": timing.Timer(environment={
        "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1"})}
    commands = {"rauha": zone, "chroot": plain}
    try:
        for name in commands:
            for _ in range(2):
                timers[name].run(commands[name])
        times = rounds(list(commands), max(options.runs // 5, 5), lambda name: timers[name].run(commands[name]))
    finally:
        for timer in timers.values():
            timer.close()
    medians = {name: figures.spread(f"pytest/{name}", values) for name, values in times.items()}
    figures.add("pytest/over_chroot", medians["rauha"] - medians["chroot"], "ms")
    figures.table("pytest of examples/wordcount", ["median ms", "p95", "x chroot"],
                  [(name, medians[name], part_ms(values, 0.95), medians[name] / medians["chroot"]) for name, values in times.items()])


def unpack(image, target):
    target.mkdir()
    for layer in image.layers:
        with tarfile.open(fileobj=io.BytesIO(layer.tar)) as tar:
            tar.extractall(target, numeric_owner=True)


def inside(bench, figures, options):
    """getppid, open, create, exec inside of a zone, beside the floor's and the host's, on the same files"""
    probe = ["/bin/inside_probe", "/root"]
    commands = {"rauha": bench.tool("rauha"), "floor": bench.tool("floor"), "host": bench.tool("chroot")}
    found = {name: {} for name in commands}
    for _ in range(3):
        for name, tool in commands.items():
            if name == "rauha":
                output = bench.instance.sandbox(*probe, image="bench").task("succeeded", 0)["stdout"]
            else:
                output = subprocess.run(tool.command(probe, "0"), stdout=subprocess.PIPE, text=True, check=True).stdout
            for line in output.splitlines():
                operation, value = line.split()
                found[name].setdefault(operation, []).append(int(value))
    rows = []
    for operation in found["host"]:
        each = {name: statistics.median(values[operation]) for name, values in found.items()}
        for name, value in each.items():
            figures.add(f"inside/{operation}/{name}", value, "ns")
        figures.add(f"inside/{operation}/of_host", each["rauha"] / each["host"], "ratio")
        rows.append((operation, each["rauha"], each["floor"], each["host"], each["rauha"] / each["host"], each["rauha"] / each["floor"]))
    figures.table("operation", ["zone ns", "floor ns", "host ns", "x host", "x floor"], rows)


def leftovers(bench):
    """What the last scenario should have taken down: must be nothing."""
    return [*groups_left(bench.instance), *[f"process {process.pid}" for process in procs.of_root(bench.instance.root, bench.instance.name)
                                            if process.cmdline.startswith((b"rauha-shim\0", b"rauha-init\0"))]]


SCENARIOS = {"start": start, "rpc": rpc, "throughput": throughput, "idle": idle, "pytest": pytest, "inside": inside}
