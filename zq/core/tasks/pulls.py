"""Pulls: a client asks for tasks and gets them at once, when some come, or none when it has waited long enough.

`client` and `request` name a pull (protocol 2), for people; what tells it from a pull of somebody else who says the
same name is its secret, or its connection. A pull waits in one place or has leases, never both, nor in two queues: else
the leases of one would hide those of the other. What a connection has waiting is limited, since each pull costs memory
for as long as it waits.

Pulls and waits die with those who wait. A client says what it gives up (`withdraw`). A connection that is silent while
it waits is called on: a message that cannot be sent shows that it is gone (`disconnected`). And the leases of a pull
are *on offer* until its client confirms that they have come: nobody has them, so what becomes of the connection, and of
time, gives them back as if they had never been granted. Of a client that does not confirm it is known only whether they
could be sent.

Invariant: what is on offer is leased to a pull.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop
from itertools import islice
from math import inf

from zq.core.accounts import BusyRequestError
from zq.core.counters import EPOCH_SHIFT
from zq.core.state.books import Books
from zq.core.state.holder import Peer, PullWait, pull_key
from zq.core.state.leases import Claimant, Holder, Lease, assignment_of
from zq.core.state.step import Step
from zq.core.tasks import assignment, settling
from zq.wire.limits import BATCH_TASKS_MAX
from zq.wire.messages import Cancelled, Confirm, Error, Pull, Span, Tasks

PULLS_ENDED_MAX = 1000
"""Pulls that one step answers with nothing."""


def pull(books: Books, step: Step, peer: Peer, message: Pull) -> None:
    """Answers a pull, or lets it wait."""
    key = pull_key(peer, message)
    held = books.pullers.get(key)
    earlier = books.pulls.get(key)
    queues = {lease.batch.queue.name for lease in held.leases.values()} if held is not None else set()
    if earlier is not None:
        queues.add(earlier.pull.queue)
    if queues - {message.queue}:
        text = f"pull {message.request} of {message.client} is for queue {queues.pop()}; give one for {message.queue} another number"
        _refuse(books, step, peer, message, "invalid", text)
    elif held is not None:
        _say_again(books, step, peer, message, held)
    else:
        if earlier is not None:
            _drop(books, earlier)
        try:
            _serve_or_wait(books, step, peer, message)
        except BusyRequestError as error:
            _refuse(books, step, peer, message, error.code, str(error))


def end_due(books: Books, step: Step) -> float:
    """Answers pulls that have waited long enough with nothing; returns when to look again."""
    ends = books.pull_ends
    left = PULLS_ENDED_MAX
    while ends and ends[0][0] <= step.now and left > 0:
        wait = heappop(ends)[2]
        left -= 1
        if books.pulls.get(wait.key) is wait:
            _drop(books, wait)
            step.send(wait.peer, Tasks(wait.pull.request, ()))
    return ends[0][0] if ends else inf


def _say_again(books: Books, step: Step, peer: Peer, message: Pull, held: Holder) -> None:
    """The answer was lost: the same leases again (protocol 2, pull)."""
    books.forget_served(held)
    held.peer = peer
    books.entrust(held, peer)
    books.note_served(held)
    for token in held.leases:
        if books.offers.pop(token, None) is not None or (message.confirms and token >> EPOCH_SHIFT < books.epoch):
            assignment.offer(books, step, token)
        elif not message.confirms:
            books.unsure[token] = None
    again = tuple(assignment_of(lease, step.wall) for lease in held.leases.values())
    step.send(peer, Tasks(message.request, again))


def _serve_or_wait(books: Books, step: Step, peer: Peer, message: Pull) -> None:
    books.ceilings.check_peer(step, "leases")
    queue = books.queue_for(step, message.queue)
    wait = PullWait(peer, message, step.now + message.wait, step.owner)
    first = islice(queue.pull_waits.values(), assignment.PULLS_AT_ONCE)
    is_first = not any(assignment.is_heard(books, step, one) for one in first)
    if is_first and not step.tx.is_short and assignment.serve_pull(books, step, queue, wait):
        return
    try:
        books.ceilings.check_peer(step, "pulls")
    except BusyRequestError:
        books.forget_unused(queue)
        raise
    books.add_pull(queue, wait, step.now)


def _drop(books: Books, wait: PullWait) -> None:
    queue = books.queues[wait.pull.queue]
    del queue.pull_waits[wait.key]
    if not queue.pull_waits:
        books.pulled.pop(queue, None)
    books.end_pull(wait)


def _refuse(books: Books, step: Step, peer: Peer, message: Pull, code: str, text: str) -> None:
    books.count(f"error {code}")
    step.send(peer, Error(message.request, code, text))


# Those who wait no longer.


def withdraw(books: Books, step: Step, peer: Peer, requests: tuple[int, ...]) -> None:
    """Forgets waits and pulls of a connection that were given up, and takes back what is on its way to them."""
    guest = books.guests.get(peer)
    waiting: dict[int, list[PullWait]] = {}
    for wait in guest.pulls.values() if guest is not None else ():
        waiting.setdefault(wait.pull.request, []).append(wait)
    for request in dict.fromkeys(requests):
        if books.waits.forget(peer, request):
            continue
        for wait in waiting.pop(request, ()):
            _drop(books, wait)
        for key in list(books.served.get((peer, request), ())):
            for lease in list(books.pullers[key].leases.values()):
                if lease.token in books.offers or lease.token in books.unsure:
                    settling.give_back_all(books, step, lease, "its pull was given up")


def confirm(books: Books, step: Step, peer: Peer, message: Confirm) -> None:
    """Notes that leases have come; whoever has one that is no longer its own is told so."""
    claimant = Claimant(peer, None, step.owner, message.proofs)
    for token in message.tokens:
        lease = books.leases.get(token)
        if lease is None:
            step.send(peer, Cancelled((Span(token, 0, BATCH_TASKS_MAX),)))
        elif token in books.offers and claimant.may_speak_for(lease):
            del books.offers[token]


def take_back_unconfirmed(books: Books, step: Step) -> float:
    """Takes back what was not confirmed in time; returns when to look again."""
    for token, until in list(islice(books.offers.items(), settling.PORTION_LEASES)):
        if until > step.now:
            return until
        settling.take_back(books, step, books.leases[token])
    return next(iter(books.offers.values()), inf)


def take_back_unsure(books: Books, step: Step, peers: Collection[Peer]) -> None:
    """Takes back what was sent to connections in the last step and will not be confirmed: it could not be sent."""
    for token in list(books.unsure) if peers else ():
        lease = books.leases.get(token)
        if lease is not None and lease.holder.peer in peers:
            settling.take_back(books, step, lease)


def disconnected(books: Books, step: Step, *peers: Peer) -> None:
    """Messages to these connections could not be sent: nobody waits there any more, and nothing arrives there."""
    for peer in peers:
        books.waits.drop_peer(peer)
        guest = books.guests.get(peer)
        for wait in list(guest.pulls.values()) if guest is not None else ():
            _drop(books, wait)
    for lease in _offered_to(books, set(peers)) if peers else ():
        settling.take_back(books, step, lease)


def call_on_guests(books: Books, step: Step) -> float:
    """Says something to the connections that wait and have been silent: what cannot be sent shows that they are gone.

    Returns:
        When to look again.
    """
    silence = books.options.suspect_after
    for guest in books.guests.values():
        if guest.heard_at + silence <= step.now:
            step.send(guest.peer, Cancelled(()))
    return step.now + silence if books.guests else inf


def _offered_to(books: Books, peers: set[Peer]) -> list[Lease]:
    """Returns the leases that are on their way to connections; all offers are looked at."""
    found = [books.leases.get(token) for token in (*books.offers, *books.unsure)]
    return [lease for lease in found if lease is not None and lease.holder.peer in peers]
