"""Those whom the recorded coordinator serves: clients and a worker, who let it do all that it does to its disk."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zq
from tests.images.recorded import FATAL, POISON

IDLE_SECONDS = 0.3
"""Pauses, in which a coordinator puts in order what it has not yet."""

PATIENCE = 60.0


class Shop:
    """Traffic of all kinds; what it draws comes from a seed, when it arrives does not.

    Args:
        size: how much of everything; 1 is about 60 turns.
    """

    def __init__(self, address: str, seed: int, size: int) -> None:
        self.address = address
        self._rng = random.Random(seed)
        self._size = size
        self._tried: set[str] = set()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Connects a client and a worker, which outlive coordinators."""
        worker = zq.Worker(self.address, name="baker", concurrency=2)
        worker.task("bake")(self._bake)
        thread = threading.Thread(target=worker.run)
        with zq.Client(self.address, timeout=PATIENCE) as self._client:
            thread.start()
            try:
                yield
            finally:
                worker.stop()
                thread.join()

    def _bake(self, task: zq.Task) -> Any:
        if task.payload.get("burnt") and task.id not in self._tried:
            self._tried.add(task.id)
            raise ValueError("it was burnt")
        if task.payload.get("box"):
            task.forward("boxes", {"of": task.id})
        return {"baked": task.payload["n"], "crumbs": bytes(task.payload["crumbs"])}

    # What happens.

    def everything(self) -> None:
        """Singles beside each other, batches, results, failures, pulls, cancels, and rests between them."""
        together(self.singles, self.orders, self._batches)
        self.rest()
        self._pulls()
        self._cancels()
        self.orders()
        self.rest()

    def singles(self) -> None:
        """Tasks of many sizes, one after the other."""
        for _ in range(20 * self._size):
            self._client.submit(
                "shelf", self._rng.randbytes(self._rng.choice((10, 200, 4000))), priority=self._rng.randint(0, 9)
            )

    def orders(self) -> None:
        """Tasks whose results are waited for; some fail at first, some are forwarded."""
        receipts = [
            self._client.submit(
                "bake", {"n": n, "crumbs": self._rng.choice((0, 30, 3000)), "burnt": n % 4 == 1, "box": n % 4 == 2}
            )
            for n in range(8 * self._size)
        ]
        for receipt in receipts:
            receipt.result(timeout=PATIENCE)

    def _batches(self) -> None:
        for count in (10, 100, 300):
            self._client.submit_many("shelf", [self._rng.randbytes(40) for _ in range(count)])

    def _pulls(self) -> None:
        for number, task in enumerate(self._client.pull("shelf", max_tasks=24, wait=1.0)):
            if number % 3 == 0:
                task.done({"pulled": number})
            elif number % 3 == 1:
                task.fail("no")
            else:
                task.release()

    def _cancels(self) -> None:
        receipt = self._client.submit("shelf", b"not wanted", delay=600.0)
        self._client.cancel(receipt.id)

    def bulk(self) -> None:
        """Turns that are large by themselves."""
        for size in (1000, 20_000):
            self._client.submit_many("bulk", [bytes(size)] * 40)
            self._client.submit("shelf", b"between")

    def stream(self, count: int, size: int) -> None:
        """Middling tasks, one after the other."""
        for _ in range(count):
            self._client.submit("stream", bytes(size))

    def poison(self) -> None:
        """A task that a fault of the program strikes, beside others that it must not."""

        def swallow() -> None:
            with zq.Client(self.address, timeout=1.0) as unlucky:
                try:
                    unlucky.submit("shelf", b"poison", id=f"{POISON}-{self._rng.randrange(1 << 30)}")
                except zq.ZqError:
                    pass

        together(swallow, self.singles)

    def fatal(self, life: int, moment: str) -> threading.Thread:
        """Submits a task with which the coordinator dies; returns who waits for its receipt, over that death."""
        id = f"{FATAL}-{life}-{moment}"
        thread = threading.Thread(target=lambda: self._client.submit("shelf", b"fatal", id=id))
        thread.start()
        return thread

    def rest(self) -> None:
        """Lets the coordinator be idle."""
        threading.Event().wait(IDLE_SECONDS)


def together(*calls: Callable[[], None]) -> None:
    """Makes calls at once; raises what the first raised that failed."""
    failures: list[BaseException] = []

    def make(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # it is raised by whoever waits
            failures.append(error)

    threads = [threading.Thread(target=make, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
