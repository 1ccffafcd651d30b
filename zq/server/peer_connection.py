"""One connection of the coordinator's socket: what is known of it, counted for it, and held back."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from zq.core.peer_limits import PeerLimits
from zq.core.state.holder import Peer
from zq.server import kernel
from zq.server.accounts import Debt, Rate
from zq.server.piles import Pile

SENT_LOOK_BYTES = 1 << 20
"""A look costs about ten microseconds, and sending so much two hundred."""

QUEUED_SHARE = 4
"""By what the system counts for a message that travels within it is divided: no more than that was in it, if it was
some hundred bytes or more.
"""

HEARTBEAT_BYTES = 64
"""Bytes a second that a connection may send which are no messages: ZeroMQ's heartbeats are a tenth of it."""


class Received(NamedTuple):
    """A message as it came."""

    peer: Peer
    frame: bytes
    parts: int  # one, unless it is none of ours: then none is kept
    size: int  # bytes of all of them
    connection: PeerConnection


class KeyPool:
    """What the connections of one key have together.

    Attributes:
        name: of the key.
        limits: its own.
        messages: how many a second it may say.
        tasks: how many a second it may submit.
        members: its connections that are open.
        refused: messages of it that were too many a second.
    """

    __slots__ = ("limits", "members", "messages", "name", "refused", "tasks")

    def __init__(self, name: str, limits: PeerLimits, messages: Rate, tasks: Rate) -> None:
        self.name = name
        self.limits = limits
        self.messages = messages
        self.tasks = tasks
        self.members: dict[PeerConnection, None] = {}
        self.refused = 0

    def take_limits(self, limits: PeerLimits, now: float) -> None:
        """Has other limits hold from now on, for those who are there, too."""
        if limits == self.limits:
            return
        self.limits = limits
        self.messages.take_rate(limits.messages_per_second, now)
        self.tasks.take_rate(limits.tasks_per_second, now)
        for connection in self.members:
            connection.take_limits(limits)


class PeerConnection:
    """A connection, from its first message or its accepting to its end. Plain slots: each message touches them.

    Attributes:
        descriptor: of its socket; -1 when it was gone before it was first heard.
        since: monotonic.
        peer: as ZeroMQ names it, once it has said something.
        is_open: whether it is, as far as is known.
        is_cut: whether it was ended from here.
        limits: what it may have.
        pool: of its key, if that is known; `limits`, `messages` and `tasks` are of the pool then.
        sent: bytes handed to ZeroMQ for it.
        counted: what of it is counted among what waits for all connections.
        delivered: of these, those that are known to have left this process.
        sent_before: `sent` when it was looked at last.
        look_at: `sent` from which on it is looked at again.
        queued: what the system had for it when it was looked at last, where that is all it tells.
        delivered_at: monotonic, when it was last seen to have read, or nothing waited.
        acknowledged_more: bytes by which the system counts more than `sent`: greetings, headers, heartbeats.
        reached: bytes of its messages that have been taken from the socket, as they travel.
        received_more: bytes by which the system counts more than `reached`, of which nothing is kept.
        piled: bytes that had come and not been taken when it was looked at last.
        inside: of these, those that had left the system and were in ZeroMQ's memory.
        pile: what of them is known not to become a message.
        looked_at: monotonic, when it was.
        is_held: whether what it says waits in `held`: it is in debt, or does not read what it asks for.
        held: its messages that wait, in their order.
        held_bytes: of those.
    """

    __slots__ = (
        "acknowledged_more", "counted", "debt", "delivered", "delivered_at", "descriptor", "held", "held_bytes", "inside",
        "is_cut", "is_held", "is_open", "limits", "look_at", "looked_at", "messages", "peer", "pile", "piled", "pool", "queued",
        "reached", "received_more", "sent", "sent_before", "since", "tasks", "turn", "turn_messages",
    )  # fmt: skip

    def __init__(self, descriptor: int, limits: PeerLimits, now: float) -> None:
        self.descriptor = descriptor
        self.since = now
        self.peer: Peer | None = None
        self.is_open = descriptor >= 0
        self.is_cut = False
        self.limits = limits
        self.sent = 0
        self.counted = 0
        self.delivered = 0
        self.sent_before = 0
        self.queued = 0
        self.look_at = self.look_step
        self.delivered_at = now
        self.acknowledged_more = 0
        self.reached = 0
        self.received_more = 0
        self.piled = 0
        self.inside = 0
        self.pile = Pile(descriptor)
        self.looked_at = now
        self.is_held = False
        self.held: deque[Received] = deque()
        self.held_bytes = 0
        self.debt = Debt()
        self.messages = Rate(limits.messages_per_second, now)
        self.tasks = Rate(limits.tasks_per_second, now)
        self.turn = 0  # the last in which it was heard
        self.turn_messages = 0  # in that turn
        self.pool: KeyPool | None = None

    def join(self, pool: KeyPool) -> None:
        """Says and takes from now on with the other connections of a key."""
        self.leave()
        self.pool = pool
        self.messages, self.tasks = pool.messages, pool.tasks
        self.take_limits(pool.limits)
        if self.is_open:
            pool.members[self] = None

    def leave(self) -> None:
        """Is not among the connections of its key any more."""
        if self.pool is not None:
            self.pool.members.pop(self, None)

    def take_limits(self, limits: PeerLimits) -> None:
        """Has other limits from now on."""
        self.limits = limits
        self.look_at = min(self.look_at, self.sent + self.look_step)

    @property
    def look_step(self) -> int:
        """Bytes that are sent to it between two looks at what it has read."""
        return min(SENT_LOOK_BYTES, self.limits.bytes_out // 8)

    @property
    def waiting(self) -> int:
        """Bytes that wait in this process until it reads, as far as is known."""
        return self.sent - self.delivered

    @property
    def reads_slowly(self) -> bool:
        """Whether so much waits for it that it gets no more work of ours before it has read some."""
        return self.waiting > self.limits.bytes_out // 4

    def note_queued(self, queued: int, now: float) -> None:
        """Draws from what the system has for it what it has read, where the system does not count that.

        While more waits here, the system's share is full as long as nobody reads: any change of it is from reading. Of
        how much nobody knows: a message counts there for up to some times its bytes, and what went may have come again.

        Args:
            queued: what the system has, by its own count.
            now: monotonic.
        """
        if not queued:  # ZeroMQ has had the time for what it was given before the last look
            self.delivered = self.sent_before
        elif queued != self.queued:
            self.delivered_at = now
            read = max(0, self.queued - queued) // QUEUED_SHARE
            self.delivered = min(self.delivered + read, self.sent_before)
        self.queued = queued

    def note_traffic(self, traffic: kernel.Traffic, now: float) -> None:
        """Compares what the system counts with what was handed to ZeroMQ and taken from it. It counts more: greetings,
        headers, heartbeats; that never makes up for what waits later.
        """
        delivered = traffic.acknowledged - self.acknowledged_more
        if delivered > self.sent:
            self.acknowledged_more += delivered - self.sent
            delivered = self.sent
        self.delivered = delivered
        self.received_more += int((now - self.looked_at) * HEARTBEAT_BYTES)
        self.looked_at = now
        piled = traffic.received - self.received_more - self.reached
        if piled < 0:
            self.received_more += piled
            piled = 0
        self.piled = piled
