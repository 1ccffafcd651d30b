"""Gathers what a client submits into batches and messages, without ever waiting for a clock.

What is submitted while nothing is in flight goes out at once. What comes while a message is in flight gathers, and
goes out together when its receipt comes: the batch grows by itself while the coordinator's disk is busy. Full
messages do not wait, up to a window, so that large submits stream.

Single tasks that gathered with the same queue and options become one batch. Tasks of one queue with different options
may leave in another order than they came; nobody can tell, since none of them had its receipt yet. A merged batch
that is refused is taken apart and its tasks are submitted alone, so that nobody is refused because of a neighbour.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from zq.errors import InvalidTaskError
from zq.sessions.outcomes import Reply
from zq.sessions.refusals import remote_error
from zq.sessions.waiters import Waiting, is_wanted, take_replies
from zq.wire.batch import pack_payloads
from zq.wire.limits import BATCH_BYTES_MAX, BATCH_TASKS_MAX, MESSAGE_BATCHES_MAX
from zq.wire.messages import DEFAULT_OPTIONS, Batch, Error, Options
from zq.wire.options import header_bytes

FULL_BYTES, FULL_TASKS = 256 << 10, 1000
"""When this much has gathered it does not wait for a receipt: the cost per message is small enough."""

SUBMIT_BYTES_MAX = 2 << 20
"""Where a message is cut, unless one batch is larger: an eighth of a frame, so that several are under way at once."""

WINDOW_BYTES = 8 << 20
"""Bytes in flight: several times what a coordinator commits at once, yet bounded for both sides."""

WINDOW_MESSAGES = 8
"""Submits in flight."""

SMALL_MESSAGES = 2
"""Submits in flight that are not full: one is on its way to the disk while another arrives; with more, batches become
smaller and nothing faster.
"""

PART_OVERHEAD_BYTES = 64
TASK_OVERHEAD_BYTES = 4
"""What a batch and a task count for beside the payload."""


class Single(Waiting):
    """One task that may be merged with others; made once per task by the caller's thread, hence no dataclass."""

    __slots__ = ("group", "options", "payload", "queue")

    def __init__(self, queue: str, options: Options, payload: bytes, deadline: float, reply: Reply) -> None:
        self.queue = queue
        self.options = options
        self.group = queue if options is DEFAULT_OPTIONS else _group(queue, options)
        self.payload = payload
        self.deadline = deadline
        self.reply = reply
        self.asked_at = 0.0


class Part:
    """A batch on its way: one that the caller made, or the singles that gathered.

    Invariant: once `batch` is there, the waiters stay in their places, since the index in the batch is the index in
    the list.
    """

    __slots__ = ("batch", "bytes", "group", "is_alone", "singles", "tasks", "waiters")

    def __init__(self, options: Options, group: Hashable = None) -> None:
        self.group = group  # of the singles that may join; None: nobody may
        self.batch: Batch | None = None
        self.singles: list[Single] = []
        self.waiters: Sequence[Waiting] = self.singles  # of a batch that the caller made: the one who waits for it
        self.bytes = PART_OVERHEAD_BYTES
        if options is not DEFAULT_OPTIONS:
            self.bytes += header_bytes(options)
        self.tasks = 0
        self.is_alone = False  # True: goes in a message of its own

    def add(self, single: Single) -> None:
        self.singles.append(single)
        self.tasks += 1
        self.bytes += len(single.payload) + TASK_OVERHEAD_BYTES

    def close(self, make_id: Callable[[], str]) -> Batch:
        """Returns the batch, made if there is none yet of the singles for which somebody still waits."""
        if self.batch is None:
            self.waiters = self.singles = [single for single in self.singles if single.reply is not None]
            payloads = [single.payload for single in self.singles]
            first = self.singles[0]
            self.batch = Batch(make_id(), first.queue, first.options, *pack_payloads(payloads))
        return self.batch


class Load(NamedTuple):
    """What one submit carries."""

    batches: tuple[Batch, ...]
    parts: dict[str, Part]  # by batch id; those that have no answer yet
    bytes: int
    is_small: bool  # others gather until its receipt comes


def whole_load(batch: Batch, now: float, deadline: float, reply: Reply) -> Load:
    """Returns what a submit carries that has one batch, as the caller made it."""
    part = _whole_part(batch, now, deadline, reply)
    is_small = part.bytes < FULL_BYTES and part.tasks < FULL_TASKS
    return Load((batch,), {batch.id: part}, part.bytes, is_small)


def _whole_part(batch: Batch, now: float, deadline: float, reply: Reply) -> Part:
    part = Part(batch.options)
    part.batch = batch
    part.waiters = (Waiting(deadline, reply, now),)
    part.tasks = batch.tasks
    part.bytes += len(batch.ends) + len(batch.blob)
    return part


class Submits:
    """What waits to be sent, and how much is in flight."""

    def __init__(self, make_id: Callable[[], str]) -> None:
        self._make_id = make_id
        self._queue: deque[Part] = deque()
        self._open: dict[Hashable, Part] = {}  # the parts of `_queue` that singles may still join
        self._bytes = 0
        self._tasks = 0
        self._messages_in_flight = 0
        self._bytes_in_flight = 0
        self._small_in_flight = 0  # bounded by SMALL_MESSAGES: that is what makes the others gather

    def add_single(self, now: float, single: Single) -> None:
        """Queues a task, in a batch with others of its group when there is room."""
        single.asked_at = now
        size = len(single.payload) + TASK_OVERHEAD_BYTES
        part = self._open.get(single.group)
        if part is None or part.tasks == BATCH_TASKS_MAX or part.bytes + size > BATCH_BYTES_MAX:
            part = self._open[single.group] = Part(single.options, single.group)
            self._queue.append(part)
            self._bytes += part.bytes
        part.singles.append(single)
        part.tasks += 1
        part.bytes += size
        self._tasks += 1
        self._bytes += size

    def add_batch(self, now: float, batch: Batch, deadline: float, reply: Reply) -> None:
        """Queues a batch as the caller made it."""
        self._push([_whole_part(batch, now, deadline, reply)])

    def take_load(self) -> Load | None:
        """Returns what the next message should carry, or None when it is better to wait for a receipt."""
        if self._messages_in_flight >= WINDOW_MESSAGES or self._bytes_in_flight >= WINDOW_BYTES:
            return None
        is_small = self._bytes < FULL_BYTES and self._tasks < FULL_TASKS
        if is_small and self._small_in_flight >= SMALL_MESSAGES:
            return None
        batches: list[Batch] = []
        parts: dict[str, Part] = {}
        size = 0
        while self._queue and len(parts) < MESSAGE_BATCHES_MAX:
            part = self._queue[0]
            if part.batch is not None and part.batch.id in parts:
                break  # the same id twice: the second asks again when the first has its receipt
            if parts and (part.is_alone or size + part.bytes > SUBMIT_BYTES_MAX):
                break
            self._pop()
            if is_wanted(part.waiters):
                batch = part.close(self._make_id)
                batches.append(batch)
                parts[batch.id] = part
                size += part.bytes
                if part.is_alone:
                    break
        if not parts:
            return None
        load = Load(tuple(batches), parts, size, is_small)
        self.begin(load)
        return load

    def begin(self, load: Load) -> None:
        """A message is on its way."""
        self._messages_in_flight += 1
        self._bytes_in_flight += load.bytes
        self._small_in_flight += load.is_small

    def settle(self, load: Load) -> None:
        """A message was answered or given up: what gathered behind it may go."""
        self._messages_in_flight -= 1
        self._bytes_in_flight -= load.bytes
        self._small_in_flight -= load.is_small

    def waiters(self) -> list[Waiting]:
        """Returns all who wait for what waits here."""
        return [one for part in self._queue for one in part.waiters]

    def add_apart(self, part: Part) -> None:
        """Queues the tasks of a merged batch, of which nothing was stored, as batches of one, before all others."""
        apart = []
        for single in part.singles:
            if single.reply is not None:
                one = Part(single.options)
                one.add(single)
                one.close(self._make_id)
                apart.append(one)
        self._push(apart, is_first=True)

    def add_alone(self, part: Part) -> None:
        """Queues a batch, of which nothing was stored, for a message of its own, before all others."""
        part.is_alone = True
        self._push([part], is_first=True)

    def take_apart(self, load: Load, message: Error) -> None:
        """An error does not tell which batch was at fault, and none was stored: each goes again in a message of its
        own.
        """
        if len(load.parts) > 1:
            for part in reversed(load.parts.values()):
                self.add_alone(part)
            return
        for part in load.parts.values():
            if len(part.singles) > 1:
                self.add_apart(part)
                return
            for reply in take_replies(part.waiters):
                if message.code == "invalid":
                    reply.reject(InvalidTaskError(message.text))
                else:
                    reply.reject(remote_error(message.code, message.text, message.request))

    def _push(self, parts: Iterable[Part], *, is_first: bool = False) -> None:
        parts = list(parts)
        if is_first:
            self._queue.extendleft(reversed(parts))
        else:
            self._queue.extend(parts)
        self._bytes += sum(part.bytes for part in parts)
        self._tasks += sum(part.tasks for part in parts)

    def _pop(self) -> None:
        part = self._queue.popleft()
        self._bytes -= part.bytes
        self._tasks -= part.tasks
        if self._open.get(part.group) is part:
            del self._open[part.group]


def _group(queue: str, options: Options) -> Hashable:
    """Returns what is equal for tasks that may share a batch."""
    if options.group is not None:
        return object()  # neighbours in a batch have neighbouring paths, and these have what they have
    headers = None if options.headers is None else tuple(options.headers.items())
    return (queue, options._replace(headers=None), headers)
