"""Groups as a client sees them: tasks whose results are joined when the last of them has ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zq.client.calls import Calls, D, Face
from zq.client.driving import AsyncDriver, Call, Driver, understood
from zq.client.insight import value_of
from zq.client.receipt import outcome_of
from zq.sessions.forwards import Forward, gather_forwards
from zq.submit_options import Policy, SubmitOptions, make_group, read_members
from zq.wire.batch import pack_payloads
from zq.wire.messages import Batch, Open

MEMBERS_SUFFIX = "."
"""Between a group's id and the number of a batch of its members: the same call makes the same ids, so it may be made
again.
"""


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """What the coordinator knows of a group; None where it knows nothing. Times are wall, in seconds since 1970."""

    id: str
    state: str  # "open", "done", "failed", "cancelled" or "unknown"
    policy: str | None = None
    size: int | None = None  # members for which it was opened
    joined: int | None = None  # members that were submitted, of those
    outstanding: int | None = None  # members that have not ended, or were not submitted yet
    callback: str | None = None  # queue
    reason: str | None = None
    opened_time: float | None = None
    finished_time: float | None = None


def submit_group(
    calls: Calls,
    id: str | None,
    members: Iterable[Any],
    queue: str | None,
    callback: str | tuple[str, SubmitOptions] | None,
    policy: Policy,
    skips_none: bool,
    options: SubmitOptions,
) -> Call[str]:
    """Opens a group and submits its members; returns its id. What hooks add to the headers, the callback gets, too."""

    def submit(name: str, made: SubmitOptions) -> Call[str]:
        to = _with_headers(callback, _added(options.get("headers"), made.get("headers")))
        return _submit_group(calls, id, members, None if queue is None else name, to, policy, skips_none, made)

    return calls.hooked(queue or "", None, options, submit)


def _added(before: Any, after: Any) -> dict[str, str]:
    """Returns the headers that hooks have added. What are none is refused where the members are made."""
    if after == before or not isinstance(after, Mapping):
        return {}
    known = before if isinstance(before, Mapping) else {}
    return {name: text for name, text in after.items() if name not in known or known[name] != text}


def _with_headers(
    callback: str | tuple[str, SubmitOptions] | None, headers: dict[str, str]
) -> str | tuple[str, SubmitOptions] | None:
    if callback is None or not headers:
        return callback
    name, options = (callback, SubmitOptions()) if isinstance(callback, str) else callback
    return name, {**options, "headers": {**headers, **(options.get("headers") or {})}}


def _submit_group(
    calls: Calls,
    id: str | None,
    members: Iterable[Any],
    queue: str | None,
    callback: str | tuple[str, SubmitOptions] | None,
    policy: Policy,
    skips_none: bool,
    options: SubmitOptions,
) -> Call[str]:
    id = id or calls.session.make_id()
    forwards = [
        Forward(0, name, made._replace(group=(id, (index,))), calls.pack(payload))
        for index, (name, made, payload) in enumerate(read_members(members, queue, options))
    ]
    group = make_group(id, len(forwards), callback, policy, skips_none=skips_none)
    batches = [
        Batch(f"{id}{MEMBERS_SUFFIX}{number}", one.queue, one.options, *pack_payloads(one.payloads))
        for number, one in enumerate(gather_forwards(forwards))
    ]
    try:
        yield from calls.ask(Open(0, group))
        _, refusal = yield from calls.submit_batches(batches)
        if refusal is not None:
            raise refusal
    except Exception as error:
        error.add_note(f"zq: group {id} may wait for its members: call again with id={id!r}, or cancel it")
        raise
    return id


def _result(calls: Calls, id: str, timeout: float | None) -> Call[Any]:
    return calls.result(*outcome_of(id), timeout)


@understood
def _status(calls: Calls, id: str) -> Call[GroupStatus]:
    return value_of(GroupStatus, (yield from calls.query("group", {"id": id})))


class GroupBase(Face[D]):
    """A group that was opened; what its faces share.

    Attributes:
        id: of the group, and of its callback.
    """

    __slots__ = ("id",)

    def __init__(self, calls: Calls, run: D, id: str) -> None:
        super().__init__(calls, run)
        self.id = id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


class Group(GroupBase[Driver]):
    """A group that `Client.group` opened; any thread may use it while its client is open."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the callback to end and returns what its handler returned; without a callback, the list of the
        members' results.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            TaskFailedError: the group failed, or its callback did.
            TaskCancelledError, TaskExpiredError, TaskUnknownError: it, or its callback, did not end as done.
            TimedOutError: it has not ended in time.
            ClosedError: the client was closed.
        """
        return self._run(_result(self._calls, self.id, timeout))

    def status(self) -> GroupStatus:
        """Returns what the coordinator knows of the group; raises as `Client.status`."""
        return self._run(_status(self._calls, self.id))

    def cancel(self) -> int:
        """Cancels the group with its members; returns how many tasks had not ended, the callback counting as one.
        Raises as `Client.cancel`.
        """
        return self._run(self._calls.cancel(self.id))


class AsyncGroup(GroupBase[AsyncDriver]):
    """A group that `AsyncClient.group` opened, awaited; as `Group`."""

    __slots__ = ()

    async def result(self, timeout: float | None = None) -> Any:
        """As `Group.result`."""
        return await self._run(_result(self._calls, self.id, timeout))

    async def status(self) -> GroupStatus:
        """As `Group.status`."""
        return await self._run(_status(self._calls, self.id))

    async def cancel(self) -> int:
        """As `Group.cancel`."""
        return await self._run(self._calls.cancel(self.id))
