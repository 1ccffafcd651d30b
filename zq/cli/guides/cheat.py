"""`zq cheat`: recipes for the shell."""

from __future__ import annotations

from typing import Annotated

import typer

from zq.cli.arguments import Json
from zq.cli.guides.recipes import TOPICS, Topic
from zq.cli.line.nearest import did_you_mean
from zq.cli.output import echo, exit_codes, print_json, print_rows


def topic_names(incomplete: str) -> list[str]:
    """Returns the topics that begin so."""
    return [name for name in TOPICS if name.startswith(incomplete)]


def cheat(
    topic: Annotated[
        str | None, typer.Argument(help="What about.", show_default="the list of topics", autocompletion=topic_names)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show recipes: command lines for what is often done, by topic.

    Examples:
        zq cheat
        zq cheat dead
        zq cheat shell --json
    """
    with exit_codes():
        if topic is None:
            rows = [{"topic": name, "text": one.text} for name, one in TOPICS.items()]
            print_rows(rows, ["topic", "text"], as_json=as_json)
            return
        if topic not in TOPICS:
            raise ValueError(f"expected a topic of {', '.join(TOPICS)}, got {topic!r}{did_you_mean(topic, TOPICS)}")
        _show(topic, TOPICS[topic], as_json=as_json)


def _show(name: str, topic: Topic, *, as_json: bool) -> None:
    if as_json:
        for one in topic.recipes:
            print_json({"topic": name, **one._asdict()})
        return
    echo(f"# {topic.text}", is_bold=True)
    echo("\n".join(f"\n# {one.text}\n{one.command}" for one in topic.recipes))
