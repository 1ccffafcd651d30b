"""How long a task holds its unique key, and what happens to the next one that wants it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

from zq.errors import short
from zq.wire.limits import NAME_BYTES_MAX

UNTIL: Final = ("ended", "started")
UNIQUE_POLICIES: Final = ("keep", "replace")


class Unique(NamedTuple):
    """A key of which a queue has at most one task at a time.

    Attributes:
        key: text; the queue is its scope.
        until: "ended" (done, cancelled, expired or dead) or "started" (handed out for the first time).
        policy: what a submit does while another task has the key: "keep" that one and store nothing, or "replace" it
            while it waits.
    """

    key: str
    until: str = "ended"
    policy: str = "keep"

    @classmethod
    def read(cls, value: Any) -> Self:
        """Takes what a caller or peer gives: a Unique, its key, or the array of its fields.

        Raises:
            TypeError: it is nothing of the kind.
            ValueError: it cannot be.
        """
        if isinstance(value, str):
            value = (value, "ended", "keep")
        if not isinstance(value, tuple | list) or len(value) != 3 or not isinstance(value[0], str):
            raise TypeError(f"expected unique as a key or a zq.Unique, got {short(value)}")
        key, until, policy = value
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            raise ValueError(f"expected a unique key that UTF-8 can hold, got {short(key)}") from None
        if not 1 <= size <= NAME_BYTES_MAX:
            raise ValueError(f"expected a unique key of 1 to {NAME_BYTES_MAX} bytes, got {size}")
        if until not in UNTIL:
            raise ValueError(f"expected until of a unique key as {' or '.join(UNTIL)}, got {short(until)}")
        if policy not in UNIQUE_POLICIES:
            raise ValueError(f"expected policy of a unique key as {' or '.join(UNIQUE_POLICIES)}, got {short(policy)}")
        return cls(key, until, policy)
