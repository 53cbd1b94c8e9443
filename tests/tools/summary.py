#!/usr/bin/env python3
"""Puts the records of one `./dev test` together: a table of the steps, what failed, what was skipped, and one closing line.

  summary.py [--seconds N] DIRECTORY ALLOWED_SKIPS

Each step leaves DIRECTORY/NN-name.json: title, seconds, status (0 is good) and, when tests ran in it, the files of counts in `counts`:
one object of passed, failed and skipped (pytest_report.py), what GoogleTest writes for GTEST_OUTPUT=json:, or what ctest writes for
--output-junit, of which only the skips are taken: whole programs that ran nothing. A step without counts is one test. --seconds: how long
everything took, when steps ran beside each other.

A skip is allowed when a line of ALLOWED_SKIPS matches its name (a shell pattern, then `#` and the reason why that is all right);
any other skip fails the run: a test that quietly stops running is worse than one that fails.
"""

import argparse
import fnmatch
import glob
import json
import os
import sys
import xml.etree.ElementTree


def read_googletest(document, counts):
    for suite in document["testsuites"]:
        for case in suite["testsuite"]:
            name = f"{suite['name']}.{case['name']}"
            if case.get("failures"):
                counts["failed"].append(name)
            elif case.get("result") == "SKIPPED":
                counts["skipped"].append({"name": name, "reason": "skipped by the test"})
            elif case.get("status") == "RUN":
                counts["passed"] += 1


def read_ctest(path, counts):
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        skipped = case.find("skipped")
        if skipped is not None:
            counts["skipped"].append({"name": case.get("name"), "reason": skipped.get("message") or "skipped by the test"})


def read_counts(patterns):
    """None when no test reported."""
    files = sorted(path for pattern in patterns for path in glob.glob(pattern))
    counts = {"passed": 0, "failed": [], "skipped": []}
    read = 0
    for path in files:
        if path.endswith(".xml"):
            read_ctest(path, counts)
            continue
        try:
            with open(path, encoding="utf-8", errors="replace") as source:
                document = json.load(source)
        except ValueError:
            continue  # its program died while it wrote: the step's status says so
        read += 1
        if "testsuites" in document:
            read_googletest(document, counts)
        else:
            counts["passed"] += document["passed"]
            counts["failed"] += document["failed"]
            counts["skipped"] += document["skipped"]
    return counts if read else None


def read_allowed(path):
    allowed = []
    with open(path, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            pattern, mark, reason = line.partition("#")
            if not mark or not reason.strip():
                sys.exit(f"{path}:{number}: a line is `pattern  # reason`")
            allowed.append(pattern.strip())
    return allowed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("directory")
    parser.add_argument("allowed_path")
    args = parser.parse_args()
    directory, allowed_path = args.directory, args.allowed_path
    allowed = read_allowed(allowed_path)
    passed = failed = skipped = 0
    total = 0.0
    problems = []
    print(f"\n{'step':<44} {'result':<8} {'seconds':>7}  tests")
    for path in sorted(glob.glob(os.path.join(directory, "[0-9]*.json"))):
        with open(path, encoding="utf-8") as source:
            step = json.load(source)
        bad = step["status"] != 0
        counts = read_counts(step["counts"])
        if counts is None:
            passed, failed = (passed, failed + 1) if bad else (passed + 1, failed)
            detail = ""
        else:
            # A step can fail although each of its tests passed: a crash, a leak report at exit, a missing program.
            broken = 1 if bad and not counts["failed"] else 0
            passed += counts["passed"]
            failed += len(counts["failed"]) + broken
            skipped += len(counts["skipped"])
            detail = f"{counts['passed']} passed, {len(counts['failed'])} failed, {len(counts['skipped'])} skipped"
            problems += [f"failed: {name} ({step['title']})" for name in counts["failed"]]
            for skip in counts["skipped"]:
                known = any(fnmatch.fnmatchcase(skip["name"], pattern) for pattern in allowed)
                word = "skipped" if known else "skipped without leave"
                problems.append(f"{word}: {skip['name']} ({step['title']}): {skip['reason']}")
                failed += 0 if known else 1
        if bad:
            problems.append(f"step failed: {step['title']}, log {step['log']}")
        total += step["seconds"]
        print(f"{step['title']:<44} {'FAILED' if bad else 'ok':<8} {step['seconds']:>7.0f}  {detail}")
    print(f"{'together':<44} {'FAILED' if failed else 'ok':<8} {args.seconds or total:>7.0f}\n")
    for problem in problems:
        print(problem)
    if any(problem.startswith("skipped without leave") for problem in problems):
        print(f"each skip needs a line in {os.path.relpath(allowed_path)}: its name, `#`, and why that is all right")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
