"""A search for garbage that took long is not repeated over what it found alive."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from zq.cli.starting import searches
from zq.cli.starting.searches import ShortSearches


@pytest.fixture
def short() -> Iterator[ShortSearches]:
    made = ShortSearches()
    yield made
    made.stop()


@pytest.mark.usefixtures("short")
def test_what_a_long_search_found_alive_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "SEARCH_SECONDS_LONG", 1e6)
    kept = [[number] for number in range(10_000)]
    before = gc.get_freeze_count()
    gc.collect()
    assert gc.get_freeze_count() <= before, "it was short"
    monkeypatch.setattr(searches, "SEARCH_SECONDS_LONG", -1.0)
    gc.collect()
    assert gc.get_freeze_count() >= before + len(kept)


def test_all_is_looked_at_again_when_it_is_over() -> None:
    made = ShortSearches()
    assert gc.get_freeze_count() > 0
    made.stop()
    assert gc.get_freeze_count() == 0
    assert made._note not in gc.callbacks
