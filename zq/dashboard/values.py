"""Values as JSON: what the clients give, what strangers have put into payloads, and nothing that JSON has not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

JsonObject = dict[str, Any]

SHOWN_DEPTH_MAX: Final = 100
"""Levels of a value that are shown: a payload may have more than any reader of JSON follows."""

TOO_DEEP: Final = "... (nested too deeply)"


def plain(value: Any, depth: int = 0) -> Any:
    """Returns a value made of what JSON has: dataclasses and named tuples become objects, bytes `{"$bytes": hex}`,
    numbers that are none become null, and keys become text.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": bytes(value).hex()}
    if depth >= SHOWN_DEPTH_MAX:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {_key(key): plain(one, depth + 1) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), depth + 1) for field in fields(value)}
    if hasattr(value, "_asdict"):
        return plain(value._asdict(), depth)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one, depth + 1) for one in value]
    return str(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    return key.hex() if isinstance(key, bytes) else str(key)


def encode(value: Any) -> bytes:
    """Returns a value as JSON, in ASCII: whatever text it has, no reader of bytes stumbles over it."""
    return json.dumps(plain(value), separators=(",", ":"), allow_nan=False).encode("ascii")
