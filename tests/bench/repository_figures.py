#!/usr/bin/python3
"""What the overlay over a repository costs: its start on a large tree beside a small one, listing ten thousand changes, and reading
repository files inside of a zone beside a plain overlay mount of the same files.

Candidates take turns in every round, so that a busy moment of the machine hits all of them; medians are compared. Prints a table of targets,
measured figures and verdicts, and what explains them: the stages of a start, and reading in the plain mount under each of a zone's layers
alone. Writes it all to build/bench/repository_figures.json. A missed target is said, and no failure: how busy the machine is decides too.

Needs root. RAUHA_BIN names the directory of the programs, default build/bin; ./dev bench sets it to a release build.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from timing import Timer, environment_of  # noqa: E402
from support import images  # noqa: E402
from support.instance import BIN, RAUHA, Instance  # noqa: E402

LARGE, SMALL, CHANGES, COLLECTIONS = 100_000, 10, 10_000, 3
A_DIRECTORY = 100
READ_FILES, READ_PASSES = 2_000, 20
START_RATIO, LIST_SECONDS, READ_RATIO = 1.2, 0.5, 1.1
FILE = b"".join(b"line %d of a source file of ordinary width, forty or more bytes\n" % n for n in range(64))  # about 4 KiB


def make_repository(top, files):
    for number in range(files):
        directory = top / f"d{number // A_DIRECTORY // 50}" / f"s{number // A_DIRECTORY}"
        if number % A_DIRECTORY == 0:
            directory.mkdir(parents=True)
        (directory / f"f{number}.c").write_bytes(FILE[number % 32:])
    return top


def median_ms(values):
    return statistics.median(values) / 1e6


# --- start

def stages_of(instance, repositories, runs):
    """Medians in milliseconds of the stages that --trace reports, of each repository; those that take nothing are left out."""
    spent = {}
    for _ in range(runs):
        for name, path in repositories.items():
            for stage in instance.sandbox("/bin/true", image="bench", options=["--trace", "--repo-path", str(path)]).json["stages"]:
                spent.setdefault(stage["name"], {}).setdefault(name, []).append(int(stage["ns"]))
    medians = {stage: {name: round(median_ms(values), 3) for name, values in of.items()} for stage, of in spent.items()}
    return {stage: of for stage, of in medians.items() if len(of) == len(repositories) and max(of.values()) >= 0.05}


def measure_start(instance, repositories, options):
    timer = Timer(environment=environment_of(instance))
    times = {name: [] for name in repositories}
    command = lambda name: [str(RAUHA), "sandbox", "--json", "--image", "bench", "--repo-path", str(repositories[name]), "--", "/bin/true"]
    try:
        for name in repositories:
            for _ in range(options.warm_up):
                timer.run(command(name))
        names = list(repositories)
        for number in range(options.runs):
            for position in range(len(names)):
                name = names[(position + number) % len(names)]
                times[name].append(timer.run(command(name)) * 1000)
    finally:
        timer.close()
    return {"median_ms": {name: median_ms(values) for name, values in times.items()}, "stages": stages_of(instance, repositories, min(options.runs, 20))}


# --- listing

CHANGE = f"""
import os
paths = [os.path.join(d, n) for d, _, names in os.walk('.') for n in names]
paths.sort()
for path in paths[:3000]:
    with open(path, 'a') as file: file.write('changed\\n')
for path in paths[3000:5000]: os.unlink(path)
os.mkdir('added')
for number in range({CHANGES} - 5001):
    with open(f'added/f{{number}}', 'w') as file: file.write(f'{{number}}\\n')
"""


def make_changes(instance, repository):
    """The result of a task that makes them, how many there are, and how long collecting them took."""
    result = instance.sandbox("python3", "-c", CHANGE, options=["--repo-path", str(repository), "--trace"], timeout=300)
    document = result.task("succeeded", 0)
    totals = document["changes"]["totals"]
    count = sum(totals[kind] for kind in ("added", "modified", "deleted", "type_changed", "renamed"))
    # Directories of changed files have a new time, which is a change too.
    if count < CHANGES or not document["changes"]["kept"]:
        raise RuntimeError(f"the task made {count} changes, kept: {document['changes']['kept']}")
    return document, count, [int(stage["ns"]) / 1e6 for stage in document["stages"] if stage["name"] == "changes"][0]


def measure_listing(instance, repository, options):
    tasks = [make_changes(instance, repository) for _ in range(COLLECTIONS)]
    document, count, _ = tasks[-1]
    collecting = statistics.median(spent for _, _, spent in tasks)
    task = document["task_id"]
    commands = {"diff --name-status": ["diff", task, "--name-status"], "diff --stat": ["diff", task, "--stat"],
                "diff --json": ["diff", task, "--json"], "task show": ["task", "show", task]}
    timer = Timer(environment=environment_of(instance))
    times = {name: [] for name in commands}
    try:
        for _ in range(max(options.runs // 4, 3)):
            for name, words in commands.items():
                times[name].append(timer.run([str(RAUHA), *words]) * 1000)
    finally:
        timer.close()
    return {"changes": count, "collecting_ms": collecting, "commands": {name: median_ms(values) for name, values in times.items()}}


# --- reading inside

def passes_of(output):
    """(first pass, fastest of the others), each (open, read) in nanoseconds. What else the machine does only makes a pass slower."""
    rows = [tuple(int(word) for word in line.split()) for line in output.split("\n") if line]
    warm = min(rows[1:], key=sum)
    return rows[0], warm


class PlainOverlay:
    """A plain overlay mount of the repository, a tmpfs above: what a zone has, without anything that makes it one."""

    def __init__(self, repository, work):
        self.repository, self.layers = repository, [work / name for name in ("plain-upper", "plain-merged")]

    def __enter__(self):
        for layer in self.layers:
            layer.mkdir()
        upper, merged = map(str, self.layers)
        subprocess.run(["mount", "-t", "tmpfs", "bench", upper], check=True)
        for name in ("u", "w"):
            os.mkdir(os.path.join(upper, name))
        options = f"lowerdir={self.repository},upperdir={upper}/u,workdir={upper}/w"
        mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged]).returncode == 0
        self.mounts = [merged, upper] if mounted else [upper]
        if not mounted:
            self.__exit__()
            raise RuntimeError("no overlay can be mounted here")
        return merged

    def __exit__(self, *_):
        for mount in self.mounts:
            subprocess.run(["umount", mount], check=True)
        for layer in self.layers:
            layer.rmdir()


def zone_filter(instance):
    """The system call filter that the zones of this instance run under, or None. There is one policy, so there is one."""
    found = sorted(path for path in instance.root.rglob("*.bpf") if path.stat().st_size > 1024)
    return str(found[0]) if len(found) == 1 else None


def measure_reading(instance, repository, work, options):
    shutil.copy(options.probe, repository / "read_probe")
    paths = sorted(str(path.relative_to(repository)) for path in repository.rglob("f*.c"))
    (repository / "list").write_text("".join(path + "\n" for path in paths[::max(len(paths) // READ_FILES, 1)][:READ_FILES]))
    probe = ["./read_probe", "list", str(READ_PASSES)]
    in_zone = lambda: instance.sandbox(*probe, options=["--repo-path", str(repository)]).task("succeeded", 0)["stdout"]
    in_zone()  # the first task makes the filter
    layers = {"plain": [], "landlock": ["landlock"]}
    if seccomp := zone_filter(instance):
        layers |= {"seccomp": [seccomp], "landlock and seccomp": ["landlock", seccomp]}
    found = {where: [] for where in ("zone", *layers)}
    names = list(found)
    for number in range(max(options.runs // 4, 5)):
        for position in range(len(names)):
            where = names[(position + number) % len(names)]
            if where == "zone":
                output = in_zone()
            else:
                with PlainOverlay(repository, work) as merged:
                    output = subprocess.run(probe + layers[where], cwd=merged, check=True, capture_output=True, text=True).stdout
            found[where].append(passes_of(output))
    figures = {}
    for when, index in (("first", 0), ("again", 1)):
        for what, parts in (("open", (0,)), ("read", (1,)), ("both", (0, 1))):
            each = {where: statistics.median(sum(row[index][part] for part in parts) for row in rows) / READ_FILES for where, rows in found.items()}
            figures[f"{what}, {when}"] = {where: {"ns": round(ns), "of_plain": round(ns / each["plain"], 3)} for where, ns in each.items()}
    return figures


def measure(options):
    instance = Instance()
    work = pathlib.Path(tempfile.mkdtemp(prefix="rauha-bench-"))
    try:
        image = images.busybox()
        image.oci(work / "layout")
        instance.run("image", "import", f"oci:{work}/layout", "--name", "bench", "--json").exited(0)
        repositories = {"small": make_repository(work / "small", SMALL), "large": make_repository(work / "large", LARGE)}
        time.sleep(0.1)  # what changed a moment before a task begins counts as changed meanwhile
        steps = {"start": lambda: measure_start(instance, repositories, options),
                 "listing": lambda: measure_listing(instance, repositories["large"], options),
                 "reading": lambda: measure_reading(instance, repositories["large"], work, options)}
        report({name: step() for name, step in steps.items() if name in options.only}, options)
    finally:
        instance.stop()
        instance.remove()
        shutil.rmtree(work)


def verdict(key, figure, target, measured, unit="ratio"):
    return {"key": key, "figure": figure, "target": target, "measured": round(measured, 3), "unit": unit, "reached": measured <= target}


def verdicts(figures):
    """One row for each figure that has a target."""
    rows = []
    if start := figures.get("start"):
        times = start["median_ms"]
        rows.append(verdict("start_ratio", f"start on {LARGE} files ({times['large']:.1f} ms) against {SMALL} ({times['small']:.1f} ms)", START_RATIO,
                            times["large"] / times["small"]))
    if listing := figures.get("listing"):
        rows.append(verdict("collecting", f"collecting {listing['changes']} changes when the task ends", LIST_SECONDS, listing["collecting_ms"] / 1000, "s"))
        rows += [verdict(name.replace(" ", "_"), f"rauha {name} of them", LIST_SECONDS, value / 1000, "s") for name, value in listing["commands"].items()]
    for when in ("first", "again") if "reading" in figures else ():
        both = figures["reading"][f"both, {when}"]
        rows.append(verdict(f"both_{when}", f"open and read, {when} ({both['zone']['ns']} ns), against a plain overlay ({both['plain']['ns']} ns)", READ_RATIO,
                            both["zone"]["of_plain"]))
    return rows


def print_table(rows, figures):
    print(f"{'figure':<84} {'target':>8} {'measured':>9}  verdict")
    for row in rows:
        unit = " s" if row["unit"] == "s" else " x"
        print(f"{row['figure']:<84} {row['target']:>6}{unit} {row['measured']:>7.2f}{unit}  {'reached' if row['reached'] else 'MISSED'}")
    if start := figures.get("start"):
        print(f"\n{'stage of a start, ms':<36} {'large':>8} {'small':>8}")
        for stage, times in start["stages"].items():
            print(f"{stage:<36} {times['large']:>8.2f} {times['small']:>8.2f}")
    if reading := figures.get("reading"):
        where = list(reading["both, again"])
        print(f"\n{'ns a file':<14}" + "".join(f"{name:>28}" for name in where))
        for what, row in reading.items():
            print(f"{what:<14}" + "".join(f"{row[name]['ns']:>20} {row[name]['of_plain']:>5.2f} x" for name in where))


def report(figures, options):
    rows = verdicts(figures)
    machine = {"kernel": platform.release(), "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    print(f"repository in overlay mode, {options.runs} rounds; Linux {machine['kernel']}, {machine['cpus']} cpus, load {machine['load']:.1f}; programs of {BIN}\n")
    print_table(rows, figures)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine, "verdicts": rows, **figures}, indent=1) + "\n")
    print(f"\nwritten to {options.output}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="rounds, default 100")
    parser.add_argument("--warm-up", type=int, default=3, help="runs of each that are not counted, default 3")
    parser.add_argument("--output", type=pathlib.Path, default=HERE.parents[1] / "build" / "bench" / "repository_figures.json")
    parser.add_argument("--probe", type=pathlib.Path, default=HERE.parents[1] / "build-release" / "bench" / "read_probe",
                        help="the program that reads, see read_probe.cpp")
    parser.add_argument("--only", nargs="+", choices=["start", "listing", "reading"], default=["start", "listing", "reading"], help="default: all of it")
    options = parser.parse_args()
    measure(options)


if __name__ == "__main__":
    main()
