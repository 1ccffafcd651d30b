"""Who waits for how tasks end is told, at once what is known, and the rest as it comes."""

from __future__ import annotations

from functools import partial

from zq.core.accounts import BusyRequestError
from zq.core.state.batch import run_mask
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.outcome_waits import UNREAD_PAUSE, WaitEntry, outcome_messages
from zq.core.state.step import Step
from zq.core.tasks.follow_up import ended_spans
from zq.wire.messages import Outcome, Wait


def wait(books: Books, step: Step, peer: Peer, message: Wait) -> tuple[int, BusyRequestError] | None:
    """Answers a wait, and notes for what it goes on.

    Returns:
        The request that is to be refused, with the reason, if its connection has more waits than it may: the oldest.
    """
    request, id, lo, hi = message
    spans, missing, rest = ended_spans(books, step, id, run_mask(lo, hi))
    if spans or not missing:
        step.outbox += outcome_messages(peer, request, spans, is_last=not missing)
    if not missing:
        books.waits.forget(peer, request)  # it was about to be told, and is now
        return None
    refused = _make_room(books, peer, request)
    if refused == request:
        books.waits.forget(peer, request)
    else:
        books.waits.add(id, WaitEntry(peer, request, missing, rest), step.now)
        books.deadlines.guests.bring_forward(step.now + books.options.suspect_after)
        if not spans:
            _answer_later(books, step, peer, message)
    if refused is None:
        return None
    books.count("limit waits")
    return refused, BusyRequestError(books.accounts.account_of(peer).refusal("waits"))


def _answer_later(books: Books, step: Step, peer: Peer, message: Wait) -> None:
    receipt = step.take_receipt(peer, message.id)
    if not books.waits.unhurried.add_wait(step.now, peer, message.request, receipt):
        step.send(peer, receipt)
        step.send(peer, Outcome(message.request, (), is_last=False))


def _make_room(books: Books, peer: Peer, request: int) -> int | None:
    """Makes room for a wait. When its peer has as many as it may, the oldest of the connection goes for it; nobody else
    loses one. Returns which is to be refused: the request itself, if there is none to go; None when there is room.
    """
    guest = books.guests.get(peer)
    if (guest is not None and request in guest.waits) or books.accounts.account_of(peer).room("waits") > 0:
        return None
    oldest = books.waits.forget_oldest(peer)
    return request if oldest is None else oldest


def tell(books: Books, step: Step) -> None:
    """Tells what this turn and those before have brought, as much as one turn may."""
    waits = books.waits
    step.outbox += waits.unhurried.receipts_before(waits.take_messages())
    if waits.has_news:
        books.deadlines.chores.bring_forward(step.now)  # the others hear it in the next turns
    if waits.has_long_answers:  # more of them, to those who have read what came before
        more = waits.go_on(partial(ended_spans, books, step))
        step.outbox += waits.unhurried.receipts_before(more)
        if waits.has_long_answers:
            chores = books.deadlines.chores
            chores.bring_forward(step.now + (0.0 if more else UNREAD_PAUSE))
