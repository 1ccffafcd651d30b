"""One look at the coordinator a second, for all who follow together; none while nobody does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Final

import zq
from zq.dashboard.board import Board, percentiles
from zq.dashboard.problems import is_unknown_question, problem_of
from zq.dashboard.redaction import Redactor
from zq.dashboard.streams import Hub, dropped
from zq.dashboard.upstream import Upstream
from zq.dashboard.values import JsonObject

log = logging.getLogger(__name__)

PULSE_INTERVAL: Final = 1.0
"""Seconds between two looks."""

LOOK_PATIENCE: Final = 2.5
"""Seconds without an answer after which browsers are told that there is none."""

SCAN_ROWS: Final = 200
"""Queues that a look reads in their order."""

PULSE_WORKERS: Final = 100
FAILURES_SHOWN: Final = 10

HISTORY_INTERVAL: Final = 10.0
"""Seconds between two questions for what the last minute was like: the coordinator's own steps are as long."""

HISTORY_SECONDS: Final = 60.0

TOTALS: Final = ("accepted", "done", "failed", "retried", "commits")
"""Of the status itself; its `dead` is how many there are now, `died` how many there have been."""

EVENTS_INTERVAL: Final = 0.5
"""Seconds in which events are gathered into one portion."""

PORTION_EVENTS_MAX: Final = 200
"""Events of a portion: nobody reads more in half a second."""

REST_SECONDS: Final = 5.0
"""For which no events are followed after a full portion: to tell each of many costs the coordinator a tenth of its
work, and nobody would see more of them.
"""


class Glance:
    """What one look has brought.

    Attributes:
        at: when, monotonic.
        overview: as the interface gives it.
        queues: rows of the busiest queues.
        workers: rows of workers, at most PULSE_WORKERS.
    """

    def __init__(self, at: float, overview: JsonObject, queues: list[JsonObject], workers: list[JsonObject]) -> None:
        self.at = at
        self.overview = overview
        self.queues = queues
        self.workers = workers

    def pulse(self) -> JsonObject:
        status = {name: value for name, value in self.overview["status"].items() if name != "peer_limits"}
        return {"overview": {**self.overview, "status": status}, "queues": self.queues, "workers": self.workers}


class Looker:
    """Looks, and tells the hub. To be made in the event loop in which it is used."""

    def __init__(self, upstream: Upstream, hub: Hub, redactor: Redactor) -> None:
        self.board = Board()
        self._upstream = upstream
        self._hub = hub
        self._redactor = redactor
        self._cursor: str | None = None
        self._is_whole = False  # whether a page has all queues
        self._names: set[str] = set()  # of the round of pages that is going on
        self._missing: set[str] = set()  # queries that the coordinator does not know
        self._epoch: int | None = None
        self._history: list[JsonObject] = []
        self._history_at = float("-inf")
        self._last: Glance | None = None
        self._looking: asyncio.Task[Glance] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        hub.on_change = self.adapt

    async def look(self, age_max: float = PULSE_INTERVAL) -> Glance:
        """Returns the last look if it is no older than so many seconds, or a new one that all share who ask for it.

        Raises:
            ZqError: the coordinator does not answer.
        """
        if self._last is not None and time.monotonic() - self._last.at < age_max:
            return self._last
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
            self._looking.add_done_callback(self._has_looked)
        return await asyncio.shield(self._looking)

    def _has_looked(self, task: asyncio.Task[Glance]) -> None:
        self._looking = None
        if not task.cancelled() and task.exception() is None:
            self._last = task.result()

    async def _look(self) -> Glance:
        client, board = self._upstream.client, self.board
        names = [] if self._is_whole else board.busy_names()
        is_due = time.monotonic() - self._history_at >= HISTORY_INTERVAL
        asked: dict[str, Coroutine[Any, Any, Any]] = {
            "status": client.query("status"),
            "queues": client.query("queues", cursor=self._cursor, limit=SCAN_ROWS),
            "workers": client.query("workers", cursor=None, limit=PULSE_WORKERS),
            "failures": client.query("failures", limit=FAILURES_SHOWN),
        }
        if is_due:
            asked["history"] = client.query("history", step=10, since=time.time() - HISTORY_SECONDS, cursor=None)
        for what in self._missing & asked.keys():
            asked.pop(what).close()
        by_name = [client.query("queue", queue=name) for name in names]
        found = await asyncio.gather(*asked.values(), *by_name, return_exceptions=True)
        answers: dict[str, Any] = dict(zip(asked, found, strict=False))
        self._sort_out(answers)
        now = time.monotonic()
        self._note_epoch(answers["status"])
        self._note_queues(now, answers.get("queues"), dict(zip(names, found[len(asked) :], strict=True)))
        board.note_counters(now, counters_of(answers["status"]))
        if is_due:
            self._history, self._history_at = rows_of(answers.get("history")), now
        workers = self._redactor.rows(rows_of(answers.get("workers")))
        return Glance(now, self._overview(answers), board.busiest(), workers)

    def _sort_out(self, answers: dict[str, Any]) -> None:
        """Raises what keeps a look from its end; what only a part of it could not be asked for is left out."""
        failure = answers["status"]
        if isinstance(failure, zq.TimedOutError | zq.ClosedError):
            raise failure
        self._upstream.note_answer()
        if isinstance(failure, BaseException):
            raise failure
        for what, answer in list(answers.items()):
            if isinstance(answer, zq.RemoteProtocolError) and is_unknown_question(answer):
                self._missing.add(what)
            if isinstance(answer, BaseException):
                if not isinstance(answer, zq.ZqError):
                    raise answer
                answers[what] = None

    def _note_epoch(self, status: JsonObject) -> None:
        """Notices a restart: another coordinator may know more than the one before."""
        if status.get("epoch") != self._epoch:
            self._epoch = status.get("epoch")
            self._missing.clear()
            self._history_at = float("-inf")

    def _note_queues(self, now: float, page: Any, by_name: dict[str, Any]) -> None:
        rows = rows_of(page)
        for name, row in by_name.items():
            if isinstance(row, zq.RemoteProtocolError):
                self.board.forget(name)
        listed = {row["name"] for row in rows}
        rows += [row for name, row in by_name.items() if isinstance(row, dict) and name not in listed]
        self.board.note_queues(now, rows)
        cursor = page.get("cursor") if isinstance(page, dict) else None
        self._is_whole = self._cursor is None and cursor is None
        self._names |= listed
        self._cursor = cursor
        if cursor is None:
            self.board.forget_others(self._names)
            self._names = set()

    def _overview(self, answers: dict[str, Any]) -> JsonObject:
        board = self.board
        return {
            "status": answers["status"],
            "rates": {name: None if rate is None else round(rate, 3) for name, rate in board.rates.items()},
            "wait": percentiles([row.get("wait") for row in self._history]),
            "run": percentiles([row.get("run") for row in self._history]),
            "oldest_time": board.oldest_time(),
            "alerts": board.alerts(),
            "failures": self._redactor.rows(rows_of(answers.get("failures"))),
        }

    # Following.

    def adapt(self) -> None:
        """Begins and ends what browsers need; called when one comes or goes."""
        self._keep("looks", self._look_on, is_wanted=bool(self._hub.browsers))
        self._keep("events", self._follow, is_wanted=self._hub.wants_events)

    def _keep(self, name: str, work: Any, *, is_wanted: bool) -> None:
        task = self._tasks.get(name)
        if is_wanted and (task is None or task.done()):
            self._tasks[name] = asyncio.ensure_future(work())
        elif not is_wanted and task is not None:
            self._tasks.pop(name).cancel()

    async def _look_on(self) -> None:
        """Looks each second, and tells what it has seen or why it could not."""
        while True:
            begun_at = time.monotonic()
            try:
                look = await self._look_patiently()
            except zq.ZqError as error:
                self._tell_trouble(error)
            except Exception as error:
                log.exception("a look at the coordinator failed: this is a fault of the dashboard")
                self._tell_trouble(error)
            else:
                self._hub.tell_connection(is_connected=True, message=f"connected to {self._upstream.address}")
                self._hub.tell_pulse(look.pulse())
            await asyncio.sleep(max(begun_at + PULSE_INTERVAL - time.monotonic(), PULSE_INTERVAL / 10))

    async def _look_patiently(self) -> Glance:
        """Looks, and says so when no answer comes for long, which the question goes on to wait for."""
        looking = asyncio.ensure_future(self.look(PULSE_INTERVAL / 2))
        try:
            done, _ = await asyncio.wait([looking], timeout=LOOK_PATIENCE)
            if not done:
                text = f"no answer from {self._upstream.address} for {LOOK_PATIENCE:g} s; trying on"
                self._hub.tell_connection(is_connected=False, message=text)
            return await looking
        finally:
            looking.cancel()

    def _tell_trouble(self, error: Exception) -> None:
        self._hub.tell_connection(is_connected=False, message=problem_of(error).message)

    async def _follow(self) -> None:
        """Passes events on in portions, as long as anybody wants them."""
        while True:
            try:
                await self._follow_once()
            except zq.ZqError as error:
                log.debug("events cannot be followed: %s", error)
            except Exception:
                log.exception("following events failed: this is a fault of the dashboard")
            await asyncio.sleep(PULSE_INTERVAL)

    async def _follow_once(self) -> None:
        """Follows until more happens than can be shown, and leaves out what comes then for a while."""
        gathered: list[JsonObject] = []
        flushing = asyncio.ensure_future(self._flush(gathered))
        try:
            async with self._upstream.client.events() as stream:
                async for event in stream:
                    gathered.append(self._redactor.row(event_row(event)))
                    if len(gathered) >= PORTION_EVENTS_MAX:
                        break
        finally:
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)
        if gathered:
            text = f"more happens than can be shown: what comes in the next {REST_SECONDS:g} s is left out"
            self._hub.tell_events([*gathered, dropped(0, text)])
        await asyncio.sleep(REST_SECONDS)

    async def _flush(self, gathered: list[JsonObject]) -> None:
        while True:
            await asyncio.sleep(EVENTS_INTERVAL)
            if gathered:
                self._hub.tell_events(gathered.copy())
                gathered.clear()

    async def close(self) -> None:
        """Ends everything that goes on."""
        tasks = [*self._tasks.values(), *([self._looking] if self._looking else [])]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def counters_of(status: JsonObject) -> dict[str, float]:
    """Returns what the rates of an overview are made of."""
    dead = status.get("died", status["counters"].get("dead", 0))
    return {**status["counters"], **{name: status[name] for name in TOTALS if name in status}, "dead": dead}


def rows_of(answer: Any) -> list[JsonObject]:
    """Returns the rows of a page, or of a list; none when there is no answer."""
    if isinstance(answer, dict):
        return list(answer.get("rows", ()))
    return list(answer) if isinstance(answer, list) else []


def event_row(event: zq.Event) -> JsonObject:
    return {
        "time": event.time,
        "kind": event.kind,
        "queue": event.queue,
        "id": event.id,
        "lo": event.lo,
        "hi": event.hi,
        "worker": event.worker,
        "text": event.text,
        "dropped": event.dropped,
    }
