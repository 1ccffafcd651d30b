"""Looking through dead letters for those of a reason, to purge them or to bring them back: a portion in each step.

There may be millions, each with a reason of any length, so what is looked for may be far. Whoever asked is answered
when enough were found, or all were seen; what dies meanwhile may be among them. A search is in memory only: after a
restart nobody knows of it any more, and who has had no answer asks again: a command with a mark then goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from zq.core import tables
from zq.core.admin import answers
from zq.core.arguments import InvalidRequestError
from zq.core.state import places
from zq.core.state.books import Books
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.tasks import dead_letters
from zq.wire.messages import Answer

SEARCHES_MAX: Final = 100
"""Searches at the same time."""


@dataclass(slots=True, eq=False)
class DeadSearch:
    """One search, and how far it is."""

    number: int | None  # of the queue; None: all queues
    inside: str  # what their names begin with
    reason: str | None  # text that the reason contains, in whatever case
    left: int  # dead letters that may still be found
    is_purge: bool  # else they are brought back
    to: str | None = None  # to another queue
    cursor: bytes = b""
    count: int = 0
    mark: str = ""  # of the command


def begin(books: Books, step: Step, search: DeadSearch) -> None:
    """Begins a search for whoever asks in this step, and does its first portion.

    Raises:
        InvalidRequestError: there are too many already.
    """
    if step.asker in books.searches:
        return  # asked again: it goes on
    known = answers.find(step, search.mark) if search.mark else None
    if known is not None:
        search.count = int(known.value)
        search.left -= search.count
        for asker, other in list(books.searches.items()):
            if other.mark == search.mark:  # of a connection that is gone
                books.searches[step.asker] = books.searches.pop(asker)
                return
    if len(books.searches) >= SEARCHES_MAX:
        raise InvalidRequestError(f"{SEARCHES_MAX} searches go on, which is the most there may be; come back later")
    books.searches[step.asker] = search
    _go_on(books, step, *step.asker, search, dead_letters.DeadPortion())
    books.deadlines.chores.bring_forward(step.now)


def carry_on(books: Books, step: Step) -> float:
    """Does a portion of the searches; returns when the next one is to be done: at once, or never."""
    portion = dead_letters.DeadPortion()
    for peer, request in list(books.searches):
        if not portion.may_look:
            break
        search = books.searches.pop((peer, request))
        books.searches[peer, request] = search  # the others come first the next time
        _go_on(books, step, peer, request, search, portion)
    return step.now if books.searches else inf


def _go_on(
    books: Books, step: Step, peer: bytes, request: int, search: DeadSearch, portion: dead_letters.DeadPortion
) -> None:
    is_over = _look(books, step, search, portion)
    answers.note(step, search.mark, search.count, is_over=is_over)
    if is_over:
        del books.searches[peer, request]
        step.send(peer, Answer(request, search.count))


def _look(books: Books, step: Step, search: DeadSearch, portion: dead_letters.DeadPortion) -> bool:
    """Looks at dead letters and does what is to be done with those that are found; returns whether it is over."""
    first, stop = (b"", None) if search.number is None else tables.queue_bounds(search.number)
    wanted = None if search.reason is None else search.reason.casefold()

    def behind(key: bytes) -> bytes | None:
        queue = books.queues_by_number[tables.split_task_key(key)[0]]
        return None if queue.name.startswith(search.inside) else tables.queue_bounds(queue.number)[1]

    while search.left and portion.may_look:
        rows, search_cursor = portion.read(step, max(first, search.cursor), stop, behind if search.inside else None)
        for key, value in rows:
            if wanted is not None and wanted not in dead_letters.reason_of(value).casefold():
                continue
            if not search.left or not portion.take():
                search_cursor = key
                break
            _take(books, step, search, key, value)
        if search_cursor is None:
            return True
        search.cursor = search_cursor
    return not search.left


def _take(books: Books, step: Step, search: DeadSearch, key: bytes, value: bytes) -> None:
    """Purges a dead letter that was found, or brings it back."""
    dead = places.dead_letter(books, step, key, value)
    search.left -= 1
    if search.is_purge:
        dead_letters.purge(books, step, dead)
        search.count += 1
    else:
        to: Queue | None = None if search.to is None else books.queue(step, search.to)
        search.count += dead_letters.revive(books, step, dead.batch, to)
