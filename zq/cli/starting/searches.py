"""Python's search for objects that keep each other alive, kept short in a process that is a server and nothing else.

A full search looks at all objects that there are: of a coordinator with 100,000 queues for a quarter of a second, in
which nobody is answered. What it finds alive will mostly live on. So after one that took long, what is there is passed
by from then on (`gc.freeze`): the next one looks at what has come since. What is freed by its last reference, as nearly
all is, is freed as ever.

A small search comes when so many more objects were made than were freed since the last. Of a turn all are freed in one
of the next ones, so that a search between only finds them alive, again and again: a tenth of what batches cost.
"""

from __future__ import annotations

import gc
from time import perf_counter

SEARCH_SECONDS_LONG = 0.01
"""That a search may take: as long as a flush of a slow disk."""

LAST_GENERATION = 2

YOUNG_MAX = 50_000
"""Objects of which the youngest search is: several full turns, and looked at within three milliseconds."""


class ShortSearches:
    """From its making until `stop`; of one process."""

    def __init__(self) -> None:
        self._begun_at = 0.0
        self._thresholds = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_MAX, *self._thresholds[1:])
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Has all that there is looked at again."""
        gc.callbacks.remove(self._note)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    def _note(self, phase: str, about: dict[str, int]) -> None:
        if about["generation"] != LAST_GENERATION:
            return
        if phase == "start":
            self._begun_at = perf_counter()
        elif perf_counter() - self._begun_at > SEARCH_SECONDS_LONG:
            gc.freeze()
