"""What the simulation publishes, and what a publication must have become; the rule for patterns is written down here a
second time.
"""

from __future__ import annotations

import re
from typing import Any

from tests.simulation.ledger import Ledger, Violation
from zq.core.storage import STORE_FULL
from zq.task import task_id
from zq.wire.messages import Command, Publish, Published

BINDINGS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("food.*", "pizza", {}),
    ("food.#", "pasta", {}),
    ("#.fresh", "pasta", {}),
    ("food.fresh", "boxes", {"city": "rome"}),
)

TOPICS = ("food.fresh", "food.frozen", "food", "news.fresh", "news")


def queues_for(topic: str, headers: dict[str, str]) -> list[str]:
    """Returns the queues that a publication has to reach."""
    found = set()
    for pattern, queue, wanted in BINDINGS:
        expression = "".join(
            {"*": r"[^.]+\.", "#": r"([^.]+\.)*"}.get(word, f"{word}\\.") for word in pattern.split(".")
        )
        if re.fullmatch(expression, f"{topic}.") and all(headers.get(name) == text for name, text in wanted.items()):
            found.add(queue)
    return sorted(found)


def bind_commands(number: Any) -> list[Command]:
    """Returns the commands that make the bindings; `number` gives each its number."""
    return [
        Command(
            number(),
            "bind",
            {"pattern": pattern, "queue": queue, "headers": tuple(text for pair in headers.items() for text in pair)},
        )
        for pattern, queue, headers in BINDINGS
    ]


class Publications:
    """The publications of one customer: what they may become, and what was answered."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.answered: dict[str, tuple[tuple[str, str], ...]] = {}

    def attempt(self, message: Publish) -> None:
        """Notes what a publication may be stored as, before it is sent."""
        size = len(message.ends) >> 2
        for place, queue in enumerate(queues_for(message.topic, message.options.headers or {}), 1):
            for index in range(size):
                self.ledger.attempt(task_id(f"{message.id}.{place}", size, index), f"{message.id} in {queue}/{index}")

    def note(self, message: Publish, answer: Published) -> dict[str, int]:
        """Checks an answer against the bindings and earlier answers; returns the batches that were accepted, with their
        sizes.

        Raises:
            Violation: the publication reached others than it should, or nobody, or was answered in two ways.
        """
        queues = queues_for(message.topic, message.options.headers or {})
        size = len(message.ends) >> 2
        if answer.refused is not None:
            if message.id in self.answered:
                raise Violation(f"{message.id} was published, and refused when it came again")
            if answer.refused.code == "busy" and any(
                text in answer.refused.reason for text in ("the disk of", STORE_FULL)
            ):
                return {}
            if answer.refused.code != ("busy" if queues else "unroutable"):
                raise Violation(f"{message.id} for {queues} was refused: {answer.refused.reason}")
            return {}
        if [one.queue for one in answer.stored] != queues:
            raise Violation(f"{message.id} should reach {queues}, it reached {[one.queue for one in answer.stored]}")
        parts = tuple((one.queue, one.id) for one in answer.stored)
        if self.answered.setdefault(message.id, parts) != parts:
            raise Violation(f"{message.id} was answered {self.answered[message.id]} and then {parts}")
        for one in answer.stored:
            for index in range(size):
                self.ledger.accept(task_id(one.id, size, index))
        return {one.id: size for one in answer.stored}
