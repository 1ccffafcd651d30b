"""What is found of a directory, in words: where, what, and what to do about it."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Weight(IntEnum):
    """How grave a finding is: as it should be, worth knowing, to be seen to, or something is broken."""

    FINE = 0
    NOTE = 1
    WARNING = 2
    BROKEN = 3


class Finding(NamedTuple):
    """One thing that was found.

    Attributes:
        weight: how grave it is.
        where: a file, a table, or what was looked at.
        text: what is so.
        remedy: what to do about it; empty when there is nothing to be done.
    """

    weight: Weight
    where: str
    text: str
    remedy: str = ""
