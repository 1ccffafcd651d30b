"""Following the live events: who watches, and what they are told at the end of a step."""

from __future__ import annotations

from zq.core.accounts import BusyRequestError
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
        if follower is None and len(followers.by_request) >= event_streams.FOLLOWERS_MAX:
            books.count("error busy")
            text = f"{event_streams.FOLLOWERS_MAX} watchers follow the events, which is the most there may be"
            step.send(peer, Error(message.request, "busy", text))
            return
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
            if key not in followers.by_request:
                books.ceilings.check_peer(step, "follows")
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
            step.send(follower.peer, message)
    if not followers.by_request:
        books.events = None
