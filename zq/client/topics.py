"""Topics as a program sees them: which queues get what is published to which topics, `client.topics.bind(...)` and its
like. `zq.client.publications` publishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zq.client.browsing import rows
from zq.client.calls import Calls, Face
from zq.client.driving import AsyncDriver, Call, Driver, understood
from zq.client.insight import values_of
from zq.submit_options import check_name, make_header_list
from zq.wire.topics import check_pattern, check_topic


@dataclass(frozen=True, slots=True)
class TopicBinding:
    """A queue gets a task of each publication whose topic matches a pattern, and whose headers have all of these."""

    pattern: str
    queue: str
    headers: dict[str, str]  # empty: no condition


class Topics(Face[Driver]):
    """The bindings of a coordinator's queues to topics; any thread may use it while its client is open.

    All raise ValueError and TypeError for what cannot be, and UnreachableError, TimedOutError and ClosedError as
    `Client.submit`.
    """

    __slots__ = ()

    def bind(self, pattern: str, queue: str, headers: Mapping[str, str] | None = None) -> bool:
        """Binds a queue to a pattern of topics: from now on it gets a task of each publication that matches; kept over
        restarts.

        Args:
            pattern: dot-separated words; `*` stands for one word, `#` for none or more.
            queue: its name; it is made if need be.
            headers: what a publication's headers must have, all of it; None for no condition.

        Returns:
            False when it is bound so already.

        Raises:
            BusyError: there are too many bindings, or the store is full.
        """
        return self._run(_bind(self._calls, pattern, queue, headers))

    def unbind(self, pattern: str, queue: str, headers: Mapping[str, str] | None = None) -> int:
        """Removes the bindings of a queue with a pattern; returns how many. Tasks that it has got stay.

        Args:
            pattern: as it was bound.
            headers: only the binding with exactly these; None for all with the pattern.
        """
        return self._run(_unbind(self._calls, pattern, queue, headers))

    def match(self, topic: str, headers: Mapping[str, str] | None = None) -> list[str]:
        """Returns the queues that a publication to a topic, with these headers, would reach now; nothing is
        published.
        """
        return self._run(_match(self._calls, topic, headers))

    def list(self, *, queue: str | None = None, limit: int | None = None) -> list[TopicBinding]:
        """Returns bindings by pattern: all, or those that were made first.

        Args:
            queue: only of this one; None: of all.
            limit: how many at most; None: all.
        """
        return self._run(_list(self._calls, queue, limit))


class AsyncTopics(Face[AsyncDriver]):
    """The bindings of a coordinator's queues to topics, awaited; as `Topics`."""

    __slots__ = ()

    async def bind(self, pattern: str, queue: str, headers: Mapping[str, str] | None = None) -> bool:
        """As `Topics.bind`."""
        return await self._run(_bind(self._calls, pattern, queue, headers))

    async def unbind(self, pattern: str, queue: str, headers: Mapping[str, str] | None = None) -> int:
        """As `Topics.unbind`."""
        return await self._run(_unbind(self._calls, pattern, queue, headers))

    async def match(self, topic: str, headers: Mapping[str, str] | None = None) -> list[str]:
        """As `Topics.match`."""
        return await self._run(_match(self._calls, topic, headers))

    async def list(self, *, queue: str | None = None, limit: int | None = None) -> list[TopicBinding]:
        """As `Topics.list`."""
        return await self._run(_list(self._calls, queue, limit))


# The calls, written once for both.


def _bind(calls: Calls, pattern: str, queue: str, headers: Mapping[str, str] | None) -> Call[bool]:
    return calls.command("bind", _binding(pattern, queue, headers))


def _unbind(calls: Calls, pattern: str, queue: str, headers: Mapping[str, str] | None) -> Call[int]:
    return calls.command("unbind", _binding(pattern, queue, headers))


def _binding(pattern: str, queue: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {"pattern": check_pattern(check_name("pattern", pattern))}
    arguments["queue"] = check_name("queue", queue)
    if headers is not None:
        arguments["headers"] = make_header_list(headers)
    return arguments


def _match(calls: Calls, topic: str, headers: Mapping[str, str] | None) -> Call[list[str]]:
    arguments = {"topic": check_topic(check_name("topic", topic)), "headers": make_header_list(headers or {})}
    return calls.query("match", arguments)


@understood
def _list(calls: Calls, queue: str | None, limit: int | None) -> Call[list[TopicBinding]]:
    found = yield from rows(calls, "bindings", {"queue": queue, "limit": limit})
    return values_of(
        TopicBinding, sorted(found, key=lambda row: (row["pattern"], row["queue"], sorted(row["headers"].items())))
    )
