"""What the command line prints: data on stdout, everything else on stderr, and exit codes that mean something."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

import typer

DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 69
TIMED_OUT = 75
INTERRUPTED = 130

EXIT_CODES = "Exit codes: 0 done, 1 the operation or task failed, 2 usage, 69 coordinator unreachable, 75 timed out, 130 interrupted."


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Ends the command with a message."""
    typer.echo(f"zq: {text}", err=True)
    raise typer.Exit(code)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turns the errors of zq into messages and exit codes."""
    from zq import errors

    try:
        yield
    except errors.UnreachableError as error:
        fail(f"{error}; is a coordinator running there? Start one with: zq coordinator --data ./orders.zq", UNREACHABLE)
    except errors.TimedOutError as error:
        fail(str(error), TIMED_OUT)
    except errors.ZqError as error:
        fail(str(error))
    except (ValueError, TypeError) as error:
        fail(str(error), USAGE)
    except OSError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def print_json(value: Any) -> None:
    """Prints one JSON document on one line."""
    typer.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


def print_rows(rows: list[dict[str, Any]], columns: list[str], *, as_json: bool) -> None:
    """Prints a table: pretty on a terminal, tab-separated in a pipe, or one JSON object a line."""
    if as_json:
        for row in rows:
            print_json(row)
        return
    if not _is_fancy():
        typer.echo("\t".join(columns))
        for row in rows:
            typer.echo("\t".join(_cell(column, row.get(column)) for column in columns))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*[_cell(column, row.get(column)) for column in columns])
    Console().print(table)


def print_fields(row: dict[str, Any], *, as_json: bool) -> None:
    """Prints one thing, a field a line."""
    if as_json:
        print_json(row)
        return
    width = max(map(len, row), default=0)
    for name, value in row.items():
        if name == "timeline":
            for event in value:
                detail = " ".join(f"{key}={text}" for key, text in event["detail"].items())
                typer.echo(f"  {_time(event['time'])}  {event['event']}  {detail}")
        elif isinstance(value, dict):
            for key, inner in value.items():
                typer.echo(f"{name}.{key}: {inner}")
        else:
            typer.echo(f"{name:<{width}}  {_cell(name, value)}")


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_time"):
        return _time(value)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value).split("\n", 1)[0]


def _time(value: float) -> str:
    return datetime.fromtimestamp(value).strftime("%Y-%m-%d %H:%M:%S")


def _is_fancy() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
