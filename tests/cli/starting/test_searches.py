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


@pytest.mark.usefixtures("short")
def test_nothing_is_searched_for_after_a_few_objects_that_are_still_in_use() -> None:
    found: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        found.append(about["generation"])

    gc.callbacks.append(note)
    kept = [[number] for number in range(10_000)]
    gc.callbacks.remove(note)
    assert len(kept) == 10_000
    assert not found


def test_all_is_looked_at_again_when_it_is_over() -> None:
    before = gc.get_threshold()
    made = ShortSearches()
    assert gc.get_freeze_count() > 0
    made.stop()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
    assert made._note not in gc.callbacks
