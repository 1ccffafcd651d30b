"""The table of docs/guarantees.md is what the recorded lines say, and shows what is bad."""

from __future__ import annotations

import pytest

from tests.plan.table import NO_LINE, PAGE, RECORDED, read, table_of


def test_table_of_the_page_is_made_of_the_recorded_lines() -> None:
    assert table_of(read(RECORDED)) in PAGE.read_text(encoding="utf-8"), "run python -m tests.plan --table"


def test_every_row_has_runs_or_a_reason() -> None:
    assert NO_LINE not in table_of(read(RECORDED))


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ({"seconds": 60.0, "injuries": 1000, "ok": True}, "| 1 run, 1 min: 1,000 injuries | 0 |"),
        ({"seconds": 60.0, "lost": 2, "ok": False}, "| 2 lost, 1 of 1 runs not as they must be |"),
        ({"skipped": ["no strace"], "ok": True}, "not run: no strace | - |"),
    ],
)
def test_line_is_shown_with_what_is_bad(line: dict[str, object], shown: str) -> None:
    assert shown in table_of([{"row": "7", "name": "kills", "seed": 1, **line}])


def test_second_coordinators_of_kills_are_a_row_of_their_own() -> None:
    line = {"row": "7", "seconds": 60.0, "injuries": 9, "second_coordinators_refused": 9, "ok": True}

    assert "| 1 run, 1 min: 9 second ones refused | 0 |" in table_of([line])
