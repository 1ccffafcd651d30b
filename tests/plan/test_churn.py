"""A little of row 21: `python -m tests.plan --rows 21` goes on for longer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plan.churn import churn

MEMORY = Path("/dev/shm")
"""A disk that flushes at once, where there is one: what is looked at is the size of a file."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    place = MEMORY if os.access(MEMORY, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=place) as made:
        yield Path(made)


@pytest.mark.parametrize("journal", [True, False])
def test_data_file_stays_as_large_as_it_was_however_much_goes_through_it(journal: bool, folder: Path) -> None:
    found = churn(1, 12_000, folder, journal=journal, measure=6_000)

    assert found["payload_mib"] > 100
    assert found["ok"], found
