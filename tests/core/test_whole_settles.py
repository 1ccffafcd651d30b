"""Settles of several tasks in one transaction: an answer per entry, or all or nothing."""

from __future__ import annotations

from typing import Any

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Assignment, Batch, Cancel, Done, Failed, Options, Pull, Settle, Settled


class Till(Desk):
    """A desk at which tasks are pulled."""

    def pull(self, queue: str = "q", count: int = 10) -> list[Assignment]:
        self.number += 1
        return assigned(self.say(CLIENT, Pull(self.number, "till", queue, count, 0.0, 60.0)))

    def end(self, *ended: Done | Failed, is_whole: bool) -> Settled:
        self.number += 1
        return self.send(self.number, *ended, is_whole=is_whole)

    def send(self, number: int, *ended: Done | Failed, is_whole: bool) -> Settled:
        dones = tuple(one for one in ended if isinstance(one, Done))
        fails = tuple(one for one in ended if isinstance(one, Failed))
        return only(self.say(CLIENT, Settle(number, None, dones, fails, is_whole)), Settled)


def next_one(assignment: Assignment, id: str) -> Done:
    batch = Batch(id, "next", Options(), *pack_payloads([encode_payload(id)]))
    return done(assignment)._replace(forwards=(batch,))


def make(*, stale: bool) -> tuple[Till, Assignment, Assignment]:
    till = Till()
    till.submit("a")
    till.submit("b")
    a, b = till.pull()
    if stale:
        till.say(CLIENT, Cancel(900, "b"))
    return till, a, b


def states(till: Till, *ids: str) -> list[Any]:
    return [till.task(id)["state"] for id in ids]


def test_several_tasks_end_in_one_message() -> None:
    till, a, b = make(stale=False)

    answer = till.end(next_one(a, "c"), failed(b, is_final=True), is_whole=True)

    assert answer.stale == ()
    assert states(till, "a", "b", "c") == ["done", "dead", "waiting"]


def test_nothing_of_a_whole_settle_is_stored_when_one_entry_is_stale() -> None:
    till, a, b = make(stale=True)

    answer = till.end(next_one(a, "c"), next_one(b, "d"), is_whole=True)

    assert [span.token for span in answer.stale] == [b.token]
    assert states(till, "a", "b", "c", "d") == ["leased", "cancelled", "unknown", "unknown"]


def test_nothing_of_a_whole_settle_is_stored_when_a_failure_is_stale() -> None:
    till, a, b = make(stale=True)

    answer = till.end(next_one(a, "c"), failed(b), is_whole=True)

    assert [span.token for span in answer.stale] == [b.token]
    assert states(till, "a", "c") == ["leased", "unknown"]


def test_other_entries_are_stored_when_the_settle_is_not_whole() -> None:
    till, a, b = make(stale=True)

    answer = till.end(next_one(a, "c"), next_one(b, "d"), is_whole=False)

    assert [span.token for span in answer.stale] == [b.token]
    assert states(till, "a", "b", "c", "d") == ["done", "cancelled", "waiting", "unknown"]


def test_whole_settle_that_is_sent_again_is_not_stale_and_done_once() -> None:
    till, a, b = make(stale=False)
    entries = (next_one(a, "c"), next_one(b, "d"))
    till.send(70, *entries, is_whole=True)
    till.restart()

    again = till.send(70, *entries, is_whole=True)

    assert again.stale == ()
    assert till.query("status")["waiting"] == 2
