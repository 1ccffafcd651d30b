"""Queues as a program sees them: `client.queues.set(...)`, `.pause(...)`, `.purge(...)`, `.move(...)` ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Unpack, get_args

from zq.client.browsing import rows
from zq.client.calls import Calls, Face
from zq.client.driving import AsyncDriver, Call, Driver, understood
from zq.client.insight import TimeHistogram, histogram_of, value_of, values_of
from zq.submit_options import check_items, check_name
from zq.wire.policies import QueuePolicies, QueueSettings, read_policies

SweptState = Literal["waiting", "parked", "scheduled", "dead"]
"""Tasks of a queue that can be purged or moved; parked ones wait behind others of their key."""

USUAL_STATES: tuple[SweptState, ...] = ("waiting", "scheduled")
"""What is purged and moved when nothing else is said; those that are parked go with the waiting ones."""


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """A queue as it is now: tasks by state, what has happened, and what it has been told. The last three fields are
    None in a list, which does not tell them; `wait` and `run` where they were not asked for.
    """

    name: str
    waiting: int  # tasks that could be assigned, those that are parked included
    parked: int  # of these, the ones that wait behind others of their ordered key
    scheduled: int  # tasks that are not due yet
    leased: int  # tasks that run, or are with a worker or a pull
    dead: int  # dead letters
    done: int  # how many have ended so, ever
    cancelled: int
    expired: int
    rate: float  # tasks finished a second, lately
    bytes: int  # of the payloads of the unfinished tasks
    max_tasks: int  # unfinished tasks above which submits are refused, whoever has said so
    assign: str  # "least-loaded" or "hash", whoever has said so
    workers: int  # that are connected and take from it
    accepted: int = 0  # tasks that were new in it, since it was made
    failed: int = 0  # attempts that failed, likewise
    retried: int = 0  # attempts that were followed by another
    died: int = 0  # tasks that became dead letters
    lost: int = 0  # tasks that were with a worker or pull that was gone
    oldest_time: float | None = None  # when the task was accepted that waits for longest (wall); None: none waits
    alerts: tuple[str, ...] = ()  # that go on: "waiting", "age" or "dead", by the policies of that name
    wait: TimeHistogram | None = None  # from accepted or due to first assigned, since the coordinator was started
    run: TimeHistogram | None = None  # from started, if that was said, or assigned, to done or failed, likewise
    closed_by: tuple[str, ...] | None = None  # codes of `zq why` that hold all of it back; empty when nothing does
    held_keys: int | None = None  # keys that are at a limit of their own
    policies: QueuePolicies | None = None  # as they were set; None in it is the coordinator's default, or no limit


@dataclass(frozen=True, slots=True)
class OperationStatus:
    """An operation on a whole queue. Times are wall, in seconds since 1970."""

    id: str
    kind: str  # "purge", "move" or "delete"
    queue: str
    to: str | None  # the queue to which a move goes; None for the others
    states: tuple[str, ...]  # of the tasks that it is about
    state: str  # "running", "waiting" (only running tasks keep it from its end) or "done"
    tasks: int  # ended or moved so far
    started_time: float
    finished_time: float | None  # None while it goes on


class Queues(Face[Driver]):
    """The queues of a coordinator; any thread may use it while its client is open.

    Purging, moving and deleting take as many steps of the coordinator as they need, block nobody else, and go on
    without this client and over restarts. They look at what was accepted before they began and leave alone what runs.
    All raise RemoteProtocolError for what the coordinator refuses (a queue that is not there, say), ValueError for what
    cannot be, and UnreachableError, TimedOutError and ClosedError as `Client.submit`.
    """

    __slots__ = ()

    def show(self, name: str, *, with_times: bool = False) -> QueueStatus:
        """Returns one queue, with how long its tasks waited and ran if that is asked for."""
        return self._run(_show(self._calls, name, with_times=with_times))

    def set(self, name: str, **policies: Unpack[QueueSettings]) -> QueueStatus:
        """Sets policies of a queue, which is made if need be; they hold at once and over restarts. Returns the queue.

        Args:
            policies: see `zq.QueueSettings`; what is not named stays as it is, None puts it back to its default.
        """
        return self._run(_set(self._calls, name, policies))

    def pause(self, name: str) -> QueueStatus:
        """Lets nothing of a queue be assigned until it is resumed, over restarts too; submits are accepted, and what
        runs goes on. Returns the queue.
        """
        return self._run(_set(self._calls, name, {"paused": True}))

    def resume(self, name: str) -> QueueStatus:
        """Lets a paused or draining queue go on; returns it."""
        return self._run(_set(self._calls, name, {"paused": False, "draining": False}))

    def drain(self, name: str) -> QueueStatus:
        """Accepts nothing new in a queue, which is made if need be, and lets it run empty, until it is resumed; returns
        it.
        """
        return self._run(_set(self._calls, name, {"draining": True}))

    def purge(self, name: str, states: Iterable[SweptState] = USUAL_STATES) -> int:
        """Ends the tasks of a queue as cancelled, and gives its dead letters up if they are named; returns how many.

        Args:
            states: which; "waiting" includes "parked".
        """
        return self._run(_purge(self._calls, name, states))

    def move(self, name: str, to: str, states: Iterable[SweptState] = USUAL_STATES) -> int:
        """Moves tasks to another queue, with their ids, order, attempts and history, whatever its limits; returns how
        many.

        Args:
            to: the other one; it is made if need be, and may not be draining.
            states: which; "waiting" includes "parked". What stands behind a running task of its ordered key stays.
        """
        return self._run(_move(self._calls, name, to, states))

    def delete(self, name: str, *, may_purge: bool = False) -> bool:
        """Forgets a queue with its policies and bindings; workers that ask for it make it anew.

        Args:
            may_purge: whether to end what is in it; without, it must be empty.

        Returns:
            False when tasks of it still run: it accepts and assigns nothing, and is deleted when the last one has
            ended.
        """
        return self._run(_delete(self._calls, name, may_purge=may_purge))

    def operations(self) -> list[OperationStatus]:
        """Returns the operations that go on, and the last 100 that are done."""
        return self._run(_operations(self._calls))

    def list(self, *, with_times: bool = False) -> list[QueueStatus]:
        """Returns all queues, by name, with how long their tasks waited and ran if that is asked for."""
        return self._run(_list(self._calls, with_times=with_times))


class AsyncQueues(Face[AsyncDriver]):
    """The queues of a coordinator, awaited; as `Queues`."""

    __slots__ = ()

    async def show(self, name: str, *, with_times: bool = False) -> QueueStatus:
        """As `Queues.show`."""
        return await self._run(_show(self._calls, name, with_times=with_times))

    async def set(self, name: str, **policies: Unpack[QueueSettings]) -> QueueStatus:
        """As `Queues.set`."""
        return await self._run(_set(self._calls, name, policies))

    async def pause(self, name: str) -> QueueStatus:
        """As `Queues.pause`."""
        return await self._run(_set(self._calls, name, {"paused": True}))

    async def resume(self, name: str) -> QueueStatus:
        """As `Queues.resume`."""
        return await self._run(_set(self._calls, name, {"paused": False, "draining": False}))

    async def drain(self, name: str) -> QueueStatus:
        """As `Queues.drain`."""
        return await self._run(_set(self._calls, name, {"draining": True}))

    async def purge(self, name: str, states: Iterable[SweptState] = USUAL_STATES) -> int:
        """As `Queues.purge`."""
        return await self._run(_purge(self._calls, name, states))

    async def move(self, name: str, to: str, states: Iterable[SweptState] = USUAL_STATES) -> int:
        """As `Queues.move`."""
        return await self._run(_move(self._calls, name, to, states))

    async def delete(self, name: str, *, may_purge: bool = False) -> bool:
        """As `Queues.delete`."""
        return await self._run(_delete(self._calls, name, may_purge=may_purge))

    async def operations(self) -> list[OperationStatus]:
        """As `Queues.operations`."""
        return await self._run(_operations(self._calls))

    async def list(self, *, with_times: bool = False) -> list[QueueStatus]:
        """As `Queues.list`."""
        return await self._run(_list(self._calls, with_times=with_times))


# The calls, written once for both.


@understood
def _list(calls: Calls, *, with_times: bool) -> Call[list[QueueStatus]]:
    return [_listed(row) for row in (yield from rows(calls, "queues", {"with_times": with_times}))]


@understood
def _show(calls: Calls, name: str, *, with_times: bool) -> Call[QueueStatus]:
    arguments = {"queue": check_name("queue", name), "with_times": with_times}
    return _status_of((yield from calls.query("queue", arguments)))


@understood
def _set(calls: Calls, name: str, policies: Mapping[str, Any]) -> Call[QueueStatus]:
    """What cannot be raises ValueError here, and nothing is sent."""
    arguments = {"queue": check_name("queue", name), **read_policies(policies)}
    return _status_of((yield from calls.command("set-queue", arguments)))


def _status_of(row: Mapping[str, Any]) -> QueueStatus:
    known = {name: value for name, value in row["policies"].items() if name in QueuePolicies._fields}
    return _listed({**row, "policies": QueuePolicies(**known)})


def _listed(row: Mapping[str, Any]) -> QueueStatus:
    times = {name: histogram_of(row.get(name)) for name in ("wait", "run")}
    return value_of(QueueStatus, {**row, **times})


def _purge(calls: Calls, name: str, states: Iterable[SweptState]) -> Call[int]:
    row = yield from _operate(calls, "purge", {"queue": check_name("queue", name), "states": checked(states)})
    return int(row["tasks"])


def _move(calls: Calls, name: str, to: str, states: Iterable[SweptState]) -> Call[int]:
    arguments = {"queue": check_name("queue", name), "to": check_name("to", to), "states": checked(states)}
    row = yield from _operate(calls, "move", arguments)
    return int(row["tasks"])


def _delete(calls: Calls, name: str, *, may_purge: bool) -> Call[bool]:
    row = yield from _operate(calls, "delete", {"queue": check_name("queue", name), "purge": may_purge})
    return bool(row["state"] == "done")


@understood
def _operate(calls: Calls, verb: str, arguments: dict[str, Any]) -> Call[dict[str, Any]]:
    """Begins an operation and stays with it until it is done, or only running tasks keep it from its end; returns its
    row.
    """
    id = calls.session.make_id()
    row: dict[str, Any] = yield from calls.command(verb, {"id": id, **arguments})
    while row["state"] == "running":  # each question is answered after another portion
        found = yield from rows(calls, "operations", {"id": id})
        row = found[0] if found else {**row, "state": "done"}
    return row


@understood
def _operations(calls: Calls) -> Call[list[OperationStatus]]:
    return values_of(OperationStatus, (yield from rows(calls, "operations", {})))


def checked(states: Iterable[str]) -> list[SweptState]:
    """Returns the states if they are some; raises ValueError."""
    named = [states] if isinstance(states, str) else list(check_items("states", states))
    if not named or any(one not in get_args(SweptState) for one in named):
        raise ValueError(f"expected states of {', '.join(get_args(SweptState))}, got {named!r}")
    return [state for state in get_args(SweptState) if state in named]
