"""Following the live events: who watches, and what they are told at the end of a step."""

from __future__ import annotations

from zq.core.accounts import Account, BusyRequestError
from zq.core.state import event_streams
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.step import Step
from zq.errors import short
from zq.wire.messages import Error, Events, Follow
from zq.wire.questions import EVENT_KINDS


def follow(books: Books, step: Step, peer: Peer, message: Follow) -> None:
    """Begins, renews or ends a following; a follower that has seen nothing yet begins anew."""
    followers = books.events or event_streams.Followers()
    key = (peer, message.request)
    follower = followers.by_request.get(key)
    if not message.lease:
        followers.remove(key)
        books.accounts.see_off(books.accounts.account_of(peer))
        return
    if follower is None or not message.seen:
        unknown = [kind for kind in message.kinds if kind not in EVENT_KINDS]
        if unknown:
            books.count("error invalid")
            step.send(
                peer,
                Error(
                    message.request, "invalid", f"expected kinds of {', '.join(EVENT_KINDS)}, got {short(unknown[0])}"
                ),
            )
            return
        try:
            if follower is None:
                books.ceilings.check_peer(step, "follows")
                _make_room(books, step, followers, books.accounts.account_of(peer))
        except BusyRequestError as error:
            books.count(f"error {error.code}")
            step.send(peer, Error(message.request, error.code, str(error)))
            return
        follower = event_streams.Follower(peer, message, books.accounts.account_of(peer))
        followers.add(follower)
        books.events = followers
        follower.number += 1
        # At once, not with the events of the step: a pong may not come before it (protocol 2).
        step.send(peer, Events(follower.request, follower.number, step.wall, 0, True, ()))
    follower.expires_at = step.now + message.lease
    follower.seen = min(max(follower.seen, message.seen), follower.number)


def _make_room(books: Books, step: Step, followers: event_streams.Followers, account: Account) -> None:
    """Takes a place for one more from the peer that has the most, if all are taken: its oldest goes, and is told.

    Raises:
        BusyRequestError: nobody would have more than this one then.
    """
    if len(followers.by_request) < event_streams.FOLLOWERS_MAX:
        return
    text = f"{event_streams.FOLLOWERS_MAX} watchers follow the events, which is the most there may be"
    greediest = max((one.account for one in followers.by_request.values()), key=lambda one: one.follows)
    if greediest.follows <= account.follows + 1:
        books.accounts.see_off(account)
        raise BusyRequestError(text)
    key, oldest = next((key, one) for key, one in followers.by_request.items() if one.account is greediest)
    followers.remove(key)
    books.count("error busy")
    step.send(oldest.peer, Error(oldest.request, "busy", f"{text}: another peer with fewer has taken this place"))


def forget_peer(books: Books, peer: Peer) -> None:
    """Forgets the followers of a connection that has ended; of what else it had, nothing."""
    if books.events is not None:
        for account in books.events.drop_peer(peer):
            books.accounts.see_off(account)
        if not books.events.by_request:
            books.events = None


def flush(books: Books, step: Step) -> None:
    """Tells the followers what the step has brought, and forgets those that have not renewed their lease."""
    followers = books.events
    if followers is None:
        return
    for key, follower in list(followers.by_request.items()):
        if follower.expires_at <= step.now:
            followers.remove(key)
            books.accounts.see_off(follower.account)
            continue
        message = follower.take_message(step.wall)
        if message is not None:
            if message.dropped:
                books.count("events dropped", message.dropped)
            step.send(follower.peer, message)
    if not followers.by_request:
        books.events = None
