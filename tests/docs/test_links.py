"""What documents lead to is there: files, folders, anchors; and the map has every room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, links_of, read_sections

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in path.parts),
]
MAP = ROOT / "docs" / "architecture.md"

FOLDERS = ("zq", "patterns", "tests", "examples", "benchmarks", "docs")

_PATH = re.compile(rf"(?<![\w/.:@-])((?:{'|'.join(FOLDERS)})/[\w./-]*[\w/])")

_TEST = re.compile(r"`(?:tests/)?([\w/]*test_\w+\.py)?(?:::(test_\w+))?`")
"""A file of tests, a test of it, or a test of the file that was named last."""


def paths_in(text: str) -> Iterator[str]:
    """Yields the files and folders of this repository that a text names, with the folder that they are in."""
    yield from (found[1] for found in _PATH.finditer(text))


def text_of(path: Path) -> str:
    return "\n".join(f"{one.title}\n{one.text}" for one in read_sections(path))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_that_are_named_are_there(document: Path) -> None:
    assert [path for path in paths_in(text_of(document)) if not (ROOT / path).exists()] == []


def test_documents_name_paths() -> None:
    assert len({path for document in DOCUMENTS for path in paths_in(text_of(document))}) > 50


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for _, target in links_of(text_of(document)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        if not path.exists() or (anchor and anchor not in {one.anchor for one in read_sections(path)}):
            broken.append(target)

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_are_in_the_files_that_are_named_with_them(document: Path) -> None:
    file, missing = "", []
    for named, test in _TEST.findall(text_of(document)):
        file = named or file
        if test and f"def {test}(" not in (ROOT / "tests" / file).read_text(encoding="utf-8"):
            missing.append(f"{file}::{test}")

    assert missing == []


def test_contents_of_semantics_list_every_section_in_its_order() -> None:
    sections = read_sections(ROOT / "docs" / "semantics.md")
    contents = [(text, target) for text, target in links_of(sections[1].text) if target.startswith("#")]

    assert contents == [(one.title, f"#{one.anchor}") for one in sections if one.level > 1][1:]


def test_map_has_a_row_for_each_folder() -> None:
    rows = next(one for one in read_sections(MAP) if one.title == "Map").text
    listed = re.findall(r"^\| \[`([^`]+)`\]\(([^)]+)\) \| .", rows, re.MULTILINE)
    rooms = [path.parent.relative_to(ROOT).as_posix() for name in ("zq", "patterns") for path in files_of(name)]
    expected = {room: f"../{room}/__init__.py" for room in rooms}

    assert dict(listed) == expected | {name: f"../{name}/" for name in FOLDERS if name not in expected}
    assert len(listed) == len(dict(listed)), "a folder is there twice"


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize(
    ("title", "anchor"),
    [
        ("`delay` and `at`", "delay-and-at"),
        ("Sticky keys: policy `assign=hash`", "sticky-keys-policy-assignhash"),
        ("`max_tasks`", "max_tasks"),
        ("Rates: `rate`, `burst`", "rates-rate-burst"),
    ],
)
def test_anchors_are_those_of_github(title: str, anchor: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# {title}\n\n```\n# no heading\n```\n\n## {title}\n")

    assert [one.anchor for one in read_sections(page)] == ["", anchor, f"{anchor}-1"]
