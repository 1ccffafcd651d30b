"""The types that a type checker sees through a pipeline; mypy checks this file, and running it checks that it is
true.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_type

from patterns import FlatStage, Pipeline, Stage, batch, fan_out, gather, route, scatter, stage


@stage
def length(text: str) -> int:
    return len(text)


@stage(workers=2)
def is_long(count: int) -> bool:
    return count > 10


@stage(flat=True)
def letters(text: str) -> list[str]:
    return list(text)


def words(text: str) -> list[str]:
    return text.split()


def add(counts: list[int]) -> float:
    return sum(counts)


def choose(count: int) -> str:
    return "long" if count > 10 else "short"


def test_types_are_seen_through_the_pipeline() -> None:
    assert_type(length, Stage[str, int])
    assert_type(letters, FlatStage[str, str])
    assert_type(length("abc"), int)
    assert_type(letters("abc"), Iterable[str])
    assert_type(length | is_long, Pipeline[str, bool])
    assert_type(letters | length | is_long, Pipeline[str, bool])
    assert_type(scatter(words) | length | gather(add), Pipeline[str, float])
    assert_type(length | route(choose, {"long": is_long, "short": is_long}), Pipeline[str, bool])
    assert_type(length | fan_out(is_long, is_long), Pipeline[str, bool])
    assert_type(length | batch(10), Pipeline[str, list[Any]])
    is_long | length  # type: ignore[operator] # a bool is no text
