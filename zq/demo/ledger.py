"""The books of the evening, as the customers saw it; at the end they must agree with the coordinator's."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class PizzaLedger:
    """Counts of orders; written by many threads through `add`."""

    orders: int = 0  # customers who came
    accepted: int = 0
    refused: int = 0  # "come back later", and they did not
    came_back: int = 0  # "come back later", and they did
    delivered: int = 0
    cancelled: int = 0
    paid: int = 0
    reassigned: int = 0
    stale_completions_refused: int = 0
    duplicates: int = 0
    lost: int = 0
    crashes: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            setattr(self, name, getattr(self, name) + count)

    def close(self, status: dict[str, Any], *, crashes: int) -> None:
        """Takes over what only the coordinator knows, and how many shops were killed."""
        self.crashes = crashes
        counters = status["counters"]
        self.reassigned = counters.get("reassigned", 0)
        self.stale_completions_refused = counters.get("stale", 0)
        self.lost = self.accepted - self.delivered - self.cancelled
        completions = status["done"] - self.paid  # payments are tasks, too
        self.duplicates = completions - self.delivered

    def faults(self) -> list[str]:
        """Returns what does not add up; empty when all is well."""
        rules = [
            (self.orders == self.accepted + self.refused, "orders are not accepted + refused"),
            (self.lost == 0, f"{self.lost} accepted orders have no end"),
            (self.duplicates == 0, f"{self.duplicates} orders were completed twice"),
            (self.paid == self.delivered, f"{self.delivered} were delivered and {self.paid} paid"),
            (self.reassigned >= self.crashes, "a shop was killed, and its order was not given to another one"),
            (self.crashes > 0 or self.cancelled == 0, "orders were cancelled although no shop was killed"),
        ]
        return [text for holds, text in rules if not holds]

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
