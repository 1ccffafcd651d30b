"""`zq dev`: all that a program under development needs, in one terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from zq.cli.output import exit_codes
from zq.cli.serving import LogLevel


def dev(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:APP]",
            help="The worker, app or pipeline to run, as module:attribute or path.py:attribute.",
            show_default="no worker",
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Directory of the data.", show_default=".zq")] = None,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Keep the data only as long as it runs.")] = False,
    processes: Annotated[
        int | None,
        typer.Option(min=0, max=1000, help="Child processes of the worker.", show_default="as of zq worker"),
    ] = None,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard", help="Start the dashboard.")] = True,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = False,
    bind: Annotated[
        str | None,
        typer.Option(help="Address of the coordinator.", show_default="tcp://127.0.0.1:7700, or a free port"),
    ] = None,
    dashboard_bind: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of the dashboard.", show_default="127.0.0.1:7780, or a free port"),
    ] = None,
    journal: Annotated[
        Literal["on", "off"] | None,
        typer.Option(
            help="Whether small writes are flushed in a journal first, once; off: each commits the store.",
            show_default="on",
        ),
    ] = None,
    log_level: LogLevel = "info",
) -> None:
    """Run a coordinator, a worker that reloads, and the dashboard, until Ctrl-C.

    The worker starts again when a file changes that it has loaded. Ports are the usual ones, 7700 and 7780, or others
    when those are taken. Data is in ./.zq, which git ignores.

    Examples:
        zq dev shop:app
        zq dev --ephemeral --open
    """
    with exit_codes():
        from zq.cli.starting.development import Development, Wishes
        from zq.cli.starting.places import data_folder

        places = bind, dashboard_bind
        wishes = Wishes(
            spec, processes, log_level, *places, journal=journal, has_dashboard=dashboard, opens_browser=open_browser
        )
        with data_folder(data, is_ephemeral=ephemeral) as folder:
            code = Development(wishes, folder).run()
    raise typer.Exit(code)
