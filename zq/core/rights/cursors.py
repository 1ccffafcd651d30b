"""Cursors of keys that are bound: a cursor has in it the name of the next row, which may be one that is not seen.

So it stays here, and who asked gets a number for it, which is good for the same key, until so many others were given
to it. Keys have pools of their own: however much one lists, the listings of another go on.
"""

from __future__ import annotations

from typing import Any, Final

from zq.core.rights.rights import Rights

CURSORS_MAX: Final = 64
"""Cursors that are kept of one key: more than it has listings at a time."""

POOLS_MAX: Final = 10_000
"""Keys whose cursors are kept, of which the one that has listed nothing for longest goes first."""

NUMBERED: Final = "page-"


class KeptCursors:
    """Of one guard."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, str]] = {}  # by name of the key: number -> cursor
        self._count = 0

    def restore(self, rights: Rights, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns arguments with the cursor that a number stands for; no other cursor is taken."""
        asked = arguments.get("cursor")
        if asked is None:
            return arguments
        pool = self._kept.get(rights.name, {})
        return {**arguments, "cursor": pool.get(asked, NUMBERED) if isinstance(asked, str) else NUMBERED}

    def replace(self, rights: Rights, value: Any) -> Any:
        """Returns the value of an answer with a number in the place of its cursor, if it has one."""
        if not isinstance(value, dict) or not isinstance(value.get("cursor"), str):
            return value
        self._count += 1
        number = f"{NUMBERED}{self._count}"
        pool = self._kept[rights.name] = self._kept.pop(rights.name, {})  # the last, now
        pool[number] = value["cursor"]
        if len(pool) > CURSORS_MAX:
            del pool[next(iter(pool))]
        if len(self._kept) > POOLS_MAX:
            del self._kept[next(iter(self._kept))]
        return {**value, "cursor": number}
