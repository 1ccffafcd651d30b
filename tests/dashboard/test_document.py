"""docs/dashboard.md has every address of the interface, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from zq.dashboard.app import ENDPOINTS

PAGE = Path(__file__).parent.parent.parent / "docs" / "dashboard.md"


def test_document_has_every_address_and_no_other() -> None:
    rows = re.findall(r"^\| (GET|POST) \| `(/[^`]*)` \| \S", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(rows) == sorted((endpoint.method, endpoint.path) for endpoint in ENDPOINTS)


def test_every_address_is_answered_by_one_handler() -> None:
    shapes = [(one.method, re.sub(r"\{\w+\}", "{}", one.path)) for one in ENDPOINTS]

    assert len(set(shapes)) == len(shapes)
