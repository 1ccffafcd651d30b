"""Copies of a process that works for another one: what `os.fork` makes of it, in a handler or beside one.

A copy has the memory of a worker, of a child with its pipes or of a stage, and none of their threads. It must not speak
for any of them, nor hold what is theirs: whatever could is watched, and told that it is in a copy now. Where the user's
function ends that has made the copy, the copy ends (`zq.handling.contexts`).
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Watched(Protocol):
    """What has something to do in a copy."""

    def become_copy(self) -> None:
        """Called in a copy, in the thread that has forked, which is the only one there is."""


_watched: weakref.WeakSet[Watched] = weakref.WeakSet()


def watch(one: Watched) -> None:
    """Has `become_copy` of an object called in every copy of this process, as long as the object lives."""
    _watched.add(one)


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
