"""A stored batch in memory: which of its tasks wait, are leased, or have ended.

Sets of tasks are integers used as bit masks, bit i for the i-th task of the batch, so that a step on a thousand tasks
costs what one on a single task does. Invariants: `ended` and `leased` are disjoint; `split` is part of `ended`; a batch
whose tasks have all ended is in no table but `index` and `results`.
"""

from math import inf

from zq.core import tables
from zq.core.state.queue import Queue
from zq.core.state.transitions import NEW, TaskState
from zq.task import task_id
from zq.wire.batch import slice_tasks
from zq.wire.messages import DEFAULT_OPTIONS, Options
from zq.wire.options import header_bytes

Forwarded = tuple[tuple[str, str, int], ...]
"""What a completion stored: id, queue and number of tasks of each batch; of a group the number is 0."""

Acceptance = tuple[int, int, int, str, float, float | None, float, Forwarded]
"""A completion that was accepted: token, lo, hi, and for the trace of its tasks holder, when they were leased, started
(if known) and done, what they forwarded.
"""

Start = tuple[str, int, float, float | None]
"""How a task came to a holder: its name, the token, when it was leased and when it was started, if known (wall)."""

LastFailure = tuple[int, int | None]
"""Under which token the last failure of a task was reported, and the checksum of the report, to know it again; without
a checksum in what was stored before there was one.
"""

TOGETHER_SECONDS = 0.1
"""Neighbours of one lease that are done within it share an entry, and its time: a trace is as exact as that, and costs
nothing per task.
"""


class StoredBatch:
    """Tasks first, first + 1, ... of the batch `id`: all of it, or one task that was split off.

    Not frozen, and without accessors: it is touched several times for each message.
    """

    __slots__ = (
        "accepted",
        "accepted_time",
        "attempts",
        "blob",
        "count",
        "ended",
        "ends",
        "failures",
        "first",
        "full",
        "has_progress",
        "has_results",
        "id",
        "is_parked",
        "is_queued",
        "is_solo",
        "key",
        "last_failure",
        "last_start",
        "leased",
        "options",
        "origin",
        "queue",
        "size",
        "split",
        "tokens",
    )

    def __init__(
        self,
        key: bytes,
        queue: Queue,
        id: str,
        size: int,
        first: int,
        options: Options,
        accepted_time: float,
        ends: bytes,
        blob: bytes,
    ) -> None:
        self.key = key
        self.queue = queue
        self.id = id
        self.size = size  # tasks in the batch as it was submitted
        self.first = first  # index of bit 0
        self.options = options
        self.ends = ends
        self.blob = blob
        self.count = count = len(ends) >> 2  # tasks in this record: all of them, or one
        self.full = (1 << count) - 1  # the mask of all
        self.accepted_time = accepted_time  # wall
        self.attempts = 0  # starts that failed or were lost; only a batch of one has any
        self.failures = 0  # of these, the ones that failed: the handler reported it, or ran out of its time
        self.origin: TaskState = NEW  # in which its tasks were when they were last taken in hand
        self.last_failure: LastFailure | None = None
        self.ended = 0  # finished, or split off
        self.split = 0  # split off: each goes on under its own key
        self.leased = 0
        self.accepted: list[Acceptance] = []
        self.is_solo = False  # protocol 3.1: leased one at a time, to find what kills workers
        self.is_queued = False  # whether its lane holds it
        self.is_parked = False  # in table parked, although its lane may still hold it
        self.has_progress = False
        self.has_results = False
        self.tokens: dict[int, None] = {}  # of its leases
        self.last_start: Start | None = None  # of a single task that was just taken out of a lease, for its history

    @property
    def priority(self) -> int:
        return self.options.priority

    @property
    def sent_bytes(self) -> int:
        """What its payloads and headers take in a message."""
        options = self.options
        return len(self.blob) + (0 if options is DEFAULT_OPTIONS else header_bytes(options))

    def available(self) -> int:
        """Returns the mask of the tasks that wait."""
        return self.full & ~(self.ended | self.leased)

    def servable(self) -> int:
        """Returns the mask of the tasks that may be leased now: of an ordered batch none while one is."""
        if self.options.ordered and (self.leased or self.is_parked):
            return 0
        return self.full & ~(self.ended | self.leased)

    @property
    def unfinished(self) -> int:
        """How many of its tasks have not ended or been split off."""
        return (self.full & ~self.ended).bit_count()

    @property
    def expires_time(self) -> float:
        """When what has not started expires (wall, to the millisecond); infinity without a ttl, and for a task that has
        been started.
        """
        ttl = self.options.ttl
        return inf if ttl is None or self.attempts else int((self.accepted_time + ttl) * 1000) / 1000

    @property
    def due_time(self) -> float | None:
        """When it may start, as it was submitted (wall); None for at once."""
        options = self.options
        if options.at is not None:
            return options.at
        return self.accepted_time + options.delay if options.delay else None

    @property
    def ready_time(self) -> float:
        """Since when it waits (wall): its delay is no waiting."""
        options = self.options
        return self.accepted_time + options.delay if options.at is None else max(self.accepted_time, options.at)

    def expiry_key(self) -> bytes:
        """Returns the key of its row in table `expiry`."""
        return tables.due_key(self.accepted_time + (self.options.ttl or 0.0), self.own_id.encode())

    def span_mask(self, lo: int, hi: int) -> int:
        """Returns the mask of the tasks with indexes lo <= index < hi that are in this record."""
        lo = max(lo - self.first, 0)
        hi = min(hi - self.first, self.count)
        return ((1 << (hi - lo)) - 1) << lo if hi > lo else 0  # as `run_mask`; asked several times for each message

    def task_id(self, index: int) -> str:
        return task_id(self.id, self.size, index)

    @property
    def own_id(self) -> str:
        """The id under which `index` knows this record."""
        return self.id if self.count == self.size else task_id(self.id, self.size, self.first)

    def slice(self, lo: int, hi: int) -> tuple[bytes, bytes]:
        """Returns ends and payloads of the tasks with indexes lo <= index < hi."""
        return slice_tasks(self.ends, self.blob, lo - self.first, hi - self.first)

    def accept(self, entry: Acceptance) -> None:
        """Notes an accepted completion; neighbours of one lease that end together become one entry."""
        accepted = self.accepted
        if accepted:
            last = accepted[-1]
            if (
                last[0] == entry[0]
                and last[2] == entry[1]
                and entry[6] - last[6] < TOGETHER_SECONDS
                and not (last[7] or entry[7])
                and last[5] is entry[5] is None
            ):
                accepted[-1] = (*entry[:1], last[1], *entry[2:])
                return
        accepted.append(entry)

    # Records.

    def record(self) -> bytes:
        """Returns what pending, scheduled and dead hold."""
        options = None if self.options is DEFAULT_OPTIONS else tuple(self.options)
        head = (self.id, self.size, self.first, self.accepted_time, options, self.attempts, self.failures)
        return tables.pack((*head, self.last_failure or 0, self.ends, self.blob))

    def progress_record(self) -> bytes:
        return tables.pack(
            (mask_bytes(self.ended), mask_bytes(self.split), self.is_solo, self.has_results, tuple(self.accepted))
        )

    def read_progress(self, value: bytes) -> None:
        ended, split, self.is_solo, self.has_results, accepted = tables.unpack(value)
        self.ended = mask_of(ended)
        self.split = mask_of(split)
        self.accepted = list(accepted)
        self.has_progress = True


def read_batch(key: bytes, queue: Queue, value: bytes) -> StoredBatch:
    """Makes a batch of its record."""
    id, size, first, accepted_time, options, attempts, failures, failed, ends, blob = tables.unpack(value)
    read = DEFAULT_OPTIONS if options is None else Options(*options)
    batch = StoredBatch(key, queue, id, size, first, read, accepted_time, ends, blob)
    batch.attempts = attempts
    batch.failures = failures
    if failed:
        batch.last_failure = (failed, None) if isinstance(failed, int) else failed
    return batch


def mask_bytes(mask: int) -> bytes:
    return mask.to_bytes((mask.bit_length() + 7) >> 3, "little")


def mask_of(value: bytes) -> int:
    return int.from_bytes(value, "little")


def run_mask(lo: int, hi: int) -> int:
    """Returns the mask of the bits lo <= bit < hi."""
    return ((1 << (hi - lo)) - 1) << lo


def runs(mask: int) -> list[tuple[int, int]]:
    """Returns the unbroken runs of set bits as (lo, hi), from the lowest."""
    found = []
    base = 0
    while mask:
        skip = (mask & -mask).bit_length() - 1
        mask >>= skip
        length = ((mask + 1) & ~mask).bit_length() - 1
        base += skip
        found.append((base, base + length))
        mask >>= length
        base += length
    return found


def span_of(mask: int) -> tuple[int, int]:
    """Returns lo and hi of a mask that is one run."""
    return (mask & -mask).bit_length() - 1, mask.bit_length()


def first_run(mask: int) -> tuple[int, int]:
    """Returns the first run of set bits of a mask that is not empty."""
    lo = (mask & -mask).bit_length() - 1
    mask >>= lo
    return lo, lo + ((mask + 1) & ~mask).bit_length() - 1


def bits(mask: int) -> list[int]:
    """Returns the positions of the set bits."""
    return [i for lo, hi in runs(mask) for i in range(lo, hi)]
