"""What is shown of one queue, one worker or one task that somebody looks at closely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zq.cli.live.columns import Column, Line, padded, table
from zq.cli.live.trends import Detail, Inspected, ShownRow, Snapshot
from zq.cli.live.view import TopView, chosen_at, visible
from zq.monitor import count, duration, moment, percentile, size, sparkline
from zq.processes.shown import printable

TASK_ROWS_MIN = 5
"""Rows that the tasks of a queue or a worker have at least, however many fields there are."""

_HIDDEN = ("policies", "wait", "run", "tasks", "timeline", "alerts", "name")
"""Fields that are shown in another way, or not at all."""


def detail_lines(view: TopView, snapshot: Snapshot, width: int, height: int) -> list[Line]:
    """Returns the lines of what is looked at closely."""
    subject, detail = view.subject, snapshot.detail
    assert subject is not None
    head = [Line(f"{subject.kind} {printable(subject.id)}", "active")]
    if detail is None or detail.subject != subject:
        return [*head, Line("  ...", "dim")]
    if detail.error is not None:
        return [*head, Line(f"  {printable(detail.error)}", "alert")]
    fields = list(_fields(subject, detail, snapshot))
    if subject.kind == "task":
        lines = [*fields, "", *_events(detail, snapshot)]
        start = min(view.scroll, max(0, len(lines) - (height - 1)))
        return [*head, *(Line(text) for text in lines[start:])]
    room = max(0, height - 1 - min(len(fields), max(0, height - TASK_ROWS_MIN - 3)) - 3)
    fields = fields[: height - 4 - min(room, max(1, len(detail.tasks)))]
    at = chosen_at(view, detail.tasks)
    first, shown = visible(detail.tasks, at, room)
    columns = [
        one for one in _task_columns(snapshot) if any(one.cell(row) != "-" for row in detail.tasks) or not one.weight
    ]
    titles, rows = table(columns, shown, width)
    lines_of_tasks = [Line(row, "chosen" if first + place == at else "") for place, row in enumerate(rows)]
    nothing = [] if rows else [Line("  none", "dim")]
    return [*head, *(Line(text) for text in fields), Line(""), Line(titles, "head"), *lines_of_tasks, *nothing]


def _fields(subject: Inspected, detail: Detail, snapshot: Snapshot) -> Iterator[str]:
    row = detail.fields
    shown: dict[str, str] = {}
    if subject.kind == "queue":
        flow = snapshot.flow_of(subject.id)
        rates = [("in", flow.into), ("out", flow.out), ("failed", flow.failed)]
        shown["a second"] = "  ".join(f"{name} {count(rate)}" for name, rate in rates if rate is not None) or "-"
        shown["out"] = sparkline(flow.outs, 60).strip()
        shown |= {name: _times(row[name]) for name in ("wait", "run") if row.get(name)}
    for alert in row.get("alerts") or ():
        shown["alert"] = str(alert.get("text", alert) if isinstance(alert, Mapping) else alert)
    shown |= {name: _value(name, value, snapshot.time) for name, value in row.items() if name not in _HIDDEN}
    policies = {name: value for name, value in (row.get("policies") or {}).items() if value not in (None, False)}
    if policies:
        shown["policies"] = "  ".join(f"{name}={value}" for name, value in policies.items())
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        first, *more = str(value).split("\n")
        yield f"  {padded(name, width)}  {printable(first)}"
        yield from (f"  {' ' * width}  {printable(text)}" for text in more)


def _times(histogram: Any) -> str:
    found = [(q, percentile(histogram, q)) for q in (0.5, 0.95, 0.99)]
    return "  ".join(f"p{q * 100:.0f} {duration(value)}" for q, value in found if value is not None) or "-"


def _value(name: str, value: Any, now: float) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if name.endswith("_time") and isinstance(value, int | float):
        ago = now - value
        return f"{moment(value)}  ({f'{duration(ago)} ago' if ago >= 0 else f'in {duration(-ago)}'})"
    if name.endswith(("_ago", "_for")) or name == "timeout":
        return duration(value)
    if name.endswith("bytes"):
        return size(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, Mapping):
        return "  ".join(f"{key}={one}" for key, one in value.items()) or "-"
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}" if name != "pid" else str(value)


def _events(detail: Detail, snapshot: Snapshot) -> Iterator[str]:
    """Yields the trace of a task, and the text of each error under its event."""
    start = detail.events[0]["time"] if detail.events else 0.0
    for event in detail.events:
        texts = {name: str(value) for name, value in (event.get("detail") or {}).items()}
        long = {name: text for name, text in texts.items() if "\n" in text}
        short = "  ".join(f"{name}={printable(text)}" for name, text in texts.items() if name not in long)
        stamp = moment(event["time"])[11:19]
        yield f"  {stamp} +{duration(max(0.0, event['time'] - start)):<10} {printable(event['event']):<10} {short}"
        for text in long.values():
            yield from (f"      {printable(line)}" for line in text.rstrip().split("\n"))
    if not detail.events:
        yield f"  nothing is known of it, or no longer, at {moment(snapshot.time)}"


def _task_columns(snapshot: Snapshot) -> list[Column]:
    def since(name: str) -> Any:
        return lambda row: "-" if row.get(name) is None else duration(max(0.0, snapshot.time - row[name]))

    def text(name: str) -> Any:
        return lambda row: "-" if row.get(name) is None else printable(str(row[name]))

    def state(row: ShownRow) -> str:
        if "state" in row:
            return printable(str(row["state"]))
        return "runs" if row.get("started_time") else "held"

    return [
        Column("TASKS", text("id"), is_right=False, width_min=12),
        Column("state", state, is_right=False),
        Column("queue", text("queue"), is_right=False, weight=3),
        Column("attempts", text("attempts"), weight=5),
        Column("priority", text("priority"), weight=6),
        Column("key", text("key"), is_right=False, weight=4),
        Column("worker", text("worker"), is_right=False, weight=2),
        Column("accepted", since("accepted_time"), weight=1),
        Column("runs for", since("started_time"), weight=3),
    ]
