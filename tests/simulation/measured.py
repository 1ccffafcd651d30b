"""The history of what was counted adds up, whatever was restarted, deleted or put back."""

from __future__ import annotations

from collections import Counter

from tests.simulation.ledger import Violation
from zq.core import tables
from zq.core.measures.rolling import TIME_END, totals_of
from zq.core.measures.steps import COARSE_SECONDS, FINE_SECONDS, OVER_ALL, SERIES_MAX, History, Totals, rows_in
from zq.core.state.books import Books
from zq.core.state.queue import Queue, read_queue
from zq.core.state.step import Step
from zq.core.storage import Transaction


class Measured:
    """What deleted queues had counted, which nothing but the history knows any more."""

    def __init__(self) -> None:
        self.gone = Totals()
        self._deleted: list[Totals] = []  # in the last turn, which has perhaps never happened

    def watch(self, books: Books) -> None:
        """Listens to what a coordinator that was just started deletes."""
        real = books.remove_queue

        def remove_queue(step: Step, queue: Queue) -> None:
            self._deleted.append(totals_of(queue.counts()))
            real(step, queue)

        books.remove_queue = remove_queue  # type: ignore[method-assign]  # of this one object

    def note_turn(self) -> None:
        """Takes what the last turn has deleted for gone: it has happened."""
        for totals in self._deleted:
            self.gone = plus(self.gone, totals)
        self._deleted.clear()

    def take_back(self) -> None:
        """Forgets what was deleted in a turn that has never happened."""
        self._deleted.clear()

    def check(self, tx: Transaction) -> None:
        """Compares the rows with what the queues have counted."""
        self.note_turn()
        history = History()
        history.read(tx)
        base = history.base
        rows = [
            *rows_in(tx, COARSE_SECONDS, 0, TIME_END),
            *(row for row in rows_in(tx, FINE_SECONDS, 0, TIME_END) if row[0] >= base.summed_until),
        ]
        summed = Totals()
        for _, number, row in rows:
            summed = plus(summed, row.totals) if number == OVER_ALL else summed
        if summed != plus(base.totals, self.gone):
            raise Violation(f"the history adds up to {summed}, not {base.totals} and {self.gone} of deleted queues")
        counted = Totals()
        for key, value in tx.scan(tables.QUEUES):
            counted = plus(counted, totals_of(read_queue(int.from_bytes(key, "big"), value, {}).counts()))
        if any(before > now for before, now in zip(base.totals, counted, strict=True)):
            raise Violation(f"the history is ahead of the queues: {base.totals}, they have counted {counted}")
        if most := [at for at, many in Counter(time for time, _, _ in rows).items() if many > 2 * (SERIES_MAX + 1)]:
            raise Violation(f"the history has too many rows at {most}")


def plus(one: Totals, other: Totals) -> Totals:
    return Totals(*map(int.__add__, one, other))
