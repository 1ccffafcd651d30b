"""Schedules as a program sees them: `client.schedule(...)` makes one, `client.schedules` shows and changes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from zq.client.calls import Calls, Steps
from zq.submit_options import SubmitOptions, check_id, check_name, make_options
from zq.wire.batch import pack_payloads
from zq.wire.messages import Batch, Schedule
from zq.wire.options import schedule_fault

CatchUp = Literal["skip", "one", "all"]


def make_schedule(
    calls: Calls,
    name: str,
    queue: str,
    payload: Any,
    every: float | None,
    cron: str | None,
    timezone: str,
    catch_up: CatchUp,
    options: SubmitOptions,
) -> Steps:
    """Makes or changes a schedule; returns its map."""
    made = make_options(**options)
    fault = schedule_fault(made)
    if fault is not None:
        raise ValueError(fault)
    if (every is None) == (cron is None):
        raise ValueError("expected either every or cron")
    batch = Batch(check_id(name), check_name("queue", queue), made, *pack_payloads([calls.pack(payload)]))
    return (yield from calls.ask(Schedule(0, batch, every, cron, timezone, catch_up)))


class _ScheduleCalls:
    """The calls, written once for both clients."""

    __slots__ = ("_calls", "_run")

    def __init__(self, calls: Calls, run: Callable[[Steps], Any]) -> None:
        self._calls = calls
        self._run = run  # drives a call: blocks, or returns an awaitable

    def _find(self, limit: int) -> Any:
        return self._run(self._calls.query("schedules", {"limit": limit}))

    def _show(self, name: str) -> Any:
        return self._run(self._calls.query("schedule", {"name": name}))

    def _set(self, name: str, **changes: Any) -> Any:
        given = {field: value for field, value in changes.items() if value is not None}
        return self._run(self._calls.command("set-schedule", {"name": name, **given}))

    def _delete(self, name: str) -> Any:
        return self._run(self._calls.command("delete-schedule", {"name": name}))


class Schedules(_ScheduleCalls):
    """The schedules of a coordinator; any thread may use it while its client is open.

    A schedule is a map: name, queue, every, cron, timezone, catch_up, is_paused, next_time, fired, last_time, last_id,
    created_time, payload_bytes, and error when it was paused because its times could not be found any more. All raise
    RemoteProtocolError for what the coordinator refuses (a schedule that is not there, say), and UnreachableError,
    TimedOutError and ClosedError as `Client.submit`.
    """

    __slots__ = ()

    def find(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Returns schedules by name, at most `limit` (1 to 1,000)."""
        found: list[dict[str, Any]] = self._find(limit)
        return found

    def show(self, name: str) -> dict[str, Any]:
        """Returns one schedule."""
        schedule: dict[str, Any] = self._show(name)
        return schedule

    def set(
        self,
        name: str,
        *,
        every: float | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        catch_up: CatchUp | None = None,
    ) -> dict[str, Any]:
        """Changes when a schedule fires; what is None stays as it is. Its queue, payload and options change with
        `Client.schedule`.
        """
        changed: dict[str, Any] = self._set(name, every=every, cron=cron, timezone=timezone, catch_up=catch_up)
        return changed

    def pause(self, name: str) -> dict[str, Any]:
        """Lets a schedule fire no more until it is resumed."""
        changed: dict[str, Any] = self._set(name, is_paused=True)
        return changed

    def resume(self, name: str) -> dict[str, Any]:
        """Lets a paused schedule fire again, from its next time on; what it missed while it was paused is left out."""
        changed: dict[str, Any] = self._set(name, is_paused=False)
        return changed

    def delete(self, name: str) -> bool:
        """Forgets a schedule; returns False when there is none of the name. Tasks that it has stored stay."""
        return bool(self._delete(name))


class AsyncSchedules(_ScheduleCalls):
    """The schedules of a coordinator, awaited; as `Schedules`."""

    __slots__ = ()

    async def find(self, limit: int = 1000) -> list[dict[str, Any]]:
        """As `Schedules.find`."""
        found: list[dict[str, Any]] = await self._find(limit)
        return found

    async def show(self, name: str) -> dict[str, Any]:
        """As `Schedules.show`."""
        schedule: dict[str, Any] = await self._show(name)
        return schedule

    async def set(
        self,
        name: str,
        *,
        every: float | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        catch_up: CatchUp | None = None,
    ) -> dict[str, Any]:
        """As `Schedules.set`."""
        changed: dict[str, Any] = await self._set(name, every=every, cron=cron, timezone=timezone, catch_up=catch_up)
        return changed

    async def pause(self, name: str) -> dict[str, Any]:
        """As `Schedules.pause`."""
        changed: dict[str, Any] = await self._set(name, is_paused=True)
        return changed

    async def resume(self, name: str) -> dict[str, Any]:
        """As `Schedules.resume`."""
        changed: dict[str, Any] = await self._set(name, is_paused=False)
        return changed

    async def delete(self, name: str) -> bool:
        """As `Schedules.delete`."""
        return bool(await self._delete(name))
