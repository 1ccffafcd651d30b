"""The README and every page that teaches run as they stand, in sequence; see `tests.docs.walks`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zq
from tests.docs.pages import ROOT
from tests.docs.walks import Step, Walk, files_of, read_steps, starts_coordinator

TAUGHT = ("howto", "coming-from", "explanation")
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "docs" / "tutorial.md",
    *sorted(path for folder in TAUGHT for path in (ROOT / "docs" / folder).glob("*.md")),
]

NEEDS = {
    "fastapi.md": ("fastapi", "httpx2"),
    "django.md": ("django",),
    "flask.md": ("flask",),
}
"""Libraries of others that a page is about."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_page_runs_as_it_stands(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NEEDS.get(page.name, ()):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"this page needs {name}, which is not installed")
    steps = [one for one in read_steps(page) if one.fence.language]
    walk = Walk(folder, page)
    if starts_coordinator(steps):
        walk_through(walk, steps, monkeypatch)
        return
    with zq.Coordinator(folder / "coordinator.zq", bind=f"ipc://{folder}/socket") as coordinator:
        walk.environment["ZQ_ADDRESS"] = coordinator.address
        walk_through(walk, steps, monkeypatch)


def walk_through(walk: Walk, steps: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in walk.environment.items():
        monkeypatch.setenv(name, value)
    try:
        walk.run(steps)
    finally:
        walk.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_page_has_snippets_and_names_no_module_of_ours(page: Path) -> None:
    steps = read_steps(page)

    assert page.parent.name == "explanation" or any(one.fence.language == "python" for one in steps)
    assert [name for name in files_of(steps) if name in ("zq", "patterns")] == []


def test_what_a_page_says_wrongly_is_found(folder: Path) -> None:
    page = folder / "page.md"
    page.write_text(
        "In `shop.py`:\n\n```python\nanswer = 42\n```\n\n```python\nimport shop\n\nshop.answer  # -> 41\n```\n"
    )

    with pytest.raises(AssertionError, match=r"page.md>:10: said '41', but it is '42'"):
        Walk(folder, page).run(read_steps(page))


def test_command_that_fails_is_found(folder: Path) -> None:
    page = folder / "page.md"
    page.write_text("```sh\npython -c 'raise SystemExit(3)'\n```\n")

    with pytest.raises(AssertionError, match="SystemExit"):
        Walk(folder, page).run(read_steps(page))
