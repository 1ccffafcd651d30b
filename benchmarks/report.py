"""Prints what was measured: a table for people, Markdown for the docs, JSON for programs."""

from __future__ import annotations

import os
import platform
from typing import Any

import lmdb
import msgpack
import zmq
from flow import Row, Scale

import zq

COLUMNS = (
    "workload",
    "tasks/s",
    "ratio",
    "to",
    "aim",
    "CPU s per million: client",
    "coordinator",
    "worker",
    "RSS MB",
    "bytes/task",
    "commits",
    "tasks/commit",
    "more",
)


def machine() -> dict[str, Any]:
    """Returns what the figures were measured on, and with."""
    return {
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "zq": zq.__version__,
        "libzmq": zmq.zmq_version(),
        "msgpack": ".".join(map(str, msgpack.version)),
        "lmdb": lmdb.__version__,
    }


def heading(scale: Scale) -> str:
    parts = [f"{name} {value}" for name, value in machine().items()]
    return "\n".join(
        (
            ", ".join(parts),
            f"tasks x {scale.factor:g}, {scale.seconds:g} s where a time is measured, median of {scale.repeat}, payloads of {scale.size} bytes, TCP on this machine, sync on",
        )
    )


def cells(row: Row) -> list[str]:
    """Returns a row of the table as text."""
    shown = [
        row.name,
        "" if row.rate is None else f"{row.rate:,.0f}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        row.floor,
        row.aim,
    ]
    usage = row.usage
    if usage is None:
        shown += [""] * 7
    else:
        tasks = row.tasks
        cpu = (usage.client_cpu, usage.coordinator_cpu, usage.worker_cpu)
        shown += [f"{seconds / tasks * 1e6:.2f}" if tasks else f"({seconds:.1f} s)" for seconds in cpu]
        shown += [
            f"{usage.rss_bytes / 1e6:.0f}",
            f"{usage.written_bytes / tasks:.0f}" if tasks else "",
            f"{usage.commits:,}",
            f"{tasks / usage.commits:.1f}" if tasks and usage.commits else "",
        ]
    notes = (
        f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.notes.items()
    )
    return [*shown, ", ".join(notes)]


def table(rows: list[list[str]]) -> str:
    """Returns aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        parts = [
            cell.ljust(width) if place in (0, 3, 4, len(widths) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def markdown(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    return "\n".join(lines)


def floor_rows(figures: dict[str, float]) -> list[list[str]]:
    """Returns the floor for people: seconds in milliseconds."""
    rows = [["floor", ""]]
    for name, value in figures.items():
        if name.endswith(" s"):
            rows.append([name[:-2], f"{value * 1e3:.3f} ms"])
        else:
            rows.append([name, f"{value:,.0f}"])
    return rows


def as_json(scale: Scale, figures: dict[str, float], rows: list[Row]) -> dict[str, Any]:
    return {
        "machine": machine(),
        "scale": scale._asdict(),
        "floor": figures,
        "rows": [
            {**row._asdict(), "notes": dict(row.notes), "usage": None if row.usage is None else row.usage._asdict()}
            for row in rows
        ],
    }
