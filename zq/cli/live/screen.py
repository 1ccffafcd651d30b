"""The screen of a view: lines of text with styles, of exactly the size that they are asked for.

Names and texts of others are escaped here, before their width is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zq.cli.live.columns import Column, Line, fitted, shown_value, table
from zq.cli.live.detail import detail_lines
from zq.cli.live.trends import ShownRow, Snapshot, Throughput, alerts_of, oldest_time
from zq.cli.live.view import PANES, QUESTIONS, TopView, chosen_at, rows_of, visible
from zq.monitor import count, duration, moment, size, sparkline
from zq.processes.shown import printable

SPARK_WIDTH = 12
INACTIVE_ROWS = 3
"""Rows of a pane that is not the active one, when there is little room."""

HELP = """\
up, down, j, k     choose           page up, page down, g, G
tab                the next pane    / filter by name    esc back
enter              inspect a queue, a worker or a task
p   pause a queue  r   resume a queue or a worker, retry a dead task
c   cancel a task  d   drain a queue or a worker (c and d ask)
?   this help      q   quit

In and out are tasks a second, accepted and done. A queue that is paused or
drains says so. "gone in" counts down to the time at which the tasks of a
silent worker are given to others."""


def screen(view: TopView, snapshot: Snapshot, width: int, height: int, *, address: str, away: str | None) -> list[Line]:
    """Returns the lines of a screen.

    Args:
        width, height: in cells, from 1.
        address: that of the coordinator, as it was given.
        away: why no answers come, if that is so; what was last known is shown then.
    """
    top = _head(snapshot, width, address, away)
    body_height = max(0, height - len(top) - 1)
    if view.mode == "help":
        body = [Line(text) for text in HELP.splitlines()]
    elif view.subject is not None:
        body = detail_lines(view, snapshot, width, body_height)
    else:
        body = _panes(view, snapshot, width, body_height)
    body = [*body[:body_height], *[Line("")] * (body_height - len(body))]
    lines = [*top, *body, _foot(view, width)]
    return [Line(fitted(line.text, width), line.style) for line in lines[:height]]


def _head(snapshot: Snapshot, width: int, address: str, away: str | None) -> list[Line]:
    status, flow = snapshot.status, snapshot.flow
    memory = status.get("memory")
    used = memory.get("bytes") if isinstance(memory, dict) else None
    about = [
        f"zq {printable(address)}",
        moment(snapshot.time)[11:19],
        f"{_some(status, 'queue')}, {_some(status, 'worker')}",
        *([f"memory {size(used)}"] if isinstance(used, int | float) else []),
        *([f"{count(flow.commits)} commits/s"] if flow.commits is not None else []),
    ]
    oldest = oldest_time(snapshot)
    counts = [
        f"in {_rate(flow.into)}/s",
        f"out {_rate(flow.out)}/s {sparkline(flow.outs, SPARK_WIDTH)}",
        f"waiting {count(status.get('waiting', 0))}",
        *([f"oldest {duration(max(0.0, snapshot.time - oldest))}"] if oldest is not None else []),
        *(f"{name} {count(status.get(name, 0))}" for name in ("dead", "leased", "scheduled")),
    ]
    lines = [Line(_joined(about, width), "title"), Line(_joined(counts, width))]
    lines += [Line(f"! {printable(alert)}", "alert") for alert in alerts_of(snapshot)[:3]]
    return [*lines, Line(f"{printable(away)}; trying on", "alert") if away else Line("")]


def _some(status: ShownRow, what: str) -> str:
    number = status.get(f"{what}s") or 0
    return f"{count(number)} {what}{'' if number == 1 else 's'}"


def _joined(parts: Iterable[str], width: int) -> str:
    """Returns as many parts as there is room for."""
    text = ""
    for part in parts:
        longer = f"{text}   {part}" if text else part
        if text and len(longer) > width:
            break
        text = longer
    return text


def _foot(view: TopView, width: int) -> Line:
    if view.mode == "ask" and view.asked is not None:
        what = QUESTIONS[view.asked.verb].format(printable(view.asked.name))
        return Line(fitted(f"{what}? y/n", width), "ask")
    if view.mode == "filter":
        return Line(f"filter: {view.filter}▏", "ask")
    if view.said:
        return Line(printable(view.said), "title")
    if view.subject is not None:
        keys = {"task": "c cancel  r retry", "queue": "p pause  r resume  d drain", "worker": "d drain  r resume"}
        return Line(f"esc back  enter inspect  {keys[view.subject.kind]}  ? help  q quit", "dim")
    shown = f"  (filter: {view.filter})" if view.filter else ""
    return Line(f"tab pane  enter inspect  p pause  r resume  d drain  / filter  ? help  q quit{shown}", "dim")


# Panes.


def _panes(view: TopView, snapshot: Snapshot, width: int, height: int) -> list[Line]:
    lines: list[Line] = []
    rooms = rooms_of(view, snapshot, height)
    for pane in PANES:
        if rooms[pane] >= 0:
            lines += _pane(view, snapshot, pane, width, rooms[pane])
    return lines


def rooms_of(view: TopView, snapshot: Snapshot, height: int) -> dict[str, int]:
    """Returns how many rows each pane shows; -1 when there is no room for its titles either.

    Each has a line of titles and a blank one. The active pane takes what the others, with a few rows each, leave over;
    what it does not need goes to them.
    """
    wanted = {pane: max(1, len(rows_of(view, snapshot, pane))) for pane in PANES}
    others = [pane for pane in PANES if pane != view.pane]
    rooms = {pane: min(wanted[pane], INACTIVE_ROWS) for pane in others}
    left = height - sum(rooms.values()) - 2 * len(PANES)
    while left < INACTIVE_ROWS and any(room >= 0 for room in rooms.values()):
        pane = max(others, key=lambda one: (rooms[one], one))
        left += 1 if rooms[pane] > 0 else 2
        rooms[pane] -= 1
    rooms[view.pane] = max(0, min(wanted[view.pane], left))
    left -= rooms[view.pane]
    for pane in others:
        more = min(max(left, 0), wanted[pane] - rooms[pane]) if rooms[pane] >= 0 else 0
        rooms[pane] += more
        left -= more
    return rooms


def _pane(view: TopView, snapshot: Snapshot, pane: str, width: int, room: int) -> list[Line]:
    rows = rows_of(view, snapshot, pane)
    at = chosen_at(view, rows, pane)
    first, shown = visible(rows, at, room)
    columns = {"queues": _queue_columns, "workers": _worker_columns, "failures": _failure_columns}[pane](snapshot)
    hidden = f" {len(shown)} of {len(rows)}" if len(shown) < len(rows) else ""
    columns[0] = columns[0]._replace(title=f"{columns[0].title}{hidden}")
    titles, lines = table(columns, shown, width)
    is_active = pane == view.pane
    found = [Line(titles, "active" if is_active else "head")]
    for place, (row, line) in enumerate(zip(shown, lines, strict=True)):
        found.append(Line(line, "chosen" if is_active and first + place == at else _style_of(pane, row)))
    if not rows and room:
        found.append(Line(f"  {_nothing(view, snapshot, pane)}", "dim"))
    return [*found, Line("")]


def _nothing(view: TopView, snapshot: Snapshot, pane: str) -> str:
    if view.filter:
        return "none that the filter lets through"
    if pane == "failures":
        return "this coordinator does not tell of failures" if snapshot.failures is None else "nothing has failed"
    return {"queues": "no queue yet: zq submit orders '{}'", "workers": "no worker: zq worker shop:worker"}[pane]


def _style_of(pane: str, row: ShownRow) -> str:
    if pane == "queues":
        return "alert" if row.get("alerts") else "dim" if state_of(row) else ""
    if pane == "workers":
        return "alert" if row.get("state") != "live" or row.get("trouble") else ""
    return "alert" if row.get("is_dead") else ""


def _queue_columns(snapshot: Snapshot) -> list[Column]:
    def flow(row: ShownRow) -> Throughput:
        return snapshot.flow_of(row["name"])

    def oldest(row: ShownRow) -> str:
        since = row.get("oldest_time")
        return "-" if since is None else duration(max(0.0, snapshot.time - since))

    return [
        Column("QUEUES", lambda row: printable(row["name"]), is_right=False, width_min=12),
        Column("", state_of, is_right=False),
        Column("in/s", lambda row: _rate(flow(row).into), weight=2, width_min=5),
        Column("out/s", lambda row: _rate(flow(row).out), weight=1, width_min=5),
        Column("done", lambda row: sparkline(flow(row).outs, SPARK_WIDTH), is_right=False, weight=7),
        Column("waiting", _counted("waiting")),
        Column("leased", _counted("leased"), weight=3),
        Column("dead", _counted("dead"), weight=4),
        Column("oldest", oldest, weight=6, width_min=9),
        Column("sched.", _counted("scheduled"), weight=9),
        Column("failed/s", lambda row: _rate(flow(row).failed), weight=10),
        Column("workers", _counted("workers"), weight=8),
        Column("bytes", lambda row: size(row.get("bytes", 0)), weight=11),
        Column("done ever", _counted("done"), weight=12),
    ]


def _worker_columns(snapshot: Snapshot) -> list[Column]:
    gone_after = (snapshot.status.get("limits") or {}).get("gone_after")

    def heard(row: ShownRow) -> str:
        ago = float(row.get("heard_ago", 0.0))
        return f"{ago:.1f} s ago" if gone_after is None else f"gone in {max(0.0, gone_after - ago):.0f} s"

    return [
        Column("WORKERS", lambda row: printable(row["name"]), is_right=False, width_min=12),
        Column("", worker_state, is_right=False),
        Column("heard" if gone_after is None else "liveness", heard, width_min=9),
        Column("held", lambda row: count(row.get("held", 0))),
        Column("runs", lambda row: count(row.get("running", 0))),
        Column("done", lambda row: count(row.get("done", 0)), weight=1),
        Column("does", _first_task(_queue_of), is_right=False, weight=2),
        Column("task", _first_task(lambda task: str(task.get("id"))), is_right=False, weight=3),
        Column("for", _busy_for(snapshot), weight=1),
        Column("takes from", lambda row: printable(", ".join(row.get("queues") or ())), is_right=False, weight=4),
        Column("host", lambda row: printable(str(row.get("host") or "-")), is_right=False, weight=5),
        Column("pid", lambda row: shown_value(row.get("pid")), weight=6),
    ]


def _queue_of(task: ShownRow) -> str:
    return str(task.get("queue"))


def _tasks_of(row: ShownRow) -> list[ShownRow]:
    """Returns what a worker has, what runs first."""
    return sorted(row.get("tasks") or (), key=lambda task: not task.get("started_time"))


def _first_task(text: Callable[[ShownRow], str]) -> Callable[[ShownRow], str]:
    def cell(row: ShownRow) -> str:
        tasks = _tasks_of(row)
        return printable(text(tasks[0])) if tasks else "-"

    return cell


def _busy_for(snapshot: Snapshot) -> Callable[[ShownRow], str]:
    def cell(row: ShownRow) -> str:
        tasks = _tasks_of(row)
        since = tasks[0].get("started_time") if tasks else None
        more = f" +{len(tasks) - 1}" if len(tasks) > 1 else ""
        return ("-" if since is None else duration(max(0.0, snapshot.time - since))) + more

    return cell


def _failure_columns(snapshot: Snapshot) -> list[Column]:
    def next_try(row: ShownRow) -> str:
        due = row.get("next_time")
        if row.get("is_dead"):
            return "dead"
        return "-" if due is None else f"in {duration(due - snapshot.time)}" if due > snapshot.time else "again"

    return [
        Column("FAILURES", lambda row: printable(str(row.get("queue"))), is_right=False, width_min=12),
        Column("ago", lambda row: duration(max(0.0, snapshot.time - row["time"]))),
        Column("try", lambda row: shown_value(row.get("attempt"))),
        Column("next", next_try),
        Column("task", lambda row: printable(str(row.get("id"))), is_right=False, weight=2),
        Column("worker", lambda row: printable(str(row.get("worker") or "-")), is_right=False, weight=3),
        Column(
            "error", lambda row: printable(str(row.get("error") or "")), is_right=False, width_min=20, is_prose=True
        ),
    ]


def state_of(row: ShownRow) -> str:
    """Returns what holds a queue back, in a word."""
    policies = row.get("policies") or {}
    if policies.get("draining"):
        return "drains"
    if policies.get("paused") or "paused" in (row.get("closed_by") or ()):
        return "paused"
    return "limited" if row.get("closed_by") else ""


def worker_state(row: ShownRow) -> str:
    """Returns what a worker is, in a word or two."""
    if row.get("trouble"):
        return "in trouble"
    return "drains" if row.get("is_draining") else printable(str(row.get("state")))


def _counted(name: str) -> Any:
    return lambda row: "-" if row.get(name) is None else count(row[name])


def _rate(value: float | None) -> str:
    return "-" if value is None else count(value)
