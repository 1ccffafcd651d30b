"""`zq dashboard`: the page that shows a coordinator, and the interface below it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from zq.cli.arguments import Address
from zq.cli.output import echo, exit_codes
from zq.cli.web.redacting import load_redaction

NO_DASHBOARD = "the dashboard needs starlette and uvicorn: pip install 'zqkit[dashboard]'"


def dashboard(
    bind: Annotated[
        str, typer.Option(envvar="ZQ_DASHBOARD_BIND", help="HOST:PORT to listen on; port 0 takes a free one.")
    ] = "127.0.0.1:7780",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ZQ_DASHBOARD_TOKEN",
            help="What browsers and programs must bring; other machines are let in only with it. The variable does not show in lists of processes.",
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", envvar="ZQ_DASHBOARD_READ_ONLY", help="Refuse everything that changes something.")
    ] = False,
    redact: Annotated[
        str | None,
        typer.Option(envvar="ZQ_DASHBOARD_REDACT", help="Function that payloads, results and errors go through before they are shown, as module:function or path.py:function."),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", envvar="ZQ_DASHBOARD_HOST", help="Name under which browsers may reach it, beside localhost and addresses; repeatable."),
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log each request.")] = False,
    address: Address = None,
) -> None:  # fmt: skip
    """Show a coordinator in the browser until Ctrl-C: http://127.0.0.1:7780/.

    Examples:
        zq dashboard
        zq dashboard --bind 127.0.0.1:8080 --read-only
    """
    with exit_codes():
        try:
            from zq.dashboard.options import DashboardOptions
            from zq.dashboard.serving import serve
        except ModuleNotFoundError as error:
            if error.name not in ("starlette", "uvicorn"):
                raise
            raise ValueError(NO_DASHBOARD) from None
        from zq.processes.logs import configure_log

        options = DashboardOptions(
            bind=bind,
            address=address,
            namespace=os.environ.get("ZQ_NAMESPACE") or None,
            token=token or None,
            hosts=tuple(host or ()),
            is_read_only=read_only,
            redact=None if redact is None else load_redaction(redact),
        )
        configure_log("info" if access_log else "warning")

        def say(page: str) -> None:
            echo(f"zq dashboard ready on {page}{_remarks(options.token, is_read_only=read_only)}", err=True)

        serve(options, is_logging=access_log, on_ready=say)


def _remarks(token: str | None, *, is_read_only: bool) -> str:
    return (", read-only" if is_read_only else "") + ("" if token is None else "; it asks for the token")
