"""The name that is installed is our own: `zq` and `patterns` are other people's projects on the package index."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXTS = [
    ROOT / "README.md",
    *(
        path
        for folder in ("zq", "patterns", "examples", "benchmarks", "docs")
        for pattern in ("*.py", "*.md", "*.js", "*.html", "*.toml", "*.yaml", "*.yml", "*.service", "*Containerfile*")
        for path in sorted((ROOT / folder).rglob(pattern))
        if "generated" not in path.parts  # the pages of a site that was built here say it again
    ),
]
INSTALLED = re.compile(r"(?:pip|pipx|uv|uvx) (?:tool )?(?:install|run|add)((?: +-\S+)*(?: +[\w'\"\[\].,/<>=-]+)+)")


def wrong_names(text: str) -> Iterator[str]:
    """Yields what a text has installed that is not ours, or that has no such extra."""
    for found in INSTALLED.finditer(text):
        words = [one.strip("'\"") for one in found[1].split()]
        yield from (one for one in words if re.match(r"(zq|patterns)\b", one))
    for name, extras in re.findall(r"['\"`](zq|zqkit|patterns)\[([a-z, -]+)\]", text):
        missing = {one.strip() for one in extras.split(",")} - PROJECT["optional-dependencies"].keys()
        if name != PROJECT["name"] or missing:
            yield f"{name}[{extras}]"


def test_what_is_to_be_installed_is_our_distribution() -> None:
    assert len(TEXTS) > 500
    assert [(str(path), name) for path in TEXTS for name in wrong_names(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "text",
    [
        "pip install zq",
        "pip install -q 'zq[cron]'",
        "the extra `zq[types]`",
        "uv add patterns",
        "pip install 'zqkit[no-such-extra]'",
    ],
)
def test_a_planted_name_is_found(text: str) -> None:
    assert list(wrong_names(text)) != []


@pytest.mark.parametrize("text", ["pip install zqkit", "pip install 'zqkit[cron]'", "pip install -q -e '.[test]'"])
def test_our_name_is_no_wrong_one(text: str) -> None:
    assert list(wrong_names(text)) == []


def test_import_names_and_command_stay() -> None:
    assert PROJECT["name"] == "zqkit"
    assert PROJECT["scripts"] == {"zq": "zq.cli:main"}
