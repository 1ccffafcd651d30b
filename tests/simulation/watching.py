"""One who watches the coordinator: what it is told of each step must be what the step did."""

from __future__ import annotations

from tests.simulation.ledger import Violation
from zq.core.state.books import Books
from zq.core.state.event_streams import EVENTS_MAX, WINDOW
from zq.core.state.step import Step
from zq.wire.messages import Events, Follow

EYE = b"eye"
LOOKS_EVERY = 5
"""Turns between two times at which it says what it has seen."""


class Eye:
    """It stands beside the coordinator, so no fault of the network excuses what it is not told."""

    def __init__(self) -> None:
        self.seen = 0
        self.number = 0
        self.turns = 0
        self.done: dict[int, int] = {}  # by queue number, before the step

    def look(self, books: Books) -> list[tuple[bytes, Follow]]:
        """Notes what was before a turn; returns what the eye has to say in it, before anything else happens."""
        is_to_say = self.turns % LOOKS_EVERY == 0 or not self.seen
        if is_to_say:
            self.seen = self.number
        self.turns += 1
        self.done = {queue.number: queue.done for queue in books.queues.values()}
        return [(EYE, Follow(1, None, (), 60.0, self.seen))] if is_to_say else []

    def check(self, books: Books, step: Step) -> None:
        """Compares what is told of a step with the counters of the queues."""
        told = [message for peer, message in step.outbox if peer == EYE and isinstance(message, Events)]
        if sum(1 for message in told if not message.is_first) > 1:
            raise Violation(f"a watcher gets {len(told)} messages in one step")
        for message in told:
            self.number = message.number
            if len(message.events) > EVENTS_MAX or message.number - self.seen > WINDOW:
                raise Violation(
                    f"a watcher that has seen {self.seen} gets {len(message.events)} events as {message.number}"
                )
        if any(message.dropped or message.is_first for message in told):
            return
        counts: dict[str | None, int] = {}
        for message in told:
            for event in message.events:
                if event.kind == "done":
                    counts[event.queue] = counts.get(event.queue, 0) + event.hi - event.lo
        for queue in books.queues.values():
            if queue.number in self.done and queue.done - self.done[queue.number] != counts.get(queue.name, 0):
                done = queue.done - self.done[queue.number]
                raise Violation(
                    f"{done} tasks of {queue.name} are done, a watcher is told of {counts.get(queue.name, 0)}"
                )
