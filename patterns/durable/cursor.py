"""The cursor of a durable run: one task that says how far the run is, and whose lease makes its holder the only caller.

A caller works in *moves*. A move is one settle, stored as a whole or not at all: it completes the cursor, forwards
source items and the next cursor, and acknowledges the results that the next cursor counts as received. So at every
moment the store has one cursor that fits what else is there, and whoever pulls it goes on from there, in another
process too. A caller whose cursor was taken over finds its settle refused, and stops.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import zq
from patterns.durable.parcels import RESULT_ATTEMPTS_MAX, ParcelSubmission, cursor_queue, run_queue
from patterns.errors import TakenOverError
from patterns.work.plan import Plan

log = logging.getLogger(__name__)

CURSOR_LOOK_INTERVAL = 0.25
"""Seconds between two looks at a cursor that somebody holds; a caller that lives has moved it in between, or holds
it.
"""

TAKE_PATIENCE = 10.0
"""Seconds in which the next cursor of one's own move can be pulled, the coordinator's restart not counted in."""


@dataclass(slots=True)
class CursorState:
    """What a cursor says.

    Attributes:
        move: its number: how many moves were made before.
        books: the ledger, see `Ledger.export`; None before the first move.
        owed: ids of results that are counted, but could not be acknowledged in the same move because their lease had
            run out.
    """

    move: int = 0
    books: list[Any] | None = None
    owed: list[str] = field(default_factory=list)

    def payload(self, fingerprint: str) -> list[Any]:
        return [self.move, self.books, self.owed, fingerprint]


class Cursor:
    """The cursor of one run, in the hands of its caller."""

    def __init__(self, client: zq.Client, plan: Plan, run_id: str, lease: float) -> None:
        """Makes the holder of a cursor that is not taken yet.

        Args:
            lease: seconds of silence after which the caller is taken for dead.
        """
        name = plan.name
        self._lease = lease
        self._client = client
        self._queue, self._results = cursor_queue(name, run_id), run_queue(name, run_id)
        self._id = f"{name}.{run_id}"
        self._what = f"run {run_id} of pipeline {name}"
        self._fingerprint = plan.fingerprint
        self._task: zq.PulledTask | None = None
        self._move = 0

    def take(self) -> CursorState | None:
        """Takes the cursor, or makes the first one; returns what it says, or None when the run has ended.

        Raises:
            TakenOverError: another caller is at it, and stays there.
            ValueError: the run is one of another pipeline.
        """
        seen: str | None = None
        give_up_at = time.monotonic() + 2 * self._lease + 1.0
        while time.monotonic() < give_up_at:
            queue = self._status()
            waiting = self._find_waiting() if queue is not None and queue.waiting else None
            if waiting is not None and waiting == seen and self._pull(0.0):
                return self._read()
            seen = waiting
            if queue is None or not (queue.waiting or queue.leased or queue.scheduled):
                if queue is not None and queue.done:
                    return None
                first = CursorState().payload(self._fingerprint)
                self._client.submit(self._queue, first, id=self._id, max_attempts=RESULT_ATTEMPTS_MAX)
                if self._pull(TAKE_PATIENCE):
                    return self._read()
            time.sleep(CURSOR_LOOK_INTERVAL)
        raise TakenOverError(f"{self._what} has another caller, which lives; one at a time can take its results")

    def move(
        self, state: CursorState, forwards: list[ParcelSubmission], done: list[zq.PulledTask]
    ) -> list[zq.PulledTask]:
        """Makes a move; returns the results that have to be acknowledged later, because their leases had run out.

        Args:
            state: what the next cursor says; its `move` and `owed` are set here.
            forwards: queue, parcel and options of all that is submitted.
            done: results that `state` counts.

        Raises:
            TakenOverError: another caller has the cursor.
        """
        lapsed: list[zq.PulledTask] = []
        owed = list(state.owed)
        while True:
            task = self.hold()
            task.forwards = None
            for queue, parcel, options in forwards:
                task.forward(queue, parcel, **options)
            state.move = self._move + 1
            state.owed = [*owed, *(one.id for one in lapsed)]
            task.forward(self._queue, state.payload(self._fingerprint), max_attempts=RESULT_ATTEMPTS_MAX)
            stale = self._settle(task, done)
            if not stale:
                self._move = state.move
                return lapsed
            done = [one for one in done if one not in stale]
            lapsed += [one for one in stale if one is not task]

    def held(self) -> tuple[zq.PulledTask, ...]:
        """Returns the cursor if it is in hand; any thread may ask."""
        task = self._task
        return () if task is None else (task,)

    def finish(self, done: list[zq.PulledTask]) -> bool:
        """Ends the run; returns False when a result has to be acknowledged in a move before."""
        task = self.hold()
        task.forwards = None
        return not self._settle(task, done)

    def release(self) -> None:
        """Lets another caller go on at once."""
        task, self._task = self._task, None
        if task is not None:
            task.release()

    def forget_queues(self, client: zq.Client, *, entirely: bool) -> None:
        """Deletes the queues of a run that has ended, as far as it can.

        Args:
            client: which does not wait for long.
            entirely: also that of the cursor, by which who comes later with the same run_id is told that it has ended.
        """
        with suppress(zq.ZqError):  # this key may not, say, or the coordinator is away
            for queue in (self._results, self._queue) if entirely else (self._results,):
                client.queues.delete(queue)

    def _settle(self, task: zq.PulledTask, done: list[zq.PulledTask]) -> list[zq.PulledTask]:
        """Completes the cursor and results, all or none; returns those whose leases had run out, because of which it is
        none.
        """
        stale = self._client.settle([task, *done], is_whole=True)
        if not stale or task in stale:
            self._task = None
        return stale

    def hold(self) -> zq.PulledTask:
        """Returns the cursor; takes the one that the last move made.

        Raises:
            TakenOverError: another caller was faster.
        """
        if self._task is None and not self._pull(TAKE_PATIENCE):
            raise TakenOverError(f"{self._what} was taken over by another caller")
        assert self._task is not None
        if self._task.payload[0] != self._move:
            self.release()
            raise TakenOverError(f"{self._what} was taken over by another caller, which has gone on")
        return self._task

    def _pull(self, wait: float) -> bool:
        tasks = self._client.pull(self._queue, wait=wait, lease=self._lease)
        while tasks and not _is_cursor(tasks[0].payload):  # anybody may submit to this queue
            text = f"this is no cursor of {self._what}"
            log.warning("task %s of queue %s is a dead letter: %s", tasks[0].id, self._queue, text)
            with suppress(zq.StaleLeaseError):
                tasks[0].fail(text, is_final=True)
            tasks = self._client.pull(self._queue, wait=wait, lease=self._lease)
        self._task = tasks[0] if tasks else None
        return bool(tasks)

    def _read(self) -> CursorState:
        assert self._task is not None
        move, books, owed, fingerprint = self._task.payload
        if fingerprint != self._fingerprint:
            self.release()
            raise ValueError(
                f"{self._what} was begun with other stages; a run is resumed with the pipeline that began it"
            )
        self._move = move
        return CursorState(move, books, list(owed))

    # What the coordinator knows of the queue.

    def _status(self) -> zq.QueueStatus | None:
        try:
            return self._client.queues.show(self._queue)
        except zq.RemoteProtocolError:  # there is no such queue
            return None

    def _find_waiting(self) -> str | None:
        """Returns the id of the cursor if nobody holds it."""
        return next((task.id for task in self._client.tasks("waiting", queue=self._queue, limit=1)), None)


def _is_cursor(payload: Any) -> bool:
    match payload:
        case [int(), None | list(), list(owed), str()]:
            return all(isinstance(id, str) for id in owed)
    return False


class Keeper:
    """Keeps the leases of a caller that is busy with a result: a thread that prolongs them while the process lives."""

    def __init__(self, cursor: Cursor, held: Callable[[], list[zq.PulledTask]], lease: float) -> None:
        """Makes a keeper.

        Args:
            cursor: whose lease it keeps.
            held: returns the results whose leases it keeps, too; called in its thread.
            lease: seconds.
        """
        self._cursor = cursor
        self._held = held
        self._lease = lease
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="zq-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread.ident is not None:  # else the run could not be started
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._lease / 3):
            for task in (*self._cursor.held(), *self._held()):
                try:
                    task.extend(self._lease)
                except zq.ZqError:  # settled in between, or no coordinator: the caller will see
                    continue
                if self._closed.is_set():
                    return
