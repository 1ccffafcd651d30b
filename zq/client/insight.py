"""Why a task does not run now, as a client is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason why a task does not run at the moment, or that it does, or how it ended.

    Attributes:
        id: of the task.
        code: one of docs/semantics.md, Insight, such as "not-due", "key-held" or "no-worker"; for programs.
        text: the same in a sentence, for people.
        details: what it rests on, by name; which names there are depends on the code. Times are wall, in seconds since
            1970.
    """

    id: str
    code: str
    text: str
    details: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.id}: {self.text}"
