"""Which worker of a node gets which item of a chunk, where that matters."""

from __future__ import annotations

import zlib
from typing import Any

import msgpack

from patterns.work.items import ItemChunk, Origin, WithoutResult, compact, number_of, origins_of
from patterns.work.plan import Node


def divide(chunk: ItemChunk, node: Node, workers: int) -> list[tuple[int, ItemChunk]]:
    """Divides a chunk that goes to a node where it matters which worker gets an item.

    Args:
        chunk: to be divided.
        node: that it goes to: a join, whose items are divided by number, or a stage with a key.
        workers: how many there are.

    Returns:
        (index of the worker, its part) pairs, only for workers that get something.
    """
    parts: dict[int, tuple[list[Origin], list[Any]]] = {}
    for origin, value in zip(origins_of(chunk), chunk[1], strict=True):
        at = number_of(origin) if node.kind == "join" else _hash_key(node, value)
        origins, values = parts.setdefault(at % workers, ([], []))
        origins.append(origin)
        values.append(value)
    if isinstance(chunk, WithoutResult):
        return [(index, WithoutResult(origins, values)) for index, (origins, values) in parts.items()]
    return [(index, compact(origins, values)) for index, (origins, values) in parts.items()]


def _hash_key(node: Node, value: Any) -> int:
    """Returns a hash of an item's key, the same in every process; a key function that fails decides nothing, the stage
    gets the item anyway.
    """
    assert node.options.key is not None
    try:
        return zlib.crc32(msgpack.packb(node.options.key(value)))
    except Exception:  # the function of the stage is where a bad item shows
        return 0
