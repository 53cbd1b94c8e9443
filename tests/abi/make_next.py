#!/usr/bin/env python3
"""Writes a copy of the SDK's C headers as they might look one version later: every struct that may grow has grown.

  make_next.py sdk/include/rauha OUT/rauha

Appended are `uint64_t next_field` to structs, and a function `next_function` to the interfaces' and services' tables; the minor is one more, and RAUHA_ABI_NEXT is defined. What is passed by
value (rauha_str, rauha_array, rauha_bytes) and the note never grow.
"""

import pathlib
import re
import sys

FIXED = {"rauha_str", "rauha_array", "rauha_bytes", "rauha_note"}


def grown(text):
    def one(match):
        body, name = match.group(1), match.group(2)
        if name in FIXED:
            return match.group(0)
        field = "  rauha_status (*next_function)(void* context) RAUHA_NOEXCEPT;\n" if name.endswith("_v1") else "  uint64_t next_field;\n"
        return "typedef struct %s {%s%s} %s;" % (name, body, field, name)

    text = re.sub(r"typedef struct (?:\w+) \{(.*?)\} (\w+);", one, text, flags=re.S)
    return re.sub(r"(#define RAUHA_ABI_MINOR) (\d+)", lambda m: "%s %d\n#define RAUHA_ABI_NEXT 1" % (m.group(1), int(m.group(2)) + 1), text)


def main():
    source, out = map(pathlib.Path, sys.argv[1:])
    for header in [*source.glob("*.h"), *source.glob("draft/*.h")]:
        target = out / header.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Drafts promise nothing and are copied as they are.
        target.write_text(header.read_text() if "draft" in header.parts else grown(header.read_text()))


main()
