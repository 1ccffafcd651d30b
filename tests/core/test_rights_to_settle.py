"""What a key may say about leases: those that it has, of queues that it may work on; the rest is stale, unseen."""

from __future__ import annotations

import pytest

from tests.core.cost import cost_of
from tests.core.desk import assigned, only
from tests.core.guarded import GuardedDesk, task
from zq.core.rights import check
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.limits import BATCH_TASKS_MAX, MESSAGE_BATCHES_MAX
from zq.wire.messages import (
    Assignment,
    Batch,
    Done,
    Error,
    Extend,
    Failed,
    Options,
    Pull,
    Query,
    Release,
    Settle,
    Settled,
    Span,
    Submit,
)

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


def of_elsewhere(desk: GuardedDesk, *, is_ended: bool) -> int:
    """Has the boss pull a task, and perhaps end it; returns its token."""
    desk.boss(Submit(1, (task("zz", "other"),)))
    (found,) = assigned(desk.say(b"boss", Pull(1, "boss", "other", 1, 0.0, 60.0)))
    if is_ended:
        desk.boss(Settle(2, None, (Done(found.token, "zz", 0, 1, b"", b"", ()),), ()))
    return found.token


def kinds_in_trace(desk: GuardedDesk, id: str) -> list[str]:
    return [row["event"] for row in desk.boss(Query(9, "trace", {"id": id})).value]


@pytest.mark.parametrize("is_ended", [False, True])
@pytest.mark.parametrize("is_failure", [False, True])
def test_what_is_said_of_a_task_that_is_not_seen_is_stale_and_leaves_no_trace(
    *, is_ended: bool, is_failure: bool
) -> None:
    desk = GuardedDesk()
    token = of_elsewhere(desk, is_ended=is_ended)
    peer = desk.let("till", "client", **OWN)
    before = kinds_in_trace(desk, "zz")

    done = () if is_failure else (Done(token, "zz", 0, 1, b"", b"", ()),)
    failed = (Failed(token, "zz", 0, "burnt", None, False),) if is_failure else ()

    assert only(desk.say(peer, Settle(1, None, done, failed)), Settled).stale == (Span(token, 0, 1),)
    assert kinds_in_trace(desk, "zz") == before


def test_what_is_stale_of_a_task_that_is_seen_leaves_a_trace() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client", **OWN)
    desk.boss(Submit(1, (task("a", "q"),)))

    desk.say(peer, Settle(1, None, (Done(7, "a", 0, 1, b"", b"", ()),), ()))

    assert "stale" in kinds_in_trace(desk, "a")


def test_a_lease_of_a_queue_that_its_key_may_not_work_on_any_more_can_be_neither_ended_nor_prolonged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zq.core.rights.guard.PULLERS_ASKED_MAX", 0)  # before it goes back
    desk = GuardedDesk()
    peer = desk.let("till", "client", **OWN)
    token = forwarding(desk, peer, 1).token

    desk.let("till", "client", submit=("q",), work=(), look=("q",))

    settled = only(desk.say(peer, Settle(2, None, (Done(token, "a", 0, 1, b"", b"", ()),), ())), Settled)
    assert settled.stale == (Span(token, 0, 1),)
    for said in (Extend(3, token, 600.0), Release(4, None, (Span(token, 0, 1),))):
        assert only(desk.say(peer, said), Error).code == "denied"
    assert [one.token for one in desk.leases] == [token]
