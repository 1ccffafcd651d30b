"""Following the live events: who watches, and what they are told at the end of a step."""

from __future__ import annotations

from zq.core.state import event_streams
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.step import Step
from zq.wire.events import EVENT_KINDS
from zq.wire.messages import Error, Events, Follow


def follow(books: Books, step: Step, peer: Peer, message: Follow) -> None:
    """Begins, renews or ends a watch; a watcher that has seen nothing yet begins anew."""
    watchers = books.events or event_streams.Followers()
    key = (peer, message.request)
    watcher = watchers.by_request.get(key)
    if not message.lease:
        watchers.by_request.pop(key, None)
        return
    if watcher is None or not message.seen:
        if watcher is None and len(watchers.by_request) >= event_streams.WATCHERS_MAX:
            books.count("error invalid")
            text = f"{event_streams.WATCHERS_MAX} watchers follow the events, which is the most there may be"
            step.send(peer, Error(message.request, "invalid", text))
            return
        unknown = [kind for kind in message.kinds if kind not in EVENT_KINDS]
        if unknown:
            books.count("error invalid")
            step.send(
                peer,
                Error(message.request, "invalid", f"expected kinds of {', '.join(EVENT_KINDS)}, got {unknown[0]!r}"),
            )
            return
        watcher = watchers.by_request[key] = event_streams.Follower(peer, message)
        books.events = watchers
        watcher.number += 1
        # At once, not with the events of the step: a pong may not come before it (protocol 2).
        step.send(peer, Events(watcher.request, watcher.number, step.wall, 0, True, ()))
    watcher.expires_at = step.now + message.lease
    watcher.seen = min(max(watcher.seen, message.seen), watcher.number)


def flush(books: Books, step: Step) -> None:
    """Tells the watchers what the step has brought, and forgets those that have not renewed their lease."""
    watchers = books.events
    if watchers is None:
        return
    for key, watcher in list(watchers.by_request.items()):
        if watcher.expires_at <= step.now:
            del watchers.by_request[key]
            continue
        message = watcher.take_message(step.wall)
        if message is not None:
            step.send(watcher.peer, message)
    if not watchers.by_request:
        books.events = None
