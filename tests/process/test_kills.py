"""kill -9, SIGSTOP and restarts of real processes, judged by a ledger that clients and handlers keep themselves."""

import random
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.process.kitchen import PATIENCE, Kitchen, check_ledger, kill, wait_until

CYCLES = 25


class Customers:
    """Threads that submit until they are told to stop; every receipt is noted. A submit that gets no answer goes on
    being sent under its id.
    """

    def __init__(self, kitchen: Kitchen, seconds: float) -> None:
        self.client = kitchen.client()
        self.receipts: list[Any] = []
        self.errors: list[BaseException] = []
        self._seconds = seconds
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._submit, args=(many,)) for many in (False, True)]

    def __enter__(self) -> "Customers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()
        self.client.close()

    def _submit(self, many: bool) -> None:
        order = {"pizza": "margherita", "seconds": self._seconds}
        try:
            while not self._stop.wait(0.005):
                found = (
                    list(self.client.submit_many("orders", [order] * 20))
                    if many
                    else [self.client.submit("orders", order)]
                )
                with self._lock:
                    self.receipts += found
                if many:
                    self._stop.wait(0.05)
        except BaseException as error:
            self.errors.append(error)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self.errors, self.errors

    def results(self) -> dict[str, Any]:
        return {receipt.id: receipt.result(timeout=60.0) for receipt in self.receipts}


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("modes", "cycles"), [(("on",), CYCLES), (("off", "on"), 10)], ids=["with a journal", "taking it up and leaving it"]
)
def test_kill_9_of_the_coordinator_loses_and_doubles_nothing(
    kitchen: Kitchen, modes: tuple[str, ...], cycles: int
) -> None:
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    coordinator = kitchen.start_coordinator("--journal", modes[-1])
    workers = [kitchen.start_worker(f"shop-{i}") for i in range(2)]
    with Customers(kitchen, 0.001) as customers:
        for cycle in range(cycles):
            count = len(customers.receipts)
            # It is called at once.
            wait_until(lambda: len(customers.receipts) > count, "a receipt after a restart")  # noqa: B023
            time.sleep(rng.uniform(0.0, 0.3))
            kill(coordinator)
            coordinator = kitchen.start_coordinator("--journal", modes[cycle % len(modes)])
        customers.stop()
        accepted = customers.results()
        verdict = check_ledger(kitchen, accepted, customers.client.query("status"))

    print(verdict)
    assert verdict["accepted"] > cycles
    assert all(worker.poll() is None for worker in workers)


@pytest.mark.timeout(240)
def test_kill_9_of_workers_loses_and_doubles_nothing(kitchen: Kitchen) -> None:
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    kitchen.start_coordinator("--max-attempts", "1000")
    workers = {name: kitchen.start_worker(name) for name in ("shop-0", "shop-1", "shop-2")}
    with Customers(kitchen, 0.004) as customers:
        for _ in range(CYCLES):
            count = len(kitchen.events())
            wait_until(lambda: len(kitchen.events()) > count, "a task that starts")  # noqa: B023 - called at once
            time.sleep(rng.uniform(0.0, 0.2))
            name = rng.choice(sorted(workers))
            kill(workers[name])
            workers[name] = kitchen.start_worker(name)
        customers.stop()
        accepted = customers.results()
        verdict = check_ledger(kitchen, accepted, customers.client.query("status"))

    print(verdict)
    assert verdict["accepted"] > CYCLES


@pytest.mark.timeout(240)
def test_completion_of_a_worker_that_was_stopped_too_long_is_refused(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.start_coordinator()
    with kitchen.client() as client:
        for cycle in range(5):
            zombie = kitchen.start_worker(f"zombie-{cycle}")
            receipt, gate = _order_behind_gate(kitchen, client, tmp_path / f"gate-{cycle}", starts=1)
            zombie.send_signal(signal.SIGSTOP)
            wait_until(lambda: not client.query("workers"), "the stopped worker to be gone")
            heir = kitchen.start_worker(f"heir-{cycle}")
            # It is called at once.
            wait_until(lambda: _starts(kitchen, receipt.id) == 2, "the task to start again")  # noqa: B023
            gate.touch()
            token = receipt.result(timeout=60.0)
            zombie.send_signal(signal.SIGCONT)
            wait_until(lambda: _ends(kitchen, receipt.id) == 2, "the zombie to finish")  # noqa: B023 - called at once
            wait_until(lambda: client.query("status")["counters"].get("stale", 0) > cycle, "the refusal")  # noqa: B023
            _end(kitchen, zombie, heir)

            assert receipt.result(timeout=60.0) == token == max(t for _, id, t in kitchen.events() if id == receipt.id)
        assert client.query("status")["done"] == 5


def _order_behind_gate(kitchen: Kitchen, client: zq.Client, gate: Path, starts: int) -> tuple[Any, Path]:
    receipt = client.submit("gated", {"gate": str(gate)})
    wait_until(lambda: _starts(kitchen, receipt.id) == starts, "the task to start")
    time.sleep(0.2)  # longer than it takes to report it as started; nothing depends on it
    return receipt, gate


def _starts(kitchen: Kitchen, id: str) -> int:
    return sum(1 for event, one, _ in kitchen.events() if (event, one) == ("start", id))


def _ends(kitchen: Kitchen, id: str) -> int:
    return sum(1 for event, one, _ in kitchen.events() if (event, one) == ("end", id))


def _end(kitchen: Kitchen, *processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        assert kitchen.wait_end(process) == 0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("journal", ["on", "off"])
def test_a_chord_fires_once_after_kill_9_of_the_coordinator_between_its_parts(kitchen: Kitchen, journal: str) -> None:
    parts = 5
    coordinator = kitchen.start_coordinator("--journal", journal)
    with kitchen.client() as client:
        groups = [client.group(range(parts), queue="part", callback="chord") for _ in range(3)]
        for _ in range(parts):
            for task in client.pull("part", max_tasks=len(groups), wait=PATIENCE, lease=600.0):
                task.done(task.payload)
            kill(coordinator)
            coordinator = kitchen.start_coordinator("--journal", journal)
        fired = client.pull("chord", max_tasks=10, wait=PATIENCE)
        client.settle([(task, task.payload) for task in fired])
        kill(coordinator)
        kitchen.start_coordinator("--journal", journal)

        assert sorted(task.id for task in fired) == sorted(group.id for group in groups)
        assert [group.result(PATIENCE) for group in groups] == [list(range(parts))] * len(groups)
        assert client.query("status")["waiting"] == 0
