"""Values of items as bytes and back: whatever is packed can be unpacked, and what cannot be packed is a TypeError."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack


def pack(value: Any) -> bytes:
    """Returns a value as bytes.

    Raises:
        TypeError: it holds what msgpack cannot, or what raises while it is looked at.
        ValueError: it is nested too deeply.
        OverflowError: a number has more than 64 bits.
    """
    try:
        data: bytes = msgpack.packb(value)
    except (TypeError, ValueError, OverflowError):
        raise
    except Exception as error:
        raise TypeError(f"{type(error).__name__}: {error}") from error
    return data


def unpack(data: bytes) -> Any:
    """Returns the value of some bytes, with lists for tuples but for those that are keys.

    Raises:
        ValueError, TypeError, msgpack.UnpackException: they stand for none.
    """
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except TypeError:  # a key is an array: msgpack takes tuples as keys, and no list can be one
        return msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=_map_of)


def _map_of(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    return {_key_of(key) if type(key) is list else key: value for key, value in pairs}


def _key_of(key: list[Any]) -> Any:
    return msgpack.unpackb(msgpack.packb(key), use_list=False, strict_map_key=False)
