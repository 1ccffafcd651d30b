"""Commands that copy a coordinator's directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from zq.cli.arguments import Json
from zq.cli.live.progress import progress
from zq.cli.output import echo_done, exit_codes
from zq.processes.shown import json_text, printable

T = TypeVar("T")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a coordinator, as its --data.")]

Target = Annotated[Path, typer.Option("--to", help="Where it is to be; nothing may be there yet.")]


def backup(data: Directory, to: Target, as_json: Json = False) -> None:
    """Copy a coordinator's directory, also while it serves.

    All that was answered before is in the copy, which is whole by itself, and without what is free inside. It is read
    beside the coordinator, so it must be on the same machine, and by the same user.

    Examples:
        zq backup orders.zq --to /backup/orders-monday.zq
    """
    from zq.care import back_up

    with exit_codes():
        copied = _watched(f"copying {data}", to, lambda: back_up(data, to))
    _tell(f"copied {data} to {to}: {copied.bytes} bytes", copied._asdict(), as_json=as_json)


def restore(backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="Made by zq backup.")], to: Target, as_json: Json = False) -> None:  # fmt: skip
    """Make a coordinator's directory from a backup, which stays as it is.

    What was done since the backup is done again, and completions that workers still have from then are refused.

    Examples:
        zq restore /backup/orders-monday.zq --to orders.zq
    """
    from zq.care import restore as make

    with exit_codes():
        copied = _watched(f"copying {backup}", to, lambda: make(backup, to))
    _tell(f"made {to} from {backup}: {copied.bytes} bytes", copied._asdict(), as_json=as_json)


def salvage(data: Directory, to: Target, as_json: Json = False) -> None:
    """Save what can be read of a damaged directory into a new one, with a report of what cannot.

    For one without a backup: whose data file was cut off or has broken pages, whose journal is gone or has a hole. It
    stays as it is. The report, salvage.jsonl in the new one, names what is not there, a JSON object a line.

    Examples:
        zq salvage orders.zq --to saved.zq
    """
    from zq.care import salvage as save

    with exit_codes(), progress(f"saving the rows of {data}") as advance:
        saved = save(data, to, advance)
    lines = (
        f"saved {saved.tasks} tasks of {data} in {to}",
        f"{saved.damaged} rows or parts of tables are damaged, {saved.ids} ids of tasks or batches are known to be gone",
        f"{saved.records} records of the journal were applied, {saved.records_missing} are missing",
        f"{saved.report} names what is not there",
    )
    echo_done(*([json_text(saved._asdict())] if as_json else map(printable, lines)))


def compact(data: Directory, as_json: Json = False) -> None:
    """Write the data file anew without what is free in it; no coordinator may be running on it.

    A data file never shrinks by itself: what becomes free inside is used again.

    Examples:
        zq compact orders.zq
    """
    from zq.care import compact as write_anew
    from zq.store.engine import NEW_FILE
    from zq.store.hold import DATA_FILE

    with exit_codes(), progress(f"writing {data / DATA_FILE} anew, in bytes", look=lambda: _size(data / NEW_FILE)):
        before, after = write_anew(data)
    _tell(f"{data}: {before} bytes before, {after} now", {"before": before, "after": after}, as_json=as_json)


def _watched(what: str, to: Path, copy: Callable[[], T]) -> T:
    from zq.store.copying import part_of

    with progress(f"{what}, in bytes", look=lambda: _size(part_of(to))):
        return copy()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _tell(line: str, found: dict[str, int], *, as_json: bool) -> None:
    echo_done(json_text(found) if as_json else printable(line))
