"""Batches that are leased or end together, by one message, are what each would be if it were alone."""

from __future__ import annotations

from typing import Any

from tests.core.desk import Desk, assigned, only
from zq.core.state.leases import assignment_of
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Batch, Done, Outcome, Settle, Settled, Wait

W, CLIENT = b"worker-1", b"client-1"

KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (3, {}),
    "single": (1, {}),
    "result": (2, {}),
    "urgent": (2, {"priority": 9}),
    "keyed": (2, {"key": "k"}),
    "headed": (2, {"headers": {"trace": "1"}}),
    "mortal": (2, {"ttl": 60.0}),
    "unique": (1, {"unique": ("u", "ended", "keep")}),
    "ordered": (2, {"key": "o", "ordered": True}),
    "part": (4, {}),
    "forwarding": (2, {}),
    "twice": (2, {}),
    "last": (2, {}),
}


def a_desk() -> tuple[Desk, dict[str, Assignment]]:
    """Returns a coordinator, and what one worker has of each kind of batch."""
    desk = Desk()
    for id, (count, options) in KINDS.items():
        desk.submit(id, count=count, **options)
    return desk, {one.id: one for one in assigned(desk.hello(W, "w", 100))}


def completions(held: dict[str, Assignment]) -> list[Done]:
    """Returns a completion of each batch, and some that are odd."""
    found = []
    for id, one in held.items():
        done = Done(one.token, id, one.lo, one.lo + one.tasks, b"", b"", (), ())
        if id == "result":
            ends, blob = pack_payloads([encode_payload(7)] * 2)
            done = done._replace(ends=ends, blob=blob)
        if id == "part":
            done = done._replace(hi=3)
        if id == "forwarding":
            done = done._replace(forwards=(Batch("next", "r", DEFAULT_OPTIONS, *pack_payloads([encode_payload(1)])),))
        found.append(done)
        if id == "twice":
            found += [done, done._replace(token=done.token + 1000)]
    return found


def outcomes(sent: list[tuple[bytes, Any]]) -> list[Outcome]:
    return [message for _, message in sent if type(message) is Outcome]


def rows(desk: Desk) -> dict[str, dict[bytes, bytes]]:
    return {table: dict(values) for table, values in desk.store.values.items()}


def test_batches_that_end_together_end_as_they_would_alone() -> None:
    together, held = a_desk()
    alone, same = a_desk()
    assert held == same

    told = only(together.say(W, Settle(1, 100, tuple(completions(held)), ())), Settled)
    apart = [only(alone.say(W, Settle(1, 100, (one,), ())), Settled) for one in completions(same)]

    assert told.stale == tuple(span for one in apart for span in one.stale)
    assert len(told.stale) == 1
    assert rows(together) == rows(alone)
    workers = [desk.machine.books.workers["w"] for desk in (together, alone)]
    assert workers[0].held == workers[1].held
    assert workers[0].done == workers[1].done
    assert workers[0].leases.keys() == workers[1].leases.keys()
    assert together.machine.books.batches.keys() == alone.machine.books.batches.keys()


def test_who_waits_for_batches_that_end_together_hears_what_he_would_of_each_alone() -> None:
    together, held = a_desk()
    alone, same = a_desk()
    for desk in (together, alone):
        for request, id in enumerate(KINDS):
            desk.say(CLIENT, Wait(request, id, 0, held[id].tasks))
    told = outcomes(together.turn((W, Settle(1, 100, tuple(completions(held)), ()))))
    apart = [outcomes(alone.turn((W, Settle(1, 100, (one,), ())))) for one in completions(same)]

    assert {one.request for one in told} == set(range(len(KINDS)))
    assert sorted(told) == sorted(one for part in apart for one in part)
    assert rows(together) == rows(alone)


def test_batches_that_are_leased_together_are_leased_as_they_would_be_alone() -> None:
    together, alone = Desk(), Desk()
    together.hello(W, "w", 0)
    alone.hello(W, "w", 100)
    apart: list[Assignment] = []
    for id, (count, options) in KINDS.items():
        together.submit(id, count=count, **options)
        alone.submit(id, count=count, **options)
    for lease in alone.machine.books.leases.values():
        apart.append(assignment_of(lease, alone.wall))
    granted = [one for credit in (9, 100) for one in assigned(together.say(W, Settle(credit, credit, (), ())))]

    assert [one.id for one in granted[:5]] == ["urgent", "plain", "single", "result", "keyed"]
    assert {(one.id, one.lo, one.blob) for one in granted if one.id != "keyed"} == {
        (one.id, one.lo, one.blob) for one in apart if one.id != "keyed"
    }
    assert [(one.id, one.tasks) for one in granted if one.id == "keyed"] == [("keyed", 1), ("keyed", 1)]
    for desk in (together, alone):
        held = desk.machine.books.workers["w"].held
        assert desk.query("queue", queue="q")["leased"] == held == sum(one.tasks for one in apart)
        desk.restart()
        assert sum(lease.mask.bit_count() for lease in desk.machine.books.leases.values()) == held
