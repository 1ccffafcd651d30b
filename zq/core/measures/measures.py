"""All that is counted beside the books, in one place."""

from __future__ import annotations

from zq.core.measures.failures import Failures
from zq.core.measures.flows import Flows
from zq.core.measures.steps import History
from zq.core.measures.timed import TimedQueues
from zq.core.state.queue import Queue


class Measures:
    """What the coordinator has counted since it was started; all of it is bounded."""

    __slots__ = ("failures", "flows", "history", "timed", "watched")

    def __init__(self) -> None:
        self.timed = TimedQueues()
        self.failures = Failures()
        self.flows = Flows()
        self.history = History()
        self.watched: dict[Queue, tuple[str, ...]] = {}  # queues with alerts in their policies, and those that go on
