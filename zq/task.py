"""The task as its handler sees it, and the receipt's and status' values that are shared by all faces of zq."""

from typing import Any

from zq.wire.messages import Assignment
from zq.wire.limits import TASK_SEPARATOR


def task_id(batch_id: str, size: int, index: int) -> str:
    """Returns the id of a task: its batch's id when it is alone there, else `batch#index` (protocol 1)."""
    return batch_id if size == 1 else f"{batch_id}{TASK_SEPARATOR}{index}"


class Task:
    """One unit of work in the hands of a handler; made by zq, read by the handler in its own thread.

    Attributes:
        id: the task's id, stable over all attempts.
        queue: name of the queue that it came from.
        payload: what was submitted.
        attempt: 1 at the first start; starts that failed or were lost are counted.
        token: the lease's fencing token, which only grows per task: a database of your own can refuse writes with an older one.
        priority: 0 to 9.
        key: the key it was submitted with, or None.
        headers: the headers it was submitted with.
    """

    __slots__ = ("attempt", "headers", "id", "index", "key", "payload", "priority", "queue", "token")

    def __init__(self, assignment: Assignment, index: int, payload: Any) -> None:
        options = assignment.options
        self.id = task_id(assignment.id, assignment.size, index)
        self.queue = assignment.queue
        self.payload = payload
        self.attempt = assignment.attempt
        self.token = assignment.token
        self.index = index
        self.priority = options.priority
        self.key = options.key
        self.headers: dict[str, str] = options.headers or {}
