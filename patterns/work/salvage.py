"""Saves what can travel of chunks that cannot: values that no message can hold become failures of their items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patterns.work.items import (
    UNSENDABLE,
    Failure,
    ItemChunk,
    Origin,
    Sent,
    WithoutResult,
    compact,
    frames_of,
    origins_of,
)
from patterns.work.plan import Node
from patterns.work.values import pack
from zq.handling.raised import kind_of, text_of

SHOWN_BYTES_MAX = 200
"""Of what is said of a value that cannot travel."""


def salvage(node: Node, sent: list[Sent], came: ItemChunk | None, bytes_max: int) -> list[Sent]:
    """Returns chunks without the values that cannot travel, which become failures.

    Args:
        node: that sends them.
        came: what the function was called with; None when that is not known any more.
    """
    items = {} if came is None else dict(zip(origins_of(came), came[1], strict=True))
    saved: list[Sent] = []
    for number, chunk in sent:
        origins: list[Origin] = []
        values: list[Any] = []
        for origin, value in zip(origins_of(chunk), chunk[1], strict=True):
            try:
                frames_of(number, _like(chunk, [origin], [value]), 0.0, bytes_max)
            except UNSENDABLE as error:
                saved.append((_hearer_of(node, number), _failed(node, origin, items, error, bytes_max)))
            else:
                origins.append(origin)
                values.append(value)
        if origins:
            saved.append((number, _like(chunk, origins, values)))
    return saved


def _hearer_of(node: Node, number: int) -> int:
    """Returns where a failure goes of what was for node `number`.

    That is the join around the scatter. The parts that a split makes are inside of its own scatter; an item that it
    could not cut at all, and therefore sent to the join around itself, is not.
    """
    return node.closing if node.kind == "split" and number != node.join else node.join


def _like(chunk: ItemChunk, origins: list[Origin], values: list[Any]) -> ItemChunk:
    return WithoutResult(origins, values) if isinstance(chunk, WithoutResult) else compact(origins, values)


def _failed(node: Node, origin: Origin, items: Mapping[Origin, Any], error: Exception, bytes_max: int) -> WithoutResult:
    what = f"{kind_of(error)}: its result cannot be sent on: {text_of(error, SHOWN_BYTES_MAX)}"
    return WithoutResult([origin], [Failure(node.name, _shown(items.get(origin), bytes_max), what, "", 1)])


def _shown(item: Any, bytes_max: int) -> Any:
    """Returns an item for an error, or its beginning in words when it cannot travel with the error."""
    try:
        if len(pack(item)) < bytes_max // 2:
            return item
    except BaseException:  # it is anybody's object
        pass
    return text_of(item, SHOWN_BYTES_MAX, by=repr)
