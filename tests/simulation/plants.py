"""Twelve faults that a coordinator or a client could have; the simulation must catch each, or its green means nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from zq.core import admission, endings, liveness, settling, tables
from zq.core.batch import Batch
from zq.core.books import Books, Step
from zq.core.holder import Holder, Lease
from zq.core.options import Now

IN_THE_PEERS = ("ack before commit", "delete before commit", "resend with new id", "nak after timeout")
"""These are in the simulated shell and clients, see `kitchen`."""


def _no_token_check(patch: pytest.MonkeyPatch) -> None:
    real = settling.settle

    def settle(books: Books, step: Step, peer: bytes, sender: Holder | None, message: Any) -> None:
        """Believes every completion of a task that is leased to anyone, whatever its token."""

        def current(token: int, id: str, index: int) -> int:
            for lease in books.leases.values():
                if lease.batch.id == id and lease.mask & lease.batch.span_mask(index, index + 1):
                    return lease.token
            return token

        done = tuple(one._replace(token=current(one.token, one.id, one.lo)) for one in message.done)
        real(books, step, peer, sender, message._replace(done=done))

    patch.setattr(settling, "settle", settle)
    patch.setattr(settling, "_lease_of", lambda books, sender, token: books.leases.get(token))


def _no_dedup(patch: pytest.MonkeyPatch) -> None:
    class Blind:
        def __getattr__(self, name: str) -> Any:
            return (lambda step, id: None) if name == "find" else getattr(endings, name)

    patch.setattr(admission, "endings", Blind())


def _wall_clock(patch: pytest.MonkeyPatch) -> None:
    real = Step.__init__
    patch.setattr(Step, "__init__", lambda self, now, tx: real(self, Now(now.wall, now.wall), tx))


def _heartbeat_marks_ready(patch: pytest.MonkeyPatch) -> None:
    real = liveness.heartbeat

    def heartbeat(books: Books, step: Step, worker: Holder, message: Any) -> None:
        worker.held = 0
        real(books, step, worker, message)

    patch.setattr(liveness, "heartbeat", heartbeat)


def _lease_not_cleared(patch: pytest.MonkeyPatch) -> None:
    real = Books.uncover

    def uncover(self: Books, step: Step, lease: Lease, mask: int) -> None:
        real(self, step, lease, mask)
        if not lease.mask:
            step.tx.put(tables.LEASES, tables.token_key(lease.token), lease.record())

    patch.setattr(Books, "uncover", uncover)


def _epoch_not_raised(patch: pytest.MonkeyPatch) -> None:
    real = Books.grant

    def grant(self: Books, step: Step, batch: Batch, mask: int, holder: Holder) -> Lease:
        self.epoch = 1
        return real(self, step, batch, mask, holder)

    patch.setattr(Books, "grant", grant)


def _credit_not_returned(patch: pytest.MonkeyPatch) -> None:
    real = Books.uncover

    def uncover(self: Books, step: Step, lease: Lease, mask: int) -> None:
        real(self, step, lease, mask)
        lease.holder.held += mask.bit_count()

    patch.setattr(Books, "uncover", uncover)


def _dead_without_record(patch: pytest.MonkeyPatch) -> None:
    real = endings.bury

    def bury(books: Books, step: Step, single: Batch, reason: str) -> None:
        real(books, step, single, reason)
        step.tx.delete(tables.DEAD, single.key)

    patch.setattr(endings, "bury", bury)


_PATCHES = {
    "no token check": _no_token_check,
    "no dedup": _no_dedup,
    "wall clock for liveness": _wall_clock,
    "heartbeat marks ready": _heartbeat_marks_ready,
    "lease not cleared": _lease_not_cleared,
    "epoch not raised": _epoch_not_raised,
    "credit not returned": _credit_not_returned,
    "dead letter without record": _dead_without_record,
}

PLANTS = (*_PATCHES, *IN_THE_PEERS)


@contextmanager
def planted(name: str) -> Iterator[str | None]:
    """Plants a fault; yields what `kitchen.run` must be told about it."""
    with pytest.MonkeyPatch.context() as patch:
        if name in _PATCHES:
            _PATCHES[name](patch)
        yield name if name in IN_THE_PEERS else None
