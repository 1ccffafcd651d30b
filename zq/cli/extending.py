"""Commands that other packages add to `zq`, by an entry point in the group `zq.commands` whose value is a typer.Typer.

They are looked for only when a command is not one of zq's own, and for the list in `zq --help`: reading the metadata of
all packages takes longer than most commands.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

GROUP = "zq.commands"


class ExtensibleGroup(TyperGroup):
    """The commands of zq, and those of packages that add some."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of all commands."""
        own = super().list_commands(ctx)
        return [*own, *sorted(_added().keys() - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a command by its name, or None."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name.startswith("-"):
            return own
        found = _added().get(cmd_name)
        return None if found is None else typer.main.get_command(found.load())


def _added() -> dict[str, EntryPoint]:
    return {one.name: one for one in entry_points(group=GROUP)}
