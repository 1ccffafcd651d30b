"""Copies of a process that works for another one: what `os.fork` makes of it, in a handler or beside one.

A copy has the memory of a worker, of a child with its pipes or of a stage, and none of their threads. It must not speak
for any of them, and it ends where the user's function ends in it, as a program would: then nobody waits for a result.
Whoever calls the user's functions either does so in a `CopyEnd`, or is watched and told that it is in a
copy, so that a call costs a look at most; on the hottest paths it makes itself into something that ends the process, or
the work, when it is used again.
"""

from __future__ import annotations

import os
import sys
import weakref
from types import TracebackType
from typing import NoReturn, Protocol

INTERRUPTED = 130
"""Exit code of a copy that ended by KeyboardInterrupt, as a shell has it."""


class Watched(Protocol):
    """What has something to do in a copy."""

    def become_copy(self) -> None:
        """Called in a copy, in the thread that has forked, which is the only one there is."""


_watched: weakref.WeakSet[Watched] = weakref.WeakSet()


def watch(one: Watched) -> None:
    """Has `become_copy` of an object called in every copy of this process, as long as the object lives."""
    _watched.add(one)


class CopyEnd:
    """Around a call of a user's function: where a copy of this process ends that the function has made."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __enter__(self) -> None:
        """Begins a call."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._pid:
            leave(error)


def leave(error: BaseException | None = None) -> NoReturn:
    """Ends this process as a program whose last function returned, or raised an exception; nothing of what was begun
    in the process that it is a copy of is finished, and no exit handler of that one is called.
    """
    code = 1
    try:
        code = _tell(error)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _tell(error: BaseException | None) -> int:
    """Says what Python says of an exception that nobody has caught; returns the exit code."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        sys.stderr.write(f"{error.code}\n")
        return 1
    sys.excepthook(type(error), error, error.__traceback__)
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def silence(descriptors: list[int]) -> None:
    """Puts nothing in the place of descriptors that belong to the process that this one is a copy of: their numbers
    stay taken, since there are files over them.
    """
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
    except OSError:  # there is no descriptor left, so none that could be hit by mistake is opened soon
        for descriptor in descriptors:
            os.close(descriptor)
        return
    for descriptor in descriptors:
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


def _become_copy() -> None:
    for one in list(_watched):
        one.become_copy()


os.register_at_fork(after_in_child=_become_copy)
