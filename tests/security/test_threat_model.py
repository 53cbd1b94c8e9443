"""docs/threat-model.md and SECURITY.md belong together: every promise has a row, and every test that a row names is there."""

import ast
import re

from support.instance import REPOSITORY

PAGE = REPOSITORY / "docs" / "threat-model.md"
# What stands in the page's tables between backquotes and is a test: a function of a Python file, or a case of a C++ suite.
PYTHON = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
GTEST = re.compile(r"`([A-Z]\w+)\.([A-Za-z]\w+)`")
CASE = re.compile(r"^\s*(?:TEST|TEST_F|TEST_P)\(\s*(\w+),\s*(\w+)\s*\)", re.M)


def missing(text):
    """Tests that the page names and nobody has written."""
    out = []
    for file, name in sorted(set(PYTHON.findall(text))):
        path = REPOSITORY / file
        functions = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)} if path.exists() else set()
        if name not in functions:
            out.append(f"{file}::{name}")
    cases = {case for top in ("core", "plugins", "frontends", "sdk", "tests") for path in (REPOSITORY / top).rglob("*_test.cpp") for case in CASE.findall(path.read_text())}
    return out + [f"{suite}.{name}" for suite, name in sorted(set(GTEST.findall(text))) if (suite, name) not in cases]


def section(text, title):
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text):
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in cells[1:] if not set(row[0]) <= {"-"}]


def test_every_named_test_exists():
    assert missing(PAGE.read_text()) == []


def test_a_test_that_does_not_exist_is_found():
    """The control."""
    text = "`tests/kill/test_kill.py::test_client_killed` `tests/kill/test_kill.py::test_never_written` `tests/none.py::test_x` `PolicyFuzz.CorpusReplays` `PolicyFuzz.NeverWritten`"
    assert missing(text) == ["tests/kill/test_kill.py::test_never_written", "tests/none.py::test_x", "PolicyFuzz.NeverWritten"]


def test_every_boundary_has_a_row_with_a_test():
    promised = [row[0] for row in rows(section((REPOSITORY / "SECURITY.md").read_text(), "What each boundary promises"))]
    shown = {row[0]: row[1] for row in rows(section(PAGE.read_text(), "What each boundary promises"))}
    assert promised and promised == list(shown), "the boundaries of SECURITY.md, in its order"
    assert all(PYTHON.search(cell) or GTEST.search(cell) for cell in shown.values()), shown
