"""Commands about contexts, which `zq.cli.line.settings` reads."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from zq.cli.arguments import Json
from zq.cli.line import completing
from zq.cli.line.settings import VARIABLES, find_context, read_contexts
from zq.cli.output import exit_codes, print_fields, print_rows

CONTEXT_COLUMNS = ["name", *VARIABLES, "file"]


def list_contexts(as_json: Json = False) -> None:
    """List the contexts, and where each was found.

    Examples:
        zq context ls
        zq --context staging status
    """
    with exit_codes():
        rows = [one.row() for one in read_contexts().values()]
        print_rows(rows, CONTEXT_COLUMNS, as_json=as_json, drops=["file", "key", "namespace"])


def show(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Its name.", show_default="what a command would use now", autocompletion=completing.context_names
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a context; without a name, the address, key and namespace that a command would use now.

    Examples:
        zq context show
        zq context show staging
    """
    from zq.wire.address import DEFAULT_ADDRESS

    with exit_codes():
        if name is not None:
            print_fields(find_context(name).row(), as_json=as_json)
            return
        now = {one: os.environ.get(variable) or None for one, variable in VARIABLES.items()}
        print_fields({**now, "address": now["address"] or DEFAULT_ADDRESS}, as_json=as_json)
