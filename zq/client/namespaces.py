"""Namespaces as a program sees them: `client.namespaces.set(...)`, `.list()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from zq.client.browsing import rows
from zq.client.calls import Calls, Face
from zq.client.driving import AsyncDriver, Call, Driver, understood
from zq.client.insight import value_of, values_of
from zq.wire.namespaces import check_namespace


class NamespaceLimits(TypedDict, total=False):
    """What `Client.namespaces.set` may set; None takes a limit away.

    Keys:
        max_tasks: unfinished tasks in all queues of the namespace, above which submits are refused as busy.
        max_bytes: of the payloads of these tasks.
    """

    max_tasks: int | None
    max_bytes: int | None


@dataclass(frozen=True, slots=True)
class NamespaceStatus:
    """A namespace as it is now: the tasks of all of its queues by state, and its limits."""

    name: str
    queues: int
    waiting: int
    scheduled: int
    leased: int
    dead: int
    done: int  # how many have ended so, ever
    bytes: int  # of the payloads of the unfinished tasks
    max_tasks: int | None  # None: no limit
    max_bytes: int | None  # None: no limit


class Namespaces(Face[Driver]):
    """The namespaces of a coordinator; any thread may use it while its client is open. Their names are within the
    namespace of the client, if it has one.

    All raise UnreachableError, TimedOutError and ClosedError as `Client.submit`.
    """

    __slots__ = ()

    def set(self, name: str, **limits: Unpack[NamespaceLimits]) -> NamespaceStatus:
        """Limits what the queues of a namespace hold together, at once and over restarts; returns the namespace.

        Args:
            limits: max_tasks (unfinished tasks) and max_bytes (of their payloads), above which submits are refused as
                busy; what is not named stays as it is, None takes a limit away.

        Raises:
            ValueError: the name or a limit cannot be.
        """
        return self._run(_set(self._calls, name, limits))

    def list(self, limit: int | None = None) -> list[NamespaceStatus]:
        """Returns the namespaces that queues are in, or that have limits, by name; at most `limit`, or all."""
        return self._run(_list(self._calls, limit))


class AsyncNamespaces(Face[AsyncDriver]):
    """The namespaces of a coordinator, awaited; as `Namespaces`."""

    __slots__ = ()

    async def set(self, name: str, **limits: Unpack[NamespaceLimits]) -> NamespaceStatus:
        """As `Namespaces.set`."""
        return await self._run(_set(self._calls, name, limits))

    async def list(self, limit: int | None = None) -> list[NamespaceStatus]:
        """As `Namespaces.list`."""
        return await self._run(_list(self._calls, limit))


# The calls, written once for both.


@understood
def _set(calls: Calls, name: str, limits: Mapping[str, Any]) -> Call[NamespaceStatus]:
    for limit, value in limits.items():
        if limit not in ("max_tasks", "max_bytes"):
            raise ValueError(f"expected limits max_tasks and max_bytes, got {limit}")
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise ValueError(f"expected {limit} as a number from 0, or None, got {value!r}")
    row = yield from calls.command("set-namespace", {"name": check_namespace(name), **limits})
    return value_of(NamespaceStatus, row)


@understood
def _list(calls: Calls, limit: int | None) -> Call[list[NamespaceStatus]]:
    return values_of(NamespaceStatus, (yield from rows(calls, "namespaces", {"limit": limit})))
