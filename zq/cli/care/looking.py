"""`zq doctor`: what a directory has, and what to do about it."""

from __future__ import annotations

import typer

from zq.cli.arguments import Json
from zq.cli.care.copies import Directory
from zq.cli.live.progress import progress
from zq.cli.output import FAILED, exit_codes, print_rows


def doctor(data: Directory, as_json: Json = False) -> None:
    """Look a coordinator's directory over, also while it serves, and change nothing.

    Every page, every row with its checksum, the journal, rights, the disk and its flushes. The exit code is 1 when
    something is broken.

    Examples:
        zq doctor orders.zq
        zq doctor orders.zq --json
    """
    from zq.care import Weight, examine

    with exit_codes():
        with progress(f"looking at the rows of {data}") as advance:
            found = list(examine(data, advance))
        rows = [{**one._asdict(), "weight": one.weight.name.lower()} for one in found]
        print_rows(rows, ("weight", "where", "text", "remedy"), as_json=as_json)
    if any(one.weight is Weight.BROKEN for one in found):
        raise typer.Exit(FAILED)
