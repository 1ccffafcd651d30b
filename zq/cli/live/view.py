"""What somebody looks at, and what a key makes of it. Nothing here knows a terminal.

A view chooses rows by their names, not by their places: what is chosen stays so while rows come, go and move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from zq.cli.live.trends import Inspected, ShownRow, Snapshot

PANES = ("queues", "workers", "failures")

PAGE = 10
"""Rows that page up and page down go."""

OrderVerb = Literal["quit", "pause", "resume", "drain", "drain-worker", "resume-worker", "cancel", "retry"]


class Order(NamedTuple):
    """Something that is to be done."""

    verb: OrderVerb
    name: str = ""


QUESTIONS: Mapping[str, str] = {
    "drain": "let queue {} run empty, and refuse what comes",
    "drain-worker": "let worker {} end what it has, and take nothing more",
    "cancel": "cancel task {}",
}
"""What is asked before an order is carried out, by its verb; all others can be taken back by another key."""


@dataclass(frozen=True, slots=True)
class TopView:
    """Where somebody looks."""

    pane: str = "queues"
    mode: Literal["look", "filter", "ask", "help"] = "look"
    filter: str = ""  # text that is in the names of what is shown
    chosen: Mapping[str, str] | None = None  # key of the chosen row, by place: a pane, or a subject
    subjects: tuple[
        Inspected, ...
    ] = ()  # looked at closely; the last one is on the screen, esc goes back to the others
    scroll: int = 0  # first line that is shown of a task
    asked: Order | None = None  # waits for y or n
    said: str = ""  # what became of the last order

    @property
    def subject(self) -> Inspected | None:
        """What is looked at closely, if anything is."""
        return self.subjects[-1] if self.subjects else None


def press(view: TopView, key: str, snapshot: Snapshot) -> tuple[TopView, Order | None]:
    """Returns the view after a key, and what is to be done, if anything is.

    Args:
        key: a character, or one of up, down, left, right, pageup, pagedown, home, end, tab, backtab, enter, escape,
            backspace.
    """
    match view.mode:
        case "filter":
            return _press_filter(view, key), None
        case "ask":
            order = view.asked
            return replace(view, mode="look", asked=None, said=""), order if key in ("y", "Y") else None
        case "help":
            return replace(view, mode="look"), None
        case "look":
            return _press_look(replace(view, said=""), key, snapshot)


def _press_filter(view: TopView, key: str) -> TopView:
    if key == "enter":
        return replace(view, mode="look")
    if key == "escape":
        return replace(view, mode="look", filter="")
    if key == "backspace":
        return replace(view, filter=view.filter[:-1])
    return replace(view, filter=view.filter + key) if len(key) == 1 and key.isprintable() else view


def _press_look(view: TopView, key: str, snapshot: Snapshot) -> tuple[TopView, Order | None]:
    match key:
        case "q":
            return view, Order("quit")
        case "?":
            return replace(view, mode="help"), None
        case "/" if not view.subjects:
            return replace(view, mode="filter"), None
        case "escape" | "backspace" | "left":
            return _back(view), None
        case "tab" | "backtab" if not view.subjects:
            step = 1 if key == "tab" else -1
            return replace(view, pane=PANES[(PANES.index(view.pane) + step) % len(PANES)]), None
        case "enter" | "right":
            return _inspected(view, snapshot), None
        case _ if key in STEPS:
            return _moved(view, STEPS[key], snapshot), None
        case _:
            return _ordered(view, order_of(view, key, snapshot))


STEPS: Mapping[str, int] = {
    "up": -1,
    "k": -1,
    "down": 1,
    "j": 1,
    "pageup": -PAGE,
    "pagedown": PAGE,
    "home": -1_000_000,
    "g": -1_000_000,
    "end": 1_000_000,
    "G": 1_000_000,
}


def _back(view: TopView) -> TopView:
    if view.subjects:
        return replace(view, subjects=view.subjects[:-1], scroll=0)
    return replace(view, filter="")


def _inspected(view: TopView, snapshot: Snapshot) -> TopView:
    row = chosen_row(view, snapshot)
    if row is None:
        return view
    if view.subjects:
        kind, id = "task", row["id"]
    else:
        kind, id = {"queues": ("queue", "name"), "workers": ("worker", "name"), "failures": ("task", "id")}[view.pane]
        id = row[id]
    if not id:
        return view
    return replace(view, subjects=(*view.subjects, Inspected(kind, id)), scroll=0)


def _moved(view: TopView, step: int, snapshot: Snapshot) -> TopView:
    if view.subject is not None and view.subject.kind == "task":
        return replace(view, scroll=max(0, view.scroll + step))
    rows = rows_of(view, snapshot)
    if not rows:
        return view
    at = min(max(chosen_at(view, rows) + step, 0), len(rows) - 1)
    return replace(view, chosen={**(view.chosen or {}), place_of(view): key_of(rows[at])})


def _ordered(view: TopView, order: Order | None) -> tuple[TopView, Order | None]:
    if order is not None and order.verb in QUESTIONS:
        return replace(view, mode="ask", asked=order), None
    return view, order


def order_of(view: TopView, key: str, snapshot: Snapshot) -> Order | None:
    """Returns what a key would have done to what is chosen, or to what is looked at closely."""
    subject = view.subject
    if subject is None:
        row = chosen_row(view, snapshot)
        kind = {"queues": "queue", "workers": "worker"}.get(view.pane, "task")
        subject = None if row is None else Inspected(kind, str(row.get("name") or row.get("id") or ""))
    if subject is None:
        return None
    verb = _VERBS.get((subject.kind, key))
    return None if verb is None else Order(verb, subject.id)


_VERBS: dict[tuple[str, str], OrderVerb] = {
    ("queue", "p"): "pause",
    ("queue", "r"): "resume",
    ("queue", "d"): "drain",
    ("worker", "r"): "resume-worker",
    ("worker", "d"): "drain-worker",
    ("task", "c"): "cancel",
    ("task", "r"): "retry",
}


# What is chosen.


def place_of(view: TopView) -> str:
    """Returns the name of the list in which something is chosen: a pane, or a subject."""
    return view.pane if view.subject is None else f"{view.subject.kind} {view.subject.id}"


def rows_of(view: TopView, snapshot: Snapshot, pane: str | None = None) -> Sequence[ShownRow]:
    """Returns the rows of a pane that the filter lets through, or of what is looked at closely its tasks."""
    if pane is None and view.subject is not None:
        detail = snapshot.detail
        return detail.tasks if detail is not None and detail.subject == view.subject else ()
    pane = pane or view.pane
    rows = {"queues": snapshot.queues, "workers": snapshot.workers, "failures": snapshot.failures or ()}[pane]
    wanted = view.filter.casefold()
    return [row for row in rows if wanted in _text_of(row).casefold()] if wanted else rows


def _text_of(row: ShownRow) -> str:
    return " ".join(str(row.get(name, "")) for name in ("name", "queue", "queues", "worker", "error"))


def key_of(row: ShownRow) -> str:
    """Returns what a row is known by: a failed task may have several."""
    if "name" in row:
        return str(row["name"])
    return f"{row.get('id')} {row.get('attempt', '')}"


def chosen_at(view: TopView, rows: Sequence[ShownRow], place: str | None = None) -> int:
    """Returns which row is chosen; the first one, when what was chosen is gone."""
    wanted = (view.chosen or {}).get(place or place_of(view))
    return next((at for at, row in enumerate(rows) if key_of(row) == wanted), 0)


def chosen_row(view: TopView, snapshot: Snapshot) -> ShownRow | None:
    """Returns the row that is chosen, if there is one."""
    rows = rows_of(view, snapshot)
    return rows[chosen_at(view, rows)] if rows else None


def visible(rows: Sequence[Any], at: int, room: int) -> tuple[int, Sequence[Any]]:
    """Returns the rows for which there is room, with the chosen one among them, and the place of the first."""
    first = min(max(0, at - room // 2), max(0, len(rows) - room))
    return first, rows[first : first + room]
