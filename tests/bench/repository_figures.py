#!/usr/bin/python3
"""What the overlay over a repository costs: its start on a large tree beside a small one, listing ten thousand changes, and reading
repository files inside of a zone beside a plain overlay mount of the same files.

Candidates take turns in every round, so that a busy moment of the machine hits all of them; medians are compared. Prints a table, writes
build/bench/repository_figures.json. A missed target is said, and no failure: how busy the machine is decides too.

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

LARGE, SMALL, CHANGES = 100_000, 10, 10_000
A_DIRECTORY = 100
READ_FILES, READ_PASSES = 2_000, 12
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
    return {name: median_ms(values) for name, values in times.items()}


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


def measure_listing(instance, repository, options):
    result = instance.sandbox("python3", "-c", CHANGE, options=["--repo-path", str(repository), "--trace"], timeout=300)
    document = result.task("succeeded", 0)
    totals = document["changes"]["totals"]
    count = sum(totals[kind] for kind in ("added", "modified", "deleted", "type_changed", "renamed"))
    # Directories of changed files have a new time, which is a change too.
    if count < CHANGES or not document["changes"]["kept"]:
        raise RuntimeError(f"the task made {count} changes, kept: {document['changes']['kept']}")
    collecting = [int(stage["ns"]) / 1e6 for stage in document["stages"] if stage["name"] == "changes"][0]
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
    return {"changes": count, "collecting": collecting, "commands": {name: median_ms(values) for name, values in times.items()}}


# --- reading inside

def passes_of(output):
    """(first pass, median of the others), each (open, read) in nanoseconds."""
    rows = [tuple(int(word) for word in line.split()) for line in output.split("\n") if line]
    warm = tuple(statistics.median(row[i] for row in rows[1:]) for i in (0, 1))
    return rows[0], warm


def read_plain(repository, work, probe):
    layers = [work / name for name in ("upper", "work", "merged")]
    for layer in layers:
        layer.mkdir()
    upper, working, merged = map(str, layers)
    subprocess.run(["mount", "-t", "tmpfs", "bench", upper], check=True)
    try:
        for name in ("u", "w"):
            os.mkdir(os.path.join(upper, name))
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={repository},upperdir={upper}/u,workdir={upper}/w", merged], check=True)
        try:
            return subprocess.run(probe, cwd=merged, check=True, capture_output=True, text=True).stdout
        finally:
            subprocess.run(["umount", merged], check=True)
    finally:
        subprocess.run(["umount", upper], check=True)
        for layer in layers:
            layer.rmdir()


def measure_reading(instance, repository, work, options):
    shutil.copy(options.probe, repository / "read_probe")
    paths = sorted(str(path.relative_to(repository)) for path in repository.rglob("f*.c"))
    (repository / "list").write_text("".join(path + "\n" for path in paths[::max(len(paths) // READ_FILES, 1)][:READ_FILES]))
    probe = ["./read_probe", "list", str(READ_PASSES)]
    found = {"zone": [], "plain": []}
    for number in range(max(options.runs // 4, 5)):
        for where in ("zone", "plain") if number % 2 == 0 else ("plain", "zone"):
            if where == "zone":
                output = instance.sandbox(*probe, options=["--repo-path", str(repository)]).task("succeeded", 0)["stdout"]
            else:
                output = read_plain(repository, work, probe)
            found[where].append(passes_of(output))
    figures = {}
    for when, index in (("first", 0), ("again", 1)):
        for what, part in (("open", 0), ("read", 1)):
            each = {where: statistics.median(row[index][part] for row in rows) / READ_FILES for where, rows in found.items()}
            figures[f"{what}, {when}"] = {"zone_ns": round(each["zone"]), "plain_ns": round(each["plain"]), "ratio": round(each["zone"] / each["plain"], 3)}
        each = {where: statistics.median(sum(row[index]) for row in rows) / READ_FILES for where, rows in found.items()}
        figures[f"both, {when}"] = {"zone_ns": round(each["zone"]), "plain_ns": round(each["plain"]), "ratio": round(each["zone"] / each["plain"], 3)}
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
        report({"start": measure_start(instance, repositories, options), "listing": measure_listing(instance, repositories["large"], options),
                "reading": measure_reading(instance, repositories["large"], work, options)}, options)
    finally:
        instance.stop()
        instance.remove()
        shutil.rmtree(work)


def report(figures, options):
    start, listing, reading = figures["start"], figures["listing"], figures["reading"]
    ratio = start["large"] / start["small"]
    slowest = max(listing["commands"].values()) / 1000
    rows = [(f"start on {LARGE} files: {start['large']:.1f} ms, on {SMALL}: {start['small']:.1f} ms", f"{ratio:.2f}", START_RATIO, ratio),
            (f"collecting {listing['changes']} changes, s", f"{listing['collecting'] / 1000:.2f}", LIST_SECONDS, listing["collecting"] / 1000)]
    for name, value in listing["commands"].items():
        rows.append((f"rauha {name} of them, s", f"{value / 1000:.2f}", LIST_SECONDS, value / 1000))
    for when in ("first", "again"):
        both = reading[f"both, {when}"]
        rows.append((f"open and read, {when}: {both['zone_ns']} ns, plain overlay {both['plain_ns']} ns", f"{both['ratio']:.2f}", READ_RATIO, both["ratio"]))
    machine = {"kernel": platform.release(), "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    print(f"repository in overlay mode, {options.runs} rounds; Linux {machine['kernel']}, {machine['cpus']} cpus, load {machine['load']:.1f}; programs of {BIN}\n")
    for text, value, target, number in rows:
        print(f"{text:<76} {value:>6}  target {target}{'' if number <= target else '  MISSED'}")
    for name, row in reading.items():
        print(f"  {name:<14} {row['zone_ns']:>7} ns in a zone, {row['plain_ns']:>7} ns plain, {row['ratio']:.2f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine, "slowest_listing_s": slowest, "start_ratio": ratio,
                                           "missed": [text for text, _, target, number in rows if number > target], **figures}, indent=1) + "\n")
    print(f"\nwritten to {options.output}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="rounds, default 100")
    parser.add_argument("--warm-up", type=int, default=3, help="runs of each that are not counted, default 3")
    parser.add_argument("--output", type=pathlib.Path, default=HERE.parents[1] / "build" / "bench" / "repository_figures.json")
    parser.add_argument("--probe", type=pathlib.Path, default=HERE.parents[1] / "build-release" / "bench" / "read_probe",
                        help="the program that reads, see read_probe.cpp")
    options = parser.parse_args()
    measure(options)


if __name__ == "__main__":
    main()
