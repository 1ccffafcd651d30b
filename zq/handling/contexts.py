"""A fresh context (`contextvars`) for each call, so that no task sees what another one has set.

Each call runs in a copy of the context in which its `FreshContexts` was made: the program's when the worker started, in
a child process the one in which the handlers were imported. That is nearly always an empty context, and a call nearly
always leaves it empty; so one copy serves until something is left in it. Work of many calls is a generator that looks
at that after each call, which costs a fiftieth of a call that does nothing; entering a context for each would cost four
times as much.

A call may leave more behind than variables: a copy of the process, when it forks. What the copy is for, the caller
knows; when it returns or raises, it has come out of the call for the second time, and must not go on as we do: it would
run the next tasks, too, and speak for the process that it is a copy of. So it ends there, as a program does at its end.
A fork is marked in the context, so that it costs nothing to look for it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, NoReturn, TypeVar

from zq.handling.raised import LOGGED_BYTES_MAX, text_of, trace_of

T = TypeVar("T")

INTERRUPTED = 130
"""Exit code of a copy that ended by KeyboardInterrupt, as a shell has it."""

Work = Generator[None, Context, T]
"""Work of many calls: it is sent the context in which it goes on; after each call, if something is in that context, it
yields.
"""

_copied: ContextVar[bool] = ContextVar("_copied")
"""True in the context of a call that a fork has copied."""


class _Calls(threading.local):
    depth = 0  # of calls of anybody's code in this thread


_calls = _Calls()


class FreshContexts:
    """Fresh contexts for the calls of one thread, one after the other."""

    __slots__ = ("_base", "_context")

    def __init__(self) -> None:
        self._base = copy_context()
        if _copied in self._base:  # made by a program that a handler has forked: what it calls is no copy
            self._base.run(_copied.set, False)
        self._context = self._base.copy()

    def copy(self) -> Context:
        """Returns a context for a call that is made elsewhere, such as in a task of an event loop."""
        return self._base.copy()

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Calls a function in a fresh context."""
        context = self._context
        _calls.depth += 1
        try:
            return context.run(function, *args)
        except BaseException as error:
            if context.get(_copied):
                _end_process(error)
            raise
        finally:
            _calls.depth -= 1
            if context:
                self._renew()

    def drive(self, work: Work[T]) -> T:
        """Has work of many calls done, each of them in a fresh context; returns what the work returns."""
        next(work)
        _calls.depth += 1
        try:
            while True:
                self._context.run(work.send, self._context)
                self._renew()
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            _calls.depth -= 1

    def _renew(self) -> None:
        if self._context.get(_copied):
            _end_process(None)
        self._context = self._base.copy()


@contextmanager
def noticing_forks() -> Iterator[None]:
    """Has `end_copy` know of forks in calls that this thread makes in other ways than by `FreshContexts`."""
    _calls.depth += 1
    try:
        yield
    finally:
        _calls.depth -= 1


def end_copy(error: BaseException | None) -> None:
    """Ends this process if the call in whose context this is has made it, by a fork, and has ended in it, too.

    Args:
        error: that the call raised: SystemExit ends it as any program, all else is printed. None: it returned.
    """
    if _copied.get(False):
        _end_process(error)


def _end_process(error: BaseException | None) -> NoReturn:
    code = 0
    try:
        code = _code_of(error)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # nobody is there to hear of it
        code = code or 1
    os._exit(code)


def _code_of(error: BaseException | None) -> int:
    """Returns the exit code of a program that ends so, and prints what it would."""
    if error is None:
        return 0
    if issubclass(type(error), SystemExit):
        code = getattr(error, "code", None)
        if code is None or isinstance(code, int):
            return 0 if code is None else code & 0xFF
        sys.stderr.write(f"{_shown(text_of(code, LOGGED_BYTES_MAX))}\n")
        return 1
    sys.stderr.write(_shown(trace_of(error, LOGGED_BYTES_MAX)))
    return INTERRUPTED if issubclass(type(error), KeyboardInterrupt) else 1


def _mark_copy() -> None:
    if _calls.depth:
        _copied.set(True)


os.register_at_fork(after_in_child=_mark_copy)


def _shown(text: str) -> str:
    """Returns lines with all escaped that could drive a terminal: an error may say what a task says."""
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)
