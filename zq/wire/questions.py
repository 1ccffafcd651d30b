"""What may be asked of a coordinator and what it may be told to do, by name, and which texts of each are names.

Whoever speaks from within a namespace needs to know it: names are made whole on their way in, and short on their way
out (`zq.wire.namespaces`). The coordinator answers exactly these (`zq.core.insight.queries`, `zq.core.admin.commands`):
a test holds the tables against each other, and looks for names that were forgotten.
"""

from __future__ import annotations

from typing import Final, NamedTuple

Shape = dict[str, "Shape | None"]
"""The fields of a map, or of each map of a list, in which there are names: None for a name, a list of names, or a map
by name.
"""


class Question(NamedTuple):
    """A query or a command.

    Attributes:
        arguments: those that are names.
        answer: where names are in the value of its answer; None: the value is a list of names.
    """

    arguments: frozenset[str]
    answer: Shape | None


def _question(arguments: str = "", *answer: str) -> Question:
    return Question(frozenset(arguments.split()), _shape(*answer))


def _listing(arguments: str, *row: str) -> Question:
    """What is answered by pages: rows, and the cursor of the next one."""
    return _question(arguments, *(f"rows.{name}" for name in row))


def _shape(*paths: str) -> Shape:
    shape: Shape = {}
    for path in paths:
        *outer, last = path.split(".")
        inner = shape
        for field in outer:
            deeper = inner.setdefault(field, {})
            assert deeper is not None, f"{field} of {path} is a name, and has no fields"
            inner = deeper
        inner[last] = None
    return shape


_EVENT = ("worker", "queue", "from", "to", "batches.id", "batches.queue")
_WORKER = ("name", "queues", "tasks.id", "tasks.queue")
_SCHEDULE = ("name", "queue", "last_id")
_REPLAY = _OPERATION = ("id", "queue", "to")

NAMES_IN_SCHEDULE: Final = _shape(*_SCHEDULE)
"""In the answer to the message `schedule`."""

NAMES_IN_QUERIES: Final[dict[str, Question]] = {
    "status": _question(),
    "task": _question("id", "id", "queue", "worker", *(f"timeline.detail.{field}" for field in _EVENT)),
    "tasks": _listing("queue worker", "id", "queue", "worker"),
    "payload": _question("id"),
    "failures": _listing("queue", "queue", "id", "worker"),
    "history": _listing("queue"),
    "flows": _listing("", "origin", "target"),
    "dead-reasons": _listing("queue", "queue"),
    "queues": _listing("", "name"),
    "queue": _question("queue", "name"),
    "workers": _listing("", *_WORKER),
    "replays": _listing("", *_REPLAY),
    "schedules": _listing("", *_SCHEDULE),
    "schedule": _question("name", *_SCHEDULE),
    "why": _question("id", "id", "details.task", "details.worker", "details.workers", "details.suspect"),
    "trace": _question("id", *(f"detail.{field}" for field in _EVENT)),
    "group": _question("id", "id", "callback"),
    "groups": _listing("", "id", "callback"),
    "bindings": _listing("queue", "pattern", "queue"),
    "match": Question(frozenset({"topic"}), None),
    "operations": _listing("id", *_OPERATION),
    "namespaces": _listing("name", "name"),
}

LISTINGS: Final = frozenset(
    (
        "queues", "workers", "failures", "history", "flows", "dead-reasons", "replays", "schedules", "groups", "bindings",
        "operations", "namespaces",
    )
)  # fmt: skip
"""Queries that are answered by pages and, but for `tasks`, which a program reads page by page, wanted as a whole."""

NAMES_IN_COMMANDS: Final[dict[str, Question]] = {
    "retry": _question("id"),
    "replay": _question("id queue to"),
    "start-replay": _question("id queue to", *_REPLAY),
    "stop-replay": _question("id"),
    "purge-dead": _question("id queue"),
    "bury": _question("id"),
    "set-schedule": _question("name", *_SCHEDULE),
    "delete-schedule": _question("name"),
    "run-schedule": _question("name", *_SCHEDULE),
    "set-queue": _question("queue", "name"),
    "pause": _question("queue", "name"),
    "drain": _question("queue", "name"),
    "resume": _question("queue", "name"),
    "purge": _question("id queue", *_OPERATION),
    "move": _question("id queue to", *_OPERATION),
    "delete": _question("id queue", *_OPERATION),
    "set-namespace": _question("name", "name"),
    "steer-worker": _question("name", *_WORKER),
    "bind": _question("pattern queue"),
    "unbind": _question("pattern queue"),
}

TIME_BOUNDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0,
    86400.0,
)  # fmt: skip
"""Upper bounds in seconds of the buckets of all histograms; one more bucket has what is above the last."""

EVENT_KINDS: Final = (
    "accepted", "refused", "assigned", "done", "failed", "retried", "lost", "stale",
    "expired", "dead", "cancelled", "revived", "worker", "queue", "alert",
)  # fmt: skip
"""The kinds of live events, which may be followed."""
