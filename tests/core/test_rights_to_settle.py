"""What a key may say about leases: those that it has, of queues that it may work on; the rest is stale, unseen."""

from __future__ import annotations

import pytest

from tests.core.cost import cost_of
from tests.core.desk import assigned, only
from tests.core.guarded import GuardedDesk, task
from zq.core.rights import check
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.limits import BATCH_TASKS_MAX, MESSAGE_BATCHES_MAX
from zq.wire.messages import Assignment, Batch, Done, Options, Pull, Query, Settle, Settled, Span, Submit

OWN = dict.fromkeys(("submit", "work", "look"), ("q",))

ENTRY_CALLS = 200
"""Calls that a completion may cost that is refused."""


def elsewhere(number: int) -> Batch:
    return task(f"zz{number}", "other")


def forwarding(desk: GuardedDesk, peer: bytes, count: int) -> Assignment:
    """Has a bounded key pull a batch; returns its assignment."""
    desk.boss(Submit(1, (Batch("a", "q", Options(), *pack_payloads([encode_payload("a")] * count)),)))
    (found,) = assigned(desk.say(peer, Pull(1, "till", "q", count, 0.0, 60.0)))
    return found


def test_completions_of_no_lease_that_forward_elsewhere_cost_a_look_each_however_many_tasks_they_name() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "worker", **OWN)
    done = tuple(
        Done(1 + number, f"x{number}", 0, BATCH_TASKS_MAX, b"", b"", (elsewhere(0),))
        for number in range(MESSAGE_BATCHES_MAX)
    )

    assert cost_of(desk, (peer, Settle(1, None, done, ()))) <= MESSAGE_BATCHES_MAX * ENTRY_CALLS


def test_of_a_completion_that_forwards_elsewhere_only_what_its_lease_covers_fails() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "worker", **OWN)
    lease = forwarding(desk, peer, 3)

    said = Settle(2, None, (Done(lease.token, "a", 1, 9, b"", b"", (elsewhere(0),)),), ())

    assert only(desk.say(peer, said), Settled).stale == ()
    states = [desk.boss(Query(3, "task", {"id": f"a#{index}"})).value["state"] for index in range(3)]
    assert states == ["leased", "dead", "dead"]


def test_one_message_fails_a_thousand_tasks_at_most_and_the_rest_is_stale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, "REFUSED_TASKS_MAX", 2)
    desk = GuardedDesk()
    peer = desk.let("till", "worker", **OWN)
    lease = forwarding(desk, peer, 3)

    done = tuple(Done(lease.token, "a", at, at + 1, b"", b"", (elsewhere(at),)) for at in range(3))

    assert only(desk.say(peer, Settle(2, None, done, ())), Settled).stale == (Span(lease.token, 2, 3),)
    assert [one.token for one in desk.leases] == [lease.token]
