"""Copies of a process that works for another one: what `os.fork` makes of it, in a handler or beside one.

A copy has the memory of a worker, of a child with its pipes or of a stage, and none of their threads. It must not speak
for any of them, and it ends where the user's function ends in it, as a program would: then nobody waits for a result.
Whoever calls user's functions either compares process ids around the call, or, on a hot path, is `watched` and makes
itself, in the copy, into something that ends the process when it is used again.
"""

from __future__ import annotations

import os
import sys
import weakref
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


def leave_copy(pid: int, error: BaseException | None = None) -> None:
    """Ends this process if it is a copy; returns otherwise.

    Args:
        pid: the id of the process that the user's function was called in.
        error: that the function raised, if it did.
    """
    if os.getpid() != pid:
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
