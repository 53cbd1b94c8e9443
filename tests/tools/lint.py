#!/usr/bin/env python3
"""Runs clang-tidy over source files and remembers which passed.

  lint.py [--build build] [--all] [--budget SECONDS] [--jobs N] FILE…

A file that passed is not looked at again until it, a header of ours, the checks or its command line change; the memory is in
~/.cache/rauha-dev/lint, keyed by content only, so that clones share it. Files are begun in the order given. With --budget, files not reached in
time are named and do not fail the run: the full check has no budget.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import time

TIDY = "clang-tidy-14"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MEMORY = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "rauha-dev", "lint")


def read(path):
    with open(path, "rb") as source:
        return source.read()


def headers_of_ours(build):
    """Dependencies by object file, from ninja's log of the last build."""
    text = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=False).stdout
    found = {}
    current = None
    for line in text.splitlines():
        match = re.match(r"(\S+): #deps ", line)
        if match:
            current = found.setdefault(match.group(1), [])
        elif line.startswith("    ") and current is not None:
            path = os.path.normpath(os.path.join(build, line.strip()))
            if path.startswith(ROOT + os.sep):
                current.append(path)
    return found


def key_of(entry, headers):
    digest = hashlib.sha256()
    digest.update(read(os.path.join(ROOT, ".clang-tidy")))
    digest.update(entry["command"].replace(ROOT, "").encode())
    for path in [entry["file"], *sorted(headers)]:
        digest.update(path.replace(ROOT, "").encode() + b"\0")
        digest.update(hashlib.sha256(read(path)).digest() if os.path.exists(path) else b"gone")
    return digest.hexdigest()


def check(entry, build):
    begin = time.monotonic()
    done = subprocess.run(
        # Warnings that only g++ knows are in the command line of each file.
        [TIDY, "--quiet", "-p", build, "--extra-arg=-Wno-unknown-warning-option", entry["file"]],
        capture_output=True, text=True, check=False,
    )
    # The count of suppressed warnings, printed even when there is nothing to say.
    noise = re.sub(r"^\d+ warnings? (generated|treated as errors)\.?\n", "", done.stderr, flags=re.M)
    return done.returncode == 0, done.stdout + (noise if done.returncode else ""), time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="build directory with compile_commands.json")
    parser.add_argument("--all", action="store_true", help="also what passed before")
    parser.add_argument("--budget", type=float, default=0, help="seconds after which no further file is begun; 0: none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    build = os.path.join(ROOT, options.build)
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as database:
        entries = {os.path.normpath(entry["file"]): entry for entry in json.load(database)}
    dependencies = headers_of_ours(build)
    os.makedirs(MEMORY, exist_ok=True)

    work = []
    remembered = 0
    for name in options.files:
        entry = entries.get(os.path.normpath(os.path.join(ROOT, name)))
        if entry is None:
            continue  # not compiled in this build: a fuzzer, a test plugin's variant
        key = key_of(entry, dependencies.get(entry.get("output", ""), []))
        if not options.all and os.path.exists(os.path.join(MEMORY, key)):
            remembered += 1
        else:
            work.append((name, entry, key))
    print(f"clang-tidy: {len(work)} files to check, {remembered} passed before and are unchanged", flush=True)

    deadline = time.monotonic() + options.budget if options.budget else None
    late, bad = [], []

    def one(item):
        name, entry, key = item
        if deadline is not None and time.monotonic() > deadline:
            late.append(name)
            return
        good, text, seconds = check(entry, build)
        if good:
            with open(os.path.join(MEMORY, key), "w", encoding="utf-8"):
                pass
        else:
            bad.append(name)
        print(f"{'ok' if good else 'BAD':<4} {seconds:5.1f} s  {name}\n{text if not good else ''}", end="", flush=True)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, work))
    if late:
        print(f"not reached within {options.budget:.0f} s, left to `./dev lint --all`: {' '.join(sorted(late))}")
    if bad:
        print(f"clang-tidy found something in: {' '.join(sorted(bad))}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
