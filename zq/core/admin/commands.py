"""What people and programs may have a coordinator do beside a task's own life (protocol 4); each command is one
transaction.
"""

from collections.abc import Callable
from typing import Any, Final

from zq.core.admin import answers, chores, dead_searches, namespaces, operations, workers
from zq.core.admin.dead_searches import DeadSearch
from zq.core.admin.policies import set_policies
from zq.core.arguments import (
    LIST_MAX,
    InvalidRequestError,
    checked,
    judged,
    limit_in,
    name_in,
    number_in,
    optional_text_in,
    prefix,
    queue_in,
    text_in,
)
from zq.core.measures.queue_rows import queue_fields
from zq.core.state import places
from zq.core.state.books import Books, named_queue
from zq.core.state.places import Dead
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.tasks import dead_letters, publishing, schedules
from zq.errors import short
from zq.wire.limits import MARKED_VERBS, NAME_BYTES_MAX
from zq.wire.policies import read_policies

REPLAY_RATE_MIN, REPLAY_RATE_MAX = 0.001, 100_000.0
"""Dead letters a second that a replay may bring back: from a few an hour to what the coordinator can do."""

LATER: Final = object()
"""In the place of an answer: who asked is answered when it is done, perhaps in another step."""

REPLAYS_MAX = 100
"""Replays at the same time: each is looked at in every step."""


FREE_POLICIES = frozenset(("paused", "draining"))
"""Policies that may be set of a queue that is there while the store is full: they are of use then, and take no room."""


def carry_out(books: Books, step: Step, verb: str, arguments: dict[str, Any]) -> Any:
    """Carries out a command.

    Raises:
        InvalidRequestError: there is no such command, or an argument cannot be; nothing was changed.
    """
    command = COMMANDS.get(verb)
    if command is None:
        raise InvalidRequestError(f"expected a command of {', '.join(COMMANDS)}, got {short(verb)}")
    checked(arguments, books.queues)
    mark = _mark_in(arguments)
    known = answers.find(step, mark) if mark and verb in MARKED_VERBS else None
    if known is not None and known.is_over:
        return _run_schedule_before(step, arguments) if verb == "run-schedule" else known.value
    value = command(books, step, arguments)
    if verb in MARKED_VERBS and value is not LATER:
        answers.note(step, mark, None if verb == "run-schedule" else value)
    return value


def _mark_in(arguments: dict[str, Any]) -> str:
    mark = optional_text_in(arguments, "mark") or ""
    if len(mark.encode()) > NAME_BYTES_MAX:
        raise InvalidRequestError(f"expected a mark of at most {NAME_BYTES_MAX} bytes, got {short(mark)}")
    return mark


def _run_schedule_before(step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    return schedules.show(step, text_in(arguments, "name"))


def _retry(books: Books, step: Step, arguments: dict[str, Any]) -> bool:
    books.ceilings.check_store(step)
    return _revive_one(books, step, text_in(arguments, "id"), None)


def _revive_one(books: Books, step: Step, id: str, to: Queue | None) -> bool:
    dead = _find_one(books, step, id)
    return dead is not None and dead_letters.revive(books, step, dead.batch, to)


def _find_one(books: Books, step: Step, id: str) -> Dead | None:
    known = places.find(step, id)
    return None if known is None else places.read_dead(books, step, known.key)


def _replay(books: Books, step: Step, arguments: dict[str, Any]) -> object:
    books.ceilings.check_store(step)
    to = _target(books, step, arguments)
    id = optional_text_in(arguments, "id")
    if id is not None:
        return int(_revive_one(books, step, id, to))
    search = _search(books, arguments, is_purge=False)
    search.to = None if to is None else to.name
    dead_searches.begin(books, step, search)
    return LATER


def _search(books: Books, arguments: dict[str, Any], *, is_purge: bool) -> DeadSearch:
    """Reads which dead letters of a queue, or of all queues of the namespace that asks, are meant, by their reason."""
    queue, reason = named_queue(books, arguments), optional_text_in(arguments, "reason")
    number = None if queue is None else queue.number
    limit = limit_in(arguments, LIST_MAX)
    return DeadSearch(number, prefix(arguments), reason, limit, is_purge, mark=_mark_in(arguments))


def _start_replay(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    if arguments.get("namespace") is not None and arguments.get("queue") is None:
        raise InvalidRequestError("expected a queue: a replay within a namespace is of one queue")
    books.ceilings.check_store(step)
    rate = number_in(arguments, "rate", REPLAY_RATE_MIN, REPLAY_RATE_MAX)
    id = name_in(arguments, "id")
    if len(books.replays) >= REPLAYS_MAX and id not in books.replays:
        raise InvalidRequestError(f"{REPLAYS_MAX} replays are going on, which is the most there may be")
    queue, reason = named_queue(books, arguments), optional_text_in(arguments, "reason")
    return dead_letters.start_replay(books, step, id, rate, queue, reason, _target(books, step, arguments)).as_map()


def _stop_replay(books: Books, step: Step, arguments: dict[str, Any]) -> bool:
    return dead_letters.stop_replay(books, step, text_in(arguments, "id"))


def _target(books: Books, step: Step, arguments: dict[str, Any]) -> Queue | None:
    """Returns the queue to which dead letters are to go; it is made if need be, as by a submit."""
    return None if arguments.get("to") is None else books.queue_for(step, queue_in(arguments, "to"))


def _purge_dead(books: Books, step: Step, arguments: dict[str, Any]) -> object:
    id = optional_text_in(arguments, "id")
    if id is None:
        dead_searches.begin(books, step, _search(books, arguments, is_purge=True))
        return LATER
    one = _find_one(books, step, id)
    if one is not None:
        dead_letters.purge(books, step, one)
    return int(one is not None)


def _bury(books: Books, step: Step, arguments: dict[str, Any]) -> object:
    books.ceilings.check_store(step)
    reason = optional_text_in(arguments, "reason") or "buried by a client"
    chores.bury(books, step, step.asker, text_in(arguments, "id"), reason, _mark_in(arguments))
    return LATER


def _set_queue(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    name = arguments.get("queue")
    if name not in books.queues:
        name = queue_in(arguments, "queue")
    policies = {policy: value for policy, value in arguments.items() if policy not in ("queue", "namespace")}
    changes = judged(read_policies, policies)
    if name not in books.queues or not set(changes) <= FREE_POLICIES:
        books.ceilings.check_store(step)
    queue = books.queue_for(step, name)
    set_policies(books, step, queue, queue.policies._replace(**changes))
    if books.events is not None:
        text_of = ", ".join(f"{policy}={value}" for policy, value in changes.items())
        books.events.note("queue", queue.name, text=f"set {text_of}")
    return queue_fields(books, step, queue)


def _pause(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    return _set_queue(books, step, {"queue": arguments.get("queue"), "paused": True})


def _drain(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    return _set_queue(books, step, {"queue": arguments.get("queue"), "draining": True})


def _resume(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    return _set_queue(books, step, {"queue": arguments.get("queue"), "paused": False, "draining": False})


def _set_schedule(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    changes = {name: value for name, value in arguments.items() if name != "namespace"}
    if set(changes) - {"name", "is_paused"}:
        books.ceilings.check_store(step)
    return schedules.change(books, step, text_in(arguments, "name"), schedules.check_changes(changes))


def _delete_schedule(books: Books, step: Step, arguments: dict[str, Any]) -> bool:
    return schedules.delete(books, step, text_in(arguments, "name"))


def _run_schedule(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    return schedules.run_now(books, step, text_in(arguments, "name"))


COMMANDS: dict[str, Callable[[Books, Step, dict[str, Any]], Any]] = {
    "retry": _retry,
    "replay": _replay,
    "start-replay": _start_replay,
    "stop-replay": _stop_replay,
    "purge-dead": _purge_dead,
    "bury": _bury,
    "set-schedule": _set_schedule,
    "delete-schedule": _delete_schedule,
    "run-schedule": _run_schedule,
    "set-queue": _set_queue,
    "pause": _pause,
    "drain": _drain,
    "resume": _resume,
    "purge": operations.purge,
    "move": operations.move,
    "delete": operations.delete,
    "set-namespace": namespaces.set_limits,
    "steer-worker": workers.steer,
    "bind": publishing.bind,
    "unbind": publishing.unbind,
}
