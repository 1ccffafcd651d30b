"""What operators' commands cost: in calls of functions, at one size and at a multiple of it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.core.counting import calls_of
from tests.core.desk import CLIENT, Desk, assigned
from zq.core.accounts import BusyRequestError
from zq.core.admin import operations
from zq.core.bindings import Binding, Bindings
from zq.wire.batch import pack_payloads
from zq.wire.messages import Batch, Command, Options, Publish, Query, Submit

NIL = pack_payloads([b"\xc0"])


def held_up(keys: int, queue: str = "q") -> Desk:
    """A desk at which a task of each key runs, and another is held, since a key has room for one."""
    desk = Desk()
    desk.command("set-queue", queue=queue, key_concurrency=1)
    for number in range(keys):
        options = Options(key=f"k{number}")
        batches = tuple(Batch(f"{number}-{which}", queue, options, *NIL) for which in "ab")
        desk.say(CLIENT, Submit(1, batches))
    desk.hello(b"w", "w", 2 * keys, queues=(queue,))
    assert len(desk.leases) == keys
    return desk


def test_taking_limits_away_reads_nothing_however_much_was_held() -> None:
    def cost(keys: int) -> int:
        desk = held_up(keys)
        desk.machine.books.workers["w"].credit = 0  # so that what is assigned then does not count
        calls = calls_of(lambda: desk.command("set-queue", queue="q", key_concurrency=None))
        desk.machine.books.workers["w"].credit = 2 * keys
        desk.wait(1.0)
        desk.turn((b"w", Command(1, "resume", {"queue": "q"})))
        assert len(desk.leases) == 2 * keys
        return calls

    few, more = cost(30), cost(60)
    assert more - few <= 30 * 12


def test_pause_and_resume_cost_the_same_however_much_is_leased_and_held() -> None:
    def cost(keys: int) -> int:
        desk = held_up(keys)
        return calls_of(lambda: desk.command("pause", queue="q"))

    assert cost(80) <= cost(20) + 100


def test_keys_that_may_have_room_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.core.tasks.assignment.REOPENED_MAX", 4)
    desk = held_up(10)

    sent = desk.turn((CLIENT, Command(1, "set-queue", {"queue": "q", "key_concurrency": 2})))
    assert len(assigned([one for _, one in sent])) == 4
    rounds = 0
    while len(desk.leases) < 20:
        assert desk.machine.next_at(desk.clocks()) <= desk.now  # the rest does not wait for anything
        desk.turn()
        rounds += 1
        assert rounds < 9


def test_many_operations_share_what_one_may_do_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "PORTION_ROWS", 20)

    def cost(queues: int) -> int:
        desk = Desk()
        for number in range(queues):
            batches = tuple(Batch(f"{number}-{index}", f"q{number}", Options(), *NIL) for index in range(200))
            desk.say(CLIENT, Submit(1, batches))
            desk.command("purge", id=f"p{number}", queue=f"q{number}")
        assert all(one["state"] == "running" for one in desk.query("operations"))
        return calls_of(desk.turn)

    assert cost(8) <= cost(1) + 8 * 12


def test_operations_take_turns_and_all_come_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "PORTION_ROWS", 5)
    desk = Desk()
    for number in range(4):
        batches = tuple(Batch(f"{number}-{index}", f"q{number}", Options(), *NIL) for index in range(60))
        desk.say(CLIENT, Submit(1, batches))
        desk.command("purge", id=f"p{number}", queue=f"q{number}")

    for _ in range(20):
        desk.turn()
    tasks = [one["tasks"] for one in desk.query("operations")]
    assert max(tasks) - min(tasks) <= 15  # none waits for another
    for _ in range(60):
        desk.turn()
    assert {one["state"] for one in desk.query("operations")} == {"done"}


def test_delete_of_a_queue_with_many_bindings_takes_them_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "PORTION_ROWS", 10)
    desk = Desk()
    for number in range(35):
        desk.command("bind", queue="q", pattern=f"p{number}")
    desk.command("delete", id="d", queue="q")
    assert 0 < len(desk.machine.books.bindings) < 35

    for _ in range(5):
        desk.turn()
    assert len(desk.machine.books.bindings) == 0
    assert "q" not in desk.machine.books.queues
    assert desk.store.values["bindings"] == {}


def test_queue_is_bound_to_a_pattern_only_so_often_that_one_command_can_take_it_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zq.core.tasks.publishing.FILTERS_MAX", 2)
    desk = Desk()
    for region in ("eu", "us"):
        desk.command("bind", queue="q", pattern="a", headers=("region", region))

    [error] = desk.say(CLIENT, Command(1, "bind", {"queue": "q", "pattern": "a", "headers": ("region", "asia")}))
    assert error.text == "queue q is bound to a 2 times, by headers"
    assert desk.command("unbind", queue="q", pattern="a") == 2


def test_publishing_costs_what_matches_and_not_what_is_bound() -> None:
    def cost(words: int, others: int) -> int:
        bindings = Bindings()
        for number in range(20):  # the worst that can be written in a name, as for a regular expression
            bindings.add(Binding("#." * number + "a.#", f"q{number}", ()), number)
        for number in range(others):
            bindings.add(Binding(f"other{number}.#", "q", ()), 100 + number)
        return calls_of(lambda: bindings.match(".".join("a" * words), {}))

    assert cost(60, 2000) <= cost(60, 1000) + 10
    assert cost(60, 0) <= 2.5 * cost(30, 0)


def test_publication_that_too_many_wildcards_stand_in_the_way_of_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.core.bindings.MATCH_NODES_MAX", 100)
    desk = Desk()
    for number in range(64):
        desk.command("bind", queue="q", pattern=".".join("*a"[number >> bit & 1] for bit in range(6)))
    topic = "a.a.a.a.a.a"

    [answer] = desk.say(CLIENT, Publish(1, "p", topic, Options(), True, *NIL))
    assert answer.refused.code == "busy"
    assert answer.refused.reason.startswith(f"topic {topic} leads to more than 100 places and filters in the patterns")
    [error] = desk.say(CLIENT, Query(1, "match", {"topic": topic}))
    assert error.code == "busy"
    [answer] = desk.say(CLIENT, Publish(1, "p", "b.a", Options(), False, *NIL))
    assert answer.refused is None


def test_publication_whose_header_too_many_filters_begin_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(filters: int) -> int:
        bindings = Bindings()
        for number in range(filters):
            bindings.add(Binding("a", "q", (("b", "c"), ("d", str(number)))), number)

        def match() -> None:
            with suppress(BusyRequestError):
                bindings.match("a", {"b": "c"})

        with pytest.raises(BusyRequestError, match="more than 100 places and filters"):
            bindings.match("a", {"b": "c"})
        return calls_of(match)

    monkeypatch.setattr("zq.core.bindings.MATCH_NODES_MAX", 100)
    assert cost(1000) <= cost(200) + 20


def test_turn_costs_the_same_however_many_queues_there_are() -> None:
    def cost(queues: int) -> int:
        desk = Desk()
        for number in range(queues):
            desk.submit(f"s{number}", queue=f"q{number}")
        desk.hello(b"w", "w", 0, queues=tuple(f"q{number}" for number in range(queues)))
        desk.turn()
        return calls_of(lambda: desk.submit("one more", queue="q0"))

    assert cost(200) <= cost(50) + 20
