"""The site is made of what is there: pictures, public names, commands; and it builds without a warning."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import patterns
import zq
from tests.docs.pages import ROOT, links_of

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
    assert "\nExamples::\n\n    zq dev shop:app\n" in text
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


def test_twin_has_the_words_of_a_first_sentence_of_two_lines_once(generate: ModuleType) -> None:
    said = generate.twin_of("zq.AsyncClient.publish_many", zq.AsyncClient.publish_many.__doc__)

    assert said.startswith("Publishes many payloads to one topic; as `zq.Client.publish_many`.\n\nArgs:")


def test_constants_and_names_for_annotations_have_their_value_and_their_own_words(generate: ModuleType) -> None:
    found = {name: getattr(zq, name) for name in dir(zq) if not name.startswith("_")}
    data = [name for name, value in found.items() if not (inspect.isclass(value) or inspect.isroutine(value))]

    assert {"EVENT_KINDS", "HistoryStep", "StateFilter", "TIME_BOUNDS"} <= set(data)
    assert [name for name in data if not generate.said_of(zq, name)] == []
    page = generate.python_page("Values", ["zq.HistoryStep"])
    assert ".. py:data:: zq.HistoryStep\n   :value: Literal[10, 300]\n\n   Seconds of a step" in page


@pytest.mark.parametrize("package", [zq, patterns], ids=lambda one: one.__name__)
def test_every_public_method_says_what_it_does(package: ModuleType) -> None:
    classes = [(name, getattr(package, name)) for name in dir(package) if inspect.isclass(getattr(package, name))]
    silent = [f"{name}.{member}" for name, found in classes for member in members_of(found) if not said(found, member)]

    assert sum(len(members_of(found)) for _, found in classes) > 20
    assert silent == []


def members_of(found: type[object]) -> list[str]:
    """Returns the public methods and properties that are ours."""
    members = {name: inspect.getattr_static(found, name) for name in dir(found) if not name.startswith("_")}
    functions = {name: getattr(one, "fget", None) or getattr(one, "__func__", one) for name, one in members.items()}
    return [
        name
        for name, one in functions.items()
        if inspect.isfunction(one) and one.__module__.split(".")[0] in ("zq", "patterns")
    ]


def said(found: type[object], member: str) -> str:
    return inspect.getdoc(getattr(found, member)) or ""


def test_values_have_their_fields_with_the_comments_beside_them(generate: ModuleType) -> None:
    page = generate.python_page("Values", ["zq.FailureRow"])

    assert "\n   - ``attempt``: ``int`` - that it was, from 1\n" in page
    assert "\n   - ``is_dead``: ``bool`` - whether it was the last attempt\n" in page


@pytest.mark.parametrize("name", ["README", "CHANGELOG"])
def test_pages_from_above_lead_to_what_is_there(name: str, generate: ModuleType) -> None:
    text = generate.from_above(f"{name}.md")
    written = DOCS / "reference" / "generated"
    links = [target.partition("#")[0] for _, target in links_of(text) if "://" not in target]

    missing = [one for one in links if one and one != "changelog.md" and not (written / one).resolve().exists()]
    assert missing == []


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("furo") is None:
        pytest.skip("the site needs sphinx, myst-parser and furo (the extra `docs`), which are not installed")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "-q",
            "-b",
            "dummy",
            "-d",
            str(tmp_path / "trees"),
            str(DOCS),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
