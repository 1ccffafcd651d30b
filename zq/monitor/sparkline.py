"""A chart of one line of text."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

_BLOCKS = "▁▂▃▄▅▆▇█"
"""Eight heights, U+2581 to U+2588."""


def sparkline(values: Iterable[float | None], width: int) -> str:
    """Returns the last values as blocks, the newest at the right end.

    The highest one that is shown is a full block, and nothing but zero is the lowest: little is seen to be more than
    nothing.

    Args:
        values: of 0 or more; None where there is none, which is left blank.
        width: in characters, one a value; what is missing at the left is blank.
    """
    shown = list(values)[-width:] if width > 0 else []
    highest = max((value for value in shown if value is not None), default=0.0)
    return "".join(_block(value, highest) for value in shown).rjust(width)


def _block(value: float | None, highest: float) -> str:
    if value is None:
        return " "
    if value <= 0 or highest <= 0:
        return _BLOCKS[0]
    return _BLOCKS[max(1, ceil((len(_BLOCKS) - 1) * (value / highest)))]
