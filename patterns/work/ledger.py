"""The books of a run: which source items are under way, which are complete, failed or lost, and what may be given to
the caller.

A pure machine, without any transport. `send` books what leaves, `receive` what comes back at the sink; `take` gives
outcomes in the order that was asked for: as they come, or in the order of the input. An outcome is a bare value,
because nearly all are, and wrapping each would cost more than all the rest; what failed is a Failure, which no value
can be.

Invariants: `sent == completed + failed + lost + in_flight`; an item is counted once, whatever comes twice or late.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from operator import length_hint
from typing import Any

from patterns.work.items import Failure, ItemChunk, Origin, Path, Plain, Rest, WithoutResult, members_of, origins_of

FORGOTTEN_MAX = 1000
"""Chunks that have ended and may still stand in the list of all chunks: clearing it costs as much as it is long."""


class _OpenItem(Rest):
    """A source item of which something has come back, but not all."""

    __slots__ = ("has_failed",)

    def __init__(self) -> None:
        super().__init__()
        self.has_failed = False


_UNTOUCHED = _OpenItem()
"""Stands for items of which nothing has come back, while others of their chunk have. It is never changed."""


class Ledger:
    """The books of one run.

    Attributes:
        sent: source items that were sent.
        completed: source items of which everything has come back without a failure.
        failed: source items that a stage failed for.
        lost: source items that were declared lost.
        has_failures: whether an outcome is, or ever was, a Failure.
    """

    def __init__(self, *, ordered: bool, next_number: int = 0) -> None:
        """Opens the books.

        Args:
            ordered: whether outcomes are given in the order of the input.
            next_number: of the first item to be sent; other than 0 when a run is resumed.
        """
        self.sent = self.completed = self.failed = self.lost = 0
        self.has_failures = False
        self._whole: dict[
            int, int
        ] = {}  # first number -> count, in rising order: chunks of which nothing has come back
        self._firsts: list[int] = []  # what was ever in _whole, but for the oldest; to find the chunk of a number
        self._open: dict[int, _OpenItem] = {}  # by number: items of chunks that came back in pieces
        self._next = next_number
        self._ready: deque[Any] = deque()
        self._portion: Iterator[Any] = iter(())
        self._order = _Order(next_number) if ordered else None

    @property
    def in_flight(self) -> int:
        """Source items that were sent and have not ended."""
        return self.sent - self.completed - self.failed - self.lost

    @property
    def held(self) -> int:
        """Source items that cannot be given to the caller yet, because an earlier one is under way; 0 when the order
        does not matter.
        """
        return self._next - self._order.next_number if self._order is not None else 0

    def send(self, count: int) -> int:
        """Books items that leave now, and returns the number of the first."""
        first = self._next
        self._next += count
        self.sent += count
        self._whole[first] = count
        self._firsts.append(first)
        if len(self._firsts) > 2 * len(self._whole) + FORGOTTEN_MAX:
            self._firsts = list(self._whole)
        return first

    def receive(self, chunk: ItemChunk) -> None:
        """Books what came to the sink."""
        if isinstance(chunk, Plain) and self._whole.get(chunk.first) == len(chunk.values):
            del self._whole[chunk.first]  # the way of nearly all items
            self.completed += len(chunk.values)
            self._give_plain(chunk)
            return
        is_ended = isinstance(chunk, WithoutResult)
        for origin, value in zip(origins_of(chunk), chunk[1], strict=True):
            if isinstance(origin, int) and not (is_ended and value is not None) and self._end_whole(origin):
                if is_ended:
                    self._close(origin)
                elif self._order is None:
                    self._ready.append(value)
                else:
                    self._order.add_plain(Plain(origin, [value]))
            elif is_ended:
                self._receive_one(origin, None, value, is_empty=value is None)
            else:
                self._receive_one(origin, value, None, is_empty=False)
        if self._order is not None:
            self._order.release(self._ready)

    def take(self) -> deque[Any]:
        """Returns the outcomes that may be given now: values, and a Failure for each item that failed. The caller
        removes what it gives.
        """
        return self._ready

    def portion(self, count: int) -> Iterator[Any]:
        """Removes the first outcomes, and returns them for the caller to read, after all of the last portion."""
        ready = self._ready
        if count == len(ready):  # nearly always, and without a step for each
            values = list(ready)
            ready.clear()
        else:
            values = [ready.popleft() for _ in range(count)]
        self._portion = iter(values)
        return self._portion

    @property
    def untaken(self) -> int:
        """Outcomes that are there, and that the caller has neither removed nor read."""
        return len(self._ready) + length_hint(self._portion)

    def declare_lost(self) -> int:
        """Books everything under way as lost, and returns how many source items that adds to `lost`."""
        before = self.lost
        for number in self.unresolved():
            found = self._open.get(number)
            if found is not None and found.has_failed:
                self.failed += 1  # the caller knows already that nothing will come of it
            else:
                self.lost += 1
            self._close(number)
        self._whole.clear()
        if self._order is not None:
            self._order.release(self._ready)
        return self.lost - before

    def unresolved(self) -> list[int]:
        """Returns the numbers of the items under way, rising."""
        whole = [first + index for first, count in self._whole.items() for index in range(count)]
        return sorted([*whole, *self._open])

    # For runs that are resumed.

    @property
    def outstanding(self) -> Fraction:
        """What is under way, in source items and parts of them."""
        return sum((one.left for one in self._open.values()), Fraction(sum(self._whole.values())))

    @property
    def next_to_give(self) -> int:
        """Number of the first item of which something may still be given, in an ordered run; of the next to be sent in
        others.
        """
        return self._next if self._order is None else self._order.next_number

    def trace(self) -> deque[tuple[int, int]]:
        """Has an ordered run note what it gives: (outcomes, items that they are of), for one item, or for so many with
        one outcome each. The caller removes them.
        """
        assert self._order is not None, "what is given in any order says nothing about the items before it"
        self._order.released = found = deque[tuple[int, int]]()
        return found

    def export(self) -> list[Any]:
        """Returns the books as what msgpack can hold; without the outcomes that were not taken."""
        # As text: the denominators of deep forks have more than the 64 bits that msgpack can hold.
        opened = [[number, str(one.left), one.has_failed] for number, one in self._open.items()]
        counts = [self.sent, self.completed, self.failed]
        return [self._next, counts, [[first, count] for first, count in self._whole.items()], opened]

    @classmethod
    def restore(cls, exported: list[Any], *, ordered: bool) -> Ledger:
        """Returns the books that were exported; items that have ended are given to nobody."""
        next_number, counts, whole, opened = exported
        found = cls(ordered=ordered, next_number=next_number)
        found.sent, found.completed, found.failed = counts
        found._whole = dict(sorted(whole))
        found._firsts = list(found._whole)
        for number, left, has_failed in opened:
            one = found._open[number] = _OpenItem()
            one.left, one.has_failed = Fraction(left), has_failed
        if found._order is not None:
            unresolved = found.unresolved()
            found._order = _Order(unresolved[0] if unresolved else next_number)
            for number in set(range(found._order.next_number, next_number)) - set(unresolved):
                found._order.close(number)
        return found

    def _give_plain(self, chunk: Plain) -> None:
        if self._order is None:
            self._ready.extend(chunk.values)
            return
        self._order.add_plain(chunk)
        self._order.release(self._ready)

    def _receive_one(self, origin: Origin, value: Any, failure: Failure | None, *, is_empty: bool) -> None:
        """Books one item. What stands for items that have ended already is late news: it is dropped."""
        members = [(number, path) for number, path in members_of(origin) if self._find(number) is not None]
        if not members:
            return
        if failure is not None:
            self.has_failures = True
        items = [self._touch(number) for number, _ in members]
        is_news = failure is None or not all(item.has_failed for item in items)
        if not is_empty and is_news:
            self._give(members[0], value if failure is None else failure)
        for (number, path), item in zip(members, items, strict=True):
            if failure is not None and not item.has_failed:
                item.has_failed = True
            if item.take(path):
                if item.has_failed:
                    self.failed += 1
                else:
                    self.completed += 1
                self._close(number)

    def _end_whole(self, number: int) -> bool:
        """Books an item that came back whole, the first time; False when that is not so simple."""
        if self._open.get(number, _UNTOUCHED) is not _UNTOUCHED or self._find(number) is None:
            return False
        del self._open[number]
        self.completed += 1
        return True

    def _give(self, member: tuple[int, Path], outcome: Any) -> None:
        if self._order is None:
            self._ready.append(outcome)
        else:
            self._order.add(*member, outcome)

    def _find(self, number: int) -> _OpenItem | None:
        """Returns the books of one item, taken out of its chunk if need be; None when it has ended."""
        found = self._open.get(number)
        if found is not None or not self._whole:
            return found
        at = bisect_right(self._firsts, number) - 1
        first = self._firsts[at]
        if at < 0 or number >= first + self._whole.get(first, 0):
            return None
        self._open.update(dict.fromkeys(range(first, first + self._whole.pop(first)), _UNTOUCHED))
        return _UNTOUCHED

    def _touch(self, number: int) -> _OpenItem:
        """Returns the books of one item, to be written in."""
        found = self._open[number]
        if found is _UNTOUCHED:
            found = self._open[number] = _OpenItem()
        return found

    def _close(self, number: int) -> None:
        self._open.pop(number, None)
        if self._order is not None:
            self._order.close(number)


class _Order:
    """Holds outcomes back until everything before them has ended."""

    def __init__(self, next_number: int) -> None:
        self.next_number = next_number
        self._outcomes: dict[int, list[tuple[Path, Any]]] = {}
        self._closed: set[int] = set()
        self._plain: dict[int, list[Any]] = {}
        self.released: deque[tuple[int, int]] | None = None  # see `Ledger.trace`

    def add(self, number: int, path: Path, outcome: Any) -> None:
        self._outcomes.setdefault(number, []).append((path, outcome))

    def add_plain(self, chunk: Plain) -> None:
        """Takes whole items that have ended, together: one step for a chunk, and not one for each."""
        self._plain[chunk.first] = chunk.values

    def close(self, number: int) -> None:
        self._closed.add(number)

    def release(self, ready: deque[Any]) -> None:
        while True:
            values = self._plain.pop(self.next_number, None)
            if values is not None:
                ready.extend(values)
                self.next_number += len(values)
                if self.released is not None:
                    self.released.append((len(values), len(values)))
                continue
            if self.next_number not in self._closed:
                return
            self._closed.remove(self.next_number)
            outcomes = self._outcomes.pop(self.next_number, [])
            outcomes.sort(key=lambda one: one[0])
            ready.extend(outcome for _, outcome in outcomes)
            self.next_number += 1
            if self.released is not None:
                self.released.append((len(outcomes), 1))
