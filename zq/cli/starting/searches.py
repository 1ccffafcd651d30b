"""Python's search for objects that keep each other alive, kept short in a process that is a server and nothing else.

A full search looks at all objects that there are: of a coordinator with 100,000 queues for a quarter of a second, in
which nobody is answered. What it finds alive will mostly live on. So after one that took long, what is there is passed
by from then on (`gc.freeze`): the next one looks at what has come since. What is freed by its last reference, as nearly
all is, is freed as ever.
"""

from __future__ import annotations

import gc
from time import perf_counter

SEARCH_SECONDS_LONG = 0.01
"""That a search may take: as long as a flush of a slow disk."""

LAST_GENERATION = 2


class ShortSearches:
    """From its making until `stop`; of one process."""

    def __init__(self) -> None:
        self._begun_at = 0.0
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Has all that there is looked at again."""
        gc.callbacks.remove(self._note)
        gc.unfreeze()

    def _note(self, phase: str, about: dict[str, int]) -> None:
        if about["generation"] != LAST_GENERATION:
            return
        if phase == "start":
            self._begun_at = perf_counter()
        elif perf_counter() - self._begun_at > SEARCH_SECONDS_LONG:
            gc.freeze()
