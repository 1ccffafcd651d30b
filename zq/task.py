"""The task as its handler sees it, and the options that a submit may give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Unpack

from zq.wire.limits import (
    ATTEMPTS_MAX,
    DELAY_MAX,
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    NAME_BYTES_MAX,
    PATH_MAX,
    PATH_NUMBER_MAX,
    TASK_SEPARATOR,
)
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Options
from zq.wire.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

OnLost = Literal["reassign", "cancel", "dead"]


class SubmitOptions(TypedDict, total=False):
    """What may be said about tasks when they are submitted or forwarded.

    Keys:
        priority: 0 (last) to 9 (first); 4 by default. Strict: a lower one waits while a higher one waits.
        delay: seconds before the task may start; 0 by default.
        key: text that tasks share which belong together: for `ordered`, and for what a queue does by key.
        on_lost: what happens to a started task whose worker died: "reassign" (the default), "cancel" or "dead".
        max_attempts: starts that may fail or be lost before the task is a dead letter; the queue's by default.
        retry: a RetryPolicy or its text, such as "exponential:1:2:60" or "none": when it is tried again after a failure; the queue's by default.
        timeout: seconds that a started task may run; no limit by default.
        headers: text by text, passed on untouched.
        on_dead: queue that gets a notice (the same payload, and headers that say what happened) when the task ends as dead or expired.
        group: id of a group and the path in it of the first task; the last number of the path counts up from task to task.
        ordered: True: of the tasks with this key in the queue one runs at a time, in the order of submission; False by default.
    """

    priority: int
    delay: float
    key: str | None
    on_lost: OnLost
    max_attempts: int | None
    retry: RetryPolicy | str | None
    timeout: float | None
    headers: Mapping[str, str] | None
    on_dead: str | None
    group: tuple[str, tuple[int, ...]] | None
    ordered: bool


def make_options(**options: Unpack[SubmitOptions]) -> Options:
    """Returns checked options as they travel.

    Raises:
        ValueError: one is out of its range.
        TypeError: one is unknown, or of another type.
    """
    if not options:
        return DEFAULT_OPTIONS
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is None:
            raise TypeError(f"unknown option {name!r}; expected one of {', '.join(_CHECKS)}")
        check(name, value)
    values: dict[str, Any] = dict(options)
    if values.get("headers") is not None:
        values["headers"] = dict(values["headers"])
    if values.get("group") is not None:
        values["group"] = (values["group"][0], tuple(values["group"][1]))
    if values.get("retry") is not None:
        values["retry"] = RetryPolicy.read(values["retry"])
    if values.get("ordered") and values.get("key") is None:
        raise ValueError("expected a key with ordered: it says which tasks are in order")
    return Options(**values)


def _check_int(least: int, most: int) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"expected {name} as an int, got {value!r}")
        if not least <= value <= most:
            raise ValueError(f"expected {name} from {least} to {most}, got {value}")

    return check


def _check_seconds(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"expected {name} in seconds, got {value!r}")
    if not 0 <= value <= DELAY_MAX:
        raise ValueError(f"expected {name} from 0 to {DELAY_MAX:.0f} seconds, got {value}")


def _check_timeout(name: str, value: Any) -> None:
    _check_seconds(name, value)
    if value < 0.001:
        raise ValueError(f"expected {name} of at least 0.001 seconds, got {value}")


def _check_text(name: str, value: Any, bytes_max: int = NAME_BYTES_MAX) -> None:
    if not isinstance(value, str):
        raise TypeError(f"expected {name} as text, got {value!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"expected {name} as text that UTF-8 can hold, got {value!r}") from None
    if size > bytes_max:
        raise ValueError(f"expected {name} of at most {bytes_max} bytes, got {size}")


def _check_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"expected {name} as True or False, got {value!r}")


def _check_on_lost(name: str, value: Any) -> None:
    if value not in ("reassign", "cancel", "dead"):
        raise ValueError(f"expected {name} as reassign, cancel or dead, got {value!r}")


def _check_retry(name: str, value: Any) -> None:  # noqa: ARG001 - alike in shape
    RetryPolicy.read(value)


def _check_headers(name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise TypeError(f"expected {name} as a mapping of text to text, got {value!r}")
    if len(value) > HEADERS_MAX:
        raise ValueError(f"expected at most {HEADERS_MAX} {name}, got {len(value)}")
    for header, text in value.items():
        _check_text("the name of a header", header)
        _check_text(f"header {header}", text, HEADER_BYTES_MAX)


def _check_group(name: str, value: Any) -> None:
    if not isinstance(value, tuple | list) or len(value) != 2 or not isinstance(value[1], tuple | list):
        raise TypeError(f"expected {name} as (id, path), got {value!r}")
    check_id(value[0])
    if not 1 <= len(value[1]) <= PATH_MAX:
        raise ValueError(f"expected a path of 1 to {PATH_MAX} numbers, got {value[1]!r}")
    for number in value[1]:
        _check_int(0, PATH_NUMBER_MAX)("a number of the path", number)


def _check_queue(name: str, value: Any) -> None:
    check_name(name, value)


def _or_none(check: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    return lambda name, value: None if value is None else check(name, value)


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "priority": _check_int(0, 9),
    "delay": _check_seconds,
    "key": _or_none(_check_text),
    "on_lost": _check_on_lost,
    "max_attempts": _or_none(_check_int(1, ATTEMPTS_MAX)),
    "retry": _or_none(_check_retry),
    "timeout": _or_none(_check_timeout),
    "headers": _or_none(_check_headers),
    "on_dead": _or_none(_check_queue),
    "group": _or_none(_check_group),
    "ordered": _check_bool,
}


def check_name(name: str, value: Any) -> str:
    """Returns the name of a queue, worker or client if it can be one.

    Raises:
        ValueError: it is empty, too long, or has spaces or control characters.
        TypeError: it is not text.
    """
    if not isinstance(value, str):
        raise TypeError(f"expected {name} as text, got {value!r}")
    if not value or " " in value or not value.isprintable() or len(value.encode()) > NAME_BYTES_MAX:
        raise ValueError(
            f"expected {name} of 1 to {NAME_BYTES_MAX} bytes without spaces and control characters, got {value!r}"
        )
    return value


def check_id(value: Any) -> str:
    """Returns an id that a caller chose, if it can be one; raises as `check_name`."""
    id = check_name("id", value)
    if TASK_SEPARATOR in id:
        raise ValueError(f"expected an id without {TASK_SEPARATOR!r}, got {id!r}")
    return id


def task_id(batch_id: str, size: int, index: int) -> str:
    """Returns the id of a task: its batch's id when it is alone there, else `batch#index` (protocol 1)."""
    return batch_id if size == 1 else f"{batch_id}{TASK_SEPARATOR}{index}"


class Retry(Exception):
    """Raised by a handler: the task failed, and is to be tried again, though not by its retry policy.

    It is a failure like any other: it counts, and the last attempt makes a dead letter.

    Attributes:
        retry_in: seconds until the next attempt.
        reason: for people; shown in the history of the task.
    """

    def __init__(self, retry_in: float, reason: str = "") -> None:
        _check_seconds("retry_in", retry_in)
        super().__init__(reason or f"the handler asked to be called again in {retry_in:g} s")
        self.retry_in = float(retry_in)
        self.reason = str(self)


class Bury(Exception):
    """Raised by a handler: the task failed for good, and becomes a dead letter whatever attempts are left.

    Attributes:
        reason: for people; the reason of the dead letter.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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

    __slots__ = ("_assignment", "_owner", "forwards", "index", "payload")

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
        """The lease's fencing token. It only grows per task, so a database of your own can refuse writes with an older one."""
        return self._assignment.token

    @property
    def priority(self) -> int:
        return self._assignment.options.priority

    @property
    def key(self) -> str | None:
        return self._assignment.options.key

    @property
    def timeout(self) -> float | None:
        """Seconds that it may run, or None."""
        return self._assignment.options.timeout

    @property
    def headers(self) -> dict[str, str]:
        return self._assignment.options.headers or {}

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
        """Submits another task in the same transaction in which this one is completed; if it is not completed, nothing is submitted.

        A task that forwards more than 4 MiB in all fails, and so does one that forwards more than 500 batches; what goes to one queue with the same options
        is one batch, up to 1,000 tasks or 1 MiB.

        Raises:
            ValueError, TypeError: the queue or an option cannot be.
        """
        if self.forwards is None:
            self.forwards = []
        self.forwards.append((check_name("queue", queue), make_options(**options), payload))

    def __repr__(self) -> str:
        return f"<Task {self.id} of queue {self.queue}, attempt {self.attempt}>"
