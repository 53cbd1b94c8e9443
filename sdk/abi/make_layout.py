#!/usr/bin/env python3
"""Prints sdk/abi/layout_v1.inc: where every field of the public structs lies. For a release, and for fields appended since; lines that were
released are never edited, because a plugin built by a stranger relies on them.

  make_layout.py sdk/include/rauha > new.inc
"""

import pathlib
import re
import subprocess
import sys
import tempfile

HEADERS = ["plugin.h", "backend.h", "image.h", "service_state.h", "service_events.h", "service_timer.h", "service_watch.h",
           "service_spawn.h"]


def fields_of(text):
    """(struct, [field]) of each `typedef struct … { … } name;`, and of `struct rauha_note`."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, flags=re.S):
        names = []
        for declaration in body.split(";"):
            declaration = " ".join(declaration.split())
            function = re.search(r"\(\*(\w+)\)\s*\(", declaration)
            if function:
                names.append(function.group(1))
            elif declaration:
                names.append(re.match(r".*?(\w+)(\[\w+\])?$", declaration).group(1))
        yield name, names


def main():
    folder = pathlib.Path(sys.argv[1])
    prints = []
    for header in HEADERS:
        for struct, names in fields_of((folder / header).read_text()):
            for name in names:
                prints.append(f'printf("RAUHA_LAYOUT({struct}, {name}, %zu, %zu)\\n", offsetof({struct}, {name}), sizeof((({struct} *)0)->{name}));')
    source = "#include <stdio.h>\n" + "".join(f'#include "{folder.resolve()}/{h}"\n' for h in HEADERS) + "int main(void) {\n" + "\n".join(prints) + "\n}\n"
    with tempfile.TemporaryDirectory() as work:
        program = pathlib.Path(work, "layout")
        program.with_suffix(".c").write_text(source)
        subprocess.run(["cc", "-std=gnu11", "-o", program, program.with_suffix(".c")], check=True)
        print("/* Layout of plugin ABI 1.0 on 64-bit machines: RAUHA_LAYOUT(struct, field, offset, size). Released lines are never edited; */")
        print("/* appended fields get lines of their own (sdk/abi/make_layout.py). */")
        sys.stdout.flush()
        subprocess.run([program], check=True)


main()
