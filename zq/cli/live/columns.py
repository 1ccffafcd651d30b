"""Tables of a given width: columns drop by their importance, and are not cut, so that names can be copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size

from zq.cli.live.trends import ShownRow

_GAP = "  "


class Line(NamedTuple):
    """A line of a screen, in one style: of `zq.cli.live.terminal`, or none."""

    text: str
    style: str = ""


class Column(NamedTuple):
    """A column of a table."""

    title: str
    cell: Callable[[ShownRow], str]
    is_right: bool = True
    weight: int = 0  # 0 stays; of the others the largest drops first when there is no room
    width_min: int = 0  # so that columns do not dance while numbers change
    is_prose: bool = False  # takes what is left over, and is cut: what it says is said elsewhere, too


def table(columns: Sequence[Column], rows: Sequence[ShownRow], width: int) -> tuple[str, list[str]]:
    """Returns the line of titles and a line for each row, all of them of the width.

    Only when the first column does not fit even alone with those of weight 0, it is cut, with a mark.
    """
    cells = [[column.cell(row) for row in rows] for column in columns]
    widths = [
        max([column.width_min, cell_len(column.title), *(() if column.is_prose else map(cell_len, cells[at]))])
        for at, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    while sum(widths[at] for at in kept) + len(_GAP) * (len(kept) - 1) > width:
        spare = max(kept, key=lambda at: (columns[at].weight, at))
        if not columns[spare].weight:
            break
        kept.remove(spare)
    widths[0] = max(1, min(widths[0], width - sum(widths[at] for at in kept[1:]) - len(_GAP) * (len(kept) - 1)))
    left = width - sum(widths[at] for at in kept) - len(_GAP) * (len(kept) - 1)
    for at in (at for at in kept if columns[at].is_prose):
        widths[at] += max(0, left)
    titles = _GAP.join(padded(columns[at].title, widths[at], is_right=columns[at].is_right) for at in kept)
    lines = [
        _GAP.join(padded(cells[at][row], widths[at], is_right=columns[at].is_right) for at in kept)
        for row in range(len(rows))
    ]
    return fitted(titles, width), [fitted(line, width) for line in lines]


def padded(text: str, width: int, *, is_right: bool = False) -> str:
    """Returns a text of a width, in cells of a terminal."""
    if is_right and cell_len(text) < width:
        return " " * (width - cell_len(text)) + text
    return fitted(text, width)


def fitted(text: str, width: int) -> str:
    """Returns a text of a width: filled with blanks, or cut with a mark."""
    if width <= 0:
        return ""
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return set_cell_size(text, width)


def shown_value(value: Any) -> str:
    """Returns a dash for what is not known."""
    return "-" if value is None else str(value)
