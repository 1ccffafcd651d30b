"""Leases: who may finish which tasks, and the message that tells so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from math import inf
from typing import Any, Final, NamedTuple

from zq.core import tables
from zq.core.state.batch import StoredBatch, first_run, mask_bytes
from zq.core.state.holder import HolderOf, Peer
from zq.wire.limits import MESSAGE_BATCHES_MAX
from zq.wire.messages import DEFAULT_OPTIONS, Assignment
from zq.wire.options import header_bytes
from zq.wire.proofs import Proof, proof_of

ASSIGN_BYTES_MAX = 4 << 20
"""Payloads and headers in one assign message: a quarter of a frame."""

_new: Final[Callable[..., Any]] = tuple.__new__
"""Makes a named tuple three times as fast as its own constructor, once a lease."""


class LeaseRecord(NamedTuple):
    """A lease as it is stored."""

    key: bytes  # task key of its batch
    mask: bytes
    is_puller: bool
    holder: str
    incarnation: str
    seconds: float | None
    granted_time: float
    owner: str | None = None  # name of the key of its holder


class Lease:
    """The right of one holder to finish some tasks of a batch."""

    __slots__ = (
        "batch",
        "expires_at",
        "granted_at",
        "granted_time",
        "holder",
        "is_solo",
        "mask",
        "missed",
        "moved_at",
        "progress",
        "seconds",
        "start_by",
        "started",
        "token",
    )

    def __init__(
        self, token: int, batch: StoredBatch, mask: int, holder: Holder, now: float, granted_time: float
    ) -> None:
        self.token = token
        self.granted_at = now
        self.moved_at = now  # when something of it last started, or left it
        self.granted_time = granted_time  # wall; over restarts, too
        self.batch = batch
        self.mask = mask  # tasks still covered; bits as in the batch
        self.holder = holder
        # Index in the batch -> when it was first reported (monotonic). Invariant: only tasks that the lease covers.
        self.started: dict[int, float] = {}
        self.progress: dict[int, float] = {}  # index -> fraction
        # Index of what was started -> since when heartbeats do not list it (monotonic); None while there is no such.
        self.missed: dict[int, float] | None = None
        self.is_solo = False
        self.seconds: float | None = None  # of a pull's lease; None for a worker's, which lives as long as the worker
        self.expires_at = inf
        self.start_by = inf  # when what a worker has not started goes back, because its time to live is over

    def forget_started(self, mask: int) -> None:
        """Forgets what was known of the run of tasks that the lease no longer covers."""
        first = self.batch.first
        for index in [index for index in self.started if mask >> (index - first) & 1]:
            del self.started[index]
            self.progress.pop(index, None)
            if self.missed is not None:
                self.missed.pop(index, None)

    def note_listed(self, running: tuple[int, ...], now: float) -> None:
        """Notes what of that which was started a heartbeat lists as running, and what it does not."""
        if self.missed is None and len(self.started) == len(running):
            return
        known = self.missed or {}
        self.missed = {index: known.get(index, now) for index in self.started if index not in running} or None

    def is_run_idle(self, since: float) -> bool:
        """Whether its holder has not been at any of its tasks since a time, if it does them one after the other, and
        may report what has ended together with the one that it is at.
        """
        missed = self.missed or {}
        return len(missed) == len(self.started) and all(missed_at <= since for missed_at in missed.values())

    def record(self) -> bytes:
        holder = self.holder
        who = (holder.is_puller, holder.name, holder.incarnation)  # the fields of a LeaseRecord, which is only packed
        fields = (self.batch.key, mask_bytes(self.mask), *who, self.seconds, self.granted_time)
        return tables.pack(fields if holder.owner is None else (*fields, holder.owner))


Holder = HolderOf[Lease]
"""Whoever holds leases."""


_NO_PROOFS: dict[int, bytes] = {}


class Claimant:
    """Who says something about leases: a connection, the worker at it, and what proves that leases are known there."""

    __slots__ = ("_owner", "_peer", "_proofs", "worker")

    def __init__(
        self, peer: Peer, worker: Holder | None, owner: str | None = None, proofs: tuple[Proof, ...] = ()
    ) -> None:
        self._peer = peer
        self._owner = owner  # name of its key
        self.worker = worker
        self._proofs = dict(proofs) if proofs else _NO_PROOFS

    def may_speak_for(self, lease: Lease) -> bool:
        """Whether a lease may be ended, given back, prolonged or confirmed: that of a worker by it alone; that of a
        pull from the connection that has it, and by whoever proves to know it, with the key that pulled it.
        """
        holder = lease.holder
        if holder is self.worker or not holder.is_puller:
            return holder is self.worker
        if holder.owner not in (None, self._owner):
            return False
        return holder.peer == self._peer or self._knows(lease)

    def _knows(self, lease: Lease) -> bool:
        secret = lease.holder.incarnation
        if not secret or secret[0] == " ":
            return not secret  # pulled from a coordinator that knew no secrets; or with none, and from elsewhere
        return compare_digest(self._proofs.get(lease.token, b""), proof_of(secret, lease.token).proof)


@dataclass(slots=True, eq=False)
class Departure:
    """A holder that is gone, or what one never got, whose leases end a portion in each step."""

    holder: Holder
    why: str
    is_lost: bool  # what was started is charged; else everything goes back uncharged
    suspects: dict[int, int] = field(default_factory=dict)  # by token, tasks that it may have started


# What is told of them.


def assignment_of(lease: Lease, wall: float) -> Assignment:
    """Makes the message for a lease; what it covers is one run. A ttl is what is left of it."""
    batch = lease.batch
    options = batch.options
    if options.ttl is not None:
        left = None if batch.attempts else max(batch.expires_time - wall, 0.001)
        options = options._replace(ttl=left)
    lo = batch.first
    if lease.mask == batch.full:
        ends, blob = batch.ends, batch.blob
    else:
        at, hi = first_run(lease.mask)
        lo, hi = at + lo, hi + lo
        ends, blob = batch.slice(lo, hi)
    assignment: Assignment = _new(
        Assignment, (lease.token, batch.id, batch.size, batch.queue.name, options, batch.attempts + 1, lo, ends, blob)
    )
    return assignment


def assignment_parts(leases: list[Lease], wall: float) -> list[tuple[Assignment, ...]]:
    """Makes the assignments of some leases, cut to messages of bounded size."""
    parts: list[tuple[Assignment, ...]] = []
    part: list[Assignment] = []
    size = 0
    for lease in leases:
        assignment = assignment_of(lease, wall)
        more = len(assignment.blob)
        if assignment.options is not DEFAULT_OPTIONS:
            more += header_bytes(assignment.options)
        if part and (size + more > ASSIGN_BYTES_MAX or len(part) == MESSAGE_BATCHES_MAX):
            parts.append(tuple(part))
            part, size = [], 0
        part.append(assignment)
        size += more
    if part:
        parts.append(tuple(part))
    return parts
