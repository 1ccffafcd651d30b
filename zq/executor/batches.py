"""Calls on their way together: a batch of them, each a task of its own, and who wants to know how each ended.

Calls gather while others are on their way to the coordinator's disk, and go out together when those have arrived: one
that comes alone goes at once, of many that come at once each batch is as large as there is time for. No clock and no
guess of how long calls take is needed for that, since a batch is only how calls travel: which process runs how many of
them in a row is decided where they are run, by how long they take there (`zq.worker.bench`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from zq.sessions.ends import error_of
from zq.sessions.outcomes import BatchOutcome
from zq.task import task_id
from zq.wire.batch import iterate_payloads
from zq.wire.limits import BATCH_BYTES_MAX, BATCH_TASKS_MAX
from zq.wire.messages import Ended


class CallOwner(Protocol):
    """Who has made calls: a future has made one, a map many, told apart by their places. Called in any thread; what
    has been told of a place once is ignored afterwards.
    """

    def placed(self, place: int, batch: CallBatch, index: int) -> None:
        """A call is in another batch from now on."""

    def end(self, place: int, data: bytes) -> None:
        """A call is done; `data` is its result as it travels."""

    def fail(self, place: int, error: Exception) -> None:
        """A call has ended otherwise, or will never be run."""


class CallHolder(CallOwner, Protocol):
    """Who has calls that are not submitted yet."""

    def abort(self, error: Exception) -> None:
        """They will never be: each ends with this error."""


class CallCarrier(Protocol):
    """The engine, as those who make calls know it; see `zq.executor.engine.ExecutorEngine`."""

    def pack(self, payload: dict[str, Any]) -> bytes: ...

    def submit(self, caller: CallOwner, place: int, payload: bytes, *, is_new: bool = True) -> None: ...

    def wait_room(self) -> None: ...

    def hold(self, run: CallHolder) -> None: ...

    def release(self, run: CallHolder) -> None: ...

    def call_later(self, seconds: float, function: Callable[[], None]) -> None: ...

    def drop(self, caller: CallOwner) -> None: ...


class CallBatch:
    """Calls that are submitted as one batch.

    Attributes:
        callers: of each call who made it, and its place there; None when that one knows how it ended.
        payloads: of each call.
        accepted: set when `outcome` is known, or the batch has ended without.
        outcome: what is known of its tasks, once the coordinator has accepted them.
        unwanted: callers that gave up before that.
    """

    __slots__ = ("accepted", "bytes", "callers", "outcome", "payloads", "unwanted")

    def __init__(self) -> None:
        self.callers: list[tuple[CallOwner, int] | None] = []
        self.payloads: list[bytes] = []
        self.bytes = 0
        self.accepted = threading.Event()
        self.outcome: BatchOutcome | None = None
        self.unwanted: list[CallOwner] = []

    def add(self, caller: CallOwner, place: int, payload: bytes) -> int:
        """Adds a call; returns its index."""
        index = len(self.payloads)
        self.callers[index:] = [(caller, place)]
        self.bytes += len(payload)
        self.payloads.append(payload)  # last, and with that it is in
        return index

    def settle(self) -> None:
        """Forgets a caller who was interrupted while his call was added."""
        del self.callers[len(self.payloads) :]

    def has_room(self, size: int) -> bool:
        """Whether a call of so many bytes may be added."""
        return len(self.payloads) < BATCH_TASKS_MAX and (not self.payloads or self.bytes + size <= BATCH_BYTES_MAX)

    def id_of(self, index: int) -> str | None:
        """Returns the id of a call's task; None while the coordinator has not accepted it."""
        outcome = self.outcome
        return None if outcome is None else task_id(outcome.id, outcome.size, index)

    def remove(self, caller: CallOwner) -> None:
        """Takes the calls of a caller out, before anything is sent."""
        self.settle()
        kept = [
            (one, payload)
            for one, payload in zip(self.callers, self.payloads, strict=True)
            if one is None or one[0] is not caller
        ]
        self.callers, self.payloads = [one for one, _ in kept], [payload for _, payload in kept]
        self.bytes = sum(map(len, self.payloads))
        for index, one in enumerate(self.callers):
            if one is not None:
                one[0].placed(one[1], self, index)

    def apart(self) -> list[CallBatch]:
        """Returns a batch for each call."""
        made = []
        for one, payload in zip(self.callers, self.payloads, strict=True):
            if one is not None:
                alone = CallBatch()
                alone.add(*one, payload)
                one[0].placed(one[1], alone, 0)
                made.append(alone)
        return made

    def note(self, ended: Ended) -> int:
        """Tells those whose calls have ended; returns how many there were."""
        assert self.outcome is not None
        if ended.outcome == "done":
            datas: Iterator[bytes | None] = iterate_payloads(ended.ends, ended.blob) if ended.ends else iter(())
        else:
            datas = iter(())
        callers, told = self.callers, 0
        for index in range(ended.lo, ended.hi):
            data = next(datas, b"")
            if index >= len(callers) or (one := callers[index]) is None:
                continue
            callers[index] = None
            told += 1
            if ended.outcome == "done":
                one[0].end(one[1], data or b"")
            else:
                one[0].fail(one[1], error_of(self.outcome, index, ended))
        return told

    def fail(self, error: Exception) -> None:
        """Tells all that still wait."""
        for index, one in enumerate(self.callers):
            if one is not None:
                self.callers[index] = None
                one[0].fail(one[1], error)

    def waiting(self, caller: CallOwner | None = None) -> list[int]:
        """Returns the indexes of the calls that have not ended, of one caller or of all."""
        return [
            index for index, one in enumerate(self.callers) if one is not None and (caller is None or one[0] is caller)
        ]
