#!/usr/bin/env python3
"""Follows a document literally: runs its ```sh blocks in order in one shell, and compares what they print with the ```text block behind each.

  tutorial.py README.md            runs them here; HOME should be a fresh directory
  tutorial.py --script README.md   prints the shell script instead

A line of a ```text block must be found in what its ```sh block printed, after the lines before it; "…" in it stands for anything. ```cpp and
```cmake blocks must stand in some file of the examples beside the document, as they are, so that nobody copies what was never built.
"""

import pathlib
import re
import subprocess
import sys

MARK = "@@ block {} @@"


def blocks(text):
    """(language, line number, content) of each fenced block."""
    found, language, start, lines = [], None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"```(\w*)$", line)
        if fence and language is None:
            language, start, lines = fence.group(1), number, []
        elif line == "```":
            found.append((language, start, "\n".join(lines)))
            language = None
        elif language is not None:
            lines.append(line)
    if language is not None:
        sys.exit(f"line {start}: the block has no end")
    return found


def steps(found):
    """Each sh block with the text that it must print."""
    out = []
    for language, line, content in found:
        if language == "sh":
            out.append([line, content, None])
        elif language == "text" and out:
            out[-1][2] = content
    return out


def script(todo):
    lines = ["set -eu"]
    for number, (_, content, _) in enumerate(todo):
        lines += [f"echo '{MARK.format(number)}'", content]
    return "\n".join(lines + [f"echo '{MARK.format('end')}'"]) + "\n"


def missing(expected, printed):
    """The first line of `expected` that does not come, or None."""
    at = 0
    for line in expected.splitlines():
        pattern = re.compile(".*?".join(re.escape(part.strip()) for part in line.split("…")))
        while at < len(printed) and not pattern.search(printed[at]):
            at += 1
        if at == len(printed):
            return line
        at += 1
    return None


def check_sources(path, found):
    sources = [file.read_text() for file in (path.parent / "examples").rglob("*") if file.is_file()]
    for language, line, content in found:
        if language in ("cpp", "c", "cmake") and not any(content in source for source in sources):
            sys.exit(f"{path}:{line}: this is in no file below examples/")


def main():
    path = pathlib.Path(sys.argv[-1])
    found = blocks(path.read_text())
    todo = steps(found)
    if sys.argv[1] == "--script":
        print(script(todo), end="")
        return
    check_sources(path, found)
    done = subprocess.run(["sh"], input=script(todo).encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    print(done.stdout.decode("utf-8", "replace"))
    parts = re.split(r"^@@ block (\w+) @@$", done.stdout.decode("utf-8", "replace"), flags=re.MULTILINE)
    printed = dict(zip(parts[1::2], parts[2::2]))
    for number, (line, _, expected) in enumerate(todo):
        if str(number) not in printed:
            sys.exit(f"{path}:{line}: never reached; the block before it failed with {done.returncode}")
        lost = missing(expected, printed[str(number)].splitlines()) if expected else None
        if lost is not None:
            sys.exit(f"{path}:{line}: did not print: {lost}")
    if "end" not in printed:
        sys.exit(f"{path}: the last block failed with {done.returncode}")
    if not todo:
        sys.exit(f"{path}: there is nothing to run")
    print(f"{len(todo)} blocks did what they say")


main()
