"""From which queue tasks come to which: forwards, callbacks of groups, notices of the dead, and what topics bring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from zq.wire.topics import NAMESPACE_SEPARATOR

WAYS_MAX: Final = 10_000
"""Ways that are remembered, in memory only: about 3 MB. The one that was not taken for longest goes for a new one."""

TOPIC_MARK: Final = "topic:"
"""Before the name of a topic, inside of its namespace."""


class Flows:
    """The ways that tasks took, by origin and target; the one that was taken last is the last."""

    __slots__ = ("_ways",)

    def __init__(self) -> None:
        self._ways: dict[tuple[str, str], tuple[int, float]] = {}  # tasks, and when the last of them came

    def __len__(self) -> int:
        return len(self._ways)

    def note(self, origin: str, target: str, tasks: int, wall: float) -> None:
        """Counts tasks that came from one queue, or topic, to another queue."""
        way = (origin, target)
        known = self._ways.pop(way, None)
        if known is None and len(self._ways) >= WAYS_MAX:
            del self._ways[next(iter(self._ways))]
        self._ways[way] = (tasks if known is None else known[0] + tasks, wall)

    def after(self, origin: str, target: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yields origin, target and row of the ways that come after one, in order."""
        for way in sorted([way for way in self._ways if way > (origin, target)]):
            tasks, last_time = self._ways[way]
            yield *way, {"origin": way[0], "target": way[1], "tasks": tasks, "last_time": last_time}


def topic_origin(topic: str) -> str:
    """Returns what stands for a topic as an origin; in a namespace it stays there."""
    namespace, separator, name = topic.rpartition(NAMESPACE_SEPARATOR)
    return f"{namespace}{separator}{TOPIC_MARK}{name}"


def topic_of(origin: str) -> str | None:
    """Returns the topic that an origin stands for; None for that of a queue."""
    namespace, separator, name = origin.rpartition(NAMESPACE_SEPARATOR)
    return f"{namespace}{separator}{name[len(TOPIC_MARK) :]}" if name.startswith(TOPIC_MARK) else None
