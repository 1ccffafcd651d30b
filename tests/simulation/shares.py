"""What a limit of a namespace promises, checked against every submit that was committed; it counts the queues' tasks
itself.
"""

from __future__ import annotations

from typing import Any

from tests.simulation.ledger import Violation
from zq.core.state.books import Books
from zq.core.state.step import Step
from zq.wire.messages import Receipt, Submit

NAMESPACE = "back"
QUEUES = (f"{NAMESPACE}/pizza", f"{NAMESPACE}/pasta")
"""Only submits and replays bring tasks into these, so that whatever else is above the limit was let in."""

LIMITS = (2, 6, None)


class ShareCheck:
    """Looks at each step after its commit."""

    def __init__(self) -> None:
        self.limit: int | None = None
        self.stored: dict[str, None] = {}  # batches that were accepted

    def check(self, books: Books, step: Step, inbox: list[Any]) -> None:
        """Checks that the limit is the one that was set last, and that nothing was accepted above it."""
        share = books.shares.get(NAMESPACE)
        limit = None if share is None else share.max_tasks
        is_set = any(getattr(message, "verb", "") == "set-namespace" for message in inbox)
        if limit != self.limit and not is_set:
            raise Violation(f"namespace {NAMESPACE} forgot its limit {self.limit}, it has {limit}")
        self.limit = limit
        batches = [batch for message in inbox if isinstance(message, Submit) for batch in message.batches]
        asked = {batch.id: batch.queue for batch in batches}
        known = dict(self.stored)
        accepted = self.note_accepted(step.outbox)
        fresh = [id for id in accepted if asked.get(id) in QUEUES and id not in known]
        total = sum(books.queues[name].unfinished for name in QUEUES if name in books.queues)
        # Dead letters that are brought back count against no limit, and may come behind what was accepted.
        is_reviving = books.replays or any("replay" in getattr(message, "verb", "") for message in inbox)
        if fresh and not is_set and not is_reviving and limit is not None and total > limit:
            raise Violation(f"{fresh} were accepted into namespace {NAMESPACE}, which has {total} of {limit} tasks")

    def note_accepted(self, outbox: list[tuple[bytes, Any]]) -> list[str]:
        """Notes what a step has accepted, and returns it."""
        accepted = [one.id for _, message in outbox if isinstance(message, Receipt) for one in message.accepted]
        self.stored |= dict.fromkeys(accepted)
        return accepted
