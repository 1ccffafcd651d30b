"""The site is made of what is there: pictures, public names, commands; and it builds without a warning."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import patterns
import zq
from tests.docs.pages import ROOT

DOCS = ROOT / "docs"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return load(DOCS / "reference" / "generate.py")


def test_picture_of_the_boxes_is_what_its_program_draws() -> None:
    assert (DOCS / "pictures" / "boxes.svg").read_text(encoding="utf-8") == load(
        DOCS / "pictures" / "boxes.py"
    ).picture()


@pytest.mark.parametrize("name", ["boxes", "pizza"])
def test_pictures_fetch_nothing_and_are_small(name: str) -> None:
    text = (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8")

    assert re.findall(r"@import|@font-face|href=|src=|url\((?!#)", text) == []
    assert len(text) < 60_000


def test_reference_has_every_public_name_once(generate: ModuleType) -> None:
    listed = [name for names in generate.pages().values() for name in names]

    expected = {f"zq.{name}" for name in dir(zq) if not name.startswith("_")}
    assert sorted(listed) == sorted(
        expected | {f"patterns.{name}" for name in dir(patterns) if not name.startswith("_")}
    )
    assert all(generate.pages().values()), "a page without a name"


def test_page_of_commands_has_every_command_and_option(generate: ModuleType) -> None:
    text = generate.command_page()

    assert "\nzq queues set\n-----" in text
    assert "``--heartbeat-interval``" in text
    assert "Variable: ``ZQ_DATA``." in text
    assert "[bold]" not in text


def test_methods_of_the_async_client_say_what_they_do_with_the_words_of_their_twins(generate: ModuleType) -> None:
    said = generate.twin_of("zq.AsyncClient.submit", zq.AsyncClient.submit.__doc__)

    assert said.startswith("Submits a task; as `zq.Client.submit`.\n\n")
    assert "Raises:" in said
    assert generate.twin_of("zq.AsyncGroup.result", zq.AsyncGroup.result.__doc__).startswith("Waits")
    assert generate.twin_of("zq.Client.submit", zq.Client.submit.__doc__) is None


def test_docstrings_of_the_async_client_begin_with_what_they_do() -> None:
    found = {name: getattr(zq.AsyncClient, name).__doc__ for name in vars(zq.AsyncClient) if not name.startswith("_")}

    assert [name for name, text in found.items() if text.startswith("As ")] == []
