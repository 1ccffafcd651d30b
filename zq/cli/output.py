"""What the command line prints: data on stdout, everything else on stderr, and exit codes that mean something.

What peers have said (keys, errors, names) is shown without control characters: a task must not be able to drive
somebody's terminal.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from datetime import datetime
from itertools import chain
from typing import Any, NoReturn

import typer

from zq.processes.shown import printable, shown, shown_json

DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 69
TIMED_OUT = 75
ACCESS_DENIED = 77
INTERRUPTED = 130

EXIT_CODES = "Exit codes: 0 done, 1 the operation or task failed, 2 usage, 69 coordinator unreachable, 75 timed out, 77 access denied, 130 interrupted."


def echo(text: str, *, err: bool = False) -> None:
    """Prints lines, with all escaped that could drive a terminal; every command prints by this.

    Raises:
        OSError: it cannot be printed, for one because standard output is closed.
    """
    if sys.stdout is None and not err:
        raise OSError(errno.EBADF, "standard output is closed")
    typer.echo(shown(text), err=err)


_IS_PLAIN: ContextVar[bool] = ContextVar("zq-is-plain", default=False)


@contextmanager
def plain_output(is_plain: bool) -> Iterator[None]:
    """Prints within as in a pipe, if that is wanted."""
    token = _IS_PLAIN.set(is_plain or _IS_PLAIN.get())
    try:
        yield
    finally:
        _IS_PLAIN.reset(token)


@contextmanager
def ids_at_least(ids: Iterable[str]) -> Iterator[None]:
    """Prints ids on stderr when they cannot be printed where they belong: what they name is stored, and a script that
    tries again would store it twice.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # `| head` has seen enough
    except OSError:
        for one in ids:
            echo(f"zq: stored, and not printed: {one}", err=True)
        raise


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Ends the command with a message."""
    echo(f"zq: {text}", err=True)
    raise typer.Exit(code)


def fail_with(error: Exception, code: int = FAILED) -> NoReturn:
    """Ends the command with the message of an error and its notes, which say what had been done before."""
    fail("\n".join([str(error), *getattr(error, "__notes__", ())]), code)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turns the errors of zq into messages and exit codes."""
    from zq import errors
    from zq.processes.green import GreenThreadsError

    try:
        yield
    except errors.UnreachableError as error:
        fail(f"{error} (zq coordinator --data ./orders.zq starts one)", UNREACHABLE)
    except errors.TimedOutError as error:
        fail_with(error, TIMED_OUT)
    except errors.AccessDeniedError as error:
        fail_with(error, ACCESS_DENIED)
    except errors.KeyFileError as error:
        fail_with(error, USAGE)
    except errors.ZqError as error:
        fail_with(error)
    except (ValueError, TypeError) as error:
        fail_with(error, USAGE)
    except GreenThreadsError as error:
        fail_with(error)
    except BrokenPipeError:
        raise  # `| head` has seen enough
    except RecursionError:
        fail("what was to be printed or read is nested too deeply", USAGE)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def as_map(value: Any) -> dict[str, Any]:
    """Returns a value that a client returned as the map that the coordinator made of it, in its order."""
    return {
        field.name: one._asdict() if hasattr(one := getattr(value, field.name), "_asdict") else one
        for field in fields(value)
    }


def print_json(value: Any) -> None:
    """Prints one JSON document on one line."""
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False)
    except TypeError:  # msgpack allows keys that JSON does not, such as bytes
        text = json.dumps(_with_text_keys(value), default=_plain, ensure_ascii=False)
    echo(shown_json(text))


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _plain(key): _with_text_keys(one) for key, one in value.items()}
    return [_with_text_keys(one) for one in value] if isinstance(value, list) else value


def print_rows(rows: Iterable[dict[str, Any]], columns: list[str], *, as_json: bool) -> None:
    """Prints a table: pretty on a terminal, tab-separated in a pipe, or one JSON object a line."""
    if as_json:
        for row in rows:
            print_json(row)
        return
    if not _is_fancy():
        found = iter(rows)
        first = next(found, None)  # before anything is printed: the question may fail
        echo("\t".join(columns))
        for row in () if first is None else chain((first,), found):
            echo("\t".join(_cell(column, row.get(column)) for column in columns))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*[Text(_cell(column, row.get(column))) for column in columns])  # Text: brackets are no markup
    Console().print(table)


def print_fields(row: dict[str, Any], *, as_json: bool) -> None:
    """Prints one thing, a field a line."""
    if as_json:
        print_json(row)
        return
    width = max(map(len, row), default=0)
    for name, value in row.items():
        if name == "timeline":
            print_events(value, as_json=False, indent="  ")
        elif name == "payload":
            echo(
                f"{name:<{width}}  {printable(json.dumps(_with_text_keys(value), default=_plain, ensure_ascii=False))}"
            )
        elif isinstance(value, dict):
            for key, inner in value.items():
                echo(f"{printable(f'{name}.{key}')}  {_cell(key, inner)}")
        else:
            echo(f"{name:<{width}}  {_cell(name, value)}")


def print_events(events: list[dict[str, Any]], *, as_json: bool = False, indent: str = "") -> None:
    """Prints what happened, an event a line, to the millisecond."""
    for event in events:
        if as_json:
            print_json(event)
            continue
        stamp = datetime.fromtimestamp(event["time"]).isoformat(" ", "milliseconds")
        detail = " ".join(f"{name}={_detail(name, value)}" for name, value in event["detail"].items())
        text = f"  {event['text']}" if event.get("text") else ""
        echo(f"{indent}{stamp}  {printable(event['event']):<9}  {printable(detail + text)}".rstrip())


def _detail(name: str, value: Any) -> str:
    if name.endswith("_time"):
        return _time(value)
    return json.dumps(value, default=_plain, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_time"):
        return _time(value)
    if isinstance(value, list | tuple):
        return ",".join(printable(str(one)) for one in value)
    if isinstance(value, float):
        return f"{value:.1f}"
    return printable(str(value).split("\n", 1)[0])


def _time(value: float) -> str:
    try:
        return datetime.fromtimestamp(value).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, TypeError, OSError):  # no time that a calendar has
        return printable(str(value))


def _is_fancy() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
