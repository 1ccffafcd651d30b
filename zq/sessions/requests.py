"""What a client has outstanding, and how it ends for those who wait: one kind of request for each way in which several,
or none, may wait for it. The session sends them, and tells them what came.
"""

from zq.errors import BusyError, ClosedError, InvalidTaskError, RemoteProtocolError, StaleLeaseError, ZqError
from zq.sessions.outcomes import FOREVER, BatchOutcome, Reply
from zq.sessions.settles import Settles, Settling, settle_message, take_expired
from zq.sessions.submits import Load, Part, Submits
from zq.wire.messages import (
    Accepted,
    Cancel,
    Command,
    Error,
    Extend,
    Open,
    Ping,
    Publish,
    Pull,
    Query,
    Receipt,
    Refused,
    Release,
    Schedule,
    Settle,
    Settled,
    Submit,
    ToCoordinator,
)

Ask = Cancel | Query | Command | Extend | Release | Settle | Open | Pull | Ping | Publish | Schedule
Expired = list[tuple[Reply, float]]
"""Those who waited too long, each with when it asked."""

ORPHAN_PATIENCE = 60.0
"""Seconds for which tasks that come for a pull that was given up are still sent back; then their lease runs out by
itself.
"""


class Request:
    """An outstanding message that one waits for; `reply` is None when it was given up, or nobody cares."""

    __slots__ = ("asked_at", "deadline", "message", "ping", "reply")

    def __init__(self, message: ToCoordinator, now: float, deadline: float, reply: Reply | None) -> None:
        self.message = message
        self.asked_at = now
        self.deadline = deadline
        self.reply = reply
        self.ping = 0  # the last ping that was sent before the message

    def is_lost(self, pong: int, *, is_other_epoch: bool) -> bool:  # noqa: ARG002 - alike in shape
        """Whether a pong shows that it will not be answered."""
        return self.ping < pong

    def take_replies(self) -> list[Reply]:
        """Returns all who wait for it, when nothing will come for them any more."""
        reply, self.reply = self.reply, None
        return [] if reply is None else [reply]

    def first_deadline(self) -> float:
        """Returns when the first of those who wait gives up."""
        return self.deadline

    def take_expired(self, now: float) -> tuple[Expired, bool]:
        """Returns, and forgets, who waited past a deadline, and whether the request is outstanding no more."""
        if self.deadline > now:
            return [], False
        return [(reply, self.asked_at) for reply in self.take_replies()], True

    def leave(self) -> None:
        """It is outstanding no more: what waited for it may go."""

    @property
    def takes_receipt(self) -> bool:
        return isinstance(self.message, Open)

    def receive_receipt(self, now: float, message: Receipt) -> None:  # noqa: ARG002 - alike in shape
        """The answer to an open: its group is there, or was refused."""
        if self.reply is None:
            return
        if message.refused:
            self.reply.reject(refusal_error(message.refused[0]))
        else:
            self.reply.resolve(None)

    def receive_settled(self, message: Settled) -> None:
        if self.reply is None:
            return
        if isinstance(self.message, Settle):
            self.reply.resolve(message.stale)
        else:
            _end_settling(self.reply, is_stale=bool(message.stale))

    def receive_error(self, now: float, message: Error) -> None:  # noqa: ARG002 - alike in shape
        for reply in self.take_replies():
            reply.reject(RemoteProtocolError(message.code, message.text, message.request))


class PullRequest(Request):
    """A pull: its answer comes when tasks come, and if nobody waits any more, they go back."""

    __slots__ = ()

    def is_lost(self, pong: int, *, is_other_epoch: bool) -> bool:  # noqa: ARG002 - alike in shape
        return is_other_epoch

    def take_expired(self, now: float) -> tuple[Expired, bool]:
        expired, is_over = super().take_expired(now)
        if expired:
            self.orphan(now)
        return expired, is_over and not expired

    def orphan(self, now: float) -> None:
        self.reply = None
        self.deadline = now + ORPHAN_PATIENCE


class SubmitRequest(Request):
    """A submit of batches, for each of which several may wait."""

    __slots__ = ("_load", "_submits")

    def __init__(self, load: Load, submits: Submits, now: float) -> None:
        Request.__init__(self, Submit(0, load.batches), now, FOREVER, None)  # super() costs more, once a message
        self._load = load
        self._submits = submits

    def take_replies(self) -> list[Reply]:
        return [reply for part in self._load.parts.values() for reply in part.take_replies()]

    def first_deadline(self) -> float:
        return min((part.deadline for part in self._load.parts.values()), default=FOREVER)

    def take_expired(self, now: float) -> tuple[Expired, bool]:
        parts = self._load.parts.values()
        expired = [one for part in parts for one in part.take_expired(now)]
        return expired, bool(expired) and not any(part.is_wanted for part in parts)

    def leave(self) -> None:
        self._submits.settle(self._load)

    @property
    def takes_receipt(self) -> bool:
        return True

    def receive_receipt(self, now: float, message: Receipt) -> None:
        parts = self._load.parts
        for accepted in message.accepted:
            part = parts.pop(accepted.id, None)
            if part is not None:
                _accept(part, accepted)
        for refused in message.refused:
            part = parts.pop(refused.id, None)
            if part is None:
                continue
            if len(part.singles) > 1:
                self._submits.add_apart(now, part)
            else:
                for reply in part.take_replies():
                    reply.reject(refusal_error(refused))
        for reply in self.take_replies():
            reply.reject(RemoteProtocolError("malformed", "a receipt leaves out a batch of its submit"))

    def receive_error(self, now: float, message: Error) -> None:
        self._submits.take_apart(now, self._load, message)


class SettleRequest(Request):
    """A settle that was put together of the ends of several tasks."""

    __slots__ = ("_settles", "_settlings")

    def __init__(self, settlings: list[Settling], settles: Settles, now: float) -> None:
        Request.__init__(self, settle_message(0, settlings), now, FOREVER, None)
        self._settlings = settlings
        self._settles = settles

    def take_replies(self) -> list[Reply]:
        return [settling.reply for settling in self._settlings if settling.reply is not None]

    def first_deadline(self) -> float:
        return min((settling.deadline for settling in self._settlings), default=FOREVER)

    def take_expired(self, now: float) -> tuple[Expired, bool]:
        expired = take_expired(self._settlings, now)
        return expired, bool(expired) and all(settling.reply is None for settling in self._settlings)

    def leave(self) -> None:
        self._settles.is_in_flight = False

    def receive_settled(self, message: Settled) -> None:
        for settling in self._settlings:
            if settling.reply is not None:
                _end_settling(settling.reply, is_stale=settling.is_in(message.stale))


def _accept(part: Part, accepted: Accepted) -> None:
    assert part.batch is not None, "a part that was sent has its batch"
    size = part.batch.tasks
    outcome = BatchOutcome(accepted.id, size, 0, size)
    if part.reply is not None:
        part.reply.resolve((outcome, 0, accepted))
    for index, single in enumerate(part.singles):
        if single.reply is not None:
            single.reply.resolve((outcome, index, accepted))


def _end_settling(reply: Reply, *, is_stale: bool) -> None:
    if is_stale:
        reply.reject(StaleLeaseError("the task is no longer held here: its lease ran out, or it was cancelled"))
    else:
        reply.resolve(None)


def closed_error(error: Exception) -> ZqError:
    """Makes an error for one of those who wait: each thread raises its own."""
    if isinstance(error, ClosedError):
        return ClosedError(str(error))
    closed = ClosedError(f"the connection failed: {error!r}")
    closed.__cause__ = error
    return closed


def refusal_error(refused: Refused) -> ZqError:
    if refused.code == "busy":
        return BusyError(refused.retry_after or 0.0, refused.reason)
    return InvalidTaskError(refused.reason)
