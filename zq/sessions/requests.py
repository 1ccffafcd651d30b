"""What a client has outstanding, and how it ends for those who wait: one kind of request for each way in which several,
or none, may wait for it. The session sends them, and tells them what came.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from zq.errors import (
    AccessDeniedError,
    BusyError,
    ClosedError,
    InvalidTaskError,
    RemoteProtocolError,
    StaleLeaseError,
    ZqError,
)
from zq.sessions.outcomes import FOREVER, BatchOutcome, Reply
from zq.sessions.refusals import DENIED_CODE, remote_error
from zq.sessions.settles import Settles, Settling, settle_message
from zq.sessions.submits import Load, Part, Submits
from zq.sessions.waiters import Expired, Waiting, first_deadline, is_wanted, take_expired, take_replies
from zq.task import task_id
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.limits import MARKED_VERBS, MESSAGE_BATCHES_MAX
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

Askable = Cancel | Query | Command | Extend | Release | Settle | Open | Pull | Ping | Publish | Schedule

ORPHAN_PATIENCE = 60.0
"""Seconds for which tasks that an older coordinator gives to a pull that was given up are still sent back; then their
lease runs out by itself.
"""


def check_message(message: Askable) -> None:
    """Raises ValueError where the coordinator would call a message malformed: the caller's thread is where it can be
    mended.
    """
    try:
        decode_for_coordinator(encode(message))
    except RemoteProtocolError as error:
        raise ValueError(error.text) from None
    except OverflowError:
        raise ValueError("expected numbers of at most 64 bits") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"expected text that UTF-8 can hold, got {error.object[:100]!a}") from None
    except TypeError as error:
        raise TypeError(f"expected values that msgpack holds: {error}") from None


def marked(verb: str, arguments: dict[str, Any], make_mark: Callable[[], str]) -> dict[str, Any]:
    """Returns the arguments of a command with a mark, if it needs one: said again, it is the same one (protocol 4)."""
    needs_one = isinstance(verb, str) and verb in MARKED_VERBS  # what is no verb is refused in words when it is sent
    return {**arguments, "mark": make_mark()} if needs_one else arguments


def without_proofs(message: ToCoordinator) -> ToCoordinator:
    """Returns a message as a coordinator understands it that knows no proofs, and asks for none."""
    match message:
        case Settle() | Release():
            return message._replace(proofs=())
        case Extend():
            return message._replace(proof=b"")
        case Cancel():
            return message._replace(is_again=False)
        case _:
            return message


class Request(Waiting):
    """An outstanding message that one waits for; `reply` is None when it was given up, or nobody cares."""

    __slots__ = ("message", "ping")

    def __init__(self, message: ToCoordinator, now: float, deadline: float, reply: Reply | None) -> None:
        Waiting.__init__(self, deadline, reply, now)  # super() costs more, once a message
        self.message = message
        self.ping = 0  # the last ping that was sent before the message

    def is_lost(self, pong: int, *, is_other_epoch: bool) -> bool:  # noqa: ARG002 - alike in shape
        """Whether a pong shows that it will not be answered."""
        return self.ping < pong

    def renew(self, secret: str) -> None:
        """It is about to be said again, on a new connection, to a coordinator that may know all words."""

    def grow_old(self) -> bool:
        """Returns whether it has words that an older coordinator calls malformed, and takes them out."""
        return False

    def waiters(self) -> Sequence[Waiting]:
        """Returns all who wait for it."""
        return (self,)

    def first_deadline(self) -> float:
        """Returns when it, or the first of those who wait for it, is given up."""
        return self.deadline

    def take_expired(self, now: float) -> Expired:
        """Returns, and forgets, who waited past a deadline."""
        return take_expired(self.waiters(), now)

    def is_over(self, now: float) -> bool:
        """Whether it is outstanding no more, once those who waited too long are forgotten."""
        return self.deadline <= now

    def enter(self) -> None:
        """It is outstanding though nobody took it out of what gathers."""

    def leave(self) -> None:
        """It is outstanding no more: what waited for it may go."""

    def receive_receipt(self, message: Receipt) -> None:
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

    def receive_error(self, message: Error) -> None:
        for reply in take_replies(self.waiters()):
            reply.reject(remote_error(message.code, message.text, message.request))


class PullRequest(Request):
    """A pull: its answer comes when tasks come. If nobody waits any more, the coordinator is told; one that is too old
    to understand that may still answer, and the tasks go back.

    Attributes:
        is_repeated: whether it was said a second time on this connection: it may have two answers, and be kept after
            the first.
    """

    __slots__ = ("is_repeated",)

    def __init__(self, message: Pull, now: float, deadline: float, reply: Reply | None) -> None:
        super().__init__(message, now, deadline, reply)
        self.is_repeated = False

    @property
    def confirms(self) -> bool:
        """Whether it was said in the words of this version."""
        return isinstance(self.message, Pull) and self.message.confirms

    def renew(self, secret: str) -> None:
        self._say_again(confirms=self.reply is not None, secret=secret)

    def grow_old(self) -> bool:
        is_new = self.confirms
        self._say_again(confirms=False, secret="")
        return is_new

    def _say_again(self, *, confirms: bool, secret: str) -> None:
        assert isinstance(self.message, Pull)
        self.message = self.message._replace(confirms=confirms, secret=secret)
        self.is_repeated = False

    def is_lost(self, pong: int, *, is_other_epoch: bool) -> bool:  # noqa: ARG002 - alike in shape
        self.is_repeated = self.is_repeated or is_other_epoch
        return is_other_epoch

    def take_expired(self, now: float) -> Expired:
        expired = super().take_expired(now)
        if expired and not self.confirms:
            self.orphan(now)
        return expired

    def orphan(self, now: float) -> None:
        self.reply = None
        self.deadline = now + ORPHAN_PATIENCE


class CancelRequest(Request):
    """A cancel: said again, it asks for what the one before has done, whose answer may be lost."""

    __slots__ = ("_is_said",)

    def __init__(self, message: Cancel, now: float, deadline: float, reply: Reply | None, *, is_said: bool) -> None:
        super().__init__(message, now, deadline, reply)
        self._is_said = is_said

    def renew(self, secret: str) -> None:  # noqa: ARG002 - alike in shape
        self._note_again(is_again=self._is_said)
        self._is_said = True

    def grow_old(self) -> bool:
        assert isinstance(self.message, Cancel)
        is_new = self.message.is_again
        self._note_again(is_again=False)
        return is_new

    def is_lost(self, pong: int, *, is_other_epoch: bool) -> bool:
        is_lost = super().is_lost(pong, is_other_epoch=is_other_epoch)
        if is_lost:
            self._note_again(is_again=True)
        return is_lost

    def _note_again(self, *, is_again: bool) -> None:
        assert isinstance(self.message, Cancel)
        self.message = self.message._replace(is_again=is_again)


class ReleaseRequest(Request):
    """A release: when one that was said again is stale by then, the first may have given the task back, whose answer is
    lost. Whoever waits gets True then, and has to look.
    """

    __slots__ = ("_is_again", "_is_said")

    def __init__(self, message: Release, now: float, deadline: float, reply: Reply | None, *, is_said: bool) -> None:
        super().__init__(message, now, deadline, reply)
        self._is_said = is_said
        self._is_again = False

    def renew(self, secret: str) -> None:  # noqa: ARG002 - alike in shape
        self._is_again = self._is_said
        self._is_said = True

    def is_lost(self, pong: int, *, is_other_epoch: bool) -> bool:
        is_lost = super().is_lost(pong, is_other_epoch=is_other_epoch)
        self._is_again |= is_lost
        return is_lost

    def receive_settled(self, message: Settled) -> None:
        if message.stale and self._is_again and self.reply is not None:
            self.reply.resolve(True)
        else:
            super().receive_settled(message)


def plain_request(message: Askable, now: float, deadline: float, reply: Reply | None, *, is_said: bool) -> Request:
    """Makes the request of a message that has one answer and is no pull.

    Args:
        message: without its number.
        now, deadline: monotonic.
        reply: to whoever waits, if anybody does.
        is_said: whether it is said at once, as there is, or was, a connection.
    """
    if isinstance(message, Cancel):
        return CancelRequest(message, now, deadline, reply, is_said=is_said)
    if isinstance(message, Release):
        return ReleaseRequest(message, now, deadline, reply, is_said=is_said)
    return Request(message, now, deadline, reply)


class GatheredRequest(Request):
    """A message that was put together, of which several wait for their parts; it is given up with the last of them."""

    __slots__ = ()

    def first_deadline(self) -> float:
        return first_deadline(self.waiters())

    def is_over(self, now: float) -> bool:  # noqa: ARG002 - alike in shape
        return not is_wanted(self.waiters())


class SubmitRequest(GatheredRequest):
    """A submit of batches, for each of which several may wait."""

    __slots__ = ("_load", "_submits")

    def __init__(self, load: Load, submits: Submits, now: float) -> None:
        Request.__init__(self, Submit(0, load.batches), now, FOREVER, None)
        self._load = load
        self._submits = submits

    def waiters(self) -> Sequence[Waiting]:
        return [one for part in self._load.parts.values() for one in part.waiters]

    def take_expired(self, now: float) -> Expired:
        expired: Expired = []
        for part in self._load.parts.values():
            expired += take_expired(part.waiters, now, partial(_id_in, part))
        return expired

    def enter(self) -> None:
        self._submits.begin(self._load)

    def leave(self) -> None:
        self._submits.settle(self._load)

    def receive_receipt(self, message: Receipt) -> None:
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
                self._submits.add_apart(part)
            else:
                for reply in take_replies(part.waiters):
                    reply.reject(refusal_error(refused))
        for reply in take_replies(self.waiters()):
            reply.reject(RemoteProtocolError("malformed", "a receipt leaves out a batch of its submit"))

    def receive_error(self, message: Error) -> None:
        self._submits.take_apart(self._load, message)


class SettleRequest(GatheredRequest):
    """A settle that was put together of the ends of several tasks."""

    __slots__ = ("_settles", "_settlings")

    def __init__(self, settlings: list[Settling], settles: Settles, now: float) -> None:
        Request.__init__(self, settle_message(settlings), now, FOREVER, None)
        self._settlings = settlings
        self._settles = settles

    def waiters(self) -> Sequence[Waiting]:
        return self._settlings

    def enter(self) -> None:
        self._settles.is_in_flight = True

    def leave(self) -> None:
        self._settles.is_in_flight = False

    def receive_settled(self, message: Settled) -> None:
        stale = message.stale
        for settling in self._settlings:
            if settling.reply is not None:
                _end_settling(settling.reply, is_stale=bool(stale) and settling.is_in(stale))


def _id_in(part: Part, index: int) -> str:
    """Returns the id of what one waits for: a batch that a caller made is waited for as a whole."""
    assert part.batch is not None, "a part that was sent has its batch"
    return task_id(part.batch.id, part.batch.tasks, index) if part.singles else part.batch.id


def _accept(part: Part, accepted: Accepted) -> None:
    assert part.batch is not None, "a part that was sent has its batch"
    size = part.batch.tasks
    outcome = BatchOutcome(accepted.id, size, 0, size)
    for index, waiting in enumerate(part.waiters):
        if waiting.reply is not None:
            waiting.reply.resolve((outcome, index, accepted))


def _end_settling(reply: Reply, *, is_stale: bool) -> None:
    if is_stale:
        reply.reject(StaleLeaseError("the task is no longer held here"))
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
    if refused.code == DENIED_CODE:
        return AccessDeniedError(refused.reason)
    return InvalidTaskError(refused.reason)


def parts_of(numbers: list[int]) -> Iterator[tuple[int, ...]]:
    """Yields numbers in as many messages as they need."""
    for start in range(0, len(numbers), MESSAGE_BATCHES_MAX):
        yield tuple(numbers[start : start + MESSAGE_BATCHES_MAX])
