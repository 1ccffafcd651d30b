"""Stages for tests, at the top level of a module, as worker processes need them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from patterns import stage


@stage
def double(number: int) -> int:
    return number * 2


@stage(workers=2)
def add_one(number: int) -> int:
    return number + 1


@stage
def describe(value: Any) -> str:
    return f"<{value}>"


@stage(flat=True)
def repeat(number: int) -> Iterable[int]:
    """Gives 0, 1 or 2 copies of a number."""
    return [number] * (abs(number) % 3)


@stage(workers=2, key=lambda number: number % 3)
def keep(number: int) -> int:
    return number


@stage
def fail_on_sevens(number: int) -> int:
    if number % 10 == 7:
        raise ValueError(f"no {number} today")
    return number


@stage(workers=2)
def halve(number: int) -> int:
    return number // 2


@stage
def total(numbers: list[int]) -> int:
    return sum(numbers)


def parity(number: int) -> str:
    return "odd" if number % 2 else "even"


def sign(number: int) -> str:
    return "minus" if number < 0 else "plus"


def digits(number: int) -> list[int]:
    """Cuts a number into its digits; 0 into none."""
    return [int(digit) for digit in str(abs(number))] if number else []


def countdown(number: int) -> Iterable[int]:
    yield from range(abs(number) % 4)


@stage(workers=2)
def number_of(parts: list[int]) -> int:
    return sum(10**at * int(str(part)[:2].strip("-") or 0) for at, part in enumerate(parts))


def tally(parts: list[Any]) -> int:
    return len(parts)
