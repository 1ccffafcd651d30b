"""Ten times as much as the workers can do, for a while (row 18): what does not fit is refused, memory stays below its
cap, nothing that was accepted is lost, and when it is over an honest caller is served as before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import zq
from tests.plan.soak import look_at
from tests.process.kitchen import Kitchen, check_ledger, wait_until

WORK_SECONDS: Final = 0.02
THREADS: Final = 2
OVER: Final = 10.0
"""Times as much as the workers can do."""

PAYLOAD_BYTES: Final = 20_000

BATCH: Final = 10

TASKS_MAX: Final = 500
"""Of the queue: five seconds of work."""

CAP_MIB: Final = 256
"""Of memory, above which the coordinator would end."""

BACK_SECONDS_MAX: Final = 5.0


def overload(seed: int, seconds: float, place: Path) -> dict[str, Any]:
    """Overloads for so many seconds, in an empty folder; returns a line. The seed has no use: nothing is drawn."""
    begun = time.monotonic()
    kitchen = Kitchen(place)
    try:
        coordinator = kitchen.start_coordinator("--memory-max-mib", f"{CAP_MIB}")
        kitchen.start_worker("slow", "--concurrency", f"{THREADS}")
        with kitchen.client() as client:
            client.queues.set("orders", max_tasks=TASKS_MAX)
            wait_until(lambda: client.workers.list(), "the worker")
            honest = _Honest(kitchen)
            before = honest.p99(3.0)
            peak = _Peak(coordinator.pid)
            producers = [_Producer(kitchen, number) for number in range(4)]
            during = honest.p99(seconds)
            offered, refused, accepted = _stop(producers)
            back_after = _back_after(honest, before)
            wait_until(lambda: client.queues.show("orders").done == len(accepted), "what was accepted", 120.0)
            results = {id: client.result(id, 60.0) for id in accepted}
            found = check_ledger(kitchen, results, {**client.query("status"), "done": len(results)})
            honest.close()
        memory = peak.stop()
        worked = len(accepted) / (time.monotonic() - begun)
    finally:
        kitchen.close()
    return {
        "row": "18",
        "name": "ten times too much",
        "seed": seed,
        "journal": "on",
        "seconds": round(time.monotonic() - begun, 1),
        "offered": offered,
        "refused": refused,
        "acknowledged": len(accepted),
        "done_a_second": round(worked, 1),
        "lost": found["lost"],
        "unexpected": found["unexpected"],
        "memory_mib": memory,
        "p99_before": before,
        "p99_during": during,
        "back_after": back_after,
        "ok": refused > 0 and memory <= 1.25 * CAP_MIB and back_after <= BACK_SECONDS_MAX,
    }


class _Producer:
    """Offers its part of what is too much, whatever is answered."""

    def __init__(self, kitchen: Kitchen, number: int) -> None:
        self.accepted: list[str] = []
        self.refused = self.offered = 0
        self._client = kitchen.client()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"producer-{number}")
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        payloads = [{"seconds": WORK_SECONDS, "ballast": "x" * PAYLOAD_BYTES}] * BATCH
        pause = 4 * BATCH / (OVER * THREADS / WORK_SECONDS)
        while not self._is_over.wait(pause):
            self.offered += BATCH
            try:
                receipts = list(self._client.submit_many("orders", payloads))
            except zq.BusyError as error:
                receipts = list(error.accepted)
            self.accepted += [receipt.id for receipt in receipts]
            self.refused += BATCH - len(receipts)


def _stop(producers: list[_Producer]) -> tuple[int, int, list[str]]:
    for one in producers:
        one.stop()
    accepted = [id for one in producers for id in one.accepted]
    return sum(one.offered for one in producers), sum(one.refused for one in producers), accepted


class _Honest:
    """A caller of another queue, who asks for little."""

    def __init__(self, kitchen: Kitchen) -> None:
        self._client = kitchen.client()

    def p99(self, seconds: float) -> float:
        """Submits for so many seconds, and returns how long nearly all submits took at most."""
        waits, until = [], time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            self._client.submit("elsewhere", 1)
            waits.append(time.monotonic() - begun)
            time.sleep(0.02)
        return round(sorted(waits)[int(len(waits) * 0.99)], 4)

    def close(self) -> None:
        self._client.close()


def _back_after(honest: _Honest, before: float) -> float:
    """Returns after how long a caller is served about as before."""
    begun = time.monotonic()
    while honest.p99(0.5) > max(2.0 * before, 0.05) and time.monotonic() < begun + 60.0:
        pass
    return round(time.monotonic() - begun, 1)


class _Peak:
    """Looks at the memory of a process until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._most = 0.0
        self._is_over = threading.Event()
        self._look: Callable[[], float] = lambda: look_at(pid).memory_mib
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(0.1):
            self._most = max(self._most, self._look())

    def stop(self) -> float:
        """Returns the most that it had, in MiB."""
        self._is_over.set()
        self._thread.join()
        return self._most
