"""Encodes messages and records with one msgpack packer that is kept, since making one for each costs more than using
it: it allocates 256 KiB.

Any thread may call `pack`. The packer is a C object that runs no Python code while it packs what messages and records
are made of (tuples, lists, dicts, text, bytes, numbers, None), so that the interpreter's lock makes each call whole;
without that lock msgpack takes one of its own.
"""

from typing import Any

import msgpack

KEPT_BYTES_MAX = 1 << 20
"""A packer that has encoded more than this is dropped with its buffer, which never shrinks."""


def _make() -> Any:
    return msgpack.Packer(use_bin_type=True).pack


_pack = _make()


def pack(value: Any) -> bytes:
    """Encodes a value of msgpack's own types; raises TypeError, ValueError or OverflowError for others."""
    global _pack  # noqa: PLW0603 - the packer is this module's only state
    data: bytes = _pack(value)
    if len(data) > KEPT_BYTES_MAX:
        _pack = _make()
    return data
