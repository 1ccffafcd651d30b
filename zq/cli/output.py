"""What the command line prints: data on stdout, everything else on stderr, and exit codes that mean something.

What peers have said (keys, errors, names) is shown without control characters: a task must not be able to drive
somebody's terminal.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import fields
from datetime import datetime
from itertools import chain
from typing import Any, NoReturn, TextIO

import typer

from zq.processes.shown import json_text, printable, shown

DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 69
TIMED_OUT = 75
ACCESS_DENIED = 77
INTERRUPTED = 130

NOBODY_READS = 141
"""As shells tell of a program that SIGPIPE ended, as when `| head -1` has seen enough: a script that looks at it knows
that not all was printed.
"""

EXIT_CODES = (
    "Exit codes: 0 done, 1 the operation or task failed, 2 usage, 69 coordinator unreachable, "
    "75 timed out or nothing to pull, 77 access denied, 130 interrupted, 141 nobody reads the output."
)

BOLD, USUAL = "\x1b[1m", "\x1b[0m"

Fields = dict[str, Any]
"""A thing by the names of its fields."""


def echo(text: str, *, err: bool = False, is_bold: bool = False) -> None:
    """Prints lines, with all escaped that could drive a terminal; every command prints by this.

    Args:
        err: on standard error. What cannot be said there is lost, and nothing ends because of it: a coordinator serves
            whether or not somebody reads that it is ready.
        is_bold: in a terminal, unless there are to be no colours.

    Raises:
        OSError: data cannot be printed, for one because standard output is closed.
    """
    if sys.stdout is None and not err:
        raise OSError(errno.EBADF, "standard output is closed")
    text = shown(text)
    try:
        typer.echo(f"{BOLD}{text}{USUAL}" if is_bold and _has_colours() else text, err=err)
    except BrokenPipeError:
        if not err:
            raise
        _speak_to_nobody(sys.stderr)
    except OSError:  # the disk on which the log is may be full
        if not err:
            raise


def _speak_to_nobody(stream: TextIO) -> None:
    """Sends what is still to be written to a stream nowhere: it must not fail again when the interpreter ends."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


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


def echo_done(*lines: str) -> None:
    """Prints what a command has done that is not undone: when nobody can read it, it says so on stderr, and is no
    failure of the command.
    """
    try:
        for line in lines:
            echo(line)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        for line in lines:
            echo(f"zq: done, and not printed: {line}", err=True)
        if sys.stdout is not None:
            _speak_to_nobody(sys.stdout)


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Ends the command with a message."""
    if text.endswith("Permission denied"):
        text += "; `ls -ld` shows who may, and `id` who this is: take another place, or let this user in"
    logs = sys.modules.get("zq.processes.logs")  # a command that logs has imported it
    echo(f"zq: {text}" if logs is None else logs.in_form_of_log(f"zq: {text}", logs.logging.ERROR), err=True)
    raise typer.Exit(code)


def end_quietly() -> NoReturn:
    """Ends a command whose output nobody reads any more."""
    _speak_to_nobody(sys.stdout)
    raise typer.Exit(NOBODY_READS)


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
        end_quietly()
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
    echo(json_text(value))


def print_rows(rows: Iterable[Fields], columns: Sequence[str], *, as_json: bool, drops: Sequence[str] = ()) -> None:
    """Prints a table: fitted to a terminal, tab-separated in a pipe, or one JSON object a line.

    Args:
        rows: by the names of their columns; they may have more.
        columns: the names of those that are shown.
        drops: columns that are left out where the terminal is too narrow for all, the least important first.
    """
    if as_json:
        for row in rows:
            print_json(row)
        return
    if is_terminal():
        _print_table(rows, columns, drops)
        return
    from zq.cli.look.cells import cell

    found = iter(rows)
    first = next(found, None)  # before anything is printed: the question may fail
    echo("\t".join(columns))
    for row in () if first is None else chain((first,), found):
        echo("\t".join(cell(column, row.get(column), is_fancy=False) for column in columns))


def _print_table(rows: Iterable[Fields], columns: Sequence[str], drops: Sequence[str]) -> None:
    from zq.cli.look.cells import cell
    from zq.cli.look.tables import lay_out, wrapped

    cells = [[cell(column, row.get(column), is_fancy=True) for column in columns] for row in rows]
    table = lay_out(columns, cells, terminal_width(), drops)
    echo(table.lines[0], is_bold=True)
    if table.lines[1:]:
        echo("\n".join(table.lines[1:]))
    if table.left_out:
        hint = f"(too narrow for {', '.join(table.left_out)}: --plain or --json has all)"
        echo("\n".join(wrapped(hint, terminal_width())), err=True)


def print_fields(row: Fields, *, as_json: bool) -> None:
    """Prints one thing, a field a line; texts of several lines, such as tracebacks, stand indented below."""
    if as_json:
        print_json(row)
        return
    from zq.cli.look.cells import block_below, cell, first_line

    fields = dict(_flattened(row))
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if name == "timeline":
            print_events(value, as_json=False, indent="  ")
        elif name == "payload":
            echo(f"{name:<{width}}  {printable(json_text(value))}")
        elif isinstance(value, str) and "\n" in value.strip():
            echo("\n".join([f"{name:<{width}}  {printable(first_line(value))}", *block_below(value)]))
        else:
            echo(f"{name:<{width}}  {cell(name, value, is_fancy=is_terminal())}")


def _flattened(row: Fields) -> Iterator[tuple[str, Any]]:
    """Yields the fields of a thing, and those of what is in it under their whole names."""
    for name, value in row.items():
        if isinstance(value, dict) and value and name != "payload":
            yield from ((printable(f"{name}.{key}"), inner) for key, inner in value.items())
        else:
            yield name, value


def print_events(events: list[Fields], *, as_json: bool = False, indent: str = "") -> None:
    """Prints what happened, an event a line, to the millisecond; texts of several lines stand indented below."""
    from zq.cli.look.cells import block, detail

    for event in events:
        if as_json:
            print_json(event)
            continue
        details = {**event["detail"], **({"text": event["text"]} if event.get("text") else {})}
        texts = [value for value in details.values() if isinstance(value, str) and "\n" in value.strip()]
        line = " ".join(
            detail(name, value, is_fancy=is_terminal())
            if name == "text"
            else f"{name}={detail(name, value, is_fancy=is_terminal())}"
            for name, value in details.items()
            if value not in texts
        )
        echo(f"{indent}{_stamp(event['time'])}  {printable(event['event']):<9}  {line}".rstrip())
        for text in texts:
            echo("\n".join(f"{indent}{one}" for one in block(text)))


def _stamp(wall: float) -> str:
    try:
        return datetime.fromtimestamp(wall).astimezone().isoformat(" ", "milliseconds")
    except (OverflowError, ValueError, TypeError, OSError):  # no time that a calendar has
        return printable(str(wall))


def is_terminal() -> bool:
    """Returns whether a person reads what is printed, and not a program."""
    return sys.stdout is not None and sys.stdout.isatty() and not _IS_PLAIN.get()


def terminal_width() -> int:
    """Returns how many columns there are."""
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _has_colours() -> bool:
    """NO_COLOR, if it says anything, takes colour and bold away, and nothing else (no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
