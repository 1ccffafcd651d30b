"""Those who wait for something that a session asks for, each until a deadline of its own."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from zq.sessions.outcomes import FOREVER, Reply

Expired = list[tuple[Reply, float, str | None]]
"""Those who waited too long, each with when it asked, and the id of what may have been stored by then."""


class Waiting:
    """One that waits."""

    __slots__ = ("asked_at", "deadline", "reply")

    def __init__(self, deadline: float, reply: Reply | None, asked_at: float = 0.0) -> None:
        self.deadline = deadline  # monotonic seconds
        self.reply = reply  # None: answered, timed out, or nobody cares
        self.asked_at = asked_at


def is_wanted(waiters: Iterable[Waiting]) -> bool:
    """Whether anybody still waits."""
    return any(one.reply is not None for one in waiters)


def first_deadline(waiters: Iterable[Waiting]) -> float:
    """Returns when the first of those who still wait gives up."""
    return min((one.deadline for one in waiters if one.reply is not None), default=FOREVER)


def take_expired(waiters: Iterable[Waiting], now: float, id_of: Callable[[int], str] | None = None) -> Expired:
    """Returns, and forgets, who waited past a deadline.

    Args:
        id_of: tells by their places what may have been stored of theirs; None: nothing was.
    """
    expired: Expired = []
    for index, one in enumerate(waiters):
        if one.deadline <= now and one.reply is not None:
            expired.append((one.reply, one.asked_at, None if id_of is None else id_of(index)))
            one.reply = None
    return expired


def take_replies(waiters: Iterable[Waiting]) -> list[Reply]:
    """Returns, and forgets, all who wait."""
    replies = []
    for one in waiters:
        if one.reply is not None:
            replies.append(one.reply)
            one.reply = None
    return replies


def reply_in(call: Callable[[], None]) -> Reply | None:
    """Returns where the end of a call goes: to the reply among its arguments, or to that of who waits among them."""
    for one in call.args if isinstance(call, partial) else ():
        reply: Any = one.reply if isinstance(one, Waiting) else one
        if callable(getattr(reply, "reject", None)) and callable(getattr(reply, "resolve", None)):
            found: Reply = reply
            return found
    return None
