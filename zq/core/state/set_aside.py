"""Batches that are ready and wait outside of their lane for one thing, so that nobody waits behind them: for their key
to have room (`Gate.held`), or for the worker of their key (`Queue.awaiting`).

Memory has the place and the key of each, however many they are. When what they wait for has come, or is not worth
waiting for any more, they stand in their place in the lane again (`zq.core.state.service_order.bring_back`). One that
ended meanwhile, or was moved, is found out then.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush


class SetAside:
    """Batches by what they wait for, and of that what has come."""

    __slots__ = ("_heaps", "_opened")

    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[bytes, bytes]]] = {}  # of (place, task key); invariant: none is empty
        self._opened: dict[str, None] = {}  # what may have come since it was last asked

    def __len__(self) -> int:
        """Returns for how many things anything waits."""
        return len(self._heaps)

    def __iter__(self) -> Iterator[str]:
        """Yields what is waited for; the batches may be taken meanwhile."""
        return iter(list(self._heaps))

    def __contains__(self, reason: str) -> bool:
        return reason in self._heaps

    def put(self, reason: str, place: bytes, key: bytes) -> None:
        """Adds a batch that was taken out of its lane."""
        heappush(self._heaps.setdefault(reason, []), (place, key))

    def take(self, reason: str) -> tuple[bytes, bytes] | None:
        """Returns place and key of the first batch that waits for this, and has it no more."""
        waiting = self._heaps.get(reason)
        if waiting is None:
            return None
        first = heappop(waiting)
        if not waiting:
            del self._heaps[reason]
        return first

    def take_all(self) -> list[tuple[bytes, bytes]]:
        """Returns place and key of all batches, and has none any more."""
        waiting = [one for heap in self._heaps.values() for one in heap]
        self._heaps.clear()
        return waiting

    def count(self, reason: str) -> int:
        """Returns how many batches wait for this."""
        return len(self._heaps.get(reason, ()))

    def reason_of(self, key: bytes) -> str | None:
        """Returns what the batch of a key waits for, or None if it is not here."""
        return next((reason for reason, heap in self._heaps.items() if any(one == key for _, one in heap)), None)

    # What has come.

    @property
    def has_opened(self) -> bool:
        """Whether `take_opened` may have something."""
        return bool(self._opened)

    def open(self, reason: str) -> bool:
        """Notes that this may have come; returns whether anything waits for it."""
        if reason not in self._heaps:
            return False
        self._opened[reason] = None
        return True

    def open_all(self) -> None:
        """Notes that all of it may have come."""
        self._opened.update(dict.fromkeys(self._heaps))

    def take_opened(self) -> list[str]:
        """Returns what may have come, and is waited for."""
        opened = [reason for reason in self._opened if reason in self._heaps]
        self._opened.clear()
        return opened
