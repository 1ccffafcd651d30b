"""A turn of the coordinator: all that has come in one transaction, and nothing leaves before it is committed (protocol
6.1).
"""

import pytest

from tests.core.desk import CLIENT, WALL, Desk, only
from zq.core import tables
from zq.core.state.holder import Life
from zq.errors import StoreError
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Batch, Error, Options, Ping, Pong, Receipt, Submit

W = b"worker-1"


def submit(number: int, id: str) -> Submit:
    return Submit(number, (Batch(id, "q", Options(), *pack_payloads([encode_payload(1)])),))


def stored(desk: Desk) -> list[bytes]:
    tx = desk.store.begin()
    found = [key for key, _ in tx.scan(tables.INDEX)]
    tx.abort()
    return found


def life(desk: Desk) -> Life:
    return desk.machine.books.workers["w"].life


def test_all_messages_of_a_turn_are_in_one_commit() -> None:
    desk = Desk()
    sent = desk.turn((CLIENT, submit(1, "a")), (CLIENT, submit(2, "b")))

    assert [(to, type(answer)) for to, answer in sent] == [(CLIENT, Receipt), (CLIENT, Receipt)]
    assert stored(desk) == [b"a", b"b"]
    desk.crash((CLIENT, submit(3, "c")), (CLIENT, submit(4, "d")))
    assert stored(desk) == [b"a", b"b"]


def test_what_is_handed_out_is_on_disk_by_then() -> None:
    desk = Desk()
    seen: list[bool] = []

    def busy() -> list[tuple[bytes, Submit]]:
        seen.append(desk.store.is_busy)
        return [(CLIENT, submit(1, "a"))]

    sent = desk.machine.turn(desk.clocks(), (one for _ in "x" for one in busy()))

    assert seen == [True], "messages are received inside of the transaction"
    assert not desk.store.is_busy, "it has ended when there is something to send"
    assert [type(answer) for _, answer in sent] == [Receipt]


def test_nothing_is_handed_out_when_the_commit_fails_and_the_next_life_has_nothing_of_it() -> None:
    desk = Desk()
    desk.store.fails = True
    with pytest.raises(StoreError, match="the power is gone"):
        desk.turn((CLIENT, submit(1, "a")))
    desk.store.fails = False
    desk.restart()

    assert stored(desk) == []
    assert desk.submit("a").accepted[0].position == 1


def test_turn_that_is_broken_off_leaves_nothing_and_frees_the_store() -> None:
    desk = Desk()

    def broken() -> object:
        yield CLIENT, submit(1, "a")
        raise KeyError("a fault of the program")

    with pytest.raises(KeyError):
        desk.machine.turn(desk.clocks(), broken())  # type: ignore[arg-type]  # it breaks
    assert not desk.store.is_busy
    desk.restart()

    assert stored(desk) == []


def test_message_that_could_not_be_read_is_answered_in_its_place_and_counts_as_life() -> None:
    desk = Desk()
    desk.hello(W, "w")
    desk.wait(4.0)
    assert life(desk) is Life.SUSPECT
    answers = desk.turn((W, Ping(1)), (W, Error(7, "malformed", "no such kind")), (W, Ping(2)))

    assert [type(answer) for _, answer in answers] == [Pong, Error, Pong]
    assert only([answer for _, answer in answers], Error) == Error(7, "malformed", "no such kind")
    assert life(desk) is Life.LIVE
    assert desk.query("status")["counters"]["error malformed"] == 1


def test_connection_that_takes_nothing_has_its_worker_suspected() -> None:
    desk = Desk()
    desk.hello(W, "w")
    desk.lose(W)

    worker = desk.machine.books.workers["w"]
    assert (worker.life, worker.peer, worker.suspected_time) == (Life.SUSPECT, None, WALL)


def test_epoch_is_on_disk_before_the_first_turn() -> None:
    desk = Desk()
    desk.store.fails = True
    with pytest.raises(StoreError):
        desk.restart()
    desk.store.fails = False
    desk.restart()

    assert desk.machine.books.epoch == 2, "the life that could not store its epoch was none"
