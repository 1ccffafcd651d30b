"""What is documented of each cell of the matrix: how the odd task ends, and what becomes of its worker.

Its neighbours end well, and so does what is submitted afterwards, in every cell but those that say otherwise.
"""

from __future__ import annotations

import re
from typing import NamedTuple

WORKERS = {
    "threads": ("plain_worker", "--concurrency", "1"),
    "coroutines": ("coroutine_worker", "--concurrency", "2"),
    "children": ("plain_worker", "--processes", "1"),
    "coroutines in a child": ("coroutine_worker", "--processes", "1"),
}
"""Kinds that are workers of a coordinator: the name in the shop, and how it is started."""

HOSTED = ("executor", "memory", "coroutines in memory", "durable stage", "stage in a process", "stage in a thread")
"""Kinds that a program of their own hosts."""

KINDS = (*WORKERS, *HOSTED)

DEATHS = ("os._exit", "SIGSEGV")

TAINTS = (
    "closes descriptors",
    "changes folder",
    "ignores signals",
    "sets a context variable",
    "stops its worker",
    *DEATHS,
)
"""After which the next cell gets a worker of its own."""


class Expected(NamedTuple):
    """What is expected of a cell.

    Attributes:
        odd: a pattern that the outcome of the odd task matches.
        exit: the code with which the process of the worker ends; None when it goes on.
        once: whether the odd task behaves at its second attempt.
        is_apart: whether the odd task is a batch of its own, and its neighbours may be tried again.
        is_lossy: whether neighbours may be lost with it.
        is_deaf: whether the program that the handler runs in cannot be ended by SIGTERM any more.
        excluded: why there is no such cell.
    """

    odd: str = ""
    exit: int | None = None
    once: bool = False
    is_apart: bool = False
    is_lossy: bool = False
    is_deaf: bool = False
    excluded: str = ""


FAILED = {
    "a plain error": "ValueError: an error",
    "an error without text": "Mute",
    "an error that lies about itself": "Untruthful",
    "an error with a description": "QuotaExceededError: quota",
    "an error with a lying text": "Lying: a lie",
    "an error whose text exits": "Exiting",
    "odd notes": "ValueError: noted",
    "a huge error": "ValueError: \u00e4{1000}",
    "a huge burial": "\u00e4{1000}",
    "surrogates": r"ValueError: \\udcff",
    "a burial of an error": "the error",
    "a burial of a text that lies": "a lie",
    "a hasty burial": "HastyBury",
    "a hasty retry": "HastyRetry",
    "a base exception": "OwnBaseException: base",
    "SystemExit": "SystemExit: 3",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "GeneratorExit": "GeneratorExit",
    "StopIteration": "StopIteration",
    "CancelledError": "CancelledError",
    "RecursionError": "RecursionError: maximum recursion depth",
    "MemoryError": "MemoryError: no room",
    "nested groups": "BaseExceptionGroup: group 4999",
    "a circle of causes": "ValueError: first",
    "a long chain of causes": "ValueError: link 19999",
}
"""By what is raised: how the task fails."""

ENDED = {"os._exit": (7, "exit code 7"), "SIGSEGV": (-11, "SIGSEGV")}

HAS_MAIN_THREAD = (
    "children",
    "coroutines in a child",
    "executor",
    "memory",
    "coroutines in memory",
    "stage in a process",
)
"""Kinds whose handlers run in the main thread, where Python lets signal handlers be set."""


def expected(kind: str, deed: str) -> Expected:
    if deed in FAILED:
        return Expected(f"failed: .*{FAILED[deed]}")
    if deed in DEATHS:
        return _expected_death(kind, *ENDED[deed])
    match deed:
        case "fork":
            return Expected("done: done, and its copy exited with 3")
        case "ignores signals" if kind not in HAS_MAIN_THREAD:
            return Expected("failed: .*ValueError: signal only works in main thread")
        case "ignores signals" if kind in ("memory", "coroutines in memory"):
            return Expected("done: done", is_deaf=True)
        case "stops its worker" if kind in ("threads", "coroutines"):
            return Expected("done: done", exit=0)
        case "stops its worker" if kind in ("children", "coroutines in a child"):
            return Expected("failed: .*ValueError: worker .* runs in another process than this handler")
        case "stops its worker" if kind in HOSTED:
            return Expected(excluded="what it runs has no zq.Worker at hand")
    return Expected("done: done")


def _expected_death(kind: str, code: int, words: str) -> Expected:
    match kind:
        case "threads" | "coroutines":  # they end the worker itself; another one takes its tasks
            return Expected("done: done", exit=code, once=True, is_apart=True)
        case "memory" | "coroutines in memory" | "stage in a thread":  # they end the program: there is nobody else
            return Expected(exit=code)
        case "durable stage":  # its process is started again, and the chunk is worked off again
            return Expected("done: done", once=True)
        case "stage in a process":  # lossy: what a dead process held is counted, not kept
            return Expected("lost", is_lossy=True)
        case "coroutines in a child":  # all that ran there are charged with an attempt
            return Expected(f"failed: .*{words}", is_apart=True)
    return Expected(f"failed: .*{words}")


def is_as_expected(outcome: str, pattern: str) -> bool:
    return re.match(pattern, outcome, re.DOTALL) is not None
