"""Functions that calls name."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zq


@dataclass
class Point:
    x: int
    y: int = 0


class Odd(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stubborn(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Shop:
    @staticmethod
    def bake(name: str) -> str:
        return f"baked {name}"

    @classmethod
    def owner(cls) -> str:
        return cls.__name__

    def sell(self) -> None: ...


def mirror(point: Point, by: int = 1) -> Point:
    return Point(-point.x * by, point.y)


def same(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def untyped(value):  # type: ignore[no-untyped-def]  # what it is about
    return value


def fail(number: int) -> None:
    raise Odd(number)


def fail_stubbornly() -> None:
    raise Stubborn(1, 2)


def leave() -> None:
    raise SystemExit(3)


def die() -> None:
    os._exit(7)


def attempt_of(task: zq.Task) -> tuple[str, int]:
    return task.queue, task.attempt


def unsendable() -> Any:
    return object()


def wait_for(path: str, started: str = "") -> int:
    """Waits until a file is there."""
    if started:
        Path(started).touch()
    while not Path(path).exists():
        time.sleep(0.005)
    return os.getpid()


def meet(folder: str) -> int:
    """Waits until another process has come to the folder."""
    (Path(folder) / str(os.getpid())).touch()
    while len(list(Path(folder).iterdir())) < 2:
        time.sleep(0.005)
    return os.getpid()


async def coroutine() -> None: ...


def fail_at_length() -> None:
    raise ValueError("\u00e4" * 5_000_000)


def interrupt() -> None:
    raise KeyboardInterrupt


class Elusive(Exception):
    """Cannot be made for a second time."""

    def __init__(self, *arguments: object) -> None:
        if not IS_FIRST:
            sys.exit("no more")
        IS_FIRST.clear()
        super().__init__(*arguments)


IS_FIRST = [True]


def fail_elusively() -> None:
    raise Elusive("once")


def double(number: int) -> int:
    return 2 * number


def noted(number: int, path: str, bad: int) -> int:
    """Appends a line to a file; one number fails, a negative one kills the process."""
    with Path(path).open("a") as file:
        file.write(f"{number}\n")
    if number == bad:
        raise Odd(number)
    if number == -bad:
        os._exit(7)
    return number


def end_early(number: int) -> int:
    if number == 2:
        raise StopIteration
    return number


def repeated(size: int) -> bytes:
    return bytes(size)


def fail_with_notes(number: int) -> None:
    error = Odd(number)
    error.add_note("seen there")
    error.add_note("\u00e4" * 100_000)
    raise error


def fail_at_length_from(number: int, first: int) -> int:
    if number >= first:
        raise ValueError("x" * 10_000)
    return number
