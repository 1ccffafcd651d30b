"""The streams of events that a client follows: what has come and was not taken yet, and when the coordinator has to be
told so.

What a consumer has not taken is not said to be seen, so a slow one fills its window at the coordinator, which drops
what does not fit and says how many it were. Everything here runs on the link's thread.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from zq.sessions.outcomes import FOREVER, Reply
from zq.sessions.refusals import remote_error
from zq.wire.messages import Events, Follow

LEASE = 15.0
"""Seconds for which the coordinator follows without hearing from a client."""

RENEW_AFTER = 5.0
"""Seconds after which it is told again: two may be lost."""

ACKNOWLEDGE_AFTER = 16
"""Messages that are taken before the coordinator is told: a quarter of its window."""


class Stream:
    """One stream of events.

    Args:
        queue: of the events; None for all.
        kinds: of them; empty for all.
    """

    def __init__(self, queue: str | None, kinds: tuple[str, ...]) -> None:
        self.queue = queue
        self.kinds = kinds
        self.number: int | None = None  # of its request
        self.waiting: deque[Events] = deque()
        self.is_begun = False  # whether it was ever answered
        self.received = 0  # number of the last message
        self.seen = 0  # of the last one that was taken
        self.told = 0  # what the coordinator was told to be seen
        self.renew_at = FOREVER
        self.deadline = FOREVER  # of who waits
        self.reply: Reply | None = None  # who waits for events
        self.error: Exception | None = None

    def follow(self, lease: float = LEASE) -> Follow:
        assert self.number is not None, "it was added"
        return Follow(self.number, self.queue, self.kinds, lease, self.seen)


class Streams:
    """All streams of a session."""

    def __init__(self) -> None:
        self.by_number: dict[int, Stream] = {}
        self._outbox: list[Follow] = []

    def add(self, now: float, number: int, stream: Stream) -> None:
        """Notes that a stream was asked for under a number."""
        stream.number = number
        stream.renew_at = now + RENEW_AFTER
        self.by_number[number] = stream

    def receive(self, message: Events) -> None:
        stream = self.by_number.get(message.request)
        if stream is None or (message.number <= stream.received and not message.is_first):
            return
        stream.received = message.number
        stream.is_begun = True
        if message.is_first:  # it has no events, and the coordinator is told at once that it has come
            stream.seen, stream.told = message.number, message.number - 1
            stream.renew_at = 0.0
        stream.waiting.append(message)
        self._hand_over(stream)

    def take(self, stream: Stream, deadline: float, reply: Reply) -> None:
        """Resolves to the messages that have come, or are the next to come; to none at the deadline."""
        stream.reply, stream.deadline = reply, deadline
        self._hand_over(stream)

    def leave(self, stream: Stream, reply: Reply) -> None:
        """Nobody waits for what comes next any more; what it was given already, and has not looked at, comes again."""
        if stream.reply is reply:
            stream.reply, stream.deadline = None, FOREVER
        else:
            stream.waiting.extendleft(reversed(getattr(reply, "value", None) or ()))
            self._hand_over(stream)

    def reject(self, number: int, code: str, text: str) -> bool:
        """Ends a stream that the coordinator refuses to go on with; False when there is none of this number."""
        stream = self.by_number.pop(number, None)
        if stream is not None:
            stream.error = remote_error(code, text, number)
            self._hand_over(stream)
        return stream is not None

    def close(self, stream: Stream) -> None:
        """Ends a stream; the coordinator is told, if it can be."""
        if stream.number is not None and self.by_number.pop(stream.number, None) is not None:
            self._outbox.append(stream.follow(0.0))

    def connected(self, now: float) -> None:
        """On a new connection everything is followed anew; what was never answered is outstanding, and said again as
        such.
        """
        self._outbox.clear()
        for stream in self.by_number.values():
            if not stream.is_begun:
                continue
            stream.seen = stream.told = stream.received = 0
            stream.renew_at = now

    def tick(self, now: float) -> list[Follow]:
        """Returns what is to be said to the coordinator."""
        for stream in self.by_number.values():
            if now >= stream.renew_at or stream.seen - stream.told >= ACKNOWLEDGE_AFTER:
                stream.renew_at, stream.told = now + RENEW_AFTER, stream.seen
                self._outbox.append(stream.follow())
            if stream.reply is not None and now >= stream.deadline:
                self._resolve(stream, [])
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_at(self) -> float:
        return min((min(one.renew_at, one.deadline) for one in self.by_number.values()), default=FOREVER)

    def take_all(self, error: Exception) -> list[Reply]:
        """Ends all streams; returns who waits."""
        replies = [one.reply for one in self.by_number.values() if one.reply is not None]
        for stream in self.by_number.values():
            stream.error, stream.reply = error, None
        self.by_number.clear()
        return replies

    def drop(self, reply: Reply) -> None:
        """Nobody waits with this reply any more."""
        for stream in self.by_number.values():
            if stream.reply is reply:
                stream.reply, stream.deadline = None, FOREVER

    def _hand_over(self, stream: Stream) -> None:
        if stream.reply is None:
            return
        if stream.waiting:
            messages = list(stream.waiting)
            stream.waiting.clear()
            stream.seen = stream.received
            self._resolve(stream, messages)
        elif stream.error is not None:
            reply, stream.reply = stream.reply, None
            reply.reject(stream.error)

    def _resolve(self, stream: Stream, value: Any) -> None:
        reply, stream.reply, stream.deadline = stream.reply, None, FOREVER
        if reply is not None:
            reply.resolve(value)
