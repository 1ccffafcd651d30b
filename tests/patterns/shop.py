"""Stages for tests, at the top level of a module, as worker processes need them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from pathlib import Path
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
    # Twelve places: many parts of parts would else make a number that msgpack cannot hold.
    return sum(10 ** (at % 12) * int(str(part)[:2].strip("-") or 0) for at, part in enumerate(parts))


def tally(parts: list[Any]) -> int:
    return len(parts)


# Stages that misbehave.


@stage
def tell_process(number: int) -> list[int]:
    return [os.getpid(), number]


@stage(retries=2, backoff=(0.001, 1.0, 0.001))
def fail_twice(path: str) -> int:
    """Counts its calls in a file, and fails the first two times."""
    with Path(path).open("a+") as file:
        file.write("x")
        file.seek(0)
        calls = len(file.read())
    if calls < 3:
        raise OSError(f"call {calls} fails")
    return calls


@stage(timeout=0.2)
def hang_on_sevens(number: int) -> int:
    while number == 7:
        pass
    return number


@stage(timeout=5.0)
def crash_on_sevens(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@stage(timeout=5.0)
def die_of_a_signal_without_a_name(number: int) -> int:
    os.kill(os.getpid(), 40)
    return number


@stage(timeout=5.0, flat=True)
def fail_slowly(number: int) -> Iterable[int]:
    yield number
    if number == 7:
        raise LookupError("seven")


@stage
def die_on_sevens(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@stage
def make_object(number: int) -> object:
    return object() if number == 7 else number


@stage(timeout=5.0)
def fail_unreadably(number: int) -> int:
    raise FileNotFoundError("no caf\udce9")


def split_unreadable(name: str) -> list[str]:
    """Cuts a name into its letters, or fails with a text that UTF-8 cannot hold."""
    if name == "caf?":
        raise FileNotFoundError("no caf\udce9")
    return list(name)


@stage
def make_large(number: int) -> bytes:
    return bytes(number << 20)


@stage(workers=2)
def wait_for_ever(number: int) -> int:
    threading.Event().wait()
    return number


@stage(workers=2, key=lambda number: "all alike")
def tell_process_of_key(number: int) -> list[int]:
    return [os.getpid(), number]
