"""Customers: they order, are told to sit down or to come back later, get their pizza and pay."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any

import zq
from zq.demo.ledger import PizzaLedger
from zq.demo.pace import EveningPace

PIZZAS = ("margherita", "marinara", "funghi", "capricciosa", "diavola", "quattro formaggi")
CUSTOMERS = 24

GUESTS_MAX = 64
"""Customers at a time, each a thread that waits for its pizza: more than the shops take orders."""

RETURNS_MAX = 3
"""How often a customer comes back before going elsewhere."""

OUTCOME_PATIENCE = 120.0

SayLine = Callable[[str], None]


class Street:
    """Sends customers to the coordinator, one order each, and follows every order to its end.

    Attributes:
        is_over: set when no more customers come and all orders have ended.
        fault: what went wrong, that is no part of an evening; None: nothing.
    """

    def __init__(
        self, client: zq.Client, ledger: PizzaLedger, pace: EveningPace, rng: random.Random, say: SayLine
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._pace = pace
        self._rng = rng
        self._say = say
        self._pool = ThreadPoolExecutor(GUESTS_MAX, thread_name_prefix="customer")
        self._mayor = ThreadPoolExecutor(1, thread_name_prefix="mayor")  # who need not wait until the street has room
        self._visits: list[Future[None]] = []
        self._is_closed = threading.Event()
        self.is_over = threading.Event()
        self.fault: BaseException | None = None

    def open(self, orders_max: int | None) -> None:
        """Lets customers come, so many or until `close`; returns when all orders have ended."""
        try:
            number = 0
            while not self._is_closed.is_set() and (orders_max is None or number < orders_max):
                number += 1
                self._visits.append(self._pool.submit(self._visit, f"order-{number}", self._wish()))
                self._visits = [one for one in self._visits if not one.done() or one.result() is not None]
                self._is_closed.wait(self._rng.expovariate(1 / self._pace.pause))
            for visit in self._visits:
                visit.result()
        except BaseException as error:
            self.fault = error
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._mayor.shutdown(cancel_futures=True)
            self.is_over.set()

    def close(self) -> None:
        """Lets no more customers come; those who are there get what they ordered."""
        self._is_closed.set()

    def order_for_party(self, number: int) -> str:
        """Has a customer order what takes long, for delivery; returns the id of the order."""
        id = f"party-{number}"
        wish = {
            "customer": "the mayor",
            "pizza": "one for forty",
            "kind": "delivery",
            "seconds": self._pace.party,
            "priority": 9,
        }
        self._visits.append(self._mayor.submit(self._visit, id, wish, is_patient=True))
        return id

    def _wish(self) -> dict[str, Any]:
        """Draws what the next customer wants."""
        return {
            "customer": f"customer-{self._rng.randrange(CUSTOMERS)}",
            "pizza": self._rng.choice(PIZZAS),
            "kind": self._rng.choice(("delivery", "takeaway")),
            "seconds": round(self._rng.uniform(self._pace.bake_min, self._pace.bake_max), 3),
            "priority": self._rng.choice((4, 4, 4, 7)),
        }

    def _visit(self, id: str, wish: dict[str, Any], *, is_patient: bool = False) -> None:
        self._ledger.add("orders")
        receipt = self._order(id, wish, is_patient=is_patient)
        if receipt is None:
            self._ledger.add("refused")
            return
        self._ledger.add("accepted")
        try:
            baked = receipt.result(timeout=OUTCOME_PATIENCE)
        except zq.TaskCancelledError:
            self._ledger.add("cancelled")
            self._say(f"{id} of {wish['customer']}: sorry, your shop has exploded; takeaway is cancelled")
            return
        self._ledger.add("delivered")
        self._client.submit("payments", {"order": id, "pizza": baked["pizza"]}, id=f"pay-{id}")

    def _order(self, id: str, wish: dict[str, Any], *, is_patient: bool) -> zq.Receipt | None:
        """Orders, and comes back later when told so; returns None when the customer gives up: who is patient does so
        only when the street closes.
        """
        for visit in count():
            try:
                receipt = self._client.submit(
                    "orders",
                    wish,
                    id=id,
                    priority=wish["priority"],
                    key=wish["customer"],  # each customer has a shop: consistent hashing
                    on_lost="reassign" if wish["kind"] == "delivery" else "cancel",
                )
            except zq.BusyError as busy:
                self._say(f"{wish['customer']}: come back later, in about {busy.retry_after:.1f} s ({busy.reason})")
                if self._is_closed.is_set() if is_patient else visit == RETURNS_MAX:
                    return None
                self._ledger.add("came_back")
                self._is_closed.wait(busy.retry_after) if is_patient else time.sleep(busy.retry_after)
            else:
                about = "soon" if receipt.eta is None else f"about {receipt.eta:.0f} s"
                self._say(f"{wish['customer']}: please sit down, {id}: number {receipt.position}, {about}")
                return receipt
        return None


def take_payments(client: zq.Client, ledger: PizzaLedger, street: Street) -> None:
    """The cashier: pulls payments until the evening is over and every delivered pizza is paid."""
    try:
        while not (street.is_over.is_set() and (ledger.paid >= ledger.delivered or street.fault is not None)):
            for task in client.pull("payments", max_tasks=10, wait=0.2, lease=10.0):
                task.done()
                ledger.add("paid")
    except zq.ZqError as error:
        street.fault = error
        street.close()
