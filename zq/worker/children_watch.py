"""Whether the children of a worker can work: what a run of a worker asks before it takes tasks, and when it gives up.

A worker has up to two kinds of children, for plain functions and for coroutines. It can work when of each kind it has
there is one that can; a worker that cannot gives back what it holds and takes nothing, for other workers may be well.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from zq.worker.child_start import Source
from zq.worker.child_thread import ChildThread

log = logging.getLogger(__name__)

CHILD_FAILURES_MAX = 5
"""Children in a row that were of no use, of each thread that has one, after which a worker ends: 3 seconds of pauses,
in which a file that is just being replaced is whole again.
"""


class ChildrenWatch:
    """Looks after the children of one run. `note` may be called from any thread, all else belongs to the link's.

    Attributes:
        is_able: whether tasks may be held, as of the last look.
    """

    def __init__(self, kinds: Sequence[Sequence[ChildThread]]) -> None:
        """Makes a watch over threads that are not started yet, by kind; a kind may be empty."""
        self.is_able = False
        self._kinds = [kind for kind in kinds if kind]
        self._source: Source | None = None  # what the first child has imported
        self._warned: Source | None = None

    def note(self, source: Source | None) -> None:
        """Notes what a child has imported that is ready."""
        if source is None:
            return
        if self._source is None:
            self._source = source
        elif source not in (self._source, self._warned):
            self._warned = source
            log.warning(
                "%s has changed since this worker was started: child processes that are started now run what it has "
                "now, and others what it had; restart the worker",
                Path(source.file).name,
            )

    def look(self, now: float) -> None:
        """Finds out whether tasks may be held."""
        self.is_able = all(any(one.is_able(now) for one in kind) for kind in self._kinds)

    def why_over(self) -> str | None:
        """Returns why there will be no child of some kind; None when there may be.

        What children say themselves before any was ready is true for all that follow.
        """
        for kind in self._kinds:
            problems = [one.problem for one in kind if one.problem is not None]
            if len(problems) < len(kind):
                continue
            is_hopeless = all(problem.is_told for problem in problems) and not any(one.was_ready for one in kind)
            if is_hopeless or min(one.failures for one in kind) >= CHILD_FAILURES_MAX:
                return str(problems[0])
        return None
