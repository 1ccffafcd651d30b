"""What people and programs may have a coordinator do beside a task's own life (protocol 4); each command is one transaction."""

from collections.abc import Callable
from itertools import islice
from typing import Any

from zq.core import endings, queries
from zq.core.arguments import LIST_MAX, InvalidRequestError, limit, named_queue, text
from zq.core.books import Books, Step
from zq.core.endings import DEAD, Place
from zq.core.policies import read_policies


def carry_out(books: Books, step: Step, verb: str, arguments: dict[str, Any]) -> Any:
    """Carries out a command.

    Raises:
        InvalidRequestError: there is no such command, or an argument cannot be; nothing was changed.
    """
    command = COMMANDS.get(verb)
    if command is None:
        raise InvalidRequestError(f"expected a command of {', '.join(COMMANDS)}, got {verb!r}")
    return command(books, step, arguments)


def _retry(books: Books, step: Step, arguments: dict[str, Any]) -> bool:
    id = text(arguments, "id")
    known = endings.find(step, id)
    if not isinstance(known, Place) or known.where != DEAD:
        return False
    dead = endings.read_dead(books, step, known.key)
    if dead is None:
        return False
    endings.revive(books, step, dead[0])
    return True


def _replay(books: Books, step: Step, arguments: dict[str, Any]) -> int:
    queue = named_queue(books, arguments)
    found = [dead[0] for _, dead in islice(queries.list_dead(books, step, queue), limit(arguments, LIST_MAX))]
    for batch in found:
        endings.revive(books, step, batch)
    return len(found)


def _set_queue(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    name = text(arguments, "queue")
    try:
        changes = read_policies({policy: value for policy, value in arguments.items() if policy != "queue"})
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
    queue = books.queue(step, name)
    books.set_policies(queue, queue.policies._replace(**changes))
    books.changed[queue] = None
    return queries.queue_fields(books, queue)


COMMANDS: dict[str, Callable[[Books, Step, dict[str, Any]], Any]] = {
    "retry": _retry,
    "replay": _replay,
    "set-queue": _set_queue,
}
