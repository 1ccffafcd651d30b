"""What commands have done, for who did not hear the answer and asks again: it is told that, and nothing is done twice.

Whoever asks marks a command with a text of its own (argument `mark`). What was done is stored in the transaction that
did it, and forgotten when MARKS_MAX others have come. A command that goes on from step to step stores how far it is,
and whoever asks again, after a restart, too, has it go on from there.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from zq.core import tables
from zq.core.state.step import Step

MARKS_MAX: Final = 10_000
"""Commands that are remembered: who waits for one gives up long before there were as many."""

_COUNT_KEY: Final = b"n"
_SLOT: Final = struct.Struct(">cH")


class Remembered(NamedTuple):
    """What a command has done so far."""

    slot: int
    is_over: bool
    value: Any


def find(step: Step, mark: str) -> Remembered | None:
    """Returns what is known of a command; None when it never came, or long ago."""
    found = step.tx.get(tables.ANSWERS, _key_of(mark))
    return None if found is None else Remembered(*tables.unpack(found))


def note(step: Step, mark: str, value: Any, *, is_over: bool = True) -> None:
    """Remembers what a command has done; nothing without a mark.

    Args:
        value: a count or a truth, as it is answered.
    """
    if not mark:
        return
    known = find(step, mark)
    slot = _take_slot(step, mark) if known is None else known.slot
    step.tx.put(tables.ANSWERS, _key_of(mark), tables.pack((slot, is_over, value)))


def _take_slot(step: Step, mark: str) -> int:
    """Returns the place of a new command; the one that had it is forgotten."""
    count = step.tx.get(tables.ANSWERS, _COUNT_KEY)
    number = 0 if count is None else int(tables.unpack(count))
    slot = number % MARKS_MAX
    key = _SLOT.pack(b"s", slot)
    before = step.tx.get(tables.ANSWERS, key)
    if before is not None:
        step.tx.delete(tables.ANSWERS, _key_of(before.decode()))
    step.tx.put(tables.ANSWERS, key, mark.encode())
    step.tx.put(tables.ANSWERS, _COUNT_KEY, tables.pack(number + 1))
    return slot


def _key_of(mark: str) -> bytes:
    return b"m" + mark.encode()
