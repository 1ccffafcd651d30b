"""Pulls: a client asks for tasks and gets them at once, when some come, or none when it has waited long enough.

`client` and `request` name a pull (protocol 2). One name waits in one place or has leases, never both, nor in two
queues: else the leases of one would hide those of the other. What a connection has waiting is limited, since each pull
costs memory for as long as it waits.
"""

from __future__ import annotations

from math import inf

from zq.core.state.books import Books
from zq.core.state.holder import Peer, PullWait, pull_name
from zq.core.state.leases import Holder
from zq.core.state.step import Step
from zq.core.tasks import assignment
from zq.wire.limits import PULLS_WAITING_MAX
from zq.wire.messages import Error, Pull, Tasks


def pull(books: Books, step: Step, peer: Peer, message: Pull) -> None:
    """Answers a pull, or lets it wait."""
    name = pull_name(message.client, message.request)
    held = books.pullers.get(name)
    earlier = books.pulls.get(name)
    queues = {lease.batch.queue.name for lease in held.leases.values()} if held is not None else set()
    if earlier is not None:
        queues.add(earlier.pull.queue)
    if queues - {message.queue}:
        text = f"pull {message.request} of {message.client} is for queue {queues.pop()}; give one for {message.queue} another number"
        _refuse(books, step, peer, message, "invalid", text)
    elif held is not None:
        _say_again(step, peer, message, held)
    else:
        if earlier is not None:
            _drop(books, earlier)
        _serve_or_wait(books, step, peer, message)


def end_due(books: Books, step: Step) -> float:
    """Answers pulls that have waited long enough with nothing; returns when to look again."""
    for queue in list(books.pulled):
        for wait in [wait for wait in queue.pull_waits if wait.until <= step.now]:
            _drop(books, wait)
            step.send(wait.peer, Tasks(wait.pull.request, ()))
        if not queue.pull_waits:
            del books.pulled[queue]
    return min((wait.until for queue in books.pulled for wait in queue.pull_waits), default=inf)


def _say_again(step: Step, peer: Peer, message: Pull, held: Holder) -> None:
    """The answer was lost: the same leases again (protocol 2, pull)."""
    held.peer = peer
    again = tuple(assignment.assignment_of(lease, step.wall) for lease in held.leases.values())
    step.send(peer, Tasks(message.request, again))


def _serve_or_wait(books: Books, step: Step, peer: Peer, message: Pull) -> None:
    queue = books.queue(step, message.queue)
    wait = PullWait(peer, message, step.now + message.wait)
    if not queue.pull_waits and assignment.serve_pull(books, step, queue, wait):
        return
    if books.pulls_of.get(peer, 0) >= PULLS_WAITING_MAX:
        text = f"expected at most {PULLS_WAITING_MAX} pulls of a connection that wait; ask again when one is answered"
        _refuse(books, step, peer, message, "too-large", text)
        return
    books.add_pull(queue, wait)


def _drop(books: Books, wait: PullWait) -> None:
    books.queues[wait.pull.queue].pull_waits.remove(wait)
    books.end_pull(wait)


def _refuse(books: Books, step: Step, peer: Peer, message: Pull, code: str, text: str) -> None:
    books.count(f"error {code}")
    step.send(peer, Error(message.request, code, text))
