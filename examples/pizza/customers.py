"""Customers: they order, are told to sit down or to come back later, get their pizza and pay."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ledger import Ledger

import zq

PIZZAS = ("margherita", "marinara", "funghi", "capricciosa", "diavola", "quattro formaggi")
CUSTOMERS = 24
RETURNS_MAX = 3
"""How often a customer comes back before going elsewhere."""

OUTCOME_PATIENCE = 60.0

Say = Callable[[str], None]


class Street:
    """Sends customers to the coordinator, one order each, and follows every order to its end."""

    def __init__(self, client: zq.Client, ledger: Ledger, rng: random.Random, say: Say) -> None:
        self._client = client
        self._ledger = ledger
        self._rng = rng
        self._say = say
        self._pool = ThreadPoolExecutor(64, thread_name_prefix="customer")
        self.is_over = threading.Event()

    def open(self, orders: int, pause: float) -> None:
        """Lets customers come; returns when all have ordered and all orders have ended."""
        futures = []
        for number in range(1, orders + 1):
            futures.append(self._pool.submit(self._visit, number, self._wish()))
            time.sleep(self._rng.expovariate(1 / pause))
        for future in futures:
            future.result()
        self._pool.shutdown()
        self.is_over.set()

    def _wish(self) -> dict[str, Any]:
        """Draws what the next customer wants."""
        return {
            "customer": f"customer-{self._rng.randrange(CUSTOMERS)}",
            "pizza": self._rng.choice(PIZZAS),
            "kind": self._rng.choice(("delivery", "takeaway")),
            "seconds": self._rng.uniform(0.5, 1.1),
            "priority": self._rng.choice((4, 4, 4, 7)),
        }

    def _visit(self, number: int, wish: dict[str, Any]) -> None:
        self._ledger.add("orders")
        receipt = self._order(number, wish)
        if receipt is None:
            self._ledger.add("refused")
            return
        self._ledger.add("accepted")
        try:
            baked = receipt.result(timeout=OUTCOME_PATIENCE)
        except zq.TaskCancelledError:
            self._ledger.add("cancelled")
            self._say(
                f"[yellow]order {number} of {wish['customer']}: sorry, your shop has closed; takeaway is cancelled"
            )
            return
        self._ledger.add("delivered")
        self._client.submit("payments", {"order": number, "pizza": baked["pizza"]}, id=f"pay-{receipt.id}")

    def _order(self, number: int, wish: dict[str, Any]) -> zq.Receipt | None:
        """Orders, and comes back later when told so; returns None when the customer gives up."""
        for visit in range(RETURNS_MAX + 1):
            try:
                receipt = self._client.submit(
                    "orders",
                    wish,
                    id=f"order-{number}",
                    priority=wish["priority"],
                    key=wish["customer"],  # each customer has a shop: consistent hashing
                    on_lost="reassign" if wish["kind"] == "delivery" else "cancel",
                )
            except zq.BusyError as busy:
                self._say(
                    f"[red]{wish['customer']}: come back later, in about {busy.retry_after:.1f} s ({busy.reason})"
                )
                if visit == RETURNS_MAX:
                    return None
                self._ledger.add("came_back")
                time.sleep(busy.retry_after)
            else:
                about = "soon" if receipt.eta is None else f"about {receipt.eta:.0f} s"
                self._say(f"{wish['customer']}: please sit down: number {receipt.position}, {about}")
                return receipt
        return None


def take_payments(client: zq.Client, ledger: Ledger, is_over: threading.Event) -> None:
    """The cashier: pulls payments until the evening is over and every delivered pizza is paid."""
    while not (is_over.is_set() and ledger.paid >= ledger.delivered):
        for task in client.pull("payments", max_tasks=10, wait=0.2, lease=10.0):
            task.done()
            ledger.add("paid")
