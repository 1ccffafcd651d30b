"""What one key sees of the books: whose is what a message names by its id.

A task is of the queue that it is in, or was in when it ended; a schedule, replay or operation of the queues that it is
about; a group of its callback's queue or, without a callback, of the key that opened it. What does not exist is seen
by everybody: it answers for itself.
"""

from __future__ import annotations

from typing import NamedTuple

from zq.core.rights.rights import EVERY_QUEUE, Rights
from zq.core.rights.table import Subject
from zq.core.state import places
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.step import Step
from zq.core.tasks import groups, publishing, schedules


class View(NamedTuple):
    """One key, one step."""

    books: Books
    step: Step
    rights: Rights
    peer: Peer

    def has_task(self, id: str, *, to_change: bool = False) -> bool:
        """Whether a task or batch, if there is one, may be seen or changed."""
        known, _ = places.find_task(self.step, id)
        return known is None or self._has_queue(places.queue_of(self.books, known), to_change=to_change)

    def has_group(self, id: str, *, to_change: bool = False) -> bool:
        """Whether a group, if there is one, may be seen or changed; also whether members may be put into it."""
        row = groups.find(self.step, id)
        return row is None or self.has_group_row(row.id, row.queue, row.owner, to_change=to_change)

    def has_group_row(self, id: str, queue: str | None, owner: str | None, *, to_change: bool = False) -> bool:
        """As `has_group`, of a group that was read."""
        if queue is not None:
            return self._has_queue(queue, to_change=to_change)
        return self.rights.is_inside(id) and owner in (None, self.rights.name)

    def may_cancel_group(self, id: str) -> bool:
        """Whether members of a group, if it is there, may be ended wherever they are: who put one into it has let its
        opener do that, and nobody else but who may submit to everything.
        """
        row = groups.find(self.step, id)
        return row is None or row.owner == self.rights.name or self.rights.submit == EVERY_QUEUE

    def has_task_or_group(self, id: str, *, to_change: bool = False) -> bool:
        """Of an id that may be that of either, or both."""
        return self.has_task(id, to_change=to_change) and self.has_group(id, to_change=to_change)

    def has_schedule(self, name: str, *, to_change: bool = False) -> bool:
        row = schedules.find(self.step, name)
        return row is None or self._has_queue(row.queue, to_change=to_change)

    def has_publication(self, id: str) -> bool:
        """Whether a publication, if it is known, is in queues that may be submitted to."""
        known = publishing.find(self.step, id)
        return known is None or all(self.rights.may_submit(queue) for queue, _ in known)

    def has(self, subject: Subject, name: str, *, to_change: bool) -> bool:
        """Whether what an argument names by an id, if it is there, may be seen or changed."""
        match subject:
            case Subject.TASK:
                return self.has_task(name, to_change=to_change)
            case Subject.GROUP:
                return self.has_group(name, to_change=to_change)
            case Subject.SCHEDULE:
                return self.has_schedule(name, to_change=to_change)
            case Subject.OPERATION:
                operation = self.books.operations.get(name)
                return operation is None or self.has_queues(operation.queue, operation.to, to_change=to_change)
            case Subject.REPLAY:
                replay = self.books.replays.get(name)
                return replay is None or self.has_queues(replay.queue, replay.to, to_change=to_change)
            case Subject.WORKER:
                worker = self.books.workers.get(name)
                return worker is None or (
                    self.rights.is_inside(name)
                    and all(self._has_queue(queue, to_change=to_change) for queue in worker.queues)
                )
            case _:
                raise ValueError(f"{subject} is not found by an id")

    def has_queues(self, queue: str | None, to: str | None, *, to_change: bool = False) -> bool:
        """Whether what is about a queue, and perhaps goes to another, may be seen or changed."""
        return self._has_queue(queue, to_change=to_change) and (to is None or self._has_queue(to, to_change=to_change))

    def _has_queue(self, queue: str | None, *, to_change: bool) -> bool:
        if to_change:
            return queue is not None and self.rights.may_submit(queue)
        return self.rights.may_see(queue)
