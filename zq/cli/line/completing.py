"""Completion of names: a question to the coordinator that takes 200 ms at most, never fails and never prints.

It goes where the command would go: --address, --context, --key and --namespace of the line count, and the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, suppress
from typing import Any

import typer

COMPLETION_PATIENCE = 0.2
"""Seconds for the answer: who presses the key waits for it."""

NAMES_ASKED_MAX = 200


def queue_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the names of queues."""
    return _asked(ctx, incomplete, lambda client: _names(client, "queues"))


def namespace_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the names of namespaces."""
    return _asked(ctx, incomplete, lambda client: _names(client, "namespaces"))


def worker_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the names of workers."""
    return _asked(ctx, incomplete, lambda client: _names(client, "workers"))


def schedule_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the names of schedules."""
    return _asked(ctx, incomplete, lambda client: _names(client, "schedules"))


def group_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the ids of groups."""
    return _asked(ctx, incomplete, lambda client: _names(client, "groups", "id"))


def topic_patterns(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the patterns that queues are bound to."""
    return _asked(ctx, incomplete, lambda client: _names(client, "bindings", "pattern"))


def task_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the ids of tasks that have not ended, and of dead letters."""
    return _asked(ctx, incomplete, lambda client: [*_tasks(client, "unfinished"), *_tasks(client, "dead")])


def dead_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the ids of dead letters."""
    return _asked(ctx, incomplete, lambda client: _tasks(client, "dead"))


def context_names(ctx: typer.Context, incomplete: str) -> list[str]:  # noqa: ARG001 - as all of them
    """Returns the names of contexts, for which nobody is asked."""
    from zq.cli.line.settings import read_contexts

    with suppress(Exception):
        return [name for name in read_contexts() if name.startswith(incomplete)]
    return []


def _names(client: Any, listing: str, name: str = "name") -> list[str]:
    return [str(row[name]) for row in client.query(listing, limit=NAMES_ASKED_MAX)]


def _tasks(client: Any, state: str) -> list[str]:
    return [str(row["id"]) for row in client.query("tasks", state=state, limit=NAMES_ASKED_MAX)["rows"]]


def _asked(ctx: typer.Context, incomplete: str, ask: Callable[[Any], list[str]]) -> list[str]:
    """Returns what begins as was typed; nothing when it cannot be known."""
    with suppress(Exception), ExitStack() as stack:
        silence = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123 - no path of ours
        stack.enter_context(redirect_stderr(silence))
        from zq.client.client import Client

        _enter_settings(ctx, stack)
        client = Client(ctx.params.get("address"), timeout=COMPLETION_PATIENCE)
        stack.callback(client.close, timeout=COMPLETION_PATIENCE)
        names = [one for one in dict.fromkeys(ask(client)) if one.startswith(incomplete)]
        return [one for one in names if one.isprintable() and ":" not in one]  # a shell takes the colon apart
    return []


def _enter_settings(ctx: typer.Context, stack: ExitStack) -> None:
    """Takes the options of the line that say where the coordinator is."""
    from zq.cli.line.settings import environment, settings_of

    given = ctx.find_root().params
    if given.get("name"):
        stack.enter_context(environment(settings_of(given["name"], is_explicit=True)))
    named = {"ZQ_KEY": given.get("key"), "ZQ_NAMESPACE": given.get("namespace")}
    stack.enter_context(environment({name: text for name, text in named.items() if text}))
