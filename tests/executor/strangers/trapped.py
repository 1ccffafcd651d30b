"""A module with a few functions of its own, and much else that whoever may call them must not reach."""

import functools
import os
import os.path as paths
import subprocess
from os import system
from typing import Any

from tests.executor import functions
from tests.executor.functions import Shop, same

__all__ = ["paths", "system"]

CALLED: list[str] = []
"""What was called that must not be."""


class Trap:
    """Answers for every name with itself, and notes when it is looked at or called."""

    def __getattr__(self, name: str) -> Any:
        CALLED.append(name)
        return self

    def __call__(self, *args: object) -> None:
        CALLED.append("call")

    def method(self) -> None:
        CALLED.append("method")


class Liar:
    """Says to be what one asks for."""

    def __init__(self) -> None:
        self.__name__ = "liar"

    def __getattr__(self, name: str) -> str:
        return {"__module__": __name__, "__qualname__": "liar"}.get(name, name)

    def __call__(self) -> None:
        CALLED.append("liar")


class Kept:
    """A decorator that is a class, as many are."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def price(number: int) -> int:
    return 2 * number


def wrapping(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


@wrapping
def wrapped(number: int) -> int:
    return number + 1


@functools.lru_cache
def cached(number: int) -> int:
    return number + 2


@Kept
def kept(number: int) -> int:
    return number + 3


def _hidden() -> None:
    CALLED.append("hidden")


class Menu(Shop):
    """Has methods of its own, an inner class, and those of a class of another module."""

    class Card:
        def __init__(self, size: int = 0) -> None:
            self.size = size

        @staticmethod
        def fold(times: int) -> int:
            return times

    @staticmethod
    def cost(number: int) -> int:
        return 3 * number

    @classmethod
    def title(cls) -> str:
        return cls.__name__

    @classmethod
    def _secret(cls) -> None:
        CALLED.append("secret")

    def sell(self) -> None:
        CALLED.append("sell")

    run = staticmethod(os.system)
    popen = subprocess.Popen
    trap = Trap()


trap = Trap()
liar = Liar()
alias = price
hidden = _hidden
command = os.system
process = subprocess.Popen
part = functools.partial(os.system, "true")
bound = trap.method
anonymous = lambda: CALLED.append("lambda")  # noqa: E731 - a lambda under a name
borrowed = same
others = functions
wrapped_elsewhere = functools.wraps(os.system)(lambda *_: CALLED.append("wrapped"))
sort = CALLED.sort


def __getattr__(name: str) -> Any:
    CALLED.append(name)
    return os.system
