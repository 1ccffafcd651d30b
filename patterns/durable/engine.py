"""The durable grades: each stage is a queue of a coordinator, hosted by the caller (embedded) or running elsewhere
(shared), and nothing is lost.

The caller submits chunks of the input, and what comes back waits in the queue of the run (patterns/durable/parcels.py).
It works in moves (patterns/durable/cursor.py): one transaction submits input, acknowledges results that the program has
taken, and says how far it is. Workers hand on what they make in the transaction in which they complete it
(patterns/durable/stage_work.py). So any process may be killed at any moment; a run with the same `run_id` goes on where
the caller was.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

import zq
from patterns.durable.batcher import Batcher
from patterns.durable.crew import DurableCrew
from patterns.durable.cursor import Cursor, CursorState, Keeper
from patterns.durable.parcels import Dispatch, ParcelSubmission, decode_parcel, origins_in, stage_queue
from patterns.durable.stillness import Stillness
from patterns.durable.takings import Takings
from patterns.errors import PipelineError
from patterns.pipeline.pipeline import check_name
from patterns.run.feeder import Feeder, unsendable_input
from patterns.run.pace import Pace
from patterns.run.progress import StageProgress
from patterns.run.settings import Settings
from patterns.work.execution import Spreader
from patterns.work.items import (
    UNSENDABLE,
    Failure,
    ItemChunk,
    Origin,
    Plain,
    WithoutResult,
    check_chunk,
    origins_of,
    pop,
)
from patterns.work.ledger import Ledger
from patterns.work.plan import SINK, Plan
from zq.keys.own import find_key

log = logging.getLogger(__name__)

CHUNKS_PER_TURN = 64
"""Chunks that one move submits at most: bounds its bytes."""

RESULTS_PER_TURN = 100
"""Tasks with results that are taken at once, and wait in the caller's memory."""

RESULT_WAIT = 0.2
"""Seconds that the caller waits for results when there is nothing else to do."""

SHORT_WAIT = 0.01
"""The same, while the input may bring something at any moment."""

STAGE_TASK_BYTES_MAX = 768 << 10
"""Bytes in a chunk: it is a task, which costs about a millisecond; and it still fits a payload after its items have
grown by a quarter.
"""

STAGE_TASK_ITEMS_MAX = 6000
"""Items in a chunk: each becomes a task of its own when a process dies of one of them."""

WINDOW_FACTOR = 4
"""By which more is under way than between sockets: every step of an item waits for the disk."""

UNKNOWN_COST = 1e-6
"""Seconds that an item is taken to cost which no stage has worked on yet."""

STATUS_INTERVAL = 0.5
"""Seconds between two questions to the coordinator for what progress shows."""

CLIENT_TIMEOUT, TIDY_TIMEOUT = 120.0, 5.0
"""Seconds in which a coordinator that was killed must be there again; and for what is only tidier at the end."""

RUN_ID_CHARACTERS_MAX = 40


class DurableEngine:
    """One durable run. It belongs to the thread that iterates; see `patterns.run.settings.Engine` for what it is to a
    run.
    """

    def __init__(self, plan: Plan, items: Iterator[Any], settings: Settings) -> None:
        """Makes an engine; nothing is started yet.

        Args:
            settings: of the run; it has `data` or `address`.

        Raises:
            ValueError: the run_id cannot be one.
        """
        run_id = settings.run_id if settings.run_id is not None else secrets.token_hex(6)
        self.run_id = check_name(run_id, "run_id", RUN_ID_CHARACTERS_MAX)
        self.ledger = Ledger(ordered=settings.ordered)
        self.lost: dict[str, int] = {}
        self._plan = plan
        self._items = items
        self._settings = settings
        self._acked = Ledger(ordered=False)
        self._dispatch = Dispatch(plan, self.run_id)
        self._spreader = Spreader(plan)
        self._batchers: dict[int, Batcher[zq.PulledTask]] = {
            node.number: Batcher(node) for node in plan.working if node.kind == "batch"
        }
        self._owed: dict[str, zq.PulledTask | None] = {}  # by id: counted in the cursor, and not acknowledged
        self._is_idle = False  # whether the last turn had nothing to do: then a chunk need not be full
        self._wake = threading.Event()  # set when the input has something, after it was asked
        self._feeder: Feeder | None = None
        self._progress: StageProgress | None = None
        self._progress_at = 0.0
        self._coordinator: zq.Coordinator | None = None
        self._client: zq.Client | None = None
        self._crew: DurableCrew | None = None
        self._keeper: Keeper | None = None

    @property
    def guarantee(self) -> str:
        where = (
            f"embedded in {self._settings.data}"
            if self._settings.data is not None
            else f"shared at {self._settings.address}"
        )
        return (
            f"{where}: what was taken from the input is on disk until its results have been taken, whatever process dies; "
            f"a function may be called again for an item, and a run that goes on with run_id={self.run_id!r} may give results again "
            "that were taken just before a crash"
        )

    # What a run asks for.

    def start(self) -> None:
        """Opens or finds the coordinator, starts workers, and takes the cursor.

        Raises:
            StartError: a worker cannot be started.
            TakenOverError: another caller has the run.
            zq.ZqError: there is no coordinator.
        """
        settings, plan = self._settings, self._plan
        address = settings.address
        if settings.data is not None:
            self._coordinator = zq.Coordinator(os.fspath(settings.data)).open()
            address = self._coordinator.address
        assert address is not None, "a durable run has either"
        key = find_key(settings.key, address)
        self._connect = partial(zq.Client, address, name="pipeline", key=key or "")
        client = self._client = self._connect(timeout=CLIENT_TIMEOUT)
        self._cursor = Cursor(client, plan, self.run_id, settings.lease)
        for node in plan.working:
            if node.options.key is not None:
                client.queues.set(stage_queue(plan, node), assign="hash")
        state = self._cursor.take()
        self._is_ended = state is None
        if state is None:
            log.warning(
                "run %s of pipeline %s has ended before, and gives nothing; a run with another run_id begins anew",
                self.run_id,
                plan.name,
            )
            return
        self._stillness = Stillness(client, plan)
        if state.books is not None:
            self.ledger = Ledger.restore(state.books, ordered=settings.ordered)
            self._acked = Ledger.restore(state.books, ordered=False)
        self._takings = Takings(self.ledger, self._acked, ordered=settings.ordered)
        self._owed = dict.fromkeys(state.owed)
        workers = sum(node.options.workers for node in plan.working)
        self._pace = Pace(workers * WINDOW_FACTOR, plan.held_max, STAGE_TASK_ITEMS_MAX, STAGE_TASK_BYTES_MAX)
        rest = islice(self._items, self.ledger.sent, None) if self.ledger.sent else self._items
        self._feeder = Feeder(rest, self._wake.set)
        self._keeper = Keeper(self._cursor, self._leased, settings.lease)
        if settings.workers:
            self._crew = DurableCrew(address, plan, self.run_id, key, threads=settings.threads)
            self._crew.start()
        if settings.progress:
            self._progress = StageProgress(plan, self._items)
            self._progress.start()
        self._feeder.start()
        self._keeper.start()

    def turn(self) -> bool:
        """Makes a move if there is something to say, takes results, and returns whether the run is over.

        Raises:
            TakenOverError: another caller has taken over the run.
            PipelineError: workers die one after the other, or a group of unknown items has failed.
        """
        if self._is_ended:
            return True
        feeder = self._feeder
        assert feeder is not None
        done = self._takings.acknowledge()
        forwards = self._feed(feeder)
        forwards += self._cut_batches(done, feeder)
        if forwards or done:
            self._move(forwards, done)
        if feeder.is_exhausted and not self.ledger.in_flight and not self._takings:
            return self._finish(feeder)
        is_busy = bool(forwards or done)
        received = self._receive(feeder, is_busy=is_busy)
        self._is_idle = not is_busy and not received
        self._stillness.look(is_moving=not self._is_idle or not self.ledger.in_flight)
        if self._crew is not None:
            self._crew.look()
        self._show()
        return False

    def close(self) -> None:
        """Ends workers and connections; the run can go on in another process, unless it has ended."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        crew, self._crew = self._crew, None
        client, self._client = self._client, None
        if client is not None and self._feeder is not None and not self._is_ended:
            self._leave()
        if self._feeder is not None:
            self._feeder.close()
        if crew is not None:
            crew.close()
        if self._progress is not None:
            self._progress.close(self._counts, self.ledger)
            self._progress = None
        coordinator, self._coordinator = self._coordinator, None
        try:
            if client is not None:
                client.close()
                if self._feeder is not None and self._is_ended:
                    with self._connect(timeout=TIDY_TIMEOUT) as client:
                        self._cursor.forget_queues(client, entirely=self._settings.run_id is None)
        finally:
            if coordinator is not None:
                coordinator.close()

    # Moves.

    def _move(self, forwards: list[ParcelSubmission], done: list[zq.PulledTask]) -> None:
        """Makes a move; what could not be acknowledged is owed."""
        state = CursorState(books=self._acked.export(), owed=list(self._owed))
        done += [task for task in self._owed.values() if task is not None]
        acknowledged = {task.id for task in done}
        state.owed = [id for id in state.owed if id not in acknowledged]
        lapsed = self._cursor.move(state, forwards, done)
        self._owed = dict.fromkeys(state.owed)
        self._owed |= dict.fromkeys(task.id for task in lapsed)
        self._cursor.hold()

    def _feed(self, feeder: Feeder) -> list[ParcelSubmission]:
        """Takes input, as much as may be under way, and returns what is to be submitted."""
        forwards: list[ParcelSubmission] = []
        for _ in range(CHUNKS_PER_TURN):
            if self.ledger.in_flight + self._pace.chunk > self._pace.window and self.ledger.in_flight:
                break
            if self.ledger.sent - self.ledger.next_to_give > 8 * self._pace.window and self._settings.ordered:
                break
            values = feeder.take(self._pace.chunk, is_hasty=self._is_idle)
            if not values:
                break
            first = self.ledger.send(len(values))
            self._acked.send(len(values))
            forwards += self._submissions(first, values)
        return forwards

    def _submissions(self, first: int, values: list[Any]) -> list[ParcelSubmission]:
        try:
            found = self._spread(0, Plain(first, values))
        except UNSENDABLE as error:
            raise unsendable_input(first, len(values), error) from error
        for _, parcel, _ in found:
            self._pace.note_bytes(sum(map(len, parcel)), len(values))
        return found

    def _spread(self, number: int, chunk: ItemChunk) -> list[ParcelSubmission]:
        """Returns what is submitted for a chunk that goes to node `number`."""
        return [one for sent in self._spreader.spread(number, chunk) for one in self._dispatch.submissions(*sent)]

    def _cut_batches(self, done: list[zq.PulledTask], feeder: Feeder) -> list[ParcelSubmission]:
        """Makes batches of what was gathered, and returns what is to be submitted; adds to `done` what is in them."""
        if not self._batchers:
            return []
        now = time.monotonic()
        gathered = sum(batcher.outstanding for batcher in self._batchers.values())
        is_last = bool(gathered) and feeder.is_exhausted and gathered == self.ledger.outstanding
        forwards: list[ParcelSubmission] = []
        # In the order of the pipeline: a later one may get more from an earlier.
        for batcher in self._batchers.values():
            cut = batcher.cut(now, is_last=is_last)
            if cut is None:
                continue
            is_last = False
            done += cut.done
            forwards += self._spread(batcher.node.follower, cut.full)
            if cut.rest is not None:
                rest = self._dispatch.submissions(batcher.node.number, cut.rest)
                forwards += [(queue, parcel, {**options, "priority": 9}) for queue, parcel, options in rest]
        return forwards

    # Results.

    def _receive(self, feeder: Feeder, *, is_busy: bool) -> bool:
        """Takes what came back, and waits for it if there is nothing else to do; returns whether there was anything."""
        assert self._client is not None
        if not self.ledger.in_flight and not self._owed:
            if not feeder.ask():
                self._wake.wait(RESULT_WAIT)
            self._wake.clear()
            return False
        wait = RESULT_WAIT
        if is_busy or self.ledger.take():
            wait = 0.0
        elif not feeder.is_exhausted and self.ledger.in_flight < self._pace.window:
            wait = SHORT_WAIT
        nearest = min((batcher.next_at() for batcher in self._batchers.values()), default=float("inf"))
        wait = max(0.0, min(wait, nearest - time.monotonic()))
        tasks = self._client.pull(
            self._dispatch.home, max_tasks=RESULTS_PER_TURN, wait=wait, lease=self._settings.lease
        )
        for task in tasks:
            if task.id in self._owed:
                self._owed[task.id] = task
            elif not self._renew(task):
                self._count(task)
        return bool(tasks)

    def _renew(self, task: zq.PulledTask) -> bool:
        """Takes the new lease of a result that is held already, after its old one has run out; False when it is not."""
        return self._takings.renew(task) or any(batcher.renew(task) for batcher in self._batchers.values())

    def _count(self, task: zq.PulledTask) -> None:
        """Counts what a task brings: results, a notice, or items for a batch."""
        try:
            number, chunk, cost = self._read(task)
        except ValueError as error:
            self._bury(task, error)
            return
        if number != SINK:
            self._pace.note_cost(cost or UNKNOWN_COST)
            self._batchers[number].add(time.monotonic(), task, chunk)
            return
        if cost:
            self._pace.note_cost(cost)
        self._takings.count(task, chunk)

    def _bury(self, task: zq.PulledTask, error: ValueError) -> None:
        """Makes a dead letter of a task that somebody else has put into the queue of the run, which goes on."""
        text = f"this is no task of run {self.run_id} of pipeline {self._plan.name}: {error}"
        log.warning("task %s of queue %s is a dead letter: %s", task.id, task.queue, text)
        with suppress(zq.StaleLeaseError):
            task.fail(text, is_final=True)

    def _read(self, task: zq.PulledTask) -> tuple[int, ItemChunk, float]:
        """Returns what a task of the run's queue brings: a node's number, a chunk for it, and its cost.

        Raises:
            ValueError: it is no task of this run.
        """
        if "zq-id" in task.headers:
            if task.headers.get("run") != self.run_id:
                raise ValueError("it tells of the end of a task of others")
            return SINK, self._read_notice(task), 0.0
        frames = decode_parcel(task.payload)
        if len(frames) != 1:
            raise ValueError(f"expected one frame, got {len(frames)}")
        number, chunk, cost, _ = frames[0]
        check_chunk(chunk, self.ledger.sent)
        if type(number) is not int or type(cost) not in (int, float) or number not in (SINK, *self._batchers):
            raise ValueError(f"expected results, or items of a batch, got something for node {number!r:.100}")
        return number, chunk, cost

    def _read_notice(self, task: zq.PulledTask) -> ItemChunk:
        """Returns what the death of a task means for the items in it."""
        headers = task.headers
        name = headers["zq-queue"].rpartition("/")[2]
        reason = headers["zq-reason"]
        origins: list[Origin] | None = origins_in(headers)
        items: list[Any] = []
        if origins is None:
            origins = []
            for number, chunk, _, _ in decode_parcel(task.payload or ()):
                check_chunk(chunk, self.ledger.sent)
                for origin, value in zip(origins_of(chunk), chunk[1], strict=True):
                    is_part = number != SINK and self._plan.nodes[number].kind == "join"
                    origins.append(pop(origin)[0] if is_part else origin)
                    items.append(value)
        if not origins:
            raise PipelineError(f"stage {name}: a group of items failed, too many to be named: {reason}")
        items = items or [None] * len(origins)
        error = "ProcessError: " + reason.partition("\n")[0]
        attempts = int(headers["zq-attempts"])
        unique = dict(zip(origins, items, strict=True))
        return WithoutResult(list(unique), [Failure(name, item, error, reason, attempts) for item in unique.values()])

    def _leased(self) -> list[zq.PulledTask]:
        """Returns what the keeper keeps; called in its thread."""
        batches = [task for batcher in self._batchers.values() for task in batcher.held]
        return [*self._takings.tasks, *batches]

    # The end.

    def _finish(self, feeder: Feeder) -> bool:
        """Ends the run, or its part until the input failed."""
        if feeder.error is not None:
            raise feeder.error
        owed = [task for task in self._owed.values() if task is not None]
        if len(owed) == len(self._owed):
            self._is_ended = self._cursor.finish(owed)
        if not self._is_ended:
            self._receive(feeder, is_busy=False)  # leases have run out: what is owed comes again
        return self._is_ended

    def _leave(self) -> None:
        """Acknowledges what was taken, and lets everything else go, so that the run can go on at once."""
        try:
            done = self._takings.acknowledge()
            rest, partly = self._takings.acknowledge_parts()
            if done or partly:
                self._move([one for chunk in rest for one in self._dispatch.submissions(SINK, chunk)], done + partly)
            for task in self._leased():
                task.release()
            self._cursor.release()
        except zq.ZqError:  # the coordinator is away, or another caller has the run: leases run out
            pass

    # Progress.

    _counts: dict[int, int] = {}

    def _show(self) -> None:
        if self._progress is None or self._client is None:
            return
        now = time.monotonic()
        if now >= self._progress_at:
            self._progress_at = now + STATUS_INTERVAL
            done = {queue.name: queue.done for queue in self._client.queues.list()}
            self._counts = {node.number: done.get(stage_queue(self._plan, node), 0) for node in self._plan.working}
        self._progress.update(self._counts, self.ledger)
