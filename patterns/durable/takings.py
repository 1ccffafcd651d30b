"""The results that the caller of a durable run holds: counted, handed out to the program one by one, and acknowledged
when the program has taken them.

Two ledgers count the same items: one is ahead, and has outcomes for the program; the other has only what is
acknowledged, and is what the cursor keeps.
"""

from __future__ import annotations

from collections import deque

import zq
from patterns.work.items import ItemChunk, Origin, Plain, cut, members_of, origins_of
from patterns.work.ledger import Ledger


class _Held:
    """A result that was pulled and counted, and is not acknowledged yet."""

    __slots__ = ("before", "chunk", "last", "mark", "task")

    def __init__(self, task: zq.PulledTask, chunk: ItemChunk, before: int, mark: int) -> None:
        self.task = task
        self.chunk = chunk
        self.before = before  # outcomes that had been made before it was counted
        self.mark = mark  # and afterwards
        if isinstance(chunk, Plain):  # as nearly all are: no look at each
            self.last = chunk.first + len(chunk.values) - 1
        else:
            self.last = max(map(_last_number, origins_of(chunk)))


def _last_number(origin: Origin) -> int:
    return max(number for number, _ in members_of(origin))


class Takings:
    """What the caller of one run holds. It belongs to the caller's thread, except for `tasks`."""

    def __init__(self, ledger: Ledger, acknowledged: Ledger, *, ordered: bool) -> None:
        """Begins with nothing in hand.

        Args:
            ledger: the books that are ahead.
            acknowledged: the books of the cursor.
            ordered: whether the first gives outcomes in the order of the input.
        """
        self._ledger = ledger
        self._acknowledged = acknowledged
        self._ordered = ordered
        self._held: deque[_Held] = deque()
        self._made = 0  # outcomes, since the start
        self._gone = 0  # of them, those of the segments that were removed
        self._segments: deque[tuple[int, int]] = ledger.trace() if ordered else deque()
        self._given = ledger.next_to_give if ordered else 0  # items before this have been taken, in an ordered run

    def __len__(self) -> int:
        return len(self._held)

    @property
    def tasks(self) -> list[zq.PulledTask]:
        return [held.task for held in tuple(self._held)]

    def count(self, task: zq.PulledTask, chunk: ItemChunk) -> None:
        """Counts what a task brings; outcomes appear in the ledger that is ahead."""
        ready = self._ledger.take()
        there, before = len(ready), self._made
        self._ledger.receive(chunk)
        self._made += len(ready) - there
        self._held.append(_Held(task, chunk, before, self._made))

    def renew(self, task: zq.PulledTask) -> bool:
        """Takes a new lease of a result that is held already, after its old one has run out; False when it is not."""
        for held in self._held:
            if held.task.id == task.id:
                held.task = task
                return True
        return False

    def acknowledge(self) -> list[zq.PulledTask]:
        """Returns the results that the program has taken, counted now in the books of the cursor."""
        taken = self._note_given()
        kept: deque[_Held] = deque()
        done: list[zq.PulledTask] = []
        for held in self._held:
            is_taken = held.last < self._given if self._ordered else held.mark <= taken
            if is_taken:
                done.append(held.task)
                self._acknowledged.receive(held.chunk)
            else:
                kept.append(held)
        self._acknowledged.take().clear()
        self._held = kept
        return done

    def acknowledge_parts(self) -> tuple[list[ItemChunk], list[zq.PulledTask]]:
        """Returns results of which the program has taken a part, and the rest of them, which has to go back: for a
        caller that leaves.
        """
        taken = self._note_given()
        rest: list[ItemChunk] = []
        done: list[zq.PulledTask] = []
        for held in list(self._held):
            items = list(cut(held.chunk, 1))
            if self._ordered:
                is_taken = [_last_number(next(iter(origins_of(item)))) < self._given for item in items]
            else:
                count = taken - held.before if held.mark - held.before == len(items) else 0
                is_taken = [at < count for at in range(len(items))]
            if any(is_taken):
                done.append(held.task)
                self._held.remove(held)
                for item, is_gone in zip(items, is_taken, strict=True):
                    if is_gone:
                        self._acknowledged.receive(item)
                    else:
                        rest.append(item)
        self._acknowledged.take().clear()
        return rest, done

    def _note_given(self) -> int:
        """Returns how many outcomes the program has taken; in an ordered run it notes which items those are of."""
        taken = self._made - self._ledger.untaken
        while self._segments:
            outcomes, items = self._segments[0]
            part = min(outcomes, taken - self._gone)
            if part < outcomes and items == 1:
                break
            self._gone += part
            self._given += items if part == outcomes else part
            if part < outcomes:
                self._segments[0] = (outcomes - part, items - part)
                break
            self._segments.popleft()
        return taken
