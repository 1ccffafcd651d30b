"""A pipeline for the load: every input becomes two items, each of which is worked on twice."""

from __future__ import annotations

from collections.abc import Iterable

from patterns import stage


@stage(workers=2, flat=True)
def twins(number: int) -> Iterable[int]:
    return [2 * number, 2 * number + 1]


@stage
def triple(number: int) -> int:
    return 3 * number


pipeline = (twins | triple).named("twins")


def made_of_inputs(count: int) -> list[int]:
    """What comes of the numbers up to a count, in order."""
    return [3 * number for number in range(2 * count)]
