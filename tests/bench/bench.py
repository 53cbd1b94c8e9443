#!/usr/bin/python3
"""Figures of Rauha beside the tools that people use and beside a floor of bare system calls, in one run.

Prints tables, writes one JSON document, compares it with an earlier one. What is compared is medians and ratios within a run: milliseconds
depend on the machine. A target that is missed is said and is no failure. Needs root. ./dev bench builds what is measured and calls this.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "support")]

import figures as kept  # noqa: E402
import pull_figures  # noqa: E402
import scenarios  # noqa: E402
import timing  # noqa: E402
from support.instance import BIN  # noqa: E402
from peers import PEERS, Bench  # noqa: E402

OUTPUT = HERE.parents[1] / "build" / "bench"


def in_process(figures, options):
    """inside one process, by Google Benchmark: a policy read, a result as JSON, an event, a call into a plugin"""
    for program in ("core_bench", "plugin_call_bench"):
        output = OUTPUT / f"{program}.json"
        run = subprocess.run([timing.PROGRAMS / program, f"--benchmark_out={output}", "--benchmark_out_format=json", "--benchmark_min_time=0.2"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"{program} ended with {run.returncode}: {run.stderr.strip()[-300:]}")
        rows = []
        for one in json.loads(output.read_text(encoding="utf-8"))["benchmarks"]:
            scale = {"ns": 1, "us": 1e3, "ms": 1e6}[one["time_unit"]]
            rows.append((one["name"], figures.add(f"process/{one['name']}", one["real_time"] * scale / 1e3, "us")))
        figures.table(f"in one process ({program})", ["us"], rows)


def repository(figures, options):
    """a repository in overlay mode: start on a large tree, listing ten thousand changes, reading files inside"""
    output = OUTPUT / "repository_figures.json"
    subprocess.run([sys.executable, HERE / "repository_figures.py", "--runs", str(options.runs), "--output", output, "--probe", timing.PROGRAMS / "read_probe"],
                   check=True)
    document = json.loads(output.read_text(encoding="utf-8"))
    for row in document["verdicts"]:
        value, unit = (row["measured"] * 1000, "ms") if row["unit"] == "s" else (row["measured"], row["unit"])
        figures.add(f"repository/{row['key']}", value, unit)
        figures.target(f"repository/{row['key']}", f"repository: {row['figure']}", row["measured"], "<=", row["target"])
    for what, row in document["reading"].items():
        for where, one in row.items():
            figures.add(f"repository/reading/{what.replace(', ', '_')}/{where}", one["of_plain"], "ratio")


ALONE = {"process": in_process, "repository": repository, "pull": pull_figures.pull}  # need no shared bench
ALL = {**scenarios.SCENARIOS, **ALONE}


def install_peers():
    subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *PEERS], check=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def measure(options, figures):
    shared = [name for name in options.scenarios if name in scenarios.SCENARIOS]
    if shared:
        with Bench() as bench:
            for name in shared:
                scenarios.SCENARIOS[name](bench, figures, options)
                left = scenarios.leftovers(bench)
                if left:
                    raise RuntimeError(f"scenario {name} left behind: {', '.join(left[:5])}")
    for name in options.scenarios:
        if name in ALONE:
            ALONE[name](figures, options)


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="which ones, default all; see --list")
    parser.add_argument("--list", action="store_true", help="say what the scenarios are")
    parser.add_argument("--runs", type=int, default=100, help="rounds of each measurement, default 100; throughput runs twice as many")
    parser.add_argument("--thousand", action="store_true", help="idle: go on to 1000 zones")
    parser.add_argument("--compare", type=pathlib.Path, metavar="FILE", help="compare with the JSON of an earlier run")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT / "bench.json", metavar="FILE", help="where the JSON goes, default build/bench/bench.json")
    parser.add_argument("--install-peers", action="store_true", help=f"install {', '.join(PEERS)} from the Debian archive first")
    options = parser.parse_args()
    unknown = [name for name in options.scenarios if name not in ALL]
    if unknown:
        parser.error(f"there is no scenario {unknown[0]}; there are {', '.join(ALL)}")
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    options.scenarios = options.scenarios or list(ALL)
    return options


def main():
    options = arguments()
    if options.list:
        for name, function in ALL.items():
            print(f"{name:<12}{function.__doc__}")
        return
    earlier = kept.load(options.compare) if options.compare else None  # a wrong file is known before minutes have passed
    if options.install_peers:
        install_peers()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    load, figures = os.getloadavg()[0], kept.Figures(lambda text: print(text, flush=True))
    machine = kept.machine(load)
    print(f"Linux {machine['kernel']}, {machine['cpus']} cpus, {machine['cgroups']} control groups, load {load:.2f}; {options.runs} rounds; programs of {BIN}")
    if timing.HYBRID:
        print("crun and podman refuse the hybrid layout: peers are shown the v1 hierarchies alone, in a mount namespace of their own")
    measure(options, figures)
    document = figures.document(kept.machine(load), {"runs": options.runs, "scenarios": options.scenarios})
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    figures.summary()
    if earlier is not None:
        kept.compare(earlier, document)
    print(f"\nwritten to {options.output}")


if __name__ == "__main__":
    main()
