"""What handlers do in the matrix: odd things that are raised, and odd things that are done to the process.

`perform` is what every kind of worker runs; it is imported by their processes. An order without a deed is that of a
neighbour: it says what it sees of the others.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import zq

LOOK_INTERVAL = 0.01

COPY_PATIENCE = 10.0
"""Seconds for which a handler waits for its copy."""

request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="nothing")

Order = dict[str, Any]
"""`deed`: its name, or None; `folder`: where it may leave files; `once`: whether a second attempt behaves."""


def perform(order: Order) -> str:
    deed = order["deed"]
    if deed is None:
        return f"sees {request.get()}"
    if deed in RAISING:
        RAISING[deed]()
    return DOING[deed](order)


# Raised.


class Mute(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Untruthful(Exception):
    """Has attributes that are not what they should be, and lies about what it is."""

    description = {"code": 5}
    remote_traceback = b"none"

    @property  # type: ignore[misc] # it lies
    def __class__(self) -> Any:
        raise SystemExit("no class")

    @property
    def __traceback__(self) -> Any:  # type: ignore[override] # the same
        raise ValueError("no traceback")

    @property
    def __cause__(self) -> Any:  # type: ignore[override] # the same
        return 7

    @property
    def __notes__(self) -> Any:  # type: ignore[override] # the same
        raise KeyboardInterrupt


class QuotaExceededError(Exception):
    """Has a description of its own."""

    description = "of its own"


class Text(str):
    """Text that is never what it says."""

    __slots__ = ()

    def encode(self, *arguments: Any) -> Any:
        raise RuntimeError("cannot be encoded")

    def __getitem__(self, place: Any) -> Any:
        return 7

    def __len__(self) -> int:
        return 1 << 62


class Lying(Exception):
    def __str__(self) -> str:
        return Text("a lie")


class Exiting(Exception):
    def __str__(self) -> str:  # noqa: PLE0307 - that is the point
        sys.exit(5)


class HastyBury(zq.Bury):
    def __init__(self) -> None:
        """Does not call the one above."""


class HastyRetry(zq.Retry):
    def __init__(self) -> None:
        """Does not call the one above."""


class OwnBaseException(BaseException):
    """Not an Exception."""


def bury_error() -> NoReturn:
    try:
        raise ZeroDivisionError("the error")
    except ZeroDivisionError as error:
        raise zq.Bury(error) from error


def recurse() -> NoReturn:
    recurse()


def raise_groups() -> NoReturn:
    error: BaseException = ValueError("innermost")
    for depth in range(5000):
        error = BaseExceptionGroup(f"group {depth}", [error, SystemExit(3)])
    raise error


def raise_circle() -> NoReturn:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def raise_chain() -> NoReturn:
    error = ValueError("link 0")
    for number in range(1, 20_000):
        follower = ValueError(f"link {number}")
        follower.__cause__ = error
        error = follower
    raise error


def raise_hasty_notes() -> NoReturn:
    error = ValueError("noted")
    error.__notes__ = 7  # type: ignore[assignment] # anybody may write it
    raise error


def raises(make: Callable[[], BaseException]) -> Callable[[], NoReturn]:
    def deed() -> NoReturn:
        raise make()

    return deed


RAISING: dict[str, Callable[[], NoReturn]] = {
    "a plain error": raises(lambda: ValueError("an error")),
    "an error without text": raises(Mute),
    "an error that lies about itself": raises(Untruthful),
    "an error with a description": raises(lambda: QuotaExceededError("quota")),
    "an error with a lying text": raises(Lying),
    "an error whose text exits": raises(Exiting),
    "odd notes": raise_hasty_notes,
    "a huge error": raises(lambda: ValueError("\u00e4" * 5_000_000)),
    "a huge burial": raises(lambda: zq.Bury("\u00e4" * 5_000_000)),
    "surrogates": raises(lambda: ValueError("\udcff\x00\x1b[2J")),
    "a burial of an error": bury_error,
    "a burial of a text that lies": raises(lambda: zq.Bury(Text("a lie"))),
    "a hasty burial": raises(HastyBury),
    "a hasty retry": raises(HastyRetry),
    "a base exception": raises(lambda: OwnBaseException("base")),
    "SystemExit": raises(lambda: SystemExit(3)),
    "KeyboardInterrupt": raises(KeyboardInterrupt),
    "GeneratorExit": raises(GeneratorExit),
    "StopIteration": raises(lambda: StopIteration("stop")),
    "CancelledError": raises(asyncio.CancelledError),
    "RecursionError": recurse,
    "MemoryError": raises(lambda: MemoryError("no room")),
    "nested groups": raise_groups,
    "a circle of causes": raise_circle,
    "a long chain of causes": raise_chain,
}


# Done.


def is_second(order: Order) -> bool:
    """Whether an order that behaves at its second attempt is at it."""
    mark = Path(order["folder"]) / "once"
    was_there = mark.exists()
    mark.touch()
    return bool(order["once"]) and was_there


def end_process(order: Order) -> str:
    if not is_second(order):
        os._exit(7)
    return "done"


def crash(order: Order) -> str:
    if not is_second(order):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(COPY_PATIENCE)
    return "done"


def fork(order: Order) -> str:
    """Its copy exits in the way of any program, and with a code of its own."""
    copy = os.fork()
    if copy == 0:
        sys.exit(3)
    (Path(order["folder"]) / "copies").write_text(str(copy))
    give_up_at = time.monotonic() + COPY_PATIENCE
    while time.monotonic() < give_up_at:
        found, status = os.waitpid(copy, os.WNOHANG)
        if found:
            return f"done, and its copy exited with {os.waitstatus_to_exitcode(status)}"
        time.sleep(LOOK_INTERVAL)
    os.kill(copy, signal.SIGKILL)
    os.waitpid(copy, 0)
    return "done, and its copy would not exit"


def daemonize(order: Order) -> str:
    """Forks twice; what is left returns from the handler for the second time."""
    file = Path(order["folder"]) / "copies"
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() > 0:
            os._exit(0)
        draft = file.with_suffix(".draft")
        draft.write_text(str(os.getpid()))
        draft.rename(file)
        return "the daemon's result"
    os.waitpid(child, 0)
    while not file.exists():
        time.sleep(LOOK_INTERVAL)
    return "done"


def close_descriptors(order: Order) -> str:
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    return "done"


def change_folder(order: Order) -> str:
    os.chdir(order["folder"])
    return "done"


def ignore_signals(order: Order) -> str:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return "done"


def set_variable(order: Order) -> str:
    request.set("what another task has set")
    return "done"


def leave_thread(order: Order) -> str:
    threading.Thread(target=time.sleep, args=(1.0,)).start()
    return "done"


def stop_worker(order: Order) -> str:
    raise AssertionError("handlers that have a worker do it themselves")


DOING: dict[str, Callable[[Order], str]] = {
    "os._exit": end_process,
    "SIGSEGV": crash,
    "fork": fork,
    "daemonize": daemonize,
    "closes descriptors": close_descriptors,
    "changes folder": change_folder,
    "ignores signals": ignore_signals,
    "sets a context variable": set_variable,
    "leaves a thread": leave_thread,
    "stops its worker": stop_worker,
}

DEEDS = [*RAISING, *DOING]
