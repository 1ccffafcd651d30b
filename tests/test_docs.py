"""What documents and docstrings name is there: tests of rules, and modules, classes and functions of ours."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import get_origin

import pytest

ROOT = Path(__file__).parent.parent

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in path.parts),
]

SOURCES = sorted(path for package in ("zq", "patterns") for path in (ROOT / package).rglob("*.py"))

NAMED = re.compile(r"(?<![\w/])(?:[\w/.]*::|[\w/]+/)?(test_[a-z0-9_]+)\b(?!\.py)(?!\.md)")
"""A test, as in `test_x`, `::test_x` and `core/test_y.py::test_x`; files of tests are looked for by their paths."""

WRITTEN = re.compile(r"\b[Ii]n `(test_\w+\.py)`[^`\n]*:$", re.MULTILINE)
"""A file of tests that the reader of a page writes; see `tests.docs.walks`."""

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

FILE = re.compile(r"\b(?:tests/)?((?:\w+/)*test_\w+\.py)\b")

DOTTED = re.compile(r"`((?:zq|patterns)(?:\.\w+)+)")

CPYTHON = {"test_interpreter_shutdown", "test_concurrent_futures"}
"""Tests that come with Python."""

ELSEWHERE = {
    "zq.audit": "the name of a logger",
    "zq.commands": "a group of entry points",
    "zq.executor.make_worker": "its public address",
    "zq.toml": "a file of contexts",
}
"""Dotted names that are not where something of Python is defined, each with what it is."""


DANGLING = re.compile(r"a|an|and|are|as|at|but|by|for|from|if|in|is|not|of|on|or|so|that|the|to|when|which|with")
"""Words after which something must come."""


@cache
def files_of_tests() -> set[str]:
    return {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}


@cache
def known_tests() -> set[str]:
    return {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_tests_are_there(document: Path) -> None:
    text = FENCED.sub("", document.read_text(encoding="utf-8"))
    files = files_of_tests()
    names = {path.rpartition("/")[2] for path in files}

    assert set(NAMED.findall(text)) - known_tests() - CPYTHON == set()
    assert {one for one in FILE.findall(text) if one not in files | names} - set(WRITTEN.findall(text)) == set()


def test_documents_name_tests() -> None:
    found = {name for path in DOCUMENTS for name in NAMED.findall(path.read_text(encoding="utf-8"))}

    assert len(found) > 150


@cache
def docstrings() -> list[tuple[str, str]]:
    """Returns every docstring, with the file that it is in."""
    return [
        (path.relative_to(ROOT).as_posix(), ast.get_docstring(node) or "")
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]


@cache
def is_there(name: str) -> bool:
    """Returns whether a dotted name is a module, or defined in it: what a module only imports is not at home there."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        is_exported = cut < len(parts) and parts[cut] in getattr(found, "__all__", ())
        for part in parts[cut:]:
            if not hasattr(found, part):
                return part in getattr(found, "__annotations__", {})
            found = getattr(found, part)
        # An alias of a type says where the type is from, and not where it has its name.
        home = None if get_origin(found) is not None else getattr(found, "__module__", None)
        is_module = cut == len(parts) or len(parts) > cut + 1
        return is_exported or cut == 1 or is_module or home in (None, ".".join(parts[:cut]))
    return False


def test_names_in_docstrings_are_there() -> None:
    named = {(path, name) for path, text in docstrings() for name in DOTTED.findall(text) if name not in ELSEWHERE}

    assert {(path, name) for path, name in named if not is_there(name)} == set()


def test_no_docstring_ends_in_mid_sentence() -> None:
    paragraphs = [(path, part.split()) for path, text in docstrings() for part in re.split(r"\n\s*\n", text)]

    assert [(path, words[-8:]) for path, words in paragraphs if words and DANGLING.fullmatch(words[-1])] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_documents_are_there(document: Path) -> None:
    named = set(DOTTED.findall(document.read_text(encoding="utf-8"))) - ELSEWHERE.keys()

    assert {name for name in named if not is_there(name)} == set()


REPEATED = re.compile(r"^ {4}\*{0,2}\w+: (?:of|the|its|a|all)(?: \w+){1,2}\.(?=\n {0,4}\S|\n*$)", re.MULTILINE)
"""An entry of an argument that says no more than the name and its function: no unit, no range, no meaning of None."""


def test_arguments_are_told_of_only_when_there_is_something_to_tell() -> None:
    sections = [(path, text.split("Args:\n")[1].split("\n\n")[0]) for path, text in docstrings() if "Args:\n" in text]

    assert [(path, found[0]) for path, section in sections for found in REPEATED.finditer(section)] == []


def test_a_planted_argument_line_is_found() -> None:
    assert REPEATED.search("    step: the running one.\n    limit: at most so many, 1 to 1,000.")
    assert not REPEATED.search("    limit: at most so many, 1 to 1,000.")
