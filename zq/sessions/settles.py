"""Gathers the completions and failures of pulled tasks into settles: as for submits, what comes while one is in
flight goes out together with the next.
"""

from collections import deque
from collections.abc import Iterable

from zq.sessions.outcomes import Reply
from zq.sessions.waiters import Waiting
from zq.wire.batch import pack_payloads
from zq.wire.limits import MESSAGE_BATCHES_MAX
from zq.wire.messages import Done, Failed, Settle, Span
from zq.wire.options import header_bytes
from zq.wire.proofs import Proof

PULLER_SETTLE_BYTES_MAX = 2 << 20
"""Where a settle is cut, unless one completion is larger: an eighth of a frame."""

ENTRY_OVERHEAD_BYTES = 64
"""What a completion counts for beside its result and what it forwards."""


class Settling(Waiting):
    """The end of one pulled task on its way.

    Args:
        entry: how it ended.
        proof: that its lease may be spoken for; None: it was pulled on this connection.
        deadline: monotonic seconds.
        reply: resolves to None when it is on disk; rejects with StaleLeaseError when it was refused.
    """

    __slots__ = ("batches", "bytes", "entry", "proof")

    def __init__(self, entry: Done | Failed, deadline: float, reply: Reply, proof: Proof | None = None) -> None:
        Waiting.__init__(self, deadline, reply)  # super() costs more, once a task
        self.entry = entry
        self.proof = proof
        self.bytes = ENTRY_OVERHEAD_BYTES
        self.batches = 0  # that it forwards or opens
        if isinstance(entry, Done):
            self.bytes += len(entry.blob)
            if entry.forwards or entry.groups:
                self.batches = len(entry.forwards) + len(entry.groups)
                self.bytes += sum(
                    len(one.blob) + ENTRY_OVERHEAD_BYTES + header_bytes(one.options) for one in entry.forwards
                )
                self.bytes += sum(header_bytes(one.options) for one in entry.groups)
        else:
            self.bytes += 4 * len(entry.error)

    def is_in(self, spans: tuple[Span, ...]) -> bool:
        entry = self.entry
        index = entry.lo if isinstance(entry, Done) else entry.index
        return any(span.token == entry.token and span.lo <= index < span.hi for span in spans)


class Settles:
    """What waits to be settled; one settle is in flight at a time."""

    def __init__(self) -> None:
        self.is_in_flight = False
        self.queue: deque[Settling] = deque()

    def take_load(self) -> list[Settling]:
        """Returns what the next settle should carry; nothing while another is in flight."""
        load: list[Settling] = []
        size = batches = 0
        while self.queue and not self.is_in_flight and len(load) < MESSAGE_BATCHES_MAX:
            size += self.queue[0].bytes
            batches += self.queue[0].batches
            if load and (size > PULLER_SETTLE_BYTES_MAX or batches > MESSAGE_BATCHES_MAX):
                break
            settling = self.queue.popleft()
            if settling.reply is not None:
                load.append(settling)
        self.is_in_flight = self.is_in_flight or bool(load)
        return load


def joined(dones: Iterable[Done]) -> tuple[Done, ...]:
    """Returns completions of one task each with those of neighbours in a lease as one entry, as a worker reports them;
    what forwards something stays alone.
    """
    found: list[Done] = []
    run: list[Done] = []
    for done in dones:
        if run and not _follows(run[-1], done):
            found.append(_as_one(run))
            run = []
        run.append(done)
    if run:
        found.append(_as_one(run))
    return tuple(found)


def _follows(last: Done, done: Done) -> bool:
    is_next = done.lo == last.hi and done.token == last.token and done.id == last.id
    return is_next and not (done.forwards or done.groups or last.forwards or last.groups)


def _as_one(run: list[Done]) -> Done:
    if len(run) == 1:
        return run[0]
    blobs = [one.blob for one in run]
    ends, blob = pack_payloads(blobs) if any(blobs) else (b"", b"")
    return run[0]._replace(hi=run[-1].hi, ends=ends, blob=blob)


def settle_message(load: list[Settling]) -> Settle:
    """Makes the message of a load, not numbered yet; a puller has no credit to report."""
    entries = [settling.entry for settling in load]
    done = joined(entry for entry in entries if isinstance(entry, Done))
    failed = tuple(entry for entry in entries if isinstance(entry, Failed))
    proofs = tuple({settling.proof: None for settling in load if settling.proof is not None and settling.proof.proof})
    return Settle(0, None, done, failed, False, proofs)
