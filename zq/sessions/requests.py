"""What a client has outstanding, and how it ends for those who wait."""

from zq.errors import BusyError, ClosedError, InvalidTaskError, StaleLeaseError, ZqError
from zq.sessions.outcomes import FOREVER, BatchOutcome, Reply
from zq.sessions.settles import Settling
from zq.sessions.submits import Load, Part
from zq.wire.messages import (
    Accepted,
    Cancel,
    Command,
    Extend,
    Open,
    Ping,
    Publish,
    Pull,
    Query,
    Refused,
    Release,
    Schedule,
    Settle,
    ToCoordinator,
)

Ask = Cancel | Query | Command | Extend | Release | Settle | Open | Pull | Ping | Publish | Schedule
Expired = list[tuple[Reply, float]]
"""Those who waited too long, each with when it asked."""


class Request:
    """An outstanding message; those who wait for it are `reply`, or in `load` when they are several."""

    __slots__ = ("asked_at", "deadline", "load", "message", "ping", "reply")

    def __init__(self, message: ToCoordinator, now: float, deadline: float, reply: Reply | None) -> None:
        self.message = message
        self.asked_at = now
        self.deadline = deadline
        self.reply = reply
        self.load: Load | list[Settling] | None = None
        self.ping = 0  # the last ping that was sent before the message


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


def accept(part: Part, accepted: Accepted) -> None:
    assert part.batch is not None, "a part that was sent has its batch"
    size = part.batch.tasks
    outcome = BatchOutcome(accepted.id, size, 0, size)
    if part.reply is not None:
        part.reply.resolve((outcome, 0, accepted))
    for index, single in enumerate(part.singles):
        if single.reply is not None:
            single.reply.resolve((outcome, index, accepted))


def end_settling(reply: Reply, *, is_stale: bool) -> None:
    if is_stale:
        reply.reject(StaleLeaseError("the task is no longer held here: its lease ran out, or it was cancelled"))
    else:
        reply.resolve(None)


def replies_of(request: Request) -> list[Reply]:
    if isinstance(request.load, Load):
        return [reply for part in request.load.parts.values() for reply in part.take_replies()]
    if request.load is not None:
        return [settling.reply for settling in request.load if settling.reply is not None]
    return [] if request.reply is None else [request.reply]


def deadline_of(request: Request) -> float:
    """Returns the first deadline of those who wait for a request."""
    if isinstance(request.load, Load):
        return min((part.deadline for part in request.load.parts.values()), default=FOREVER)
    if request.load is not None:
        return min((settling.deadline for settling in request.load), default=FOREVER)
    return request.deadline
