"""The checksum before each value: of the table, the key and the value, so that a row is found out whatever of it was
changed, or where it was put.
"""

from typing import Final
from zlib import crc32

from zq.core.tables import SCHEMA

SUM_BYTES: Final = 4

COPIED_BYTES_MAX: Final = 1024
"""Up to which it takes less to copy a value than to look at it where it is."""

SCHEMAS_OF_VALUES: Final = (12, 13)
"""Whose checksums were of the value alone."""


def salt_of(table: str) -> int:
    """Returns what the checksums of a table begin with."""
    return crc32(table.encode())


def sealed(salt: int, key: bytes, value: bytes) -> bytes:
    """Returns what is stored for a value."""
    return crc32(value, crc32(key, salt)).to_bytes(SUM_BYTES, "big") + value


def is_whole(salt: int, key: bytes, stored: bytes, schema: int = SCHEMA) -> bool:
    """Returns whether what is stored under a key is what was stored there."""
    value = memoryview(stored)[SUM_BYTES:] if len(stored) > COPIED_BYTES_MAX else stored[SUM_BYTES:]
    found = crc32(value) if schema in SCHEMAS_OF_VALUES else crc32(value, crc32(key, salt))
    return found.to_bytes(SUM_BYTES, "big") == stored[:SUM_BYTES]
