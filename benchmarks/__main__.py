"""Measures zq against bare code on the same machine in the same run: `python benchmarks [--only NAME ...] [--quick]
[--json FILE] [--markdown FILE]`.

Absolute figures do not hold on shared machines; the ratios do. docs/performance.md explains the table.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attacked
import batched
import crowds
import floor
import given_up
import keyed
import latency
import peers
import report
import slowing
import watched
from flow import Row, Scale, payload_of

Workload = Callable[[Scale], Iterator[Row]]

WORKLOADS: dict[str, Workload] = {
    "batches-1000": partial(batched.batches, batch=1000, usual=1_000_000, aim=""),
    "batches-100": partial(batched.batches, batch=100, usual=1_000_000, aim=">= 0.5, 500,000/s"),
    "batches-10": partial(batched.batches, batch=10, usual=300_000, aim="250,000/s"),
    "batches-1": partial(batched.batches, batch=1, usual=50_000, aim=""),
    "one-at-a-time": latency.one_at_a_time,
    "threads": latency.threads,
    "asyncio": latency.coroutines,
    "results": batched.results,
    "keys-hash": partial(batched.keys, policy="hash"),
    "keys-fair": partial(batched.keys, policy="fair"),
    "keys-ordered": batched.ordered,
    "forwards": batched.forwards,
    "retries": batched.retries,
    "payloads-1k": partial(batched.payloads, size=1 << 10, batch=100, usual=300_000),
    "payloads-64k": partial(batched.payloads, size=64 << 10, batch=10, usual=5_000),
    "workers": batched.workers,
    "slowing": slowing.slowing,
    "pulls": latency.pulls,
    "under-load": latency.under_load,
    "idle-workers": crowds.idle_workers,
    "given-up-waits": given_up.waits,
    "killed-pullers": given_up.pullers,
    "queues": batched.queues,
    "watched": watched.watched,
    "backlog": partial(crowds.backlog, usual=1_000_000),
}

LONG_WORKLOADS: dict[str, Workload] = {
    "attacked": attacked.attacked,
    "keyed": keyed.keyed,
    "peers": peers.peers,
    "backlog-10m": partial(crowds.backlog, usual=10_000_000),
    "growth": batched.growth,
    "churn": latency.churn,
}
"""Minutes each: run with --all or by name."""

QUICK = Scale(0.05, 0.5, 1, 200)


def main() -> int:
    arguments = _parse()
    scale = QUICK if arguments.quick else Scale(arguments.scale, arguments.seconds, arguments.repeat, arguments.size)
    print(report.heading(scale), file=sys.stderr)
    figures = floor.measure(payload_of(scale.size), min(scale.seconds, 1.0))
    print(report.table(report.floor_rows(figures)), end="\n\n", file=sys.stderr)
    known = WORKLOADS | LONG_WORKLOADS
    names = arguments.only or list(known if arguments.all else WORKLOADS)
    rows: list[Row] = []
    started = time.perf_counter()
    for name in names:
        print(f"{time.perf_counter() - started:6.0f} s  {name}", file=sys.stderr)
        for row in known[name](scale):
            rows.append(row)
            print("          " + "  ".join(cell for cell in report.cells(row) if cell), file=sys.stderr)
    text = [list(report.COLUMNS), *map(report.cells, rows)]
    print(report.table(text))
    if arguments.markdown:
        parts = (report.heading(scale), report.markdown(report.floor_rows(figures)), report.markdown(text))
        arguments.markdown.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_json(scale, figures, rows), indent=1) + "\n", encoding="utf-8")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    names = [*WORKLOADS, *LONG_WORKLOADS]
    add("--only", nargs="+", metavar="NAME", choices=names, help=f"workloads to run: {', '.join(names)}")
    add("--all", action="store_true", help=f"also those that take minutes: {', '.join(LONG_WORKLOADS)}")
    add(
        "--quick",
        action="store_true",
        help="a twentieth of everything, in less than two minutes; the figures are rough",
    )
    add("--scale", type=float, default=1.0, help="factor for the numbers of tasks; default 1")
    add("--seconds", type=float, default=3.0, help="for what is measured for a time; default 3")
    add("--repeat", type=int, default=3, help="runs of which the median counts; default 3")
    add("--size", type=int, default=200, help="bytes of a payload; default 200")
    add("--json", type=Path, metavar="FILE", help="write everything there")
    add("--markdown", type=Path, metavar="FILE", help="write the tables there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
