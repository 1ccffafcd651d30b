"""Dead letters as a program sees them: `client.dead.list(...)`, `.replay(...)`, `.bury(...)`, `.purge(...)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zq.client.browsing import dead_reasons, rows, search
from zq.client.calls import Calls, Face
from zq.client.driving import AsyncDriver, Call, Driver, understood
from zq.client.insight import DeadReason, value_of, values_of

BURIED = "buried by a client"
"""Why a task was buried, when nothing else is said."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that is dead. Times are wall, in seconds since 1970; `Client.trace` has its history."""

    id: str
    queue: str
    reason: str  # the first 500 characters of it
    priority: int
    key: str | None  # None when it has none
    on_lost: str  # "reassign", "cancel" or "dead"
    attempts: int  # starts that failed or were lost
    failures: int  # of these, the ones that failed
    accepted_time: float
    finished_time: float  # when it became one


@dataclass(frozen=True, slots=True)
class ReplayStatus:
    """A replay of dead letters at a rate, which goes on by itself."""

    id: str  # stops it
    rate: float  # dead letters a second
    queue: str | None  # where they are; None: all queues
    reason: str | None  # text that the reason of each contains; None: any
    to: str | None  # the queue to which they go; None: their own
    started_time: float  # wall, seconds since 1970
    moved: int  # so far


class DeadLetters(Face[Driver]):
    """The dead letters of a coordinator; any thread may use it while its client is open.

    `queue` None means all queues; `reason` is text that the reason must contain, in whatever case, None means any. All
    raise RemoteProtocolError for what the coordinator refuses (a queue that is not there, say), and
    UnreachableError, TimedOutError and ClosedError as `Client.submit`.
    """

    __slots__ = ()

    def replay(
        self,
        id: str | None = None,
        *,
        queue: str | None = None,
        reason: str | None = None,
        to: str | None = None,
        limit: int = 1000,
    ) -> int:
        """Brings dead letters back at once, with no attempts charged, the most urgent first; returns how many.

        Args:
            id: of one task; None: those of the queue and reason.
            queue: where they are.
            reason: text that the reason contains.
            to: another queue, in which they go to the end; None: their own, in their old places.
            limit: at most so many, 1 to 1,000.

        Raises:
            ValueError: an id, and a queue or a reason beside it.
        """
        return self._run(_replay(self._calls, id, queue, reason, to, limit))

    def bury(self, id: str, reason: str = BURIED) -> int:
        """Makes a dead letter of a task, or of all tasks of a batch; returns how many had not ended.

        Args:
            id: of the task or batch.
            reason: for people.
        """
        return self._run(_bury(self._calls, id, reason))

    def start_replay(
        self, rate: float, *, queue: str | None = None, reason: str | None = None, to: str | None = None
    ) -> ReplayStatus:
        """Begins to bring back the dead letters that there are now, at a rate; it goes on over restarts.

        Args:
            rate: dead letters a second, 0.001 to 100,000.
            queue: where they are.
            reason: text that the reason contains.
            to: another queue; None: their own.

        Returns:
            The replay; its `id` stops it.
        """
        return self._run(_start_replay(self._calls, rate, queue, reason, to))

    def replays(self) -> list[ReplayStatus]:
        """Returns the replays that are going on."""
        return self._run(_replays(self._calls))

    def stop_replay(self, id: str) -> bool:
        """Stops a replay; returns False when it is over already. What it has brought back stays back."""
        return self._run(_stop_replay(self._calls, id))

    def purge(
        self, id: str | None = None, *, queue: str | None = None, reason: str | None = None, limit: int = 1000
    ) -> int:
        """Gives dead letters up for good, as `replay` finds them; returns how many."""
        return self._run(_purge(self._calls, id, queue, reason, limit))

    def reasons(self, *, queue: str | None = None) -> list[DeadReason]:
        """Returns why tasks are dead: how many dead letters of a queue have the same reason, but for ids and numbers in
        it; the most frequent first. All dead letters are read for it, a page at a time.
        """
        return self._run(dead_reasons(self._calls, queue))

    def list(self, *, queue: str | None = None, reason: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """Returns dead letters, at most `limit`, the most urgent first."""
        return self._run(_list(self._calls, queue, reason, limit))


class AsyncDeadLetters(Face[AsyncDriver]):
    """The dead letters of a coordinator, awaited; as `DeadLetters`."""

    __slots__ = ()

    async def replay(
        self,
        id: str | None = None,
        *,
        queue: str | None = None,
        reason: str | None = None,
        to: str | None = None,
        limit: int = 1000,
    ) -> int:
        """As `DeadLetters.replay`."""
        return await self._run(_replay(self._calls, id, queue, reason, to, limit))

    async def bury(self, id: str, reason: str = BURIED) -> int:
        """As `DeadLetters.bury`."""
        return await self._run(_bury(self._calls, id, reason))

    async def start_replay(
        self, rate: float, *, queue: str | None = None, reason: str | None = None, to: str | None = None
    ) -> ReplayStatus:
        """As `DeadLetters.start_replay`."""
        return await self._run(_start_replay(self._calls, rate, queue, reason, to))

    async def replays(self) -> list[ReplayStatus]:
        """As `DeadLetters.replays`."""
        return await self._run(_replays(self._calls))

    async def stop_replay(self, id: str) -> bool:
        """As `DeadLetters.stop_replay`."""
        return await self._run(_stop_replay(self._calls, id))

    async def purge(
        self, id: str | None = None, *, queue: str | None = None, reason: str | None = None, limit: int = 1000
    ) -> int:
        """As `DeadLetters.purge`."""
        return await self._run(_purge(self._calls, id, queue, reason, limit))

    async def reasons(self, *, queue: str | None = None) -> list[DeadReason]:
        """As `DeadLetters.reasons`."""
        return await self._run(dead_reasons(self._calls, queue))

    async def list(self, *, queue: str | None = None, reason: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """As `DeadLetters.list`."""
        return await self._run(_list(self._calls, queue, reason, limit))


# The calls, written once for both.


@understood
def _list(calls: Calls, queue: str | None, reason: str | None, limit: int) -> Call[list[DeadLetter]]:
    return values_of(DeadLetter, (yield from search("dead", queue=queue, reason=reason, limit=limit).all(calls)))


def _replay(
    calls: Calls, id: str | None, queue: str | None, reason: str | None, to: str | None, limit: int
) -> Call[int]:
    arguments: dict[str, Any] = {**_which(id, queue, reason), "to": to, "limit": limit}
    return calls.command("replay", arguments)


def _bury(calls: Calls, id: str, reason: str) -> Call[int]:
    return calls.command("bury", {"id": id, "reason": reason})


@understood
def _start_replay(
    calls: Calls, rate: float, queue: str | None, reason: str | None, to: str | None
) -> Call[ReplayStatus]:
    arguments = {"id": calls.session.make_id(), "rate": rate, "queue": queue, "reason": reason, "to": to}
    return value_of(ReplayStatus, (yield from calls.command("start-replay", arguments)))


@understood
def _replays(calls: Calls) -> Call[list[ReplayStatus]]:
    return values_of(ReplayStatus, (yield from rows(calls, "replays", {})))


def _stop_replay(calls: Calls, id: str) -> Call[bool]:
    return calls.command("stop-replay", {"id": id})


def _purge(calls: Calls, id: str | None, queue: str | None, reason: str | None, limit: int) -> Call[int]:
    return calls.command("purge-dead", {**_which(id, queue, reason), "limit": limit})


def _which(id: str | None, queue: str | None, reason: str | None) -> dict[str, Any]:
    """Returns the arguments that say which dead letters are meant."""
    if id is not None and not queue is reason is None:
        raise ValueError("expected the id of one dead letter, or a queue and a reason that several have, got both")
    return {"id": id, "queue": queue, "reason": reason}
