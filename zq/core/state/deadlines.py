"""When something is due: each part of the upkeep (`zq.core.upkeep`) has one deadline, and whoever enters something for
it brings that forward.

Invariant between steps: nothing of a part is due before its deadline. It may be too early, for what is gone is not
taken back: then the part finds nothing to do, and says when to look again.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zq.core.state.leases import Lease

ALARMS_SWEEP_MIN: Final = 1024
"""Alarms from which on those without a lease are looked for; afterwards whenever they have doubled."""


CLOCK_SLACK: Final = 1.0
"""Seconds by which a wall clock may fall back in a moment without anything being done about it."""


class Deadline:
    """The time at which a part is to be looked at, on the clock by which it goes."""

    __slots__ = ("is_wall", "when")

    def __init__(self, *, is_wall: bool) -> None:
        """Makes one that is due at once: before the first look nobody knows.

        Args:
            is_wall: by the wall clock, and not by the monotonic one. It may jump, so its times stay what they are until
                somebody asks how long that is from now.
        """
        self.is_wall = is_wall
        self.when = -inf

    def bring_forward(self, when: float) -> None:
        """Notes that something is due at a time, of the clock by which this goes."""
        if when < self.when:  # noqa: PLR1730 - a third of the time of `min`, some times a message
            self.when = when


class WallClock:
    """What the wall clock has shown, to know when it was set back: on disk there are times by it.

    Attributes:
        offset: what it shows more than the monotonic clock, as of the last turn.
        latest: the latest time that it has shown, or that is on disk from an earlier life; while times are taken back
            it stays, so that a restart meanwhile begins with that again.
        phase: which times are taken back now, one kind after the other; None: none are.
        cursor: key from which on it goes on.
    """

    __slots__ = ("cursor", "latest", "offset", "phase")

    def __init__(self) -> None:
        self.offset = 0.0
        self.latest = -inf
        self.phase: int | None = None
        self.cursor = b""


class Deadlines:
    """The deadlines of all parts, and the clock by which some of them go."""

    __slots__ = (
        "alarms", "alerts", "chores", "clock", "delays", "expiry", "gates", "guests", "history", "later", "offers",
        "operations", "pulls", "replays", "retention", "schedules", "silence", "takings_back",
    )  # fmt: skip

    def __init__(self) -> None:
        self.clock = WallClock()
        self.silence = Deadline(is_wall=False)  # a worker may have to be suspected or buried
        self.alarms = Deadline(is_wall=False)  # a lease ends, or a task has run too long
        self.expiry = Deadline(is_wall=True)  # a task has waited longer than its ttl
        self.delays = Deadline(is_wall=True)  # a delay is over, or that of a retry
        self.schedules = Deadline(is_wall=True)  # a schedule fires
        self.replays = Deadline(is_wall=False)  # a replay may bring the next dead letter back
        self.operations = Deadline(is_wall=False)  # an operation has its next portion to do
        self.chores = Deadline(is_wall=False)  # a chore has its next portion to do
        self.gates = Deadline(is_wall=False)  # a rate has a token again
        self.pulls = Deadline(is_wall=False)  # a pull has waited long enough
        self.offers = Deadline(is_wall=False)  # the lease of a pull should be confirmed by now
        self.guests = Deadline(is_wall=False)  # a client that waits may have to be called on
        self.later = Deadline(is_wall=False)  # what was to be said a little later is to be said
        self.alerts = Deadline(is_wall=False)  # an alert may begin or end
        self.history = Deadline(is_wall=True)  # a step of the history ends
        self.retention = Deadline(is_wall=True)  # something that has ended is to be forgotten
        self.takings_back = Deadline(is_wall=False)  # times of a wall clock that was set back are looked at

    def look_at_once(self) -> None:
        """Has all be looked at that goes by the wall clock, which was set back: who had something to do said when by
        what it showed before.
        """
        for one in (self.expiry, self.delays, self.schedules, self.history, self.retention):
            one.when = -inf


class Alarms:
    """When leases end or their tasks run out of time. One of a lease that has ended rings for nobody."""

    __slots__ = ("_deadline", "_heap", "_leases", "_sweep_at")

    def __init__(self, leases: dict[int, Lease], deadline: Deadline) -> None:
        """Makes none.

        Args:
            leases: of the books, by token.
            deadline: that of the alarms.
        """
        self._leases = leases
        self._deadline = deadline
        self._heap: list[tuple[float, int]] = []  # time and token
        self._sweep_at = ALARMS_SWEEP_MIN  # alarms, at which those are looked for whose lease is gone

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, lease: Lease) -> None:
        """Has a lease looked at at a time (monotonic)."""
        heappush(self._heap, (at, lease.token))
        self._deadline.bring_forward(at)
        if len(self._heap) >= self._sweep_at:
            self._sweep()

    def take_due(self, now: float) -> Iterator[Lease]:
        """Yields the leases whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            lease = self._leases.get(heappop(self._heap)[1])
            if lease is not None:
                yield lease

    def next_at(self) -> float:
        """Returns when the next one rings (monotonic), or infinity."""
        return self._heap[0][0] if self._heap else inf

    def _sweep(self) -> None:
        """Forgets alarms of leases that have ended, or were extended since: a lease may be of hours, and last for a
        moment.
        """
        leases = self._leases
        self._heap = [
            (at, token)
            for at, token in self._heap
            if (lease := leases.get(token)) is not None and (lease.seconds is None or lease.expires_at == at)
        ]
        heapify(self._heap)
        self._sweep_at = max(ALARMS_SWEEP_MIN, 2 * len(self._heap))
