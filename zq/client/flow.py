"""The batches of one submit_many on their way: what is in flight, what was accepted, what was refused."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from zq.errors import BusyError, InvalidTaskError, UnroutableError
from zq.sessions.outcomes import BatchOutcome, Reply
from zq.wire.messages import Accepted, Batch

S = TypeVar("S", bound=Sequence[Any])

Refusal: TypeAlias = BusyError | InvalidTaskError | UnroutableError
"""What is raised after all payloads were tried, with the receipts of those that were accepted."""

FLOW_WINDOW_BYTES = 16 << 20
"""Bytes of one submit_many that wait for their receipts: twice what the session has in flight, so that it never runs
dry.
"""

FLOW_WINDOW_BATCHES = 2048
"""Batches of one submit_many that wait for their receipts: two full messages, so that of small batches, too, one is
packed while another is stored.
"""


class Entry(NamedTuple):
    """One accepted batch of a submit_many."""

    outcome: BatchOutcome
    position: int
    eta: float | None
    is_duplicate: bool = False  # another task has its unique key, and this is that one's receipt


def entry_of(outcome: BatchOutcome, accepted: Accepted) -> Entry:
    """Makes the entry of a batch with one receipt."""
    return Entry(outcome, accepted.position, accepted.eta, accepted.duplicate_of is not None)


def unless_refused(receipts: S, refusal: Refusal | None) -> S:
    """Returns the receipts, or raises the refusal of the others with them."""
    if refusal is not None:
        refusal.accepted = receipts
        raise refusal
    return receipts


class Flow:
    """The batches of one submit_many on their way; started by the caller's thread, ended on the link's."""

    def __init__(self) -> None:
        self.started_bytes = 0
        self.started_tasks = 0
        self.batches: list[tuple[int, int]] = []  # first position and count of each batch
        self.accepted: dict[int, Entry] = {}
        self.refused: dict[int, BusyError | InvalidTaskError] = {}
        self.error: Exception | None = None  # the first that is not a refusal
        self.deadline = 0.0  # of the last batch
        self._ended_bytes = 0
        self._ended = 0
        self._waiter: tuple[Reply, int, int] | None = None
        self._gathered: deque[tuple[float, Batch, float, Reply]] = deque()
        self._is_announced = False  # whether the link's thread has been told, and has not come yet

    def start(self, count: int, size: int, deadline: float) -> "FlowReply":
        """Notes a batch; returns the reply for its submit."""
        self.deadline = deadline
        self.batches.append((self.started_tasks, count))
        self.started_tasks += count
        self.started_bytes += size
        return FlowReply(self, len(self.batches) - 1, size)

    def gather(self, now: float, batch: Batch, deadline: float, reply: Reply) -> bool:
        """Leaves a batch to be taken; returns whether the link's thread has to be told: while it is on its way to one
        of this flow, it takes along what has come since.
        """
        self._gathered.append(
            (now, batch, deadline, reply)
        )  # first: who takes forgets that it was told before it looks
        is_first, self._is_announced = not self._is_announced, True
        return is_first

    def submit_gathered(self, submit: Callable[[float, Batch, float, Reply], None]) -> None:
        """Submits what was gathered; on the link's thread."""
        self._is_announced = False
        gathered = self._gathered
        while gathered:
            one = gathered.popleft()
            try:
                submit(*one)
            except Exception as error:  # as of any call: it goes to who waits for it, and harms nobody else
                one[3].reject(error)

    @property
    def is_full(self) -> bool:
        """Whether the caller should wait for receipts before it starts another batch."""
        return (
            self.started_bytes - self._ended_bytes >= FLOW_WINDOW_BYTES
            or len(self.batches) - self._ended >= FLOW_WINDOW_BATCHES
            or self.error is not None
        )

    @property
    def accepted_tasks(self) -> int:
        return sum(self.batches[ordinal][1] for ordinal in self.accepted)

    def wait(self, bytes_max: int, batches_max: int, reply: Reply) -> None:
        """Resolves the reply when at most this much is left; on the link's thread."""
        self._waiter = (reply, bytes_max, batches_max)
        self._check()

    def end(self, size: int) -> None:
        """A batch has ended; on the link's thread."""
        self._ended += 1
        self._ended_bytes += size
        if self._waiter is not None:
            self._check()

    def _check(self) -> None:
        if self._waiter is None:
            return
        reply, bytes_max, batches_max = self._waiter
        if self.started_bytes - self._ended_bytes <= bytes_max and len(self.batches) - self._ended <= batches_max:
            self._waiter = None
            reply.resolve(None)


class FlowReply:
    """The end of one batch of a flow."""

    __slots__ = ("_bytes", "_flow", "_ordinal")

    def __init__(self, flow: Flow, ordinal: int, size: int) -> None:
        self._flow = flow
        self._ordinal = ordinal
        self._bytes = size

    def resolve(self, value: tuple[BatchOutcome, int, Accepted]) -> None:
        outcome, _, accepted = value
        self._flow.accepted[self._ordinal] = Entry(outcome, accepted.position, accepted.eta)
        self._flow.end(self._bytes)

    def reject(self, error: Exception) -> None:
        if isinstance(error, BusyError | InvalidTaskError):
            self._flow.refused[self._ordinal] = error
        else:
            self._flow.error = self._flow.error or error
        self._flow.end(self._bytes)


def note_accepted(error: Exception, flow: Flow) -> None:
    """Notes on the error of a payload what was accepted before it."""
    error.add_note(f"zq: of the first {flow.started_tasks} payloads, {flow.accepted_tasks} were accepted before this")


def finish(flow: Flow) -> tuple[list[Entry], BusyError | InvalidTaskError | None]:
    """Returns what was accepted, and the error to raise for what was refused; raises when something is unknown."""
    if flow.error is not None:
        accepted = flow.accepted_tasks
        flow.error.add_note(f"zq: of the first {flow.started_tasks} payloads, {accepted} are known to be accepted")
        raise flow.error
    entries = [flow.accepted[ordinal] for ordinal in sorted(flow.accepted)]
    if not flow.refused:
        return entries, None
    positions: list[int] = []
    for ordinal in sorted(flow.refused):
        first, count = flow.batches[ordinal]
        positions += range(first, first + count)
    refusals = [flow.refused[ordinal] for ordinal in sorted(flow.refused)]
    for refusal in refusals:
        if isinstance(refusal, InvalidTaskError):
            return entries, InvalidTaskError(str(refusal), tuple(positions))
    busy = [refusal for refusal in refusals if isinstance(refusal, BusyError)]
    return entries, BusyError(max(one.retry_after for one in busy), busy[0].reason, tuple(positions))
