"""What a view shows: the coordinator's answers of one moment, with the rates that follow from those before.

Answers of older coordinators lack fields; what is missing is None here and shown as a dash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zq.monitor import Rates

ShownRow = Mapping[str, Any]

SPARK_VALUES = 60
"""Rates of the past that are kept for a sparkline, one a refresh."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is looked at closely."""

    kind: str  # "queue", "worker" or "task"
    id: str


@dataclass(frozen=True, slots=True)
class Detail:
    """What is known of a subject."""

    subject: Inspected
    fields: ShownRow
    tasks: tuple[ShownRow, ...] = ()  # of a queue, those that run and the next; of a worker, those that it holds
    events: tuple[ShownRow, ...] = ()  # of a task: its trace
    error: str | None = None  # why nothing is known


@dataclass(frozen=True, slots=True)
class Throughput:
    """How much comes and goes, a second; None while it is not known."""

    into: float | None = None
    out: float | None = None
    failed: float | None = None
    commits: float | None = None
    outs: tuple[float | None, ...] = ()  # `out` of the last refreshes, the newest last


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a view may show."""

    time: float  # wall, seconds since 1970, by the clock of the coordinator if it says it
    status: ShownRow
    queues: tuple[ShownRow, ...] = ()
    workers: tuple[ShownRow, ...] = ()
    failures: tuple[ShownRow, ...] | None = None  # the newest first; None: the coordinator does not tell of them
    flow: Throughput = Throughput()
    flows: Mapping[str, Throughput] | None = None  # of queues, by name
    detail: Detail | None = None

    def flow_of(self, queue: str) -> Throughput:
        """Returns how much comes to and goes from a queue."""
        return (self.flows or {}).get(queue) or Throughput()


class Trends:
    """Makes rates of what the coordinator counts, from one refresh to the next. Not for several threads."""

    def __init__(self) -> None:
        self._rates = Rates()
        self._outs: dict[str, deque[float | None]] = {}

    def feed(
        self, now: float, status: ShownRow, queues: Iterable[ShownRow]
    ) -> tuple[Throughput, dict[str, Throughput]]:
        """Takes the answers of a refresh.

        Args:
            now: monotonic seconds.

        Returns:
            the flow over all queues, and that of each one by its name.
        """
        rows = list(queues)
        counters = {f"{name} {row['name']}": row[name] for row in rows for name in _COUNTERS if name in row}
        for name in _COUNTERS:
            if name in status:
                counters[name] = status[name]
        commits = status.get("commits")
        if commits is not None:
            counters["commits"] = commits
        rates = self._rates.feed(now, counters)
        before, self._outs = self._outs, {}
        flows = {row["name"]: self._flow(rates, before, f" {row['name']}") for row in rows}
        return self._flow(rates, before, ""), flows

    def _flow(self, rates: Mapping[str, float], before: dict[str, deque[float | None]], of: str) -> Throughput:
        out = rates.get(f"done{of}")
        outs = self._outs[of] = before.get(of) or deque(maxlen=SPARK_VALUES)
        outs.append(out)
        into, failed = rates.get(f"accepted{of}"), rates.get(f"failed{of}")
        return Throughput(into, out, failed, None if of else rates.get("commits"), tuple(outs))


_COUNTERS = ("accepted", "done", "failed")


def oldest_time(snapshot: Snapshot) -> float | None:
    """Returns when the task was accepted that waits longest, of all queues."""
    return min((row["oldest_time"] for row in snapshot.queues if row.get("oldest_time") is not None), default=None)


def alerts_of(snapshot: Snapshot) -> list[str]:
    """Returns what the coordinator warns of, a line each."""
    found = []
    for row in snapshot.queues:
        for alert in row.get("alerts") or ():
            text = alert.get("text", alert) if isinstance(alert, Mapping) else alert
            found.append(f"{row['name']}: {text}")
    return found
