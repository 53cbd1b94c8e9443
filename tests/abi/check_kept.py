#!/usr/bin/python3
"""check_kept.py SDK_INCLUDE KEPT_INCLUDE: the frozen headers are what was kept of them, but for comments. With the minor that was kept, word for word;
with a later one everything that was kept is still there, in its order, and structs and tables have only grown at their end. The kept copy is never edited.

check_kept.py --self-test SDK_INCLUDE: the check fails for what it is there for.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

MINOR = "RAUHA_ABI_MINOR"


def code(path):
    out = subprocess.run(["cc", "-w", "-fpreprocessed", "-dD", "-E", "-P", "-x", "c", str(path)], check=True, capture_output=True, text=True)
    return out.stdout


def minor(include):
    return int(re.search(r"#define %s (\d+)" % MINOR, code(include / "rauha/plugin.h")).group(1))


def declarations(text):
    """Preprocessor lines and declarations to their semicolon or brace, each as one line of single spaces."""
    out, rest = [], []
    for line in text.split("\n"):
        if line.lstrip().startswith("#"):
            out.append(" ".join(line.split()))
        else:
            rest.append(line)
    words = " ".join(" ".join(rest).split())
    if words.startswith('extern "C" {') and words.endswith("}"):
        words = words[len('extern "C" {') : -1]
    depth, start = 0, 0
    for at, char in enumerate(words):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == ";" and depth == 0:
            out.append(words[start : at + 1].strip())
            start = at + 1
    if words[start:].strip():
        out.append(words[start:].strip())
    return out


def keeps(new, kept):
    """Is `new` the declaration `kept`, or that struct with fields after the kept ones?"""
    if new == kept:
        return True
    struct = r"typedef struct (\w+) \{(.*)\} (\w+);"
    a, b = re.fullmatch(struct, new), re.fullmatch(struct, kept)
    return bool(a and b and a.group(1, 3) == b.group(1, 3) and a.group(2).startswith(b.group(2)))


def differences(sdk, kept, exact):
    for old in sorted((kept / "rauha").glob("*.h")):
        new = sdk / "rauha" / old.name
        if not new.exists():
            yield "%s is gone" % old.name
            continue
        now, before = declarations(code(new)), declarations(code(old))
        if exact:
            if now != before:
                yield "%s differs although the ABI's minor is the same: raise %s" % (old.name, MINOR)
            continue
        at = 0
        for want in before:
            if want.startswith("#define %s " % MINOR):
                continue
            found = next((n for n in range(at, len(now)) if keeps(now[n], want)), None)
            if found is None:
                yield "%s: no longer has, or has elsewhere: %s" % (old.name, want[:200])
            else:
                at = found + 1


def check(sdk, kept):
    now, before = minor(sdk), minor(kept)
    if now < before:
        return ["%s %d is older than the kept %d" % (MINOR, now, before)]
    return list(differences(sdk, kept, now == before))


def self_test(sdk):
    """(what is done to a header, whether a later minor may do it)"""
    changes = [
        ("image.h", lambda t: t, True),
        ("image.h", lambda t: t.replace("} rauha_image_v1;", "  int (*next)(void);\n} rauha_image_v1;"), True),
        ("image.h", lambda t: t.replace("#define RAUHA_MOUNT_BIND", "#define RAUHA_MOUNT_OTHER 77u\n#define RAUHA_MOUNT_BIND"), True),
        ("image.h", lambda t: t.replace("uint32_t caller_uid", "uint64_t caller_uid"), False),
        ("image.h", lambda t: t.replace("  uint32_t flags;", "", 1), False),
        ("image.h", lambda t: t.replace("#define RAUHA_MOUNT_BIND 0u", "#define RAUHA_MOUNT_BIND 9u"), False),
        ("plugin.h", lambda t: t.replace("rauha_plugin_entry_v1", "rauha_plugin_entry_v2"), False),
        ("backend.h", lambda t: "", False),
    ]
    before = minor(sdk)
    bad = 0
    for raised in (False, True):
        for n, (name, change, allowed) in enumerate(changes):
            with tempfile.TemporaryDirectory() as made:
                copy = pathlib.Path(made)
                (copy / "rauha").mkdir()
                for header in (sdk / "rauha").glob("*.h"):
                    text = header.read_text()
                    if header.name == name:
                        changed = change(text)
                        assert n == 0 or changed != text, "change %d of %s changes nothing" % (n, name)
                        text = changed
                    if raised:
                        text = text.replace("#define %s %d" % (MINOR, before), "#define %s %d" % (MINOR, before + 1))
                    (copy / "rauha" / header.name).write_text(text)
                good = not check(copy, sdk)
                if good != (allowed if raised else n == 0):
                    print("change %d of %s with %s minor was %s" % (n, name, "a later" if raised else "the same", "taken" if good else "refused"))
                    bad += 1
    return bad


def main():
    if sys.argv[1] == "--self-test":
        sys.exit(1 if self_test(pathlib.Path(sys.argv[2])) else 0)
    found = check(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    for line in found:
        print(line, file=sys.stderr)
    sys.exit(1 if found else 0)


main()
