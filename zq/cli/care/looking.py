"""`zq doctor`: what a directory has, and what to do about it, which it does with `--repair`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zq.cli.arguments import Json
from zq.cli.care.copies import Directory
from zq.cli.live.progress import progress
from zq.cli.output import FAILED, USAGE, echo_done, exit_codes, fail, print_rows
from zq.processes.shown import json_text, printable

Repair = Annotated[bool, typer.Option("--repair", help="Set aside what is broken, and count everything anew.")]

Into = Annotated[Path | None, typer.Option("--into", help="With --repair: a file for what is set aside, a JSON line each.")]  # fmt: skip


def doctor(data: Directory, repair: Repair = False, into: Into = None, as_json: Json = False) -> None:
    """Look a coordinator's directory over, also while it serves, and change nothing; or repair it.

    Every page, every row with its checksum, the journal, counts, rights, the disk and its flushes. The exit code is 1
    when something is broken. To be repaired, nobody may serve it.

    Examples:
        zq doctor orders.zq
        zq doctor orders.zq --json
        zq doctor orders.zq --repair --into set-aside.jsonl
    """
    if repair:
        _repair(data, into, as_json=as_json)
        return
    from zq.care import Weight, examine

    if into is not None:
        fail("--into is for what --repair sets aside: give both", USAGE)
    with exit_codes():
        with progress(f"looking at the rows of {data}") as advance:
            found = list(examine(data, advance))
        rows = [{**one._asdict(), "weight": one.weight.name.lower()} for one in found]
        print_rows(rows, ("weight", "where", "text", "remedy"), as_json=as_json)
    if any(one.weight is Weight.BROKEN for one in found):
        raise typer.Exit(FAILED)


def _repair(data: Path, into: Path | None, *, as_json: bool) -> None:
    from zq.care import repair

    with exit_codes():
        with progress(f"looking at the rows of {data}") as advance:
            done = repair(data, into, advance)
        lines = map(printable, done or [f"{data}: there was nothing to do"])
        echo_done(*([json_text({"done": done})] if as_json else lines))
