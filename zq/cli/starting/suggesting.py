"""What `zq dev` says to submit: a command that works for the worker that it runs. The worker knows its functions, and
tells in a line of its own, which `zq dev` does not show.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from zq.cli.output import echo

if TYPE_CHECKING:
    from zq.app.app import App
    from zq.app.parameters import Parameters

WISHED = "ZQ_DEV_EXAMPLE"
"""The variable by which `zq dev` asks its worker for the line."""

EXAMPLE_MARK = "zq example: "
"""What the line begins with; behind it are the arguments of `zq submit`."""

UNKNOWN_PAYLOAD = "'the payload, as JSON'"

SAMPLES: tuple[Any, ...] = ("...", 1, 1.5, True, [], {}, None)
"""Values of which a parameter takes the first that it can be."""


_PLAIN = "./:_@%+=,-"
"""What a shell takes as it stands, beside letters and digits."""


def quoted(text: str) -> str:
    """Returns a text as one word of a shell."""
    is_plain = text and all(one.isalnum() or one in _PLAIN for one in text)
    return text if is_plain else "'" + text.replace("'", "'\\''") + "'"


def tell_example(app: App) -> None:
    """Prints the line for an app, if `zq dev` has asked for it."""
    if os.environ.get(WISHED) and app.tasks:
        echo(f"{EXAMPLE_MARK}{_example_of(app)}", err=True)


def example_of_queue(queue: str) -> str:
    """Returns the arguments of `zq submit` for a queue of which nothing else is known."""
    return f"{quoted(queue)} {UNKNOWN_PAYLOAD}"


def _example_of(app: App) -> str:
    queue, made = next(iter(app.tasks.items()))
    payload = _payload_of(made.parameters)
    return example_of_queue(queue) if payload is None else f"{quoted(queue)} {quoted(json.dumps(payload))}"


def _payload_of(parameters: Parameters) -> dict[str, Any] | None:
    """Returns a payload that the function takes; None when there is none as simple as that."""
    needed = [one for one in parameters.given.parameters.values() if one.default is one.empty]
    payload = {}
    for one in needed:
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            continue
        for sample in SAMPLES:
            try:
                parameters.converters[one.name].load(sample)
            except Exception:  # noqa: S112 - converters of classes of others raise what they like
                continue
            payload[one.name] = sample
            break
        else:
            return None
    return payload
