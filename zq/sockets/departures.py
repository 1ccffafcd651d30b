"""What holds sockets that nobody drives any more lets go of them when the program ends: ZeroMQ would say that they are
unclosed, of a client that was forgotten in a global.
"""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol


class Leaving(Protocol):
    """What may hold such sockets."""

    def leave(self) -> None:
        """The program ends: without waiting, and without a word."""


_all: weakref.WeakSet[Leaving] = weakref.WeakSet()


def leave_at_exit(one: Leaving) -> None:
    """Has `leave` of an object called at the end of the program, if it lives until then."""
    _all.add(one)


def _leave_all() -> None:
    for one in list(_all):
        one.leave()


atexit.register(_leave_all)
