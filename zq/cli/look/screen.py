"""What `zq status` shows in a terminal: one screen, in groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zq.cli.look.cells import cell
from zq.cli.look.tables import COLUMN_GAP, NAME_WIDTH_MIN, lay_out, wrapped
from zq.monitor.units import duration, size

SCREEN_QUEUES = 10
"""Queues on the screen, those with most to do."""

SCREEN_WORKERS = 10

QUEUE_NAMES = ["queue", "waiting", "scheduled", "leased", "dead", "workers"]
WORKER_NAMES = ["worker", "state", "held", "running", "done", "heard_ago", "queues"]

LIMIT_GROUPS = ("usage", "limits", "peer_limits")
"""Shown only when all is asked for."""

Rows = Sequence[dict[str, Any]]


def status_lines(
    status: dict[str, Any], queues: Rows, workers: Rows, width: int, *, with_all: bool = False
) -> list[str]:
    """Returns the lines of the screen.

    Args:
        status: the answer to the query of that name.
        queues: of the query `queues`, all or some; workers likewise.
        width: columns of the terminal.
        with_all: also what is used and allowed.
    """
    lines = [f"zq {status['version']}, up {duration(status['uptime'])}", ""]
    lines += _groups(status, width)
    if queues:
        lines += ["", *_queue_lines(queues, width)]
    if workers:
        rows = [
            [cell(name, _of(one, name), is_fancy=True) for name in WORKER_NAMES] for one in workers[:SCREEN_WORKERS]
        ]
        lines += ["", *lay_out(WORKER_NAMES, rows, width, reversed(WORKER_NAMES[1:])).lines]
        lines += _more(len(workers), SCREEN_WORKERS, "workers", "zq workers ls")
    if with_all:
        for group in LIMIT_GROUPS:
            names = {name: cell(name, value, is_fancy=True) for name, value in status.get(group, {}).items()}
            lines += ["", group, *_named(names, width, "  ")]
    return lines


def _of(row: dict[str, Any], name: str) -> Any:
    return row["name"] if name in ("queue", "worker") else row.get(name)


def _fullness(store: dict[str, Any]) -> str:
    """Returns what there is too little of, of a store that is full."""
    if not store.get("is_full"):
        return ""
    return f", {str(store.get('full_by') or 'store').upper()} FULL: nothing new is accepted"


def _groups(status: dict[str, Any], width: int) -> list[str]:
    store, memory, connections = (status.get(name, {}) for name in ("store", "memory", "connections"))
    errors = {name: count for name, count in status.get("counters", {}).items() if str(name).startswith("error ")}
    found = {
        "waits": _counts(status, "waiting", "scheduled") + f", in {_number(status['queues'], 'queue')}",
        "runs": f"{_counts(status, 'leased')}, by {_number(status['workers'], 'worker')}",
        "ended": _counts(status, "done", "dead", "cancelled", "expired"),
        "store": f"{size(store['used_bytes'])} of {size(store['map_bytes'])}, {size(store['free_bytes'])} of the disk free"
        f", {status['commits']:,} commits" + _fullness(store),
        "journal": _journal(status.get("journal", {})),
        "memory": f"{size(memory['bytes'])}" + (f" of at most {size(memory['max'])}" if memory.get("max") else ""),
        "connections": f"{connections.get('open', 0):,} of at most {connections.get('max') or 'any number'}",
    }
    if status.get("damaged"):
        found["damaged"] = f"{_number(status['damaged'], 'row')} set aside; `zq doctor` names what is on the disk"
    if any((recounted := status.get("recounted", {})).values()):
        counts = ", ".join(f"{count:,} {name}" for name, count in recounted.items())
        found["recounted"] = f"rows after damage: {counts}"
    if errors:
        found["refused"] = ", ".join(
            f"{count:,} of {cell('name', str(name).removeprefix('error '), is_fancy=True)}"
            for name, count in errors.items()
        )
    return _named(found, width)


def _journal(found: dict[str, Any]) -> str:
    """Returns what is in the journal that the store may lack, and why there is none that should be."""
    if not found.get("is_on"):
        return "off" + (f": {found['reason']}" if found.get("reason") else "")
    waits = found["sequence"] - found["checkpoint"]
    return f"{found['records']:,} records, {waits:,} of them since the last of {_number(found['checkpoints'], 'checkpoint')}"


def _counts(status: dict[str, Any], *names: str) -> str:
    return ", ".join(f"{status[name]:,} {name}" for name in names)


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _named(found: dict[str, str], width: int, indent: str = "") -> list[str]:
    first = max(map(len, found), default=0)
    lines = []
    for name, text in found.items():
        head, *rest = wrapped(text, max(NAME_WIDTH_MIN, width - len(indent) - first - COLUMN_GAP))
        lines.append(f"{indent}{name:<{first}}{' ' * COLUMN_GAP}{head}")
        lines += [f"{indent}{' ' * (first + COLUMN_GAP)}{one}" for one in rest]
    return lines


def _queue_lines(queues: Rows, width: int) -> list[str]:
    def load(row: dict[str, Any]) -> int:
        return sum(row.get(name) or 0 for name in ("waiting", "scheduled", "leased", "dead"))

    busiest = sorted(queues, key=load, reverse=True)[:SCREEN_QUEUES]
    rows = [[cell(name, _of(one, name), is_fancy=True) for name in QUEUE_NAMES] for one in busiest]
    lines = lay_out(QUEUE_NAMES, rows, width, reversed(QUEUE_NAMES[1:])).lines
    return lines + _more(len(queues), SCREEN_QUEUES, "queues", "zq queues ls")


def _more(count: int, shown: int, what: str, command: str) -> list[str]:
    return [f"... and {count - shown:,} more {what}: {command}"] if count > shown else []
