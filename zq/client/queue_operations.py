"""Operations on whole queues as a program sees them: `client.queues.purge(...)`, `.move(...)`, `.drain(...)`,
`.delete(...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from zq.client.calls import Calls, Steps
from zq.submit_options import check_name

TaskState = Literal["waiting", "parked", "scheduled", "dead"]
"""Tasks of a queue that can be purged or moved; parked ones wait behind others of their key."""

STATES: tuple[TaskState, ...] = ("waiting", "scheduled")
"""What is purged and moved when nothing else is said; those that are parked go with the waiting ones."""


def operate(calls: Calls, verb: str, arguments: dict[str, Any]) -> Steps:
    """Begins an operation and stays with it until it is done, or only running tasks keep it from its end; returns it as
    a map.
    """
    id = calls.session.make_id()
    row = yield from calls.command(verb, {"id": id, **arguments})
    while row["state"] == "running":  # each question is answered after another portion
        found = yield from calls.query("operations", {"id": id})
        row = found[0] if found else {**row, "state": "done"}
    return row


def purge(calls: Calls, name: str, states: Iterable[TaskState]) -> Steps:
    return operate(calls, "purge", {"queue": check_name("queue", name), "states": checked(states)})


def move(calls: Calls, name: str, to: str, states: Iterable[TaskState]) -> Steps:
    arguments = {"queue": check_name("queue", name), "to": check_name("to", to), "states": checked(states)}
    return operate(calls, "move", arguments)


def delete(calls: Calls, name: str, *, may_purge: bool) -> Steps:
    return operate(calls, "delete", {"queue": check_name("queue", name), "purge": may_purge})


def checked(states: Iterable[str]) -> list[TaskState]:
    """Returns the states if they are some; raises ValueError."""
    named = [states] if isinstance(states, str) else list(states)
    if not named or not set(named) <= set(get_args(TaskState)):
        raise ValueError(f"expected states of {', '.join(get_args(TaskState))}, got {named!r}")
    return [state for state in get_args(TaskState) if state in named]


class _QueueCalls:
    """What both faces have."""

    __slots__ = ("_calls", "_run")

    def __init__(self, calls: Calls, run: Callable[[Steps], Any]) -> None:
        self._calls = calls
        self._run = run  # drives a call: blocks, or returns an awaitable

    def _set(self, name: str, **policies: Any) -> Any:
        return self._run(self._calls.set_queue(name, policies))

    def _operations(self) -> Any:
        return self._run(self._calls.query("operations", {}))


class QueueOperations(_QueueCalls):
    """Operations on the queues of a coordinator; any thread may use it while its client is open.

    Purging, moving and deleting take as many steps of the coordinator as they need, block nobody else, and go on
    without this client and over restarts. They look at what was accepted before they began and leave alone what runs.
    All raise RemoteProtocolError for what the coordinator refuses (a queue that is not there, say), ValueError for what
    cannot be, and UnreachableError, TimedOutError and ClosedError as `Client.submit`.
    """

    __slots__ = ()

    def purge(self, name: str, states: Iterable[TaskState] = STATES) -> int:
        """Ends the tasks of a queue as cancelled, and gives its dead letters up if they are named; returns how many.

        Args:
            name: of the queue.
            states: which; "waiting" includes "parked".
        """
        return int(self._run(purge(self._calls, name, states))["tasks"])

    def move(self, name: str, to: str, states: Iterable[TaskState] = STATES) -> int:
        """Moves tasks to another queue, with their ids, order, attempts and history, whatever its limits; returns how
        many.

        Args:
            name: of the queue.
            to: the other one; it is made if need be, and may not be draining.
            states: which; "waiting" includes "parked". What stands behind a running task of its ordered key stays.
        """
        return int(self._run(move(self._calls, name, to, states))["tasks"])

    def drain(self, name: str) -> dict[str, Any]:
        """Accepts nothing new in a queue, which is made if need be, and lets it run empty, until `Client.resume_queue`;
        returns it as `Client.set_queue`.
        """
        queue: dict[str, Any] = self._set(name, draining=True)
        return queue

    def delete(self, name: str, *, purge: bool = False) -> bool:
        """Forgets a queue with its policies and bindings; workers that ask for it make it anew.

        Args:
            name: of the queue.
            purge: whether to end what is in it; without, it must be empty.

        Returns:
            False when tasks of it still run: it accepts and assigns nothing, and is deleted when the last one has
            ended.
        """
        return bool(self._run(delete(self._calls, name, may_purge=purge))["state"] == "done")

    def operations(self) -> list[dict[str, Any]]:
        """Returns the operations that go on, and the last 100 that are done: id, kind, queue, to, states, state, tasks,
        times.
        """
        found: list[dict[str, Any]] = self._operations()
        return found


class AsyncQueueOperations(_QueueCalls):
    """Operations on the queues of a coordinator, awaited; as `QueueOperations`."""

    __slots__ = ()

    async def purge(self, name: str, states: Iterable[TaskState] = STATES) -> int:
        """As `QueueOperations.purge`."""
        return int((await self._run(purge(self._calls, name, states)))["tasks"])

    async def move(self, name: str, to: str, states: Iterable[TaskState] = STATES) -> int:
        """As `QueueOperations.move`."""
        return int((await self._run(move(self._calls, name, to, states)))["tasks"])

    async def drain(self, name: str) -> dict[str, Any]:
        """As `QueueOperations.drain`."""
        queue: dict[str, Any] = await self._set(name, draining=True)
        return queue

    async def delete(self, name: str, *, purge: bool = False) -> bool:
        """As `QueueOperations.delete`."""
        return bool((await self._run(delete(self._calls, name, may_purge=purge)))["state"] == "done")

    async def operations(self) -> list[dict[str, Any]]:
        """As `QueueOperations.operations`."""
        found: list[dict[str, Any]] = await self._operations()
        return found
