"""With keys a peer is its key: all connections of a key have one account, whichever of them comes and goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.core.desk import assigned, done
from tests.core.guarded import GuardedDesk, task
from zq.core.peer_limits import PeerLimits
from zq.core.rights.usage import KEYS_SHOWN_MAX, KeyTraffic
from zq.wire.messages import (
    Answer,
    Command,
    Error,
    Follow,
    Hello,
    Outcome,
    Ping,
    Pull,
    Query,
    Receipt,
    Schedule,
    Submit,
    Wait,
)

Ask = Callable[[GuardedDesk, bytes, int], list[Any]]


def wait(desk: GuardedDesk, peer: bytes, number: int) -> list[Any]:
    return [one for one in desk.say(peer, Wait(number, "there", 0, 1)) if not isinstance(one, Outcome)]


def pull(desk: GuardedDesk, peer: bytes, number: int) -> list[Any]:
    return desk.say(peer, Pull(number, "till", "p", 1, 60.0, 60.0))


def follow(desk: GuardedDesk, peer: bytes, number: int) -> list[Any]:
    return desk.say(peer, Follow(number, None, (), 60.0, 0))


def hello(desk: GuardedDesk, peer: bytes, number: int) -> list[Any]:
    return desk.say(peer, Hello(f"{peer.decode()}-{number}", "1", ("p",), 0, 1, ()))


def make_queue(desk: GuardedDesk, peer: bytes, number: int) -> list[Any]:
    return desk.say(peer, Command(1, "set-queue", {"queue": f"{peer.decode()}-{number}", "fair": True}))


def bind(desk: GuardedDesk, peer: bytes, number: int) -> list[Any]:
    return desk.say(peer, Command(1, "bind", {"queue": "p", "pattern": f"{peer.decode()}.{number}"}))


def schedule(desk: GuardedDesk, peer: bytes, number: int) -> list[Any]:
    return desk.say(peer, Schedule(1, task(f"{peer.decode()}-{number}", "p"), 60.0, None, "UTC", "skip"))


WAYS: dict[str, Ask] = {
    "waits": wait,
    "pulls": pull,
    "follows": follow,
    "workers": hello,
    "queues": make_queue,
    "bindings": bind,
    "schedules": schedule,
}


def is_refused(answers: list[Any]) -> bool:
    return any(isinstance(one, Error) for one in answers)


@pytest.mark.parametrize("kind", WAYS)
def test_connections_of_a_key_share_what_it_may_have_and_another_key_is_served(kind: str) -> None:
    desk = GuardedDesk(peer_limits=PeerLimits(**{kind: 5}))
    desk.boss(Submit(1, (task("there", "p", delay=1000.0),)))
    one = desk.let("till", "admin", limits=((kind, 2),))
    two, other = desk.also("till", b"till-2"), desk.let("other", "admin")
    ask = WAYS[kind]

    assert not is_refused(ask(desk, one, 1)) and not is_refused(ask(desk, two, 2))

    for peer in (one, two):
        (error,) = [one for one in ask(desk, peer, 3) if isinstance(one, Error)]
        text = (
            f"key till may have 2 {kind} on all its connections, and has 2; the limits of the key, or else peer_limits"
        )
        assert (error.code, error.text) == ("busy", f"{text} ({kind}=...), say how many")
    assert not is_refused(ask(desk, other, 4))


def test_tasks_in_hand_are_shared_by_the_connections_of_a_key() -> None:
    desk = GuardedDesk()
    desk.boss(Submit(1, tuple(task(f"t{number}", "q") for number in range(9))))
    one = desk.let("till", "client", limits=(("leases", 3),))
    two, other = desk.also("till", b"till-2"), desk.let("other", "client")

    mine = assigned(desk.say(one, Pull(1, "a", "q", 2, 0.0, 60.0)))
    assert len(mine) == 2
    assert len(assigned(desk.say(two, Pull(1, "b", "q", 2, 0.0, 60.0)))) == 1
    assert is_refused(desk.say(two, Pull(2, "b", "q", 2, 0.0, 60.0)))
    assert len(assigned(desk.say(other, Pull(1, "c", "q", 2, 0.0, 60.0)))) == 2

    desk.settle(one, done(mine[0]), credit=None)
    assert len(assigned(desk.say(two, Pull(2, "b", "q", 2, 0.0, 60.0)))) == 1


def test_what_a_key_has_made_counts_when_the_connection_that_made_it_is_gone() -> None:
    desk = GuardedDesk()
    one = desk.let("till", "admin", limits=(("queues", 1),))
    assert not is_refused(make_queue(desk, one, 1))
    desk.lose(one)

    again = desk.also("till", b"till-2")

    assert is_refused(make_queue(desk, again, 2))
    desk.boss(Command(1, "delete", {"id": "d", "queue": "till-1"}))
    assert not is_refused(make_queue(desk, again, 2))


def test_what_a_connection_has_ends_with_it_and_the_rest_of_its_key_goes_on() -> None:
    desk = GuardedDesk()
    one = desk.let("till", "client", limits=(("pulls", 2),))
    two = desk.also("till", b"till-2")
    pull(desk, one, 1), pull(desk, two, 2)

    desk.lose(one)

    account = desk.machine.books.accounts.of_key("till")
    assert account is not None and account.pulls == 1
    assert not is_refused(pull(desk, two, 3))
    assert is_refused(pull(desk, two, 4))


def test_a_limit_that_is_lowered_holds_for_all_connections_that_are_there() -> None:
    desk = GuardedDesk()
    one = desk.let("till", "client")
    two = desk.also("till", b"till-2")
    pull(desk, one, 1), pull(desk, one, 2)

    desk.let("till", "client", limits=(("pulls", 1),))

    assert is_refused(pull(desk, two, 3))
    desk.let("till", "client", limits=(("pulls", 3),))
    assert not is_refused(pull(desk, two, 3))


def test_workers_are_served_at_once_when_the_limit_of_their_key_is_raised() -> None:
    desk = GuardedDesk()
    one = desk.let("shop", "worker", limits=(("leases", 2),))
    desk.boss(Submit(1, tuple(task(f"t{number}", "q") for number in range(9))))
    assert len(assigned(desk.say(one, Hello("w", "1", ("q",), 5, 1, ())))) == 2

    desk.let("shop", "worker", limits=(("leases", 1),))
    desk.turn()
    desk.let("shop", "worker", limits=(("leases", 4),))

    assert len(assigned([answer for to, answer in desk.turn() if to == one])) == 2


def test_a_key_that_is_rotated_has_one_account() -> None:
    desk = GuardedDesk()
    one = desk.let("till", "client", limits=(("pulls", 1),))
    desk.rights["fresh"] = desk.rights["till"]
    desk.guard.update(dict(desk.rights))
    two = desk.also("fresh", b"till-2")
    pull(desk, one, 1)

    assert is_refused(pull(desk, two, 2))


def test_the_account_of_a_key_goes_when_it_has_neither_rights_nor_anything() -> None:
    desk = GuardedDesk()
    one = desk.let("till", "admin")
    make_queue(desk, one, 1), pull(desk, one, 1)

    desk.revoke("till")
    desk.turn()

    accounts = desk.machine.books.accounts
    account = accounts.of_key("till")
    assert account is not None and (account.pulls, account.queues) == (0, 1)
    desk.boss(Command(1, "delete", {"id": "d", "queue": "till-1"}))
    assert accounts.of_key("till") is None


def test_status_tells_an_admin_what_each_key_has_and_nobody_else() -> None:
    desk = GuardedDesk()
    one = desk.let("till", "client", limits=(("pulls", 1),))
    pull(desk, one, 1), pull(desk, one, 2)
    desk.say(one, Command(1, "pause", {"queue": "q"}))  # it may not
    desk.guard.traffic_of = lambda name: KeyTraffic(2, 3) if name == "till" else KeyTraffic()

    shown = desk.boss(Query(1, "status", {})).value["per_key"]

    assert shown["till"] == {"connections": 2, "refused": 5, "pulls": 1, "queues": 1}
    curious = desk.let("curious", "client")
    bounded = desk.let("bounded", "admin", namespaces=("team",))
    for peer in (one, curious, bounded):
        (answer,) = desk.say(peer, Query(1, "status", {}))
        assert isinstance(answer, Answer) and "per_key" not in answer.value


def test_status_tells_of_so_many_keys_and_no_more() -> None:
    desk = GuardedDesk()
    for number in range(KEYS_SHOWN_MAX + 5):
        desk.let(f"key-{number}", "client")
    desk.guard.traffic_of = lambda name: KeyTraffic(9 if name == "key-7" else 1, 0)

    shown = desk.boss(Query(1, "status", {})).value["per_key"]

    assert len(shown) == KEYS_SHOWN_MAX
    assert next(iter(shown)) == "key-7"


def test_whoever_says_little_has_no_account() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client")
    desk.say(peer, Ping(1))
    assert isinstance(desk.say(peer, Submit(1, (task("a", "q"),)))[0], Receipt)

    assert {account.who for account in desk.machine.books.accounts} == {"till"}
