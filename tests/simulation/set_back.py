"""What must hold once a wall clock that was set back has been taken back: nothing waits longer than it was told to."""

from __future__ import annotations

from tests.simulation.deadlines import ROUNDING
from tests.simulation.ledger import Violation
from zq.core import tables
from zq.core.state.books import Books
from zq.core.state.deadlines import CLOCK_SLACK
from zq.core.storage import Transaction
from zq.core.tasks.schedules import ScheduleRow

SLACK = CLOCK_SLACK + ROUNDING


def check_set_back(books: Books, tx: Transaction, wall: float) -> None:
    """Checks right after a turn that no time on disk is later than it can be by the clock as it is now."""
    if books.deadlines.clock.phase is not None:  # it is being taken back, in portions
        return
    for key, value in tx.scan(tables.SCHEDULED):
        due_time, task_key = tables.split_due_key(key)
        batch = books.read(tx, task_key, value)
        if batch.attempts:
            start, stop = tables.id_bounds(batch.own_id)
            details = [tables.unpack(row)[2] for _, row in tx.scan(tables.HISTORY, start, stop)]
            delay = next((one["in"] for one in reversed(details) if "in" in one), None)
        else:
            delay = batch.options.delay if batch.options.at is None else None
        if delay is not None and due_time > wall + delay + SLACK:
            raise Violation(f"{batch.own_id} has a delay of {delay:g} s and waits {due_time - wall:.1f} s from now on")
    for _, value in tx.scan(tables.FINISHED):
        finished_time, id, *_ = tables.unpack(value)
        if finished_time > wall + SLACK:
            raise Violation(f"{id} has ended {finished_time - wall:.1f} s from now, and is forgotten as much later")
    for key, value in tx.scan(tables.SCHEDULES, *tables.schedule_bounds()):
        row = ScheduleRow(*tables.unpack(value))
        if row.every is not None and row.next_time > wall + row.every + SLACK:
            name = tables.split_schedule_key(key)
            raise Violation(f"schedule {name} fires every {row.every:g} s, and next in {row.next_time - wall:.1f} s")
