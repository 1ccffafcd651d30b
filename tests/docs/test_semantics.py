"""The snippets of docs/semantics.md run as they stand, each section on a coordinator of its own."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.cli.conftest import run_command
from tests.docs.pages import FENCE, ROOT, Section, read_sections
from tests.docs.snippets import run_python, run_shell

PAGE = ROOT / "docs" / "semantics.md"
FILE = f"<docs/{PAGE.name}>"  # no path: pytest would show the whole page in a traceback
SECTIONS = read_sections(PAGE)
PRELUDE = next(one for one in SECTIONS if one.title == "How to read this page")
FEATURES = [one for one in SECTIONS if one.level == 3]

COMMANDS_PER_SECTION = (3, 8)
"""Lines of code and commands that a section begins with: enough to see it, few enough to be read."""

PARAGRAPH_CHARS_MAX = 600
"""Of a paragraph or an item of a list: what is longer is several thoughts."""


class Stand:
    """What the prelude of the page promises: a coordinator, a client, a worker that runs what is registered on it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.names: dict[str, Any] = {}
        self._handle = ""  # in what was printed last
        self._is_working = False
        for fence in PRELUDE.fences_in("python"):
            run_python(fence, self.names, FILE)

    def run(self, section: Section) -> None:
        for fence in section.fences:
            if fence.language == "python":
                run_python(fence, self.names, FILE, self._start_worker)
            elif fence.language == "sh":
                run_shell(fence, self._command, FILE)

    def _start_worker(self) -> None:
        worker: zq.Worker = self.names["worker"]
        if worker.handlers and not self._is_working:
            worker.start()
            self._is_working = True

    def _command(self, words: list[str]) -> str:
        assert words[0] == "zq", f"expected a command of zq, got {words}"
        words = [self._handle if word == "$HANDLE" else word for word in words[1:]]
        result: Any = run_command(tuple(words), None, {"ZQ_ADDRESS": self.address})
        assert result.exit_code == 0, result.output
        text: str = result.output
        if text.startswith('{"handle": '):
            self._handle = json.loads(text)["handle"]
        return text

    def close(self) -> None:
        if self._is_working:
            self.names["worker"].stop(0.0)
        self.names["client"].close()


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    with zq.Coordinator(tmp_path / "orders.zq", bind=f"ipc://{tmp_path}/socket") as coordinator:
        monkeypatch.setenv("ZQ_ADDRESS", coordinator.address)
        monkeypatch.delenv("ZQ_NAMESPACE", raising=False)
        found = Stand(coordinator.address)
        yield found
        found.close()


@pytest.mark.parametrize("section", FEATURES, ids=lambda one: one.anchor)
def test_snippet_runs_as_it_stands(section: Section, stand: Stand) -> None:
    stand.run(section)


@pytest.mark.parametrize("section", FEATURES, ids=lambda one: one.anchor)
def test_section_begins_with_code_and_a_command(section: Section) -> None:
    least, most = COMMANDS_PER_SECTION
    purpose, *_ = section.text.split(FENCE)

    assert len(purpose.strip().split("\n\n")) == 1, "expected what it is for, and then the code"
    assert "**" not in purpose
    assert section.fences_in("python"), "no code"
    assert section.fences_in("sh"), "no command"
    assert least <= sum(len(one.code_lines) for one in section.fences) <= most
    assert "Pinned by" in section.text


@pytest.mark.parametrize("section", FEATURES, ids=lambda one: one.anchor)
def test_paragraphs_are_short(section: Section) -> None:
    paragraphs = re.split(r"\n\n|\n(?=- )", section.text)

    assert [
        one for one in paragraphs if len(one) > PARAGRAPH_CHARS_MAX and not one.startswith(("|", "Pinned by"))
    ] == []


def test_every_fence_is_run() -> None:
    pictures = [fence for one in SECTIONS for fence in one.fences if fence.language == "text"]
    assert len(pictures) == 1, "the one picture is compared with the table that it is made from"
    assert {fence.language for one in SECTIONS for fence in one.fences if fence not in pictures} == {"python", "sh"}
    with_code = [one for one in SECTIONS if any(fence not in pictures for fence in one.fences)]
    assert [one.title for one in with_code if one.level != 3] == [PRELUDE.title]
    for one in SECTIONS:
        for fence in one.fences_in("python"):
            ast.parse(fence.text)
