"""What the trace of every task must tell, compared with what went over the wire."""

from __future__ import annotations

from tests.simulation.ledger import Ledger, Violation
from zq.core.insight.traces import trace
from zq.core.options import Now
from zq.core.state.books import Books
from zq.core.state.history import HISTORY_MINOR_MAX
from zq.core.state.step import Step
from zq.core.storage import Transaction

OPEN_ENDED = ("lost", "returned", "retry", "cancelled", "dead", "done")
"""Events that say how a start ended."""


def check_traces(books: Books, tx: Transaction, now: Now, ledger: Ledger, *, is_whole: bool) -> None:
    """Checks that each task begins by being accepted, that every lease of it that was sent is told, and how it
    ended.
    """
    step = Step(now, tx)
    for entry in ledger.entries.values():
        is_untraced = ledger.is_hurt(entry.id) or entry.id in ledger.untraced
        events = [] if is_untraced else trace(books, step, entry.id)
        if not events:
            is_known = not is_untraced and entry.id not in ledger.forgotten and entry.duplicate_of is None
            if is_whole and entry.is_accepted and entry.policy is None and is_known:
                raise Violation(f"{entry.id} was accepted and has no trace")
            continue
        names = [event.event for event in events]
        if names.count("duplicate"):
            continue
        if names.count("accepted") != 1 and (is_whole or names.count("accepted")):
            raise Violation(f"{entry.id} was accepted once, and its trace is {names}")
        if len(events) > HISTORY_MINOR_MAX or not is_whole:
            continue
        told = [event.detail["token"] for event in events if event.event == "assigned"]
        if len(set(told)) != len(told) or set(entry.tokens) - set(told):
            raise Violation(f"{entry.id} was assigned under {entry.tokens}, its trace tells of {told}: {events}")
        done = [event.detail["token"] for event in events if event.event == "done"]
        if entry.completed_by and done != list(entry.completed_by):
            raise Violation(f"{entry.id} was completed under {entry.completed_by}, its trace tells of {done}")
        over = {event.detail.get("token") for event in events if event.event in OPEN_ENDED}
        if entry.outcome is not None and set(told) - over:
            raise Violation(f"the trace of {entry.id} does not tell how its starts ended: {events}")
