"""The task as its handler sees it, and what a handler may raise to decide about it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Protocol, Unpack

from zq.submit_options import Policy, SubmitOptions, check_queue, check_seconds, make_group, make_options, read_members
from zq.wire.limits import BATCH_TASKS_MAX, HEADERS_MAX, TASK_SEPARATOR
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Group, Options
from zq.wire.values import is_usual_name

TRACE_HEADERS = ("traceparent", "tracestate", "baggage")
"""Headers of W3C that say to which trace a task belongs; what it forwards gets them, too."""

INDEX_DIGITS_MAX = len(str(BATCH_TASKS_MAX))
"""Of an index in an id: what is longer is none, and is not read as a number."""


def task_id(batch_id: str, size: int, index: int) -> str:
    """Returns the id of a task: its batch's id when it is alone there, else `batch#index` (protocol 1)."""
    return batch_id if size == 1 else f"{batch_id}{TASK_SEPARATOR}{index}"


def split_task_id(id: str) -> tuple[str, int] | None:
    """Returns the batch and the index in the id of a task that is not alone in its batch; None for any other text."""
    batch_id, separator, index = id.rpartition(TASK_SEPARATOR)
    if not (batch_id and separator and index.isascii() and index.isdecimal() and len(index) <= INDEX_DIGITS_MAX):
        return None
    return batch_id, int(index)


class Retry(Exception):
    """Raised by a handler: the task failed, and is to be tried again, though not by its retry policy.

    It is a failure like any other: it counts, and the last attempt makes a dead letter.

    Attributes:
        retry_in: seconds until the next attempt.
        reason: for people; shown in the history of the task.
    """

    def __init__(self, retry_in: float, reason: str = "") -> None:
        check_seconds("retry_in", retry_in)
        super().__init__(reason or f"the handler asked to be called again in {retry_in:g} s")
        self.retry_in = float(retry_in)
        self.reason = str(self)


class Bury(Exception):
    """Raised by a handler: the task failed for good, and becomes a dead letter whatever attempts are left.

    Attributes:
        reason: for people; the reason of the dead letter. It may be the error that is the reason, in the place of text.
    """

    def __init__(self, reason: str | BaseException) -> None:
        super().__init__(reason)
        self.reason = reason


_NO_GROUPS: list[Group] = []
"""In the place of a list of its own, which tasks that only forward do not need."""


class TaskOwner(Protocol):
    """Who made a task and carries out what its handler asks for."""

    def note_progress(self, task: Task, fraction: float) -> None: ...

    def is_cancelled(self, task: Task) -> bool: ...


class Task:
    """One unit of work in the hands of a handler; made by zq, used by the handler in its own thread.

    Attributes:
        payload: what was submitted.
        index: its place in its batch.
        forwards: what `forward` has collected: queue, options, payload.
    """

    __slots__ = ("_assignment", "_groups", "_owner", "forwards", "index", "payload")

    _groups: list[Group]  # not set by the constructor, which is run for every task there is

    def __init__(self, assignment: Assignment, index: int, payload: Any, owner: TaskOwner) -> None:
        # The rest is computed when it is asked for: this constructor is run for every task there is.
        self._assignment = assignment
        self._owner = owner
        self.index = index
        self.payload = payload
        self.forwards: list[tuple[str, Options, Any]] | None = None

    @property
    def id(self) -> str:
        """The task's id, the same over all attempts."""
        return task_id(self._assignment.id, self._assignment.size, self.index)

    @property
    def batch_id(self) -> str:
        """The id of the batch with which it was submitted."""
        return self._assignment.id

    @property
    def queue(self) -> str:
        """Name of the queue that it came from."""
        return self._assignment.queue

    @property
    def attempt(self) -> int:
        """1 at the first start; starts that failed or were lost are counted."""
        return self._assignment.attempt

    @property
    def token(self) -> int:
        """The lease's fencing token. It only grows per task, so a database of your own can refuse writes with an older
        one.
        """
        return self._assignment.token

    @property
    def priority(self) -> int:
        """0 to 9; 9 goes first."""
        return self._assignment.options.priority

    @property
    def key(self) -> str | None:
        """What it was submitted under, for order, fairness and limits; None: nothing."""
        return self._assignment.options.key

    @property
    def timeout(self) -> float | None:
        """Seconds that it may run, or None."""
        return self._assignment.options.timeout

    @property
    def member_of(self) -> tuple[str, tuple[int, ...]] | None:
        """The group that the task is a member of, and its path there; None when it is in none.

        A task that forwards others with `group=task.member_of`, or with longer paths in that group, is replaced by them
        there.
        """
        group = self._assignment.options.group
        if group is None:
            return None
        *front, last = group[1]
        return group[0], (*front, last + self.index)

    @property
    def groups(self) -> list[Group]:
        """What `group` has collected."""
        try:
            groups = self._groups
        except AttributeError:
            groups = _NO_GROUPS
        if groups is _NO_GROUPS:
            groups = self._groups = []
        return groups

    @property
    def lone_forward(self) -> tuple[str, Any, Any] | None:
        """What it forwarded, if that is one task, no group, and no member in its place: queue, options and payload."""
        asked = self.forwards
        if asked is None or len(asked) != 1 or self._groups is not _NO_GROUPS:
            return None
        return asked[0] if self._assignment.options.group is None else None

    @property
    def headers(self) -> dict[str, str]:
        """Texts by name that travel beside the payload; those that begin with `zq-` are the coordinator's."""
        return self._assignment.options.headers or {}

    @property
    def topic(self) -> str | None:
        """The topic to which it was published; None for a task that was submitted."""
        return self.headers.get("zq-topic")

    @property
    def cancelled(self) -> bool:
        """True once the task is no longer the handler's to finish: cancelled, timed out, or given to another worker."""
        return self._owner.is_cancelled(self)

    def progress(self, fraction: float) -> None:
        """Reports how far the handler is, for people who ask; 0.0 to 1.0.

        Raises:
            ValueError: it is not in that range.
        """
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"expected a fraction from 0.0 to 1.0, got {fraction!r}")
        self._owner.note_progress(self, float(fraction))

    def forward(self, queue: str, payload: Any, **options: Unpack[SubmitOptions]) -> None:
        """Submits another task in the same transaction in which this one is completed; if it is not completed, nothing
        is submitted.

        A task that forwards more than 4 MiB in all fails, and so does one that forwards more than 500 batches; what
        goes to one queue with the same options is one batch, up to 1,000 tasks or 1 MiB.

        Raises:
            ValueError, TypeError: the queue or an option cannot be.
        """
        if type(queue) is not str or not is_usual_name(queue):
            queue = check_queue(queue)
        made = make_options(**options) if options else DEFAULT_OPTIONS
        if self._assignment.options is not DEFAULT_OPTIONS:
            made = self._traced(made)
        if self.forwards is None:
            self._groups = _NO_GROUPS
            self.forwards = [(queue, made, payload)]
        else:
            self.forwards.append((queue, made, payload))

    def group(
        self,
        members: Iterable[Any],
        *,
        queue: str | None = None,
        callback: str | tuple[str, SubmitOptions],
        policy: Policy = "all",
        skips_none: bool = False,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Opens a group and forwards its members, in the same transaction in which this task is completed.

        When the last member has ended, the coordinator makes the callback: a task whose payload is the list of their
        results. If this task is a member of a group, the callback takes its place there, unless its options name
        another `group` or None.

        Args:
            members: payloads, when `queue` is given; else tuples of queue and payload, or of queue, payload and
                options.
            callback: its queue, or queue and options.
            policy: "all", "any" or "settled": see docs/semantics.md, groups.
            skips_none: whether members that return None contribute nothing to the list.

        Returns:
            The group's id, which is that of the callback.

        Raises:
            ValueError, TypeError: a queue or option cannot be, or there are too many members.
        """
        id = f"zq.group.{os.urandom(10).hex()}"  # whoever could guess it could open a group of his own in its place
        found = list(read_members(members, queue, options))
        own = self.member_of
        group = make_group(id, len(found), callback, policy, skips_none=skips_none, inherited=own)
        self.groups.append(group._replace(options=self._traced(group.options)))
        if self.forwards is None:
            self.forwards = []
        for index, (name, made, payload) in enumerate(found):
            self.forwards.append((name, self._traced(made)._replace(group=(id, (index,))), payload))
        return id

    def _traced(self, options: Options) -> Options:
        """Returns the options of what follows from this task, which belongs to the same trace unless it says else."""
        headers = self._assignment.options.headers
        if not headers or TRACE_HEADERS[0] not in headers or TRACE_HEADERS[0] in (options.headers or {}):
            return options
        passed = {name: headers[name] for name in TRACE_HEADERS if name in headers}
        mixed = {**passed, **(options.headers or {})}
        return options._replace(headers=mixed) if len(mixed) <= HEADERS_MAX else options

    def __repr__(self) -> str:
        return f"<Task {self.id} of queue {self.queue}, attempt {self.attempt}>"
