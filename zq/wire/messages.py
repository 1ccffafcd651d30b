"""The messages of the protocol, as values; docs/protocol.md says what each means.

A message is a named tuple whose fields stand in wire order, so that encoding is one call of msgpack on the tuple
itself. A frozen dataclass costs four times as much to make and would have to be taken apart again for each frame, and
this is the hot path of every process.

Nothing here checks anything: `zq.wire.codec` is the border at which bytes become these values and bad ones are refused.
"""

from typing import Any, NamedTuple

from zq.wire.proofs import Proof
from zq.wire.steering import About, NextTry, Steer


class Options(NamedTuple):
    """What a submit says about all tasks of one batch; the defaults are the protocol's."""

    priority: int = 4  # 0 (last) to 9 (first)
    delay: float = 0.0  # seconds before the tasks may start
    on_lost: str = "reassign"  # or "cancel" or "dead": what happens to a started task whose worker died
    key: str | None = None  # what is ordered, hashed, shared fairly and limited by key
    max_attempts: int | None = None  # starts that may fail or be lost before the task is dead; None: the queue's
    retry: tuple[str, float, float, float] | None = None  # the fields of a RetryPolicy; None: the queue's
    timeout: float | None = None  # seconds a started task may run; None: no limit
    headers: dict[str, str] | None = None  # passed on untouched
    on_dead: str | None = None  # queue that gets a notice when the task ends as dead or expired
    group: tuple[str, tuple[int, ...]] | None = None  # group and path of the first task; the last number counts up
    ordered: bool = False  # one task of the key at a time, in the order of submission
    at: float | None = None  # seconds since 1970 before which the tasks may not start; None: `delay` says
    ttl: float | None = None  # seconds after acceptance in which they must start; in an assignment: that are left
    unique: tuple[str, str, str] | None = None  # the fields of a Unique: a key that one task of the queue has at a time


DEFAULT_OPTIONS = Options()


class Batch(NamedTuple):
    """1 to BATCH_TASKS_MAX tasks that share a queue and options; also how a forwarded task travels."""

    id: str
    queue: str
    options: Options
    ends: bytes  # little-endian uint32 per task: where its payload ends in `blob`
    blob: bytes  # the payloads, joined

    @property
    def tasks(self) -> int:
        """How many there are."""
        return len(self.ends) >> 2


class Group(NamedTuple):
    """Tasks whose results are joined when the last of them has ended; `queue` and `options` are those of the
    callback.
    """

    id: str  # also of the callback
    size: int  # members that it is opened for
    policy: str  # "all", "any" or "settled"
    skips_none: bool  # whether a member that returned None contributes nothing
    queue: str | None  # None: no callback, the joined results are the group's own
    options: Options


class Accepted(NamedTuple):
    """The receipt of one batch: it is on disk."""

    id: str
    position: int  # of its first task, counted from 1, among the tasks that wait in its queue
    eta: float | None  # seconds until that task is likely to be finished; None: no rate is known yet
    duplicate_of: str | None = None  # id of the task that has its unique key already: nothing was stored


class Refused(NamedTuple):
    """The refusal of one batch: surely nothing of it was stored."""

    id: str
    code: str  # "busy" (come back later), "invalid" (never as it is) or "unroutable" (nobody is bound to the topic)
    retry_after: float | None  # seconds; None unless busy
    reason: str


class Stored(NamedTuple):
    """What a publication became in one queue: a batch of as many tasks."""

    queue: str
    id: str
    position: int  # as in Accepted
    eta: float | None


class Assignment(NamedTuple):
    """A lease on the tasks lo, lo + 1, ... of one batch, with their payloads."""

    token: int
    id: str  # of the batch
    size: int  # tasks in the batch as it was submitted; 1 means that the task's id is the batch's
    queue: str
    options: Options
    attempt: int  # 1 at the first start
    lo: int  # index in the batch of the first task of this lease
    ends: bytes
    blob: bytes

    @property
    def tasks(self) -> int:
        """How many the lease covers."""
        return len(self.ends) >> 2

    @property
    def hi(self) -> int:
        """The index behind the last of them."""
        return self.lo + (len(self.ends) >> 2)


class Held(NamedTuple):
    """A lease that a worker says it still holds."""

    token: int
    started: tuple[int, ...]  # indexes of the tasks that it has started and not finished


class Span(NamedTuple):
    """The tasks lo <= index < hi of one lease."""

    token: int
    lo: int
    hi: int


class Done(NamedTuple):
    """The completion of the tasks lo <= index < hi of one lease."""

    token: int
    id: str  # of the batch, so that a repeated completion can be told from a stale one
    lo: int
    hi: int
    ends: bytes  # of the results; empty when no handler returned anything
    blob: bytes  # an empty slice is a task that returned None
    forwards: tuple[Batch, ...]
    groups: tuple[Group, ...] = ()  # opened in the same transaction, before what is forwarded is stored


class Failed(NamedTuple):
    """The failure of one started task."""

    token: int
    id: str  # of the batch
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a message
    error: str
    retry_in: float | None  # seconds; None: as the task's retry policy says
    is_final: bool  # True: to the dead letters at once


class Ended(NamedTuple):
    """How the tasks lo <= index < hi of a batch ended."""

    lo: int
    hi: int
    outcome: str  # "done", "cancelled", "expired", "dead"; "unknown": not known here, or no longer
    reason: str
    ends: bytes  # of the results, as in Done
    blob: bytes


# From a client.


class Submit(NamedTuple):
    request: int
    batches: tuple[Batch, ...]


class Pull(NamedTuple):
    request: int
    client: str  # names the puller; with `request` it makes a resent pull find its own leases
    queue: str
    max_tasks: int
    wait: float  # seconds to wait for the first task
    lease: float  # seconds
    confirms: bool = False  # True: the client says with Confirm that the answer has come; until then it has nothing
    secret: str = ""  # what nobody can guess; without it only this connection speaks for the leases


class Wait(NamedTuple):
    request: int
    id: str  # of the batch
    lo: int
    hi: int


class Cancel(NamedTuple):
    request: int
    id: str  # of a task or of a whole batch
    is_again: bool = False  # True: it may have been carried out before, and its answer lost


class Query(NamedTuple):
    request: int
    what: str
    arguments: dict[str, Any]


class Command(NamedTuple):
    request: int
    verb: str
    arguments: dict[str, Any]


class Ping(NamedTuple):
    request: int


class Extend(NamedTuple):
    request: int
    token: int
    lease: float  # seconds from now
    proof: bytes = b""  # that the lease may be spoken for; empty: this connection pulled it


class Open(NamedTuple):
    """Opens a group whose members are submitted next."""

    request: int
    group: Group


class Publish(NamedTuple):
    """1 to BATCH_TASKS_MAX tasks for every queue that is bound to a topic, in one transaction."""

    request: int
    id: str  # of the publication; each queue gets a batch with an id made of it
    topic: str
    options: Options
    is_mandatory: bool  # whether a topic to which nobody is bound is refused
    ends: bytes  # as in Batch; every queue gets as many tasks
    blob: bytes


class Follow(NamedTuple):
    """Asks to be told what happens, for a time; said again to go on, and to tell what was seen."""

    request: int
    queue: str | None  # None: of all queues
    kinds: tuple[str, ...]  # empty: all
    lease: float  # seconds from now; 0 ends it
    seen: int  # number of the last Events that was looked at


class Withdraw(NamedTuple):
    """Nobody waits any more for the answers to these waits and pulls of the connection; it has no answer itself."""

    requests: tuple[int, ...]


class Confirm(NamedTuple):
    """These leases of pulls have come; it has no answer."""

    tokens: tuple[int, ...]
    proofs: tuple[Proof, ...] = ()  # as in Settle


# From a worker; Settle and Release also from a client that pulled.


class Hello(NamedTuple):
    name: str
    incarnation: str
    queues: tuple[str, ...]
    credit: int  # tasks it is willing to hold, in all
    concurrency: int  # tasks it runs at once
    held: tuple[Held, ...]


class Heartbeat(NamedTuple):
    number: int
    held: tuple[Held, ...]


class Settle(NamedTuple):
    """Completions and failures; `credit` is the worker's new window, None leaves it (and is what pullers send)."""

    number: int
    credit: int | None
    done: tuple[Done, ...]
    failed: tuple[Failed, ...]
    is_whole: bool = False  # True: when one entry is stale nothing of it is stored
    proofs: tuple[Proof, ...] = ()  # for the leases of pulls that were not pulled on this connection


class Release(NamedTuple):
    """Gives back tasks that were not started."""

    number: int
    credit: int | None
    spans: tuple[Span, ...]
    proofs: tuple[Proof, ...] = ()  # as in Settle


class Started(NamedTuple):
    """Tells what runs now, so that a crash is charged to the right tasks."""

    held: tuple[Held, ...]


class Progress(NamedTuple):
    token: int
    index: int  # type: ignore[assignment]  # as in Failed
    fraction: float  # 0.0 to 1.0


class Goodbye(NamedTuple):
    """The worker leaves: what it still holds goes back at once."""

    name: str
    incarnation: str
    reason: str | None = None  # why, when it cannot work


# From the coordinator.


class Receipt(NamedTuple):
    request: int
    accepted: tuple[Accepted, ...]
    refused: tuple[Refused, ...]


class Tasks(NamedTuple):
    """The answer to a pull; empty when nothing came within its wait."""

    request: int
    assignments: tuple[Assignment, ...]


class Outcome(NamedTuple):
    """An answer to a wait; more follow until one has `is_last`."""

    request: int
    ended: tuple[Ended, ...]
    is_last: bool
    progress: tuple[tuple[int, float], ...] = ()  # index and fraction of tasks whose handlers have reported


class Answer(NamedTuple):
    request: int
    value: Any


class Pong(NamedTuple):
    request: int
    epoch: int


class Welcome(NamedTuple):
    epoch: int
    heartbeat_interval: float
    suspect_after: float
    gone_after: float
    refused: tuple[int, ...]  # tokens of the HELLO that are no longer the worker's


class Beat(NamedTuple):
    number: int
    epoch: int
    refused: tuple[int, ...]  # tokens of the heartbeat that are no longer the worker's
    idle_interval: float = 0.0  # seconds between heartbeats while it has nothing in hand; 0: as always (protocol 3.6)


class Assign(NamedTuple):
    assignments: tuple[Assignment, ...]


class Settled(NamedTuple):
    """The answer to a Settle or Release: all of it is on disk, except what was stale and was refused."""

    number: int
    stale: tuple[Span, ...]
    next_tries: tuple[NextTry, ...] = ()  # of what failed; for workers that have said About


class Cancelled(NamedTuple):
    """Tells the holder that these tasks are no longer its own."""

    spans: tuple[Span, ...]


class Published(NamedTuple):
    """The answer to a Publish: what is on disk, or why nothing is."""

    request: int
    stored: tuple[Stored, ...]
    refused: Refused | None


class Event(NamedTuple):
    """Something that happened to the tasks lo <= index < hi of a batch, or to a worker or a queue."""

    kind: str
    queue: str | None
    id: str  # of the batch; empty when it is not about tasks, or theirs is not known
    lo: int
    hi: int
    worker: str | None
    token: int | None
    text: str


class Events(NamedTuple):
    """What a step has brought, for one who follows."""

    request: int
    number: int  # counts up, from 1
    time: float  # wall, of all events
    dropped: int  # events that did not fit since the message before
    is_first: bool  # True: what happened before was not followed
    events: tuple[Event, ...]


class Error(NamedTuple):
    request: int | None
    code: str
    text: str
    patience: float | None = None  # seconds for which it is worth trying again, now and then; None: it is not


class Schedule(NamedTuple):
    """Makes or changes a schedule: `batch` is its one task, and the id of the batch its name."""

    request: int
    batch: Batch
    every: float | None  # seconds between two times; None: by cron
    cron: str | None
    timezone: str  # in which the cron expression is meant
    catch_up: str  # what is done about missed times: "skip", "one" (task for all of them) or "all"


OtherFromClient = Pull | Cancel | Query | Command | Extend | Open | Publish | Schedule | Follow | Withdraw | Confirm
FromClient = Submit | Wait | Ping | OtherFromClient
FromWorker = Hello | Heartbeat | Settle | Release | Started | Progress | Goodbye | About
FromCoordinator = (
    Receipt | Tasks | Outcome | Answer | Pong | Welcome | Beat | Assign | Settled | Cancelled | Error | Published
    | Events | Steer
)  # fmt: skip
ToCoordinator = FromClient | FromWorker
Message = ToCoordinator | FromCoordinator
