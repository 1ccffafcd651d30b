"""The pure parts of direct runs, with literal times and counts: pace, quiescence, control messages, places, and the
reader of the input.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from operator import length_hint
from typing import Any

import pytest

from patterns.direct.control import Arrived, Counts, Gone, Probe, Target, Wire, pack, unpack
from patterns.direct.places import Places, own_host
from patterns.direct.quiescence import Quiescence
from patterns.run.feeder import Feeder
from patterns.run.pace import CHUNK_BYTES_MAX, CHUNK_ITEMS_MAX, Pace
from patterns.sockets import MESSAGE_BYTES_MAX
from patterns.work.items import Loose, Plain, WithoutResult, cut, frames_of
from tests.patterns.raw_peers import wait_until

# Pace.


def test_chunks_start_small_and_grow_to_ten_milliseconds_of_work() -> None:
    pace = Pace(workers=2, held_max=0)
    assert (pace.chunk, pace.window) == (1, 5)

    chunks = []
    for _ in range(4):
        pace.note_cost(0.0001)
        chunks.append(pace.chunk)

    assert chunks == [4, 16, 64, 100]
    assert pace.window == 500


def test_slow_items_travel_alone() -> None:
    pace = Pace(workers=4, held_max=0)
    for _ in range(3):
        pace.note_cost(0.5)

    assert (pace.chunk, pace.window) == (1, 9)


def test_one_slow_item_shrinks_chunks_at_once() -> None:
    pace = Pace(workers=1, held_max=0)
    for _ in range(10):
        pace.note_cost(0.000001)
    assert pace.chunk == CHUNK_ITEMS_MAX

    pace.note_cost(1.0)

    assert pace.chunk == 1


def test_large_items_make_small_chunks() -> None:
    pace = Pace(workers=1, held_max=0)
    pace.note_bytes(1 << 20, 1)
    for _ in range(5):
        pace.note_cost(0.000001)
    assert pace.chunk == 1

    for _ in range(100):
        pace.note_bytes(1000, 10)
        pace.note_cost(0.000001)

    assert 1000 < pace.chunk <= CHUNK_BYTES_MAX / 100


def test_window_has_room_for_unfinished_batches() -> None:
    assert Pace(workers=1, held_max=1000).window == 1003


# Quiescence.


def counts(number: int, received: dict[int, int], sent: dict[int, int], *, is_idle: bool = True) -> Counts:
    return Counts(number, is_idle, False, received, sent, 0, 0.0)


def test_everything_rests_when_two_rounds_balance_with_the_same_counts() -> None:
    rest = Quiescence(after=3)
    living = {1: counts(0, {0: 5}, {2: 4}), 2: counts(0, {1: 4}, {0: 4})}

    assert not rest.observe(3, living, {1: 5}, {2: 4})  # asked before
    assert not rest.observe(4, living, {1: 5}, {2: 4})
    assert rest.observe(5, living, {1: 5}, {2: 4})


@pytest.mark.parametrize(
    "living",
    [
        {1: counts(0, {0: 5}, {2: 4}, is_idle=False), 2: counts(0, {1: 4}, {0: 4})},
        {1: counts(0, {0: 4}, {2: 4}), 2: counts(0, {1: 4}, {0: 4})},
        {1: counts(0, {0: 5}, {2: 4}), 2: counts(0, {1: 3}, {0: 4})},
        {1: counts(0, {0: 5}, {2: 4}), 2: counts(0, {1: 4}, {0: 5})},
    ],
    ids=["somebody works", "on the way from the caller", "on the way between workers", "on the way to the caller"],
)
def test_nothing_rests_while_something_moves(living: dict[int, Counts]) -> None:
    rest = Quiescence(after=0)

    assert not any(rest.observe(number, living, {1: 5}, {2: 4}) for number in range(1, 5))


def test_messages_of_the_dead_that_still_arrive_delay_rest() -> None:
    rest = Quiescence(after=0)

    assert not rest.observe(1, {2: counts(0, {1: 3}, {0: 4})}, {}, {2: 4})
    assert not rest.observe(2, {2: counts(0, {1: 4}, {0: 4})}, {}, {2: 4})  # one of worker 1, which is dead
    assert rest.observe(3, {2: counts(0, {1: 4}, {0: 4})}, {}, {2: 4})


def test_what_was_sent_to_the_dead_does_not_count() -> None:
    rest = Quiescence(after=0)
    living = {1: counts(0, {0: 5}, {2: 4, 3: 9}), 3: counts(0, {1: 9}, {0: 1})}

    assert not rest.observe(1, living, {1: 5, 2: 7}, {3: 1})
    assert rest.observe(2, living, {1: 5, 2: 7}, {3: 1})


# Messages.


@pytest.mark.parametrize(
    "message",
    [
        Arrived(3, "abc"),
        Wire([0, 1], [Target(4, 2, 0, "ipc://x")]),
        Gone(4),
        Probe(9),
        Counts(9, True, False, {0: 3}, {4: 2}, 10, 0.5),
    ],
)
def test_control_message_survives_the_wire(message: Arrived) -> None:
    assert unpack(pack(message)) == message


@pytest.mark.parametrize(
    "frame", [b"", b"\xc1", b"\x90", b"\x91\x63", b"\x92\x02\x01\x01", b"\x93\x01\x90\x91\x01", b"\x93\x07\x90\xa1x"]
)
def test_what_is_no_control_message_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match="expected a control message"):
        unpack(frame)


def test_chunks_are_cut_whatever_their_form() -> None:
    assert list(cut(Plain(5, [1, 2, 3]), 2)) == [Plain(5, [1, 2]), Plain(7, [3])]
    assert list(cut(Loose([5, 9], ["a", "b"]), 1)) == [Loose([5], ["a"]), Loose([9], ["b"])]
    assert list(cut(WithoutResult([5, 9], [None, None]), 1)) == [WithoutResult([5], [None]), WithoutResult([9], [None])]


def test_chunk_too_large_for_a_message_becomes_several() -> None:
    frames = frames_of(0, Plain(0, [bytes(6 << 20)] * 5), 0.0, MESSAGE_BYTES_MAX)

    assert [len(frame) >> 20 for frame in frames] == [12, 6, 12]


# Places.


def test_places_of_processes_are_files_and_of_threads_are_not() -> None:
    files, names, far = (
        Places(host=None, is_threaded=False),
        Places(host=None, is_threaded=True),
        Places(host="10.0.0.1", is_threaded=False),
    )

    assert files.place("worker-3") == f"ipc://{files.folder}/worker-3"
    assert names.place("control").startswith("inproc://")
    assert names.place("control") != Places(host=None, is_threaded=True).place("control")
    assert (far.place("sink"), far.folder) == ("tcp://10.0.0.1:*", None)
    files.close()


def test_own_host_is_the_one_that_leads_to_the_endpoint() -> None:
    assert own_host([]) is None
    assert own_host(["tcp://127.0.0.1:7700"]) == "127.0.0.1"
    with pytest.raises(ValueError, match="expected an endpoint as tcp://host:port, got 'tcp://x:port'"):
        own_host(["tcp://x:port"])


# The reader of the input.


def test_feeder_reads_no_further_ahead_than_two_chunks() -> None:
    asked: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            asked.append(number)
            yield number

    feeder = Feeder(source(), lambda: None)
    feeder.start()
    wait_until(lambda: len(asked) == 2)

    assert feeder.take(4, is_hasty=False) == []
    wait_until(lambda: len(asked) == 8)
    assert feeder.take(4, is_hasty=False) == [0, 1, 2, 3]
    wait_until(lambda: len(asked) == 12)
    assert len(asked) <= 13
    feeder.close()


def test_feeder_gives_what_is_there_when_it_must_and_wakes_who_asked() -> None:
    woken, release = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        release.wait()
        yield 1
        release.clear()
        release.wait()

    feeder = Feeder(source(), woken.set)
    feeder.start()
    assert not feeder.ask()
    release.set()
    assert woken.wait(20)

    wait_until(lambda: not release.is_set())
    assert feeder.take(10, is_hasty=False) == []
    assert feeder.take(10, is_hasty=True) == [1]
    release.set()
    wait_until(lambda: feeder.is_exhausted)


def test_feeder_keeps_what_the_input_raised() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError("dry")

    feeder = Feeder(source(), lambda: None)
    feeder.start()
    wait_until(lambda: feeder.error is not None)

    assert not feeder.is_exhausted
    assert feeder.take(10, is_hasty=False) == [1]
    assert feeder.is_exhausted
    assert str(feeder.error) == "dry"


@pytest.mark.parametrize("make", [list, tuple, set, dict.fromkeys, lambda some: dict.fromkeys(some).values()])
def test_feeder_reads_an_input_at_hand_when_it_is_wanted_and_without_a_thread(
    make: Callable[[range], Collection[Any]],
) -> None:
    collection = make(range(5))
    items = iter(collection)
    before = threading.active_count()
    feeder = Feeder(items, lambda: None)
    feeder.start()

    assert threading.active_count() == before
    assert feeder.ask()
    assert len(feeder.take(2, is_hasty=False)) == 2
    assert length_hint(items) == 3
    assert len(feeder.take(3, is_hasty=False)) == 3
    assert feeder.take(3, is_hasty=False) == []
    assert feeder.is_exhausted
    assert feeder.error is None


def test_feeder_gives_what_came_before_an_input_at_hand_has_changed() -> None:
    menu = dict.fromkeys(range(5))
    feeder = Feeder(iter(menu), lambda: None)
    assert feeder.take(2, is_hasty=False) == [0, 1]
    menu[5] = None

    assert feeder.take(2, is_hasty=False) == []
    assert feeder.is_exhausted
    assert "changed size" in str(feeder.error)
