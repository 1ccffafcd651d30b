"""How many items travel together, and how many are under way: small enough to share out and to stop quickly, large
enough to cost little each.

A pure machine: what it learns from is given to it.
"""

from __future__ import annotations

STAGE_CHUNK_SECONDS = 0.01
"""Work in a chunk: a hundredth of a second hides the cost of a message and delays nobody."""

CHUNK_ITEMS_MAX = 10_000
"""Items in a chunk, where the cost per message has become small beside that per item."""

CHUNK_BYTES_MAX = 256 << 10
"""Bytes in a chunk: larger ones gain nothing, and would make the memory of a run depend on the size of items."""

GROWTH_MAX = 4
"""How much larger a chunk may be than the one before: the first ones are for learning."""

CHUNKS_PER_WORKER = 2
"""Chunks under way for each worker: one in work, and one that waits."""


class Pace:
    """The size of chunks and of the window of a run, adapted to what items turn out to cost.

    Attributes:
        chunk: items in the next chunk, at least 1.
    """

    def __init__(
        self, workers: int, held_max: int, items_max: int = CHUNK_ITEMS_MAX, bytes_max: int = CHUNK_BYTES_MAX
    ) -> None:
        """Starts with single items.

        Args:
            workers: of all stages together.
            held_max: source items that may lie in unfinished batches; so many more must be under way.
            items_max: in a chunk.
            bytes_max: in a chunk.
        """
        self.chunk = 1
        self._workers = workers
        self._held_max = held_max
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._cost = 0.0
        self._item_bytes = 0.0

    @property
    def is_blind(self) -> bool:
        """Whether it does not know yet what items cost."""
        return not self._cost

    @property
    def window(self) -> int:
        """How many source items may be under way at once."""
        return self._held_max + self.chunk * (CHUNKS_PER_WORKER * self._workers + 1)

    def note_cost(self, seconds: float) -> None:
        """Learns what an item costs at the slowest stage; the memory of it fades, so that one odd chunk decides nothing
        for long.
        """
        self._cost = seconds if not self._cost else 0.7 * self._cost + 0.3 * seconds
        self._adapt()

    def note_bytes(self, frame_bytes: int, items: int) -> None:
        """Learns how large items are."""
        self._item_bytes = max(frame_bytes / items, 0.9 * self._item_bytes)

    def _adapt(self) -> None:
        wanted = min(self._items_max, self._bytes_max / max(self._item_bytes, 1.0))
        wanted = min(wanted, STAGE_CHUNK_SECONDS / self._cost) if self._cost > 0 else 1.0
        self.chunk = max(1, min(int(wanted), self.chunk * GROWTH_MAX))
