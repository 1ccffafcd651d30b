"""Live events: what happens, told after the commit to whoever watches.

Theory of operation. A follower is a connection and the number of its request, with filters and a lease that its client
renews; one that does not is forgotten. Events are noted while a step runs, a range of a batch at a time, and leave at
the end of the step, in one message to each follower. When nobody watches, `Books.events` is None and nothing is noted.

A follower never holds up the coordinator: a message has at most EVENTS_MAX events, and at most WINDOW messages are on
their way that it has not said to have seen. What does not fit is dropped, and how many were is in the next message.
Followers are in memory only: after a restart their clients come again.
"""

from __future__ import annotations

from collections.abc import Callable

from zq.core.accounts import Account
from zq.core.state.batch import StoredBatch
from zq.core.state.holder import Peer
from zq.wire.messages import Event, Events, Follow
from zq.wire.questions import EVENT_KINDS
from zq.wire.topics import NAMESPACE_SEPARATOR

EVENTS_MAX = 256
"""Events in one message: about 30 kB."""

WINDOW = 64
"""Messages that may be on their way to a follower: two megabytes at most, far below what a socket may hold."""

FOLLOWERS_MAX = 64
"""At the same time: each costs every event a comparison. One peer may have a quarter of them (`PeerLimits.follows`),
and who has the most loses one to a peer that has fewer, when all are taken.
"""

TEXT_CHARS = 200
"""Of a reason or error in an event."""


class Follower:
    """One stream of events to one client."""

    __slots__ = (
        "account", "dropped", "events", "expires_at", "kinds", "number", "peer", "queue", "request", "seen", "sees",
    )  # fmt: skip

    def __init__(self, peer: Peer, message: Follow, account: Account) -> None:
        self.peer = peer
        self.account = account
        self.request = message.request
        self.queue = message.queue
        self.kinds = frozenset(message.kinds or EVENT_KINDS)
        self.expires_at = 0.0  # monotonic
        self.number = message.seen  # of the last message to it
        self.seen = message.seen
        self.events: list[Event] = []
        self.dropped = 0
        # Whether its key may see what is about a queue, or a worker; None: everything may be seen.
        self.sees: Callable[[str | None, str | None], bool] | None = None

    @property
    def has_room(self) -> bool:
        """Whether another message may be on its way to it."""
        return self.number - self.seen < WINDOW

    def wants(self, queue: str | None, worker: str | None) -> bool:
        """Whether it follows a queue, or all, or, with a name that ends with a slash, those of a namespace and its
        workers.
        """
        if self.sees is not None and not self.sees(queue, worker):
            return False
        wanted = self.queue
        if wanted is None or wanted == queue:
            return True
        return wanted.endswith(NAMESPACE_SEPARATOR) and (queue or worker or "").startswith(wanted)

    def note(self, event: Event) -> None:
        if len(self.events) < EVENTS_MAX and self.has_room:
            self.events.append(event)
        else:
            self.dropped += 1

    def take_message(self, wall: float) -> Events | None:
        """Returns what there is to tell, if anything, and there is room to tell it."""
        if not (self.events or self.dropped) or not self.has_room:
            return None
        self.number += 1
        message = Events(self.request, self.number, wall, self.dropped, False, tuple(self.events))
        self.events.clear()
        self.dropped = 0
        return message


class Followers:
    """All that watch; it exists only while there are some."""

    def __init__(self) -> None:
        self.by_request: dict[tuple[Peer, int], Follower] = {}

    def note(
        self,
        kind: str,
        queue: str | None,
        id: str = "",
        lo: int = 0,
        hi: int = 0,
        worker: str | None = None,
        token: int | None = None,
        text: str = "",
        veiled: str | None = None,
    ) -> None:
        """Notes that something has happened to the tasks lo to hi-1 of a batch, or to a worker or queue; `veiled` is
        the text for those whose keys may not see everything, if it is another.
        """
        event: Event | None = None
        for follower in self.by_request.values():
            if kind in follower.kinds and follower.wants(queue, worker):
                if event is None:
                    event = Event(kind, queue, id, lo, hi, worker, token, text[:TEXT_CHARS])
                is_whole = veiled is None or follower.sees is None
                follower.note(event if is_whole else event._replace(text=veiled or ""))

    def add(self, follower: Follower) -> None:
        """Adds a follower, in place of an earlier one of the same request."""
        self.remove((follower.peer, follower.request))
        self.by_request[follower.peer, follower.request] = follower
        follower.account.follows += 1

    def remove(self, key: tuple[Peer, int]) -> None:
        """Forgets a follower, if it is there."""
        follower = self.by_request.pop(key, None)
        if follower is not None:
            follower.account.follows -= 1

    def drop_peer(self, peer: Peer) -> list[Account]:
        """Forgets the followers of a connection that is gone; returns their accounts."""
        gone = [(key, one.account) for key, one in self.by_request.items() if key[0] == peer]
        for key, _ in gone:
            self.remove(key)
        return [account for _, account in gone]


def note_batch(events: Followers | None, batch: StoredBatch, kind: str, text: str, veiled: str | None = None) -> None:
    """Tells those who watch what has happened to all tasks of a batch, or to a task that was split off."""
    if events is not None:
        worker, token = batch.last_start[:2] if batch.last_start is not None else (None, None)
        lo, hi = batch.first, batch.first + batch.count
        events.note(kind, batch.queue.name, batch.id, lo, hi, worker, token, text, veiled)
