"""What a store with a journal stands on: tables, and a log of what is not in them for sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from zq.core.storage import Damage, StoreInfo, Transaction
from zq.errors import StoreCorruptError


def about_journal(**found: Any) -> dict[str, Any]:
    """Returns what `status` tells of a journal; of none, where nothing is given."""
    nothing = {
        "is_on": False, "reason": "", "sequence": 0, "checkpoint": 0, "bytes": 0, "capacity": 0, "records": 0,
        "record_bytes": 0, "checkpoints": 0,
    }  # fmt: skip
    return {**nothing, **found}


class Tables(Protocol):
    """What stands behind the journal: a store whose transaction may stay open over many turns.

    Attributes:
        written_bytes: what was written to it, in all; it only grows.
        room_bytes: about how many bytes can be written before it is full.
        damages: what was found damaged, and not told yet.
    """

    damages: list[Damage]

    @property
    def written_bytes(self) -> int: ...

    @property
    def room_bytes(self) -> float: ...

    @property
    def is_full(self) -> bool: ...

    @property
    def why_full(self) -> str: ...

    def begin(self) -> Transaction: ...

    def takes(self, count: float) -> bool:
        """Returns whether a commit finds room for so many bytes now; when it does not, looks how much there is."""

    def notice_room(self) -> None:
        """Looks at the room left, if a look is due; a transaction may be open."""

    def check_place(self) -> None:
        """Looks whether they are still what a start will find; raises StoreError when they are not."""

    def info(self) -> StoreInfo: ...

    def mend(self, error: StoreCorruptError) -> None:
        """Sets aside what is damaged; raises the error when nothing is."""

    def close(self) -> None: ...


class RedoLog(Protocol):
    """Where records go: a file, or a simulated one. Places are bytes from the first record on.

    Attributes:
        salt: random bytes of this log, made with it.
        capacity: bytes that it has room for.
        used: bytes from the first place to the next one.
    """

    salt: bytes
    capacity: int
    used: int

    @property
    def name(self) -> str:
        """How messages call it."""

    def append(self, record: bytes) -> None:
        """Writes a record at the next place; whoever calls has looked whether there is room in it.

        Raises:
            StoreFullError: the disk has none after all; the next place is the same.
            StoreError: it cannot be written.
        """

    def flush(self) -> None:
        """Returns when everything that was appended is on disk; raises StoreError when nobody knows that."""

    def check_place(self) -> None:
        """Looks whether it is still what a start will find; raises StoreError when it is not."""

    def read(self) -> bytes:
        """Returns all bytes that it has room for, whatever is in them."""

    def restart(self, *, grows: bool) -> None:
        """Makes the first place the next one; with more room than before, if asked for and if there is some."""

    def remove(self) -> None:
        """Closes it and takes it away."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """When the tables are committed.

    Attributes:
        turn_bytes_max: what a turn may write into the journal; larger ones commit the tables. From about 24 KiB on a
            commit takes less of the processor than a record, whose bytes are checked and written a second time.
        age_max: seconds after which a checkpoint is due, however much comes.
        pause_min: seconds between two checkpoints that are made because nothing comes.
        idle_after: seconds without a turn that wrote something after which nothing comes.
    """

    turn_bytes_max: int = 24 << 10
    age_max: float = 1.0
    pause_min: float = 0.25
    idle_after: float = 0.005
