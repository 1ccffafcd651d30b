"""Which roles may send which messages, ask which queries and give which commands, and what each names.

Every kind of message, every query and every command has a row here, which a test compares with what there is: what has
none is refused. The rest, which queues and which namespaces, is looked up by what a row says that a message names.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, NamedTuple

from zq.core.rights.rights import ADMIN_ROLE, CLIENT_ROLE, WORKER_ROLE
from zq.wire import messages, steering

ADMINS: Final = frozenset({ADMIN_ROLE})
CALLERS: Final = frozenset({CLIENT_ROLE, ADMIN_ROLE})
HANDS: Final = frozenset({WORKER_ROLE, ADMIN_ROLE})
EVERYBODY: Final = frozenset({CLIENT_ROLE, WORKER_ROLE, ADMIN_ROLE})

MESSAGE_ROLES: Final[dict[type[Any], frozenset[str]]] = {
    messages.Submit: EVERYBODY,  # a worker's handlers submit, too
    messages.Open: EVERYBODY,
    messages.Publish: EVERYBODY,
    messages.Wait: EVERYBODY,
    messages.Withdraw: EVERYBODY,
    messages.Ping: EVERYBODY,
    messages.Pull: EVERYBODY,
    messages.Confirm: EVERYBODY,
    messages.Extend: EVERYBODY,
    messages.Settle: EVERYBODY,
    messages.Release: EVERYBODY,
    messages.Cancel: CALLERS,
    messages.Schedule: CALLERS,
    messages.Follow: CALLERS,
    messages.Query: CALLERS,
    messages.Command: CALLERS,
    messages.Hello: HANDS,
    messages.Heartbeat: HANDS,
    messages.Started: HANDS,
    messages.Progress: HANDS,
    messages.Goodbye: HANDS,
    steering.About: HANDS,
}


class Subject(Enum):
    """What an argument names, and so what is asked about it."""

    QUEUE = "queue"  # must be one that may be seen or, in a command, submitted to
    TARGET = "target"  # a queue that must be one that may be submitted to
    TASK = "task"  # else it is as if it did not exist, as all that follow
    GROUP = "group"
    SCHEDULE = "schedule"
    OPERATION = "operation"  # for a command one that is to be made may be named, too
    REPLAY = "replay"
    WORKER = "worker"  # all queues of which must be ones that may be changed
    INSIDE = "inside"  # a name that must be in the namespaces
    TOPICS = "topics"  # likewise; without namespaces whoever has not every queue may name none


class AskRow(NamedTuple):
    """A query or command.

    Attributes:
        roles: that may ask it.
        subjects: what its arguments name.
        needs_queue: whether, without any queue or task, it would be about all there are.
        is_of_all: whether only who may do everything in a namespace may ask it.
    """

    roles: frozenset[str]
    subjects: tuple[tuple[str, Subject], ...] = ()
    needs_queue: bool = False
    is_of_all: bool = False


_ID_OF_TASK: Final = (("id", Subject.TASK),)
_QUEUE: Final = (("queue", Subject.QUEUE),)
_OPERATION: Final = (("id", Subject.OPERATION), ("queue", Subject.QUEUE), ("to", Subject.TARGET))
_DEAD: Final = (("id", Subject.TASK), ("queue", Subject.QUEUE), ("to", Subject.TARGET))

QUERY_RIGHTS: Final[dict[str, AskRow]] = {
    "status": AskRow(CALLERS),
    "task": AskRow(CALLERS, _ID_OF_TASK),
    "tasks": AskRow(CALLERS, _QUEUE),
    "payload": AskRow(CALLERS, _ID_OF_TASK),
    "failures": AskRow(CALLERS, _QUEUE),
    "history": AskRow(CALLERS, _QUEUE, needs_queue=True),
    "flows": AskRow(CALLERS),
    "dead-reasons": AskRow(CALLERS, _QUEUE),
    "queues": AskRow(CALLERS),
    "queue": AskRow(CALLERS, _QUEUE),
    "workers": AskRow(CALLERS),
    "replays": AskRow(CALLERS),
    "schedules": AskRow(CALLERS),
    "schedule": AskRow(CALLERS, (("name", Subject.SCHEDULE),)),
    "why": AskRow(CALLERS, _ID_OF_TASK),
    "trace": AskRow(CALLERS, _ID_OF_TASK),
    "group": AskRow(CALLERS, (("id", Subject.GROUP),)),
    "groups": AskRow(CALLERS),
    "bindings": AskRow(CALLERS, _QUEUE),
    "match": AskRow(CALLERS, (("topic", Subject.INSIDE),)),
    "operations": AskRow(CALLERS, (("id", Subject.OPERATION),)),
    "namespaces": AskRow(CALLERS, (("name", Subject.INSIDE),)),
}

COMMAND_RIGHTS: Final[dict[str, AskRow]] = {
    "retry": AskRow(CALLERS, _ID_OF_TASK),
    "bury": AskRow(CALLERS, _ID_OF_TASK),
    "set-schedule": AskRow(CALLERS, (("name", Subject.SCHEDULE),)),
    "delete-schedule": AskRow(CALLERS, (("name", Subject.SCHEDULE),)),
    "run-schedule": AskRow(CALLERS, (("name", Subject.SCHEDULE),)),
    "replay": AskRow(ADMINS, _DEAD, needs_queue=True),
    "start-replay": AskRow(
        ADMINS, (("id", Subject.REPLAY), ("queue", Subject.QUEUE), ("to", Subject.TARGET)), needs_queue=True
    ),
    "stop-replay": AskRow(ADMINS, (("id", Subject.REPLAY),)),
    "purge-dead": AskRow(ADMINS, _DEAD[:2], needs_queue=True),
    "set-queue": AskRow(ADMINS, _QUEUE),
    "pause": AskRow(ADMINS, _QUEUE),
    "drain": AskRow(ADMINS, _QUEUE),
    "resume": AskRow(ADMINS, _QUEUE),
    "purge": AskRow(ADMINS, _OPERATION),
    "move": AskRow(ADMINS, _OPERATION),
    "delete": AskRow(ADMINS, _OPERATION[:2]),
    "set-namespace": AskRow(ADMINS, (("name", Subject.INSIDE),), is_of_all=True),
    "steer-worker": AskRow(ADMINS, (("name", Subject.WORKER),)),
    "bind": AskRow(ADMINS, (("pattern", Subject.TOPICS), ("queue", Subject.QUEUE))),
    "unbind": AskRow(ADMINS, (("pattern", Subject.INSIDE), ("queue", Subject.QUEUE))),
}
