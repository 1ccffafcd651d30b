"""Dead letters as a program sees them: `client.dead.find(...)`, `.replay(...)`, `.purge(...)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zq.client.browsing import search
from zq.client.calls import Calls, Steps


class _DeadLetterCalls:
    """The calls, written once for both clients."""

    __slots__ = ("_calls", "_run")

    def __init__(self, calls: Calls, run: Callable[[Steps], Any]) -> None:
        self._calls = calls
        self._run = run  # drives a call: blocks, or returns an awaitable

    def _find(self, queue: str | None, reason: str | None, limit: int) -> Any:
        return self._run(search("dead", queue, None, None, None, reason, None, limit).all(self._calls))

    def _replay(self, id: str | None, queue: str | None, reason: str | None, to: str | None, limit: int) -> Any:
        arguments = {"id": id, "queue": queue, "reason": reason, "to": to, "limit": limit}
        return self._run(self._calls.command("replay", arguments))

    def _start_replay(self, rate: float, queue: str | None, reason: str | None, to: str | None) -> Any:
        arguments = {"id": self._calls.session.make_id(), "rate": rate, "queue": queue, "reason": reason, "to": to}
        return self._run(self._calls.command("start-replay", arguments))

    def _replays(self) -> Any:
        return self._run(self._calls.query("replays", {}))

    def _stop_replay(self, id: str) -> Any:
        return self._run(self._calls.command("stop-replay", {"id": id}))

    def _purge(self, id: str | None, queue: str | None, reason: str | None, limit: int) -> Any:
        arguments = {"id": id, "queue": queue, "reason": reason, "limit": limit}
        return self._run(self._calls.command("purge-dead", arguments))


class DeadLetters(_DeadLetterCalls):
    """The dead letters of a coordinator; any thread may use it while its client is open.

    `queue` None means all queues; `reason` is text that the reason must contain, in whatever case, None means any. All
    raise RemoteProtocolError for what the coordinator refuses (a queue that is not there, say), and
    UnreachableError, TimedOutError and ClosedError as `Client.submit`.
    """

    __slots__ = ()

    def find(self, *, queue: str | None = None, reason: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Returns dead letters as the query `tasks` shows them, at most `limit`, the most urgent first."""
        found: list[dict[str, Any]] = self._find(queue, reason, limit)
        return found

    def replay(
        self,
        id: str | None = None,
        *,
        queue: str | None = None,
        reason: str | None = None,
        to: str | None = None,
        limit: int = 1000,
    ) -> int:
        """Brings dead letters back at once, with no attempts charged, and returns how many.

        Args:
            id: of one task; None: those of the queue and reason.
            queue: where they are.
            reason: text that the reason contains.
            to: another queue, in which they go to the end; None: their own, in their old places.
            limit: at most so many, 1 to 1,000.
        """
        return int(self._replay(id, queue, reason, to, limit))

    def kick(self, queue: str, count: int) -> int:
        """Brings the first dead letters of a queue back, 1 to 1,000 of them; returns how many."""
        return int(self._replay(None, queue, None, None, count))

    def start_replay(
        self, rate: float, *, queue: str | None = None, reason: str | None = None, to: str | None = None
    ) -> dict[str, Any]:
        """Begins to bring back the dead letters that there are now, at a rate; it goes on over restarts.

        Args:
            rate: dead letters a second, 0.001 to 100,000.
            queue: where they are.
            reason: text that the reason contains.
            to: another queue; None: their own.

        Returns:
            The replay, as `replays` shows it; its `id` stops it.
        """
        replay: dict[str, Any] = self._start_replay(rate, queue, reason, to)
        return replay

    def replays(self) -> list[dict[str, Any]]:
        """Returns the replays that are going on: id, rate, queue, reason, to, started_time, and moved so far."""
        found: list[dict[str, Any]] = self._replays()
        return found

    def stop_replay(self, id: str) -> bool:
        """Stops a replay; returns False when it is over already. What it has brought back stays back."""
        return bool(self._stop_replay(id))

    def purge(
        self, id: str | None = None, *, queue: str | None = None, reason: str | None = None, limit: int = 1000
    ) -> int:
        """Gives dead letters up for good, as `replay` finds them; returns how many."""
        return int(self._purge(id, queue, reason, limit))


class AsyncDeadLetters(_DeadLetterCalls):
    """The dead letters of a coordinator, awaited; as `DeadLetters`."""

    __slots__ = ()

    async def find(
        self, *, queue: str | None = None, reason: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """As `DeadLetters.find`."""
        found: list[dict[str, Any]] = await self._find(queue, reason, limit)
        return found

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
        return int(await self._replay(id, queue, reason, to, limit))

    async def kick(self, queue: str, count: int) -> int:
        """As `DeadLetters.kick`."""
        return int(await self._replay(None, queue, None, None, count))

    async def start_replay(
        self, rate: float, *, queue: str | None = None, reason: str | None = None, to: str | None = None
    ) -> dict[str, Any]:
        """As `DeadLetters.start_replay`."""
        replay: dict[str, Any] = await self._start_replay(rate, queue, reason, to)
        return replay

    async def replays(self) -> list[dict[str, Any]]:
        """As `DeadLetters.replays`."""
        found: list[dict[str, Any]] = await self._replays()
        return found

    async def stop_replay(self, id: str) -> bool:
        """As `DeadLetters.stop_replay`."""
        return bool(await self._stop_replay(id))

    async def purge(
        self, id: str | None = None, *, queue: str | None = None, reason: str | None = None, limit: int = 1000
    ) -> int:
        """As `DeadLetters.purge`."""
        return int(await self._purge(id, queue, reason, limit))
