"""Documents that name the tests of their rules name tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

NAMED = re.compile(r"`(?:[\w/.]*::)?(test_[a-z0-9_]+)`")

CPYTHON = {"test_interpreter_shutdown"}
"""Tests that come with Python."""


@pytest.mark.parametrize("document", ["faces.md"])
def test_named_tests_are_there(document: str) -> None:
    known = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named = set(NAMED.findall((ROOT / "docs" / document).read_text(encoding="utf-8")))

    assert len(named) > 50
    assert named - known - CPYTHON == set()
