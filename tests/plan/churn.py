"""First in, first out, for ever, with a bounded depth and payloads of very different sizes (row 21): the data file
stays about as large as it was when it had its first life behind it.

The machine of a coordinator over a real store; what ends is forgotten at once, so all that is stored is what waits.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

from zq.core.coordinator import Machine
from zq.core.options import CoordinatorOptions, Now
from zq.core.tables import TABLES
from zq.store import LmdbOptions, open_store
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Assign, Assignment, Batch, Done, Heartbeat, Held, Hello, Options, Receipt, Settle, Submit

CLIENT: Final = b"client"
WORKER: Final = b"worker"

SIZES: Final = (100, 64 << 10)
"""Bytes of a payload, at least and at most; each factor of two between them comes as often."""

DEPTH: Final = 200
"""Tasks that wait or are worked on, at most about so many."""

TURN_TASKS_MAX: Final = 63
"""Tasks of a turn: sometimes it is few, and goes through the journal, sometimes many, and is a commit of the tables."""

GROWTH_MAX: Final = 1.5
"""How much larger than at the measure the file may become."""

FORGETTING: Final = CoordinatorOptions(keep_seconds=0.0, keep_count=1, keep_seconds_min=0.0)


class Churn:
    """A coordinator without sockets, a client and a worker, over a directory."""

    def __init__(self, directory: Path, seed: int, *, journal: bool) -> None:
        options = LmdbOptions(journal=journal, free_bytes_min=0)
        self._store = open_store(directory / "churn.zq", TABLES, options)
        self._file = directory / "churn.zq" / "data.mdb"
        self._rng = random.Random(seed)
        self._bytes = self._rng.randbytes(SIZES[1])
        self._machine = Machine(FORGETTING, self._now(), self._store)
        self._held: deque[Assignment] = deque()
        self._number = 0
        self._beat_at = 0.0  # monotonic
        self.depth = 0
        self.done = 0
        self.payload_bytes = 0
        self.file_max = 0
        self.commits: list[float] = []
        self._hear(self._machine.turn(self._now(), [(WORKER, Hello("w", "w", ("q",), DEPTH, DEPTH, ()))]))

    @staticmethod
    def _now() -> Now:
        return Now(time.monotonic(), time.time())

    def live(self, tasks: int) -> None:
        """Goes on until so many are done in all."""
        while self.done < tasks:
            count = 1 << self._rng.randrange(TURN_TASKS_MAX.bit_length())
            messages: list[Any] = [(WORKER, self._settle(count))] if self._held else []
            if time.monotonic() >= self._beat_at:
                self._number += 1
                held = tuple(Held(one.token, ()) for one in self._held)
                messages.insert(0, (WORKER, Heartbeat(self._number, held)))
                self._beat_at = time.monotonic() + FORGETTING.heartbeat_interval
            if self.depth < DEPTH:
                messages.append((CLIENT, self._submit(count)))
            self._hear(self._machine.turn(self._now(), messages))
            if self._store.commit_seconds:
                self.commits.append(self._store.commit_seconds)
            self._store.rest(time.monotonic())
            self.file_max = max(self.file_max, self._file.stat().st_size)

    def close(self) -> None:
        self._store.close()

    def _submit(self, count: int) -> Submit:
        low, high = map(math.log, SIZES)
        sizes = [int(math.exp(self._rng.uniform(low, high))) for _ in range(count)]
        self._number += 1
        self.depth += count
        self.payload_bytes += sum(sizes)
        parts = [encode_payload(self._bytes[:size]) for size in sizes]
        return Submit(self._number, (Batch(f"b{self._number}", "q", Options(), *pack_payloads(parts)),))

    def _settle(self, count: int) -> Settle:
        self._number += 1
        done: list[Done] = []
        while self._held and count > 0:
            one = self._held.popleft()
            done.append(Done(one.token, one.id, one.lo, one.lo + one.tasks, b"", b"", ()))
            count -= one.tasks
        ended = sum(one.hi - one.lo for one in done)
        self.depth -= ended
        self.done += ended
        return Settle(self._number, DEPTH, tuple(done), ())

    def _hear(self, sent: list[tuple[bytes, Any]]) -> None:
        for _, message in sent:
            if isinstance(message, Assign):
                self._held += message.assignments
            elif isinstance(message, Receipt):
                assert not message.refused, message.refused


def churn(seed: int, tasks: int, directory: Path, *, journal: bool, measure: int = 100_000) -> dict[str, Any]:
    """Churns, and returns a line.

    Args:
        tasks: how many are done in all.
        measure: after how many of them the size of the file is taken.
    """
    begun = time.monotonic()
    one = Churn(directory, seed, journal=journal)
    try:
        one.live(measure)
        first, commits = one.file_max, one.commits
        one.commits = []
        one.live(tasks)
    finally:
        one.close()
    growth = one.file_max / first
    return {
        "row": "21",
        "name": "first in, first out, for ever",
        "seed": seed,
        "journal": "on" if journal else "off",
        "seconds": round(time.monotonic() - begun, 1),
        "tasks": one.done,
        "payload_mib": one.payload_bytes >> 20,
        "file_mib": [round(first / (1 << 20), 2), round(one.file_max / (1 << 20), 2)],
        "growth": round(growth, 3),
        "commit_p99": [_p99(commits), _p99(one.commits)],
        "ok": growth <= GROWTH_MAX,
    }


def _p99(seconds: list[float]) -> float:
    return round(sorted(seconds)[int(len(seconds) * 0.99)], 5) if seconds else 0.0
