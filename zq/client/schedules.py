"""Schedules as a program sees them: `client.schedules.define(...)`, `.list()`, `.pause(...)` and their like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

from zq.client.browsing import rows
from zq.client.calls import Calls, Face
from zq.client.driving import AsyncDriver, Call, Driver, understood
from zq.client.insight import value_of, values_of
from zq.submit_options import SubmitOptions, check_id, check_queue, make_options
from zq.wire.batch import pack_payloads
from zq.wire.limits import CatchUp
from zq.wire.messages import Batch, Schedule
from zq.wire.options import schedule_fault


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """A recurring task. Times are wall, in seconds since 1970."""

    name: str
    queue: str  # of its tasks
    every: float | None  # seconds between two; None: by cron
    cron: str | None  # None: by interval
    timezone: str  # in which the cron expression is meant
    catch_up: str  # "skip", "one" or "all": what is done about times that were missed
    is_paused: bool
    next_time: float | None  # when it fires next; None while it is paused
    created_time: float
    fired: int  # tasks that it has stored
    last_time: float | None  # for which it last stored one; None: for none yet
    last_id: str | None  # of that task
    error: str | None  # why it was paused by itself: its times could not be found any more
    payload_bytes: int  # of the payload of each task


class Schedules(Face[Driver]):
    """The schedules of a coordinator; any thread may use it while its client is open.

    All raise RemoteProtocolError for what the coordinator refuses (a schedule that is not there, say), and
    UnreachableError, TimedOutError and ClosedError as `Client.submit`.
    """

    __slots__ = ()

    def define(
        self,
        name: str,
        queue: str,
        payload: Any,
        *,
        every: float | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        catch_up: CatchUp = "one",
        **options: Unpack[SubmitOptions],
    ) -> ScheduleStatus:
        """Makes a schedule: a task that comes again and again; one of the same name is changed, and goes on if its
        times are the same.

        Args:
            name: of the schedule, at most 100 bytes; task ids are made of it.
            every: seconds between two tasks, at least 1; the first one comes so long after this call. Or:
            cron: a cron expression of five fields, minute to day of week, or of six with seconds first.
            timezone: in which the cron expression is meant, such as "Europe/Berlin".
            catch_up: what is done about times that came while the coordinator was away: "skip" them, one task for all,
                or all.
            options: of each task; see `zq.SubmitOptions`, without delay, at and group.

        Raises:
            ValueError, TypeError, PayloadTooLargeError: nothing was sent.
            RemoteProtocolError: the coordinator cannot do it: the expression or the zone cannot be, say.
        """
        return self._run(make_schedule(self._calls, name, queue, payload, every, cron, timezone, catch_up, options))

    def show(self, name: str) -> ScheduleStatus:
        """Returns one schedule."""
        return self._run(_show(self._calls, name))

    def set(
        self,
        name: str,
        *,
        every: float | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        catch_up: CatchUp | None = None,
    ) -> ScheduleStatus:
        """Changes when a schedule fires; what is None stays as it is. Its queue, payload and options change with
        `define`. Returns the schedule.
        """
        return self._run(_set(self._calls, name, every=every, cron=cron, timezone=timezone, catch_up=catch_up))

    def pause(self, name: str) -> ScheduleStatus:
        """Lets a schedule fire no more until it is resumed; returns it."""
        return self._run(_set(self._calls, name, is_paused=True))

    def resume(self, name: str) -> ScheduleStatus:
        """Lets a paused schedule fire again, from its next time on; what it missed while it was paused is left out.
        Returns the schedule.
        """
        return self._run(_set(self._calls, name, is_paused=False))

    def run(self, name: str) -> ScheduleStatus:
        """Submits the task of a schedule at once, paused or not; its times stay what they are. Returns the schedule,
        whose `last_id` is that of the task. Raises BusyError while its queue drains or the store is full.
        """
        return self._run(_run(self._calls, name))

    def delete(self, name: str) -> bool:
        """Forgets a schedule; returns False when there is none of the name. Tasks that it has stored stay."""
        return self._run(_delete(self._calls, name))

    def list(self, limit: int | None = None) -> list[ScheduleStatus]:
        """Returns schedules by name, at most `limit`, or all."""
        return self._run(_list(self._calls, limit))


class AsyncSchedules(Face[AsyncDriver]):
    """The schedules of a coordinator, awaited; as `Schedules`."""

    __slots__ = ()

    async def define(
        self,
        name: str,
        queue: str,
        payload: Any,
        *,
        every: float | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        catch_up: CatchUp = "one",
        **options: Unpack[SubmitOptions],
    ) -> ScheduleStatus:
        """As `Schedules.define`."""
        return await self._run(
            make_schedule(self._calls, name, queue, payload, every, cron, timezone, catch_up, options)
        )

    async def show(self, name: str) -> ScheduleStatus:
        """As `Schedules.show`."""
        return await self._run(_show(self._calls, name))

    async def set(
        self,
        name: str,
        *,
        every: float | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        catch_up: CatchUp | None = None,
    ) -> ScheduleStatus:
        """As `Schedules.set`."""
        return await self._run(_set(self._calls, name, every=every, cron=cron, timezone=timezone, catch_up=catch_up))

    async def pause(self, name: str) -> ScheduleStatus:
        """As `Schedules.pause`."""
        return await self._run(_set(self._calls, name, is_paused=True))

    async def resume(self, name: str) -> ScheduleStatus:
        """As `Schedules.resume`."""
        return await self._run(_set(self._calls, name, is_paused=False))

    async def run(self, name: str) -> ScheduleStatus:
        """As `Schedules.run`."""
        return await self._run(_run(self._calls, name))

    async def delete(self, name: str) -> bool:
        """As `Schedules.delete`."""
        return await self._run(_delete(self._calls, name))

    async def list(self, limit: int | None = None) -> list[ScheduleStatus]:
        """As `Schedules.list`."""
        return await self._run(_list(self._calls, limit))


# The calls, written once for both.


@understood
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
) -> Call[ScheduleStatus]:
    """Makes or changes a schedule."""
    made = make_options(**options)
    fault = schedule_fault(made)
    if fault is not None:
        raise ValueError(fault)
    if (every is None) == (cron is None):
        raise ValueError("expected either every or cron")
    batch = Batch(check_id(name), check_queue(queue), made, *pack_payloads([calls.pack(payload)]))
    row = yield from calls.ask(Schedule(0, batch, every, cron, timezone, catch_up))
    return value_of(ScheduleStatus, row)


@understood
def _list(calls: Calls, limit: int | None) -> Call[list[ScheduleStatus]]:
    return values_of(ScheduleStatus, (yield from rows(calls, "schedules", {"limit": limit})))


@understood
def _show(calls: Calls, name: str) -> Call[ScheduleStatus]:
    return value_of(ScheduleStatus, (yield from calls.query("schedule", {"name": name})))


@understood
def _set(calls: Calls, name: str, **changes: Any) -> Call[ScheduleStatus]:
    given = {field: value for field, value in changes.items() if value is not None}
    return value_of(ScheduleStatus, (yield from calls.command("set-schedule", {"name": name, **given})))


def _delete(calls: Calls, name: str) -> Call[bool]:
    return calls.command("delete-schedule", {"name": name})


@understood
def _run(calls: Calls, name: str) -> Call[ScheduleStatus]:
    return value_of(ScheduleStatus, (yield from calls.command("run-schedule", {"name": name})))
