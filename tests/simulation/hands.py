"""What workers hold: nobody holds a task without working on it for long, and nothing that its worker does not know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tests.simulation.ledger import Violation
from zq.core.state.batch import bits
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Lease
from zq.core.tasks.liveness import IDLE_MIN

SETTLED_AFTER = 10.0
"""Seconds after healing in which coordinators start again and workers connect anew."""

SLACK = 4.0
"""Seconds above the threshold for heartbeats, steps, and a report that is on its way."""


class Hands(Protocol):
    """A worker, as it really is."""

    name: str

    def at_work(self) -> Iterable[tuple[int, int]]:
        """Token and index of what runs."""

    def listed(self) -> Iterable[int]:
        """Tokens of the leases that its heartbeats list."""


class HandCheck:
    """Since when each leased task has been held by a live worker that does not work on it."""

    def __init__(self, workers: Iterable[Hands], healed_at: float, gone_after: float) -> None:
        self._workers = {worker.name: worker for worker in workers}
        self._begins_at = healed_at + SETTLED_AFTER
        self._bound = max(gone_after, IDLE_MIN) + SLACK
        self._since: dict[tuple[int, int], float] = {}
        self._masks: dict[int, int] = {}

    def check(self, books: Books, now: float) -> None:
        if now < self._begins_at:
            return
        since, masks = self._since, self._masks
        self._since, self._masks = {}, {}
        for holder in books.workers.values():
            worker = self._workers.get(holder.name)
            if holder.life is not Life.LIVE or worker is None:
                continue
            running, listed = set(worker.at_work()), set(worker.listed())
            for lease in holder.leases.values():
                is_moving = masks.get(lease.token) != lease.mask or any(token == lease.token for token, _ in running)
                masks_now = self._masks[lease.token] = lease.mask
                for bit in bits(masks_now):
                    task = (lease.token, bit + lease.batch.first)
                    is_worked_on = task in running or (is_moving and task[1] not in lease.started)
                    if lease.token not in listed:
                        is_worked_on = False
                    at = now if is_worked_on else max(since.get(task, now), holder.connected_at)
                    self._since[task] = at
                    if now - at > self._bound:
                        raise Violation(_text(lease, task[1], now - at, is_listed=lease.token in listed))


def _text(lease: Lease, index: int, seconds: float, *, is_listed: bool) -> str:
    what = "does not work on it" if is_listed else "does not know of it"
    return f"{lease.holder.name} has held {lease.batch.id}#{index} for {seconds:.1f} s and {what}"
