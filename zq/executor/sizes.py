"""How many calls of a map share a task, learnt from how long they take; pure, without a clock.

A call that shares a task waits for those before it, so calls share one only as far as is known to be short: the first
go alone, a task has at most GROWTH times as many as one that has ended whole, and no more than take TASK_SECONDS. Where
that guess was wrong, since calls take longer than those before, a task gives back what it did not start within
WITHIN_SECONDS, and all begins with single calls again.

A guess is for what is submitted until the next tasks end, and no more: one call during which its process did not get to
run seems long, and by that alone a million of short calls would each be a task of its own.
"""

from __future__ import annotations

from math import inf

TASK_SECONDS = 0.005
"""Of work in a task: against it, what a task costs does not count."""

COST_SECONDS = 0.0001
"""What a task costs beside its calls."""

WITHIN_SECONDS = 0.05
"""After which a task starts no more calls: ten times as long as it was thought to take."""

GROWTH = 4

TASK_CALLS_MAX = 2000
"""In a task: what they take by then is more than what the task itself costs, also if they do nothing."""

AHEAD_SECONDS = 0.2
"""Of work for each process that is submitted: twice what a worker takes in hand, so none waits for the disk."""

SHARES = 4
"""Parts for each process into which the last calls are cut, so that all processes end at about the same time."""


class Sizes:
    """Says how many calls the next task shall have.

    Args:
        processes: that run them.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._seconds: float | None = None  # of a call; None: not known
        self._proven = 0  # calls of the largest task that ended whole since one did not
        self._may_wait = True

    @property
    def low(self) -> int:
        """Tasks under way with which no process waits for work."""
        return 2 * self._processes

    def note(self, calls: int, left: int, seconds: float) -> None:
        """Learns that so many calls took so long, and so many of their task were given back: if that was not for their
        time, it was for the bytes of their results.
        """
        if calls:
            each = seconds / calls
            known = self._seconds
            self._seconds = each if known is None or each > known else (each + known) / 2
        if not left:
            self._proven = max(self._proven, calls)
        else:
            self._proven = 1 if seconds >= WITHIN_SECONDS else max(calls // GROWTH, 1)

    def give_up(self) -> None:
        """Calls have waited for long enough: from now on none does, and if nothing is known of them they are long."""
        self._may_wait = False
        if self._seconds is None:
            self._seconds = TASK_SECONDS

    def enough(self, under_way: int) -> float:
        """Returns how many calls must wait before it is time for another task; infinite: first one has to end.

        Args:
            under_way: tasks that are submitted and have not ended.
        """
        if under_way < self.low:
            return 1
        if self._seconds is None:
            return inf
        if not self._may_wait:
            return 1
        wanted = self._wanted(self._seconds)
        each = COST_SECONDS + self._size(wanted) * self._seconds
        if under_way * each >= AHEAD_SECONDS * self._processes:
            return inf
        if wanted == 1:
            return 1
        return wanted if wanted <= GROWTH * self._proven else inf

    def next_size(self, waiting: int, under_way: int, *, is_all: bool) -> int:
        """Returns how many calls the next task shall have; 0: it is better to wait.

        Args:
            waiting: calls that are not submitted.
            under_way: as above.
            is_all: whether no more calls will come.
        """
        enough = self.enough(under_way)
        if not waiting or enough == inf or (waiting < enough and not is_all):
            return 0
        if self._seconds is None:
            return 1
        size = self._size(self._wanted(self._seconds))
        if is_all:
            size = min(size, max(-(-waiting // (SHARES * self._processes)), size // SHARES, 1))
        return min(size, waiting)

    def _size(self, wanted: int) -> int:
        """Returns how many calls a task may have, as far as is proven."""
        return min(wanted, max(GROWTH * self._proven, 1))

    @staticmethod
    def _wanted(seconds: float) -> int:
        return max(min(int(TASK_SECONDS / max(seconds, 1e-9)), TASK_CALLS_MAX), 1)
