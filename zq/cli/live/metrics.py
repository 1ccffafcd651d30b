"""`zq metrics`: the figures of a coordinator once, for a textfile collector or cron."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from zq.cli.arguments import TIMEOUT, Address, Timeout, connected
from zq.cli.output import echo


def metrics(
    text_format: Annotated[
        Literal["openmetrics", "prometheus"],
        typer.Option("--format", help="For whom; a textfile collector, or promtool: prometheus."),
    ] = "openmetrics",
    queues_max: Annotated[
        int, typer.Option("--queues", min=0, help="Queues with figures of their own; the others are added up.")
    ] = 200,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Print what the coordinator counts, as OpenMetrics: depths, ages, totals, times of tasks and commits, workers.

    Examples:
        zq metrics
        zq metrics --format prometheus >/var/lib/node_exporter/zq.prom
        zq metrics --format prometheus | promtool check metrics
        zq metrics --queues 20
    """
    from zq.monitor.openmetrics import render

    with connected(address, timeout) as client:
        status, workers = client.query("status"), client.query("workers")
        queues = client.query("queues", with_times=True)
    echo(render(status, queues, workers, text_format=text_format, queues_max=queues_max).rstrip("\n"))
