"""The guard beside the matrix: limits of keys, and connections under whose name another key speaks."""

from __future__ import annotations

import pytest

from tests.core.desk import assigned
from tests.core.guarded import GuardedDesk, task
from zq.core.peer_limits import PeerLimits
from zq.core.tasks.settling import PORTION_LEASES
from zq.wire.limits import BATCH_TASKS_MAX
from zq.wire.messages import (
    Answer,
    Cancel,
    Cancelled,
    Command,
    Error,
    Events,
    Follow,
    Group,
    Hello,
    Open,
    Options,
    Outcome,
    Ping,
    Pong,
    Pull,
    Query,
    Receipt,
    Span,
    Submit,
    ToCoordinator,
    Wait,
)


def test_a_key_has_limits_of_its_own() -> None:
    desk = GuardedDesk(peer_limits=PeerLimits(pulls=5))
    small, other = desk.let("small", "client", limits=(("pulls", 1),)), desk.let("other", "client")

    for peer, most in ((small, 1), (other, 5)):
        answers = [desk.say(peer, Pull(number, "till", "q", 1, 60.0, 60.0)) for number in range(6)]
        assert [isinstance(one[0], Error) if one else False for one in answers].count(False) == most


def test_limits_that_change_hold_for_connections_that_are_there() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client")
    desk.say(peer, Pull(1, "till", "q", 1, 60.0, 60.0))

    desk.let("till", "client", limits=(("pulls", 1),))

    (answer,) = desk.say(peer, Pull(2, "till", "q", 1, 60.0, 60.0))
    assert isinstance(answer, Error)


def test_a_connection_under_which_another_key_speaks_has_nothing_of_the_one_before() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client")
    desk.boss(Submit(1, (task("a", "q", delay=1.0),)))
    assert isinstance(desk.say(peer, Wait(1, "a", 0, 1))[0], Outcome)
    desk.say(peer, Follow(2, None, (), 60.0, 0))
    desk.say(peer, Pull(3, "till", "q", 1, 60.0, 60.0))

    desk.guard.introduce(peer, "boss", "elsewhere")

    assert desk.say(peer, Ping(4)) == [Pong(4, desk.machine.books.epoch)]
    assert not assigned([one for to, one in desk.wait(2.0) if to == peer])
    assert desk.machine.books.events is None


@pytest.mark.parametrize("is_revoked", [False, True])
def test_a_denial_does_not_overtake_a_receipt_that_comes_with_the_end(is_revoked: bool) -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client", submit=("q",))
    messages: list[tuple[bytes, ToCoordinator]] = [(peer, Submit(1, (task("a", "q"),))), (peer, Wait(2, "a", 0, 1))]
    assert not desk.machine.turn(desk.clocks(), messages)
    if is_revoked:
        desk.revoke("till")
    sent = desk.machine.turn(desk.clocks(), [(peer, Submit(3, (task("b", "other"),)))])
    first = sent[0][1]
    assert isinstance(first, Receipt)
    assert first.request == 1
    assert not [one for _, one in desk.wait(0.1) if isinstance(one, Receipt)]


def test_a_receipt_is_not_said_to_another_key_under_the_same_name() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client")
    messages: list[tuple[bytes, ToCoordinator]] = [(peer, Submit(1, (task("a", "q"),))), (peer, Wait(2, "a", 0, 1))]
    assert not desk.machine.turn(desk.clocks(), messages)

    desk.guard.introduce(peer, "boss", "elsewhere")

    assert desk.say(peer, Ping(4)) == [Pong(4, desk.machine.books.epoch)]
    assert not [one for to, one in desk.wait(1.0) if isinstance(one, Receipt)]


def test_who_was_not_introduced_may_say_nothing() -> None:
    desk = GuardedDesk()

    (answer,) = desk.say(b"stranger", Ping(1))

    assert isinstance(answer, Error)
    assert (answer.request, answer.code) == (1, "denied")


def test_the_key_of_a_worker_keeps_its_name_over_a_restart() -> None:
    desk = GuardedDesk()
    oven, thief = desk.let("oven", "worker"), desk.let("thief", "worker")
    desk.boss(Submit(1, (task("a", "q"),)))
    assert assigned(desk.say(oven, Hello("shop", "1", ("q",), 1, 1, ())))

    desk.restart()

    (answer,) = desk.say(thief, Hello("shop", "1", ("q",), 1, 1, ()))
    assert isinstance(answer, Error)
    assert answer.code == "denied"


def test_a_listing_goes_on_over_queues_that_are_not_seen_and_does_not_name_them() -> None:
    desk = GuardedDesk()
    names = [f"{front}{number}" for number in range(5) for front in ("mine", "secret")]
    desk.boss(Submit(1, tuple(task(f"of-{name}", name) for name in names)))
    peer, other = desk.let("till", "client", **MINE), desk.let("other", "client", **MINE)
    seen: list[str] = []
    cursor = None
    while True:
        (answer,) = desk.say(peer, Query(1, "queues", {"limit": 1, "cursor": cursor}))
        assert isinstance(answer, Answer)
        seen += [row["name"] for row in answer.value["rows"]]
        cursor = answer.value["cursor"]
        if cursor is None:
            break
        assert "secret" not in cursor and b"secret".hex() not in cursor
        (stolen,) = desk.say(other, Query(1, "queues", {"limit": 1, "cursor": cursor}))
        assert isinstance(stolen, Error)

    assert seen == [name for name in names if name.startswith("mine")]


MINE = dict.fromkeys(("submit", "work", "look"), ("mine*",))


def test_what_a_pull_holds_goes_back_at_once_and_uncharged_when_its_key_may_not_work_any_more() -> None:
    desk = GuardedDesk()
    peer, other = desk.let("till", "client"), desk.let("other", "client")
    desk.boss(Submit(1, (task("a", "q"), task("b", "p"))))
    (mine,) = assigned(desk.say(peer, Pull(1, "till", "q", 1, 0.0, 3600.0)))
    (kept,) = assigned(desk.say(peer, Pull(2, "till", "p", 1, 0.0, 3600.0)))

    desk.let("till", "client", work=("p",))

    assert desk.turn() == [(peer, Cancelled((Span(mine.token, 0, BATCH_TASKS_MAX),)))]
    assert desk.boss(Query(2, "task", {"id": "a"})).value["attempts"] == 0
    (again,) = assigned(desk.say(other, Pull(1, "other", "q", 1, 0.0, 60.0)))
    assert again.id == "a"
    assert [lease.token for lease in desk.leases if lease.holder.owner == "till"] == [kept.token]


def test_pulls_are_asked_about_in_portions_when_rights_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.core.rights.guard.PULLERS_ASKED_MAX", 2)
    desk = GuardedDesk()
    peer = desk.let("till", "client")
    for number in range(5):
        desk.boss(Submit(number, (task(f"t{number}", "q"),)))
        desk.say(peer, Pull(number, "till", "q", 1, 0.0, 3600.0))

    desk.revoke("till")

    left: list[int] = []
    while desk.leases:
        desk.turn()
        left.append(len(desk.leases))
        assert desk.machine.next_at(desk.clocks()) <= desk.now or not desk.leases
    assert left == [3, 1, 0]


def test_what_pulls_of_a_revoked_key_hold_goes_back_in_portions_also_after_a_restart() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client")
    count = 2 * PORTION_LEASES + 1
    for number in range(count):
        desk.boss(Submit(number, (task(f"t{number}", "q"),)))
        desk.say(peer, Pull(number, "till", "q", 1, 0.0, 3600.0))
    assert len(desk.leases) == count

    desk.revoke("till")
    desk.turn()
    assert len(desk.leases) == count - PORTION_LEASES
    desk.restart()
    for _ in range(2):
        desk.turn()

    assert desk.leases == []


def test_a_worker_whose_key_becomes_that_of_a_client_is_sent_away_and_a_pull_stays() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "worker")
    desk.say(peer, Hello("shop", "1", ("q",), 1, 1, ()))
    desk.say(peer, Pull(1, "till", "p", 1, 60.0, 60.0))

    desk.let("till", "client")

    (answer,) = [one for _, one in desk.turn()]
    assert isinstance(answer, Error) and answer.code == "denied"
    desk.boss(Submit(2, (task("a", "q"), task("b", "p"))))
    assert [lease.batch.id for lease in desk.leases] == ["b"]


def test_a_worker_whose_name_is_outside_of_its_namespaces_now_is_sent_away() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "worker")
    desk.say(peer, Hello("shop", "1", ("a/q",), 1, 1, ()))

    desk.let("till", "worker", namespaces=("a",))

    (answer,) = [one for _, one in desk.turn()]
    assert isinstance(answer, Error) and answer.code == "denied"


@pytest.mark.parametrize(
    ("queue", "role", "rights"),
    [(None, "worker", {}), ("mine", "worker", {}), ("q", "client", MINE), (None, "", {}), ("q", "", {})],
)
def test_a_follow_that_would_be_refused_now_ends_and_counts_no_more(
    queue: str | None, role: str, rights: dict[str, tuple[str, ...]]
) -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client", limits=(("follows", 1),))
    desk.say(peer, Follow(1, queue, (), 600.0, 0))

    if role:
        desk.let("till", role, **rights)
    else:
        desk.revoke("till")

    assert [(one.request, one.code) for _, one in desk.turn() if isinstance(one, Error)] == [(1, "denied")]
    desk.let("till", "client", limits=(("follows", 1),))
    assert isinstance(desk.say(peer, Follow(2, "mine", (), 600.0, 0))[0], Events)


def test_a_follow_that_its_key_may_have_still_goes_on_and_sees_what_it_may() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client")
    desk.say(peer, Follow(1, None, (), 600.0, 0))

    desk.let("till", "client", **MINE)

    assert desk.turn() == []
    desk.boss(Submit(2, (task("a", "mine"), task("b", "q"))))
    assert len(desk.machine.books.events.by_request if desk.machine.books.events else ()) == 1


def test_the_listings_of_one_key_do_not_end_those_of_another() -> None:
    desk = GuardedDesk()
    desk.boss(Submit(1, (task("a", "mine1"), task("b", "mine2"))))
    peer, other = desk.let("till", "client", **MINE), desk.let("other", "client", **MINE)
    (first,) = desk.say(peer, Query(1, "queues", {"limit": 1}))

    for _ in range(10_001):
        desk.say(other, Query(1, "queues", {"limit": 1}))

    (answer,) = desk.say(peer, Query(2, "queues", {"limit": 1, "cursor": first.value["cursor"]}))
    assert isinstance(answer, Answer)
    assert [row["name"] for row in answer.value["rows"]] == ["mine2"]


@pytest.mark.parametrize(
    ("said", "what", "fault"),
    [
        (Command(1, "pause", {"queue": "q"}), "pause", None),
        (Command(1, "set-queue", {"queue": "q", "nonsense": 1}), "set-queue", "invalid: "),
        (Command(1, "nonsense", {}), "nonsense", "invalid: "),
        (Cancel(1, "a"), "cancel", None),
    ],
)
def test_the_audit_says_what_was_done_and_what_was_not(said: Command | Cancel, what: str, fault: str | None) -> None:
    desk = GuardedDesk()

    desk.boss(said)

    (deed,) = desk.guard.audits
    assert (deed.what, deed.fault if fault is None else (deed.fault or "")[: len(fault)]) == (what, fault)


def test_the_audit_has_what_may_not_be_cancelled() -> None:
    desk = GuardedDesk()

    desk.say(desk.let("till", "worker"), Cancel(1, "a"))

    assert [(deed.key, deed.what, deed.arguments, bool(deed.fault)) for deed in desk.guard.audits] == [
        ("till", "cancel", {"id": "a"}, True)
    ]


def test_a_group_is_cancelled_with_the_key_that_opened_it() -> None:
    desk = GuardedDesk()
    opener, other = desk.let("till", "client", **MINE), desk.let("other", "client", **MINE)
    desk.say(opener, Open(1, Group("g", 1, "all", False, "mine", Options())))
    desk.boss(Submit(2, (task("a", "elsewhere", group=("g", (0,))),)))

    (denied,) = desk.say(other, Cancel(3, "g"))
    assert isinstance(denied, Error) and denied.code == "denied"
    assert desk.boss(Query(4, "task", {"id": "a"})).value["state"] == "waiting"

    assert isinstance(desk.say(opener, Cancel(5, "g"))[0], Answer)
    assert desk.boss(Query(6, "task", {"id": "a"})).value["state"] == "cancelled"
