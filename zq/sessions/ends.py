"""What the end of a task is for whoever asked for it: its result, or what is raised instead."""

from typing import Any

from zq.errors import TaskCancelledError, TaskError, TaskExpiredError, TaskFailedError, TaskUnknownError
from zq.sessions.outcomes import BatchOutcome
from zq.task import task_id
from zq.wire.batch import decode_payload, payload_at
from zq.wire.messages import Ended


def result_of(outcome: BatchOutcome, index: int, ended: Ended) -> Any:
    """Returns the result of a task, or raises how else it ended."""
    if ended.outcome == "done":
        return decode_payload(payload_at(ended.ends, ended.blob, index - ended.lo)) if ended.ends else None
    if ended.outcome in ("dead", "unknown"):
        outcome.forget(index)  # a dead letter may be brought back, an id may come to be known
    raise error_of(outcome, index, ended)


def error_of(outcome: BatchOutcome, index: int, ended: Ended) -> TaskError:
    """Returns how else than done a task ended, as what is raised."""
    id = task_id(outcome.id, outcome.size, index)
    reason = f"not stored: a duplicate of task {ended.reason}" if ended.outcome == "duplicate" else ended.reason
    return _END_ERRORS[ended.outcome](id, reason or ended.outcome)


_END_ERRORS: dict[str, type[TaskError]] = {
    "dead": TaskFailedError,
    "cancelled": TaskCancelledError,
    "expired": TaskExpiredError,
    "duplicate": TaskCancelledError,
    "unknown": TaskUnknownError,
}
