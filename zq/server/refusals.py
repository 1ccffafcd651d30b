"""How a message is refused that its sender may send again later: by the answer that it waits for."""

from __future__ import annotations

from zq.wire.messages import (
    Error,
    FromCoordinator,
    Open,
    Publish,
    Published,
    Receipt,
    Refused,
    Settle,
    Submit,
    ToCoordinator,
)


def refusal(message: ToCoordinator, reason: str, retry_after: float) -> FromCoordinator | None:
    """Returns the answer `busy` to a message; None when nobody waits for an answer.

    Args:
        message: that has had no effect.
        reason: for people.
        retry_after: seconds after which it is worth trying again.
    """
    match message:
        case Submit(request, batches):
            return Receipt(request, (), tuple(Refused(one.id, "busy", retry_after, reason) for one in batches))
        case Open(request, group):
            return Receipt(request, (), (Refused(group.id, "busy", retry_after, reason),))
        case Publish(request, id):
            return Published(request, (), Refused(id, "busy", retry_after, reason))
    number: int | None = getattr(message, "request", None)
    if number is None:
        return None
    return Error(number, "busy", f"{reason}; come back in {retry_after:.1f} s")


def tasks_in(message: Submit | Publish) -> int:
    """Returns how many tasks a message brings."""
    if isinstance(message, Publish):
        return len(message.ends) >> 2
    count = 0
    for batch in message.batches:
        count += len(batch.ends)
    return count >> 2


def items_in(message: ToCoordinator | Error) -> int:
    """Returns how many things a message is about that cost something each by their nature."""
    match message:
        case Submit(_, batches):
            return len(batches)
        case Settle():
            return len(message.done) + len(message.failed) + sum(len(one.forwards) for one in message.done)
    return 0
