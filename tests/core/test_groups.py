"""Groups on the core: members end, the callback is stored once, and what becomes of a group in every other way."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from tests.core.cost import finish
from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.core import tables
from zq.core.state.leases import assignment_of
from zq.wire.batch import encode_payload, pack_offsets, pack_payloads
from zq.wire.limits import PAYLOAD_BYTES_CEILING
from zq.wire.messages import (
    Answer,
    Assignment,
    Batch,
    Cancel,
    Cancelled,
    Command,
    Done,
    Ended,
    Group,
    Open,
    Options,
    Outcome,
    Progress,
    Pull,
    Receipt,
    Settle,
    Submit,
    Wait,
)

SHOP = b"shop"


class Party(Desk):
    """A desk with one worker for members in queue q, who holds many; what comes to other queues is pulled."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hands: list[Assignment] = []
        self.hands += assigned(self.hello(SHOP, "shop", 1000))

    def open(self, id: str = "g", size: int = 3, callback: str | None = "joined", **fields: Any) -> Receipt:
        """Opens a group; fields are policy, skips_none, options of the callback."""
        options = fields.pop("options", Options())
        group = Group(id, size, fields.pop("policy", "all"), fields.pop("skips_none", False), callback, options)
        assert not fields
        self.number += 1
        return only(self.say(CLIENT, Open(self.number, group)), Receipt)

    def members(self, count: int = 3, group: str = "g", path: tuple[int, ...] = (0,), id: str = "m") -> Receipt:
        """Submits members as one batch; the shop takes them in hand."""
        self.number += 1
        options = Options(group=(group, path), max_attempts=1)
        batch = Batch(id, "q", options, *pack_payloads([encode_payload(i) for i in range(count)]))
        sent = self.turn((CLIENT, Submit(self.number, (batch,))))
        self.hands += assigned([message for peer, message in sent if peer == SHOP])
        return only([message for _, message in sent], Receipt)

    def leases_of(self, id: str) -> list[Assignment]:
        """Returns what the shop was given of a batch that was submitted behind its back."""
        return [assignment_of(lease, self.wall) for lease in self.leases if lease.batch.id == id]

    def end(self, *ended: Any) -> list[tuple[bytes, Any]]:
        """Settles, and takes in hand what comes of it."""
        self.number += 1
        answers = self.settle(SHOP, *ended, credit=1000)
        self.hands += assigned(answers)
        return answers

    def do(self, index: int, result: Any, assignment: Assignment | None = None) -> None:
        self.end(done(assignment or self.hands[0], index, index + 1, result))

    def pulled(self, queue: str = "joined") -> list[Any]:
        """Takes everything from a queue: payload and options of each."""
        self.number += 1
        found = assigned(self.say(CLIENT, Pull(self.number, "till", queue, 100, 0.0, 1000.0)))
        return [msgpack.unpackb(one.blob) for one in found]

    def group(self, id: str = "g") -> Any:
        return self.query("group", id=id)

    def wait_for(self, id: str) -> Outcome:
        self.number += 1
        return only(self.say(CLIENT, Wait(self.number, id, 0, 1)), Outcome)


def test_callback_gets_the_results_in_the_order_of_the_paths_when_the_last_member_ends() -> None:
    party = Party()
    party.open()
    party.members()
    for index, result in ((2, "c"), (0, "a")):
        party.do(index, result)
        assert party.pulled() == []

    party.do(1, "b")

    assert party.pulled() == [["a", "b", "c"]]
    assert party.group()["state"] == "done"
    assert party.task("g")["queue"] == "joined"


@pytest.mark.parametrize(
    ("ends", "blob"),
    [
        ([2], b"\x01\x02"),  # two values: the results of others would move
        ([1], b"\x92"),  # takes the next two in
        ([0, 2], b"\x01\x02"),
        ([1, 3], b"\x92\x01\x02"),  # one value, cut in a wrong place
    ],
)
@pytest.mark.parametrize("policy", ["all", "settled", "any"])
def test_result_that_is_no_whole_value_fails_its_group_and_moves_no_other(
    ends: list[int], blob: bytes, policy: str
) -> None:
    party = Party()
    party.open(size=4, policy=policy)
    party.members(4)
    (one,) = party.hands

    party.end(Done(one.token, one.id, 0, len(ends), pack_offsets(ends), blob, ()))

    assert party.group()["state"] == "failed"
    assert party.group()["reason"] == "the result of member 0 is no whole msgpack value"
    assert party.pulled() == []


def test_range_of_members_ends_at_once_and_none_is_an_entry() -> None:
    party = Party()
    party.open(size=4)
    party.members(4)

    party.end(done(party.hands[0], 0, 3, 7), done(party.hands[0], 3, 4))

    assert party.pulled() == [[7, 7, 7, None]]


def test_member_that_returned_none_contributes_nothing_when_the_group_says_so() -> None:
    party = Party()
    party.open(size=4, skips_none=True)
    party.members(4)

    party.end(done(party.hands[0], 0, 2, 7), done(party.hands[0], 2, 4))

    assert party.pulled() == [[7, 7]]


def test_many_members_make_an_array_of_their_size() -> None:
    party = Party()
    party.open(size=70_000)
    for number in range(70):
        party.members(1000, path=(1000 * number,), id=f"m{number}")
        party.end(done(party.hands.pop(), 0, 1000, number))
    finish(party)

    (joined,) = party.pulled()
    assert joined == [number for number in range(70) for _ in range(1000)]


def test_empty_group_is_joined_when_it_is_opened() -> None:
    party = Party()

    party.open(size=0)

    assert party.pulled() == [[]]


def test_group_that_is_opened_again_stays_as_it_is() -> None:
    party = Party()
    party.open(size=1)
    party.members(1)
    party.do(0, "a")

    again = party.open(size=1)

    assert [one.id for one in again.accepted] == ["g"]
    assert party.pulled() == [["a"]]


@pytest.mark.parametrize("when", ["not open", "full", "ended"])
def test_member_of_a_group_that_cannot_take_it_is_refused(when: str) -> None:
    party = Party()
    if when != "not open":
        party.open(size=1)
        party.members(1, id="first")
    if when == "ended":
        party.do(0, "a")

    receipt = party.members(1, path=(1,))

    assert [one.code for one in receipt.refused] == ["invalid"]
    expected = {"not open": "there is no group g", "full": "opened for 1 members", "ended": "has ended: done"}
    assert expected[when] in receipt.refused[0].reason


def test_batch_of_members_that_is_submitted_again_counts_once() -> None:
    party = Party()
    party.open(size=2)
    party.members(1)
    party.members(1)

    assert party.group()["joined"] == 1


def test_member_that_dies_fails_a_group_of_policy_all_and_its_on_dead_gets_a_notice() -> None:
    party = Party()
    party.open(options=Options(on_dead="complaints", headers={"table": "5"}))
    party.members()
    party.do(0, "a")

    party.end(failed(party.hands[0], 1))
    party.do(2, "c")

    assert party.pulled() == []
    assert party.group()["state"] == "failed"
    assert party.group()["reason"] == "member 1 ended as dead: it burnt"
    (notice,) = assigned(party.say(CLIENT, Pull(900, "till", "complaints", 9, 0.0, 9.0)))
    assert notice.blob == b"\xc0"
    assert notice.options.headers == {
        "zq-id": "g",
        "zq-queue": "joined",
        "zq-outcome": "dead",
        "zq-reason": "member 1 ended as dead: it burnt",
        "zq-attempts": "0",
        "table": "5",
    }


def test_settled_group_tells_how_each_member_ended() -> None:
    party = Party()
    party.open(policy="settled", size=3)
    party.members(3)
    party.say(CLIENT, Cancel(77, "m#2"))

    party.end(failed(party.hands[0], 0))
    party.do(1, "b")

    assert party.pulled() == [[["dead", "it burnt"], ["done", "b"], ["cancelled", "cancelled by a client"]]]


def test_group_of_policy_any_is_complete_with_the_first_that_is_done() -> None:
    party = Party()
    party.open(policy="any")
    party.members()
    party.end(failed(party.hands[0], 0))

    party.do(2, "c")
    party.do(1, "b")

    assert party.pulled() == [["c"]]


@pytest.mark.parametrize("callback", ["joined", None])
def test_group_of_policy_any_has_one_result_of_members_that_are_reported_together(callback: str | None) -> None:
    party = Party()
    party.open(policy="any", size=4, callback=callback)
    party.members(4)
    results = pack_payloads([encode_payload(one) for one in "bcd"])

    party.end(Done(party.hands[0].token, "m", 1, 4, *results, ()))

    if callback is None:
        (ended,) = party.wait_for("g").ended
        assert msgpack.unpackb(ended.blob) == ["b"]
    else:
        assert party.pulled() == [["b"]]


def test_result_of_policy_any_is_as_large_as_one_however_many_come_with_it() -> None:
    party = Party()
    party.open(policy="any")
    party.members()
    result = msgpack.packb("x" * (PAYLOAD_BYTES_CEILING // 2))

    party.end(Done(party.hands[0].token, "m", 0, 3, *pack_payloads([result] * 3), ()))

    assert party.group()["state"] == "done"


def test_group_of_policy_any_fails_when_no_member_is_done() -> None:
    party = Party()
    party.open(policy="any", size=1)
    party.members(1)

    party.end(failed(party.hands[0], 0))

    assert party.group()["reason"] == "none of its members was done"


def forward(assignment: Assignment, index: int, *forwards: Batch, groups: tuple[Group, ...] = ()) -> Done:
    return Done(assignment.token, assignment.id, index, index + 1, b"", b"", forwards, groups)


def batch_of(id: str, count: int, group: tuple[str, tuple[int, ...]], queue: str = "q") -> Batch:
    return Batch(id, queue, Options(group=group), *pack_payloads([encode_payload(i) for i in range(count)]))


def test_membership_moves_to_what_a_member_forwards() -> None:
    party = Party()
    party.open(size=2)
    party.members(2)
    first = party.hands[0]

    party.end(forward(first, 0, batch_of("f1", 2, ("g", (0, 0)))))
    party.do(1, "z")
    assert party.group()["outstanding"] == 2
    assert party.pulled() == []
    forwarded = party.hands[1]
    party.end(forward(forwarded, 1, batch_of("f2", 1, ("g", (0, 1)))))  # a chain: the same path
    party.do(0, "x", forwarded)
    party.do(0, "y", party.hands[2])

    assert party.pulled() == [["x", "y", "z"]]


def test_members_that_are_forwarded_twice_in_one_message_are_counted_once() -> None:
    party = Party()
    party.open(size=1)
    party.members(1)
    settle = forward(party.hands[0], 0, batch_of("f1", 2, ("g", (0, 0))))

    party.end(settle)
    party.end(settle)

    assert party.group()["outstanding"] == 2


def test_id_that_is_forwarded_twice_by_one_completion_is_stored_once() -> None:
    party = Party()
    party.open(size=1)
    party.members(1)

    party.end(forward(party.hands[0], 0, batch_of("f1", 2, ("g", (0, 0))), batch_of("f1", 2, ("g", (0, 2)))))

    assert party.group()["outstanding"] == 2
    assert party.query("queue", queue="q")["leased"] == 2


def test_members_that_come_when_their_group_has_ended_leave_nothing_behind() -> None:
    party = Party()
    party.open(size=2)
    party.members(2)
    party.end(failed(party.hands[0], 0))

    party.end(forward(party.hands[0], 1, batch_of("late", 1, ("g", (1, 0)))))

    assert party.group()["state"] == "failed"
    tx = party.store.begin()
    assert list(tx.scan(tables.ROSTER)) == []
    tx.abort()


def test_group_inside_a_group_takes_the_place_of_the_member_that_opened_it() -> None:
    party = Party()
    party.open(size=1)
    party.members(1)
    inner = Group("inner", 2, "all", False, "q", Options(group=("g", (0,))))

    party.end(forward(party.hands[0], 0, batch_of("parts", 2, ("inner", (0,))), groups=(inner,)))
    party.end(done(party.hands[1], 0, 2, 4))
    join = party.hands[2]
    assert (join.id, join.blob) == ("inner", msgpack.packb([4, 4]))
    assert party.pulled() == []
    party.do(0, "sum", join)

    assert party.pulled() == [["sum"]]


def test_failure_of_an_inner_group_is_the_end_of_a_member_of_the_outer_one() -> None:
    party = Party()
    party.open(size=1, policy="settled")
    party.members(1)
    inner = Group("inner", 2, "all", False, "q", Options(group=("g", (0,))))
    parts = batch_of("parts", 2, ("inner", (0,)))

    party.end(forward(party.hands[0], 0, parts, groups=(inner,)))
    party.end(failed(party.hands[1], 0, is_final=True))

    assert party.pulled() == [[["dead", "member 0 ended as dead: it burnt"]]]


def test_completion_without_membership_opens_a_group_and_forwards_its_members() -> None:
    party = Party()
    party.submit("alone")
    (alone,) = assigned(party.hello(SHOP, "shop", 1000))
    group = Group("g", 2, "all", False, "joined", Options())

    party.end(forward(alone, 0, batch_of("parts", 2, ("g", (0,))), groups=(group,)))
    assert party.group()["joined"] == 2
    party.end(done(party.hands[0], 0, 2, 1))

    assert party.pulled() == [[1, 1]]


def test_stale_completion_opens_and_forwards_nothing() -> None:
    party = Party()
    party.submit("alone")
    (alone,) = assigned(party.hello(SHOP, "shop", 1000))
    party.say(CLIENT, Cancel(77, "alone"))
    group = Group("g", 2, "all", False, "joined", Options())

    party.end(forward(alone, 0, batch_of("parts", 2, ("g", (0,))), groups=(group,)))

    assert party.group()["state"] == "unknown"
    assert party.query("tasks", state="waiting")["rows"] == []


def test_a_chord_fires_once_after_a_restart_between_its_parts() -> None:
    party = Party()
    party.open()
    party.members()
    hand = party.hands[0]
    party.do(0, "a")
    party.restart()
    party.hello(SHOP, "shop", 1000, hand.token)
    party.do(1, "b", hand)
    party.restart()
    party.hello(SHOP, "shop", 1000, hand.token)

    party.do(2, "c", hand)
    party.do(2, "c", hand)
    party.restart()

    assert party.pulled() == [["a", "b", "c"]]


def test_joined_results_over_the_ceiling_fail_the_group() -> None:
    party = Party(payload_bytes_max=PAYLOAD_BYTES_CEILING)
    party.open(size=2)
    party.members(2)
    half = pack_payloads([msgpack.packb(bytes(PAYLOAD_BYTES_CEILING // 2))])

    party.end(*[done(party.hands[0], i, i + 1)._replace(ends=half[0], blob=half[1]) for i in (0, 1)])

    assert party.group()["state"] == "failed"
    assert "have more than 8388608 bytes together" in party.group()["reason"]


@pytest.mark.parametrize("batches", [((0,), (0,)), ((0,), (1,))])
def test_two_members_with_one_path_fail_the_group(batches: tuple[tuple[int, ...], ...]) -> None:
    party = Party()
    party.open(size=4)
    for number, path in enumerate(batches):
        party.members(2, path=path, id=f"m{number}")
        party.end(done(party.hands[number], 0, 2, number))

    assert party.pulled() == []
    assert "two members had the" in party.group()["reason"]


def test_task_under_the_id_of_a_group_fails_it_instead_of_being_replaced() -> None:
    party = Party()
    party.open(size=1)
    party.submit("g", queue="other")

    party.members(1)
    party.do(0, "a")

    assert party.group()["state"] == "failed"
    assert party.task("g")["queue"] == "other"


def test_cancelled_group_cancels_its_members_and_the_groups_inside() -> None:
    party = Party()
    party.open(size=2)
    party.members(2)
    inner = Group("inner", 2, "all", False, "q", Options(group=("g", (0,))))
    party.end(forward(party.hands[0], 0, batch_of("parts", 2, ("inner", (0,))), groups=(inner,)))

    answers = party.turn((CLIENT, Cancel(50, "g")))

    # member 1 of g, two parts, and both groups
    assert only([message for _, message in answers], Answer).value == 5
    assert sum(isinstance(message, Cancelled) for peer, message in answers if peer == SHOP) == 2
    assert [party.group(id)["state"] for id in ("g", "inner")] == ["cancelled", "cancelled"]
    party.restart()
    assert party.query("status")["waiting"] == 0
    assert party.wait_for("g").ended == (Ended(0, 1, "cancelled", "cancelled by a client", b"", b""),)


def test_wait_for_a_group_is_answered_when_its_callback_ends() -> None:
    party = Party()
    party.open(size=1, callback="q")
    party.members(1)
    early = party.wait_for("g")
    assert (early.ended, early.is_last) == ((), False)
    party.do(0, "a")

    answers = party.turn((SHOP, party_settle(party, done(party.hands[1], result="all there"))))

    outcome = only([message for peer, message in answers if peer == CLIENT], Outcome)
    assert outcome.is_last
    assert outcome.ended[0].blob == encode_payload("all there")


def party_settle(party: Party, one: Done) -> Any:
    party.number += 1
    return Settle(party.number, 1000, (one,), ())


def test_group_without_callback_keeps_the_joined_results() -> None:
    party = Party()
    party.open(size=2, callback=None)
    party.members(2)
    party.wait_for("g")

    answers = party.turn((SHOP, party_settle(party, done(party.hands[0], result=1))))
    party.restart()

    told = only([message for peer, message in answers if peer == CLIENT], Outcome)
    again = party.wait_for("g")
    assert told.ended == again.ended
    assert msgpack.unpackb(again.ended[0].blob) == [1, 1]


def test_many_wait_for_a_group_and_all_hear_how_it_failed() -> None:
    party = Party()
    party.open(size=1)
    party.members(1)
    peers = [b"ann", b"bob"]
    party.turn(*[(peer, Wait(1, "g", 0, 1)) for peer in peers])

    answers = party.turn((CLIENT, Cancel(50, "g")))

    heard = {peer: message.ended[0].outcome for peer, message in answers if isinstance(message, Outcome)}
    assert heard == {b"ann": "cancelled", b"bob": "cancelled"}


def test_dead_member_that_is_retried_is_no_member_any_more() -> None:
    party = Party()
    party.open(size=2, policy="settled")
    party.members(2)
    party.end(failed(party.hands[0], 0))
    answers = party.turn((CLIENT, Command(60, "retry", {"id": "m#0"})))
    (again,) = assigned([message for peer, message in answers if peer == SHOP])
    party.do(0, "late", again)
    party.do(1, "b")

    assert party.pulled() == [[["dead", "it burnt"], ["done", "b"]]]


def test_ended_group_is_forgotten_as_outcomes_are_and_an_open_one_is_not() -> None:
    party = Party(keep_seconds=60.0, keep_seconds_min=1.0)
    party.open(size=1, callback=None)
    party.members(1)
    party.do(0, "a")
    party.open("still", size=1)

    party.now += 100.0
    party.wall += 100.0
    party.turn()

    assert party.group()["state"] == "unknown"
    assert party.group("still")["state"] == "open"
    assert [one["id"] for one in party.query("groups")] == ["still"]
    assert party.wait_for("g").ended[0].outcome == "unknown"


def test_dead_task_leaves_a_notice_with_its_payload_where_it_said() -> None:
    desk = Party()
    desk.submit("pie", on_dead="complaints", max_attempts=1, headers={"table": "5"})
    (pie,) = assigned(desk.hello(SHOP, "shop", 1000))

    desk.end(failed(pie, error="burnt " * 2000))

    (notice,) = assigned(desk.say(CLIENT, Pull(900, "till", "complaints", 9, 0.0, 9.0)))
    assert notice.blob == pie.blob
    headers = notice.options.headers or {}
    assert headers.items() >= {"zq-id": "pie", "zq-queue": "q", "zq-outcome": "dead", "table": "5"}.items()
    assert headers["zq-attempts"] == "1"
    assert len(headers["zq-reason"]) <= 4096
    assert headers["zq-reason"].startswith("burnt burnt")
    assert desk.task("pie")["state"] == "dead"


def test_notice_takes_no_id_that_somebody_gave_to_a_task() -> None:
    desk = Party()
    for number in range(10, 40):
        desk.submit(f"zq.notice.{number:x}", queue="complaints")
    desk.submit("pie", on_dead="complaints", max_attempts=1)
    (pie,) = assigned(desk.hello(SHOP, "shop", 1000))

    desk.end(failed(pie))

    ids = [one.id for one in assigned(desk.say(CLIENT, Pull(900, "till", "complaints", 99, 0.0, 9.0)))]
    assert len(ids) == len(set(ids)) == 31


def test_task_that_is_done_or_retried_leaves_no_notice() -> None:
    desk = Party()
    desk.submit("pie", on_dead="complaints", retry=("constant", 0.0, 1.0, 0.0))
    (pie,) = assigned(desk.hello(SHOP, "shop", 1000))
    desk.end(failed(pie, retry_in=0.0))
    desk.do(0, "a", desk.hands[-1])

    assert desk.pulled("complaints") == []


def test_progress_is_told_to_those_who_wait() -> None:
    desk = Party()
    desk.submit("pies", 2)
    (hand,) = assigned(desk.hello(SHOP, "shop", 1000))
    desk.turn((CLIENT, Wait(1, "pies", 1, 2)))

    other = desk.turn((SHOP, Progress(hand.token, 0, 0.2)))
    own = desk.turn((SHOP, Progress(hand.token, 1, 0.2)), (SHOP, Progress(hand.token, 1, 0.5)))
    desk.end(done(hand))
    late = desk.turn((SHOP, Progress(hand.token, 1, 0.9)))

    assert other == late == []
    assert own == [(CLIENT, Outcome(1, (), is_last=False, progress=((1, 0.5),)))]
