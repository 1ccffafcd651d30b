"""Cursors of keys that are bound: a cursor has in it the name of the next row, which may be one that is not seen.

So it stays here, and who asked gets a number for it, which is good for the same key, until so many others were given.
"""

from __future__ import annotations

from typing import Any, Final

from zq.core.rights.rights import Rights

CURSORS_MAX: Final = 10_000
"""Cursors that are kept: more than there are listings at a time."""

NUMBERED: Final = "page-"


class KeptCursors:
    """Of one guard."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, str]] = {}  # number -> name of the key, and the cursor
        self._count = 0

    def restore(self, rights: Rights, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns arguments with the cursor that a number stands for; no other cursor is taken."""
        asked = arguments.get("cursor")
        if asked is None:
            return arguments
        name, cursor = self._kept.get(asked, ("", "")) if isinstance(asked, str) else ("", "")
        return {**arguments, "cursor": cursor if name == rights.name else NUMBERED}

    def replace(self, rights: Rights, value: Any) -> Any:
        """Returns the value of an answer with a number in the place of its cursor, if it has one."""
        if not isinstance(value, dict) or not isinstance(value.get("cursor"), str):
            return value
        self._count += 1
        number = f"{NUMBERED}{self._count}"
        self._kept[number] = (rights.name, value["cursor"])
        if len(self._kept) > CURSORS_MAX:
            del self._kept[next(iter(self._kept))]
        return {**value, "cursor": number}
