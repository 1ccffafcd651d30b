"""What is due: a part that has nothing to do is left alone, and whatever is entered wakes the coordinator in time."""

from collections.abc import Callable
from math import inf

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done
from zq.core.options import Now
from zq.core.unhurried import LATER_SECONDS
from zq.core.upkeep import parts_of
from zq.wire.messages import Extend, Follow, Hello, Pull

W = b"worker-1"


def patient(**options: float) -> Desk:
    """A desk at which nothing is due when nothing was asked of it."""
    desk = Desk(suspect_after=1e6, gone_after=1e6, **options)
    desk.turn()
    return desk


def seconds(desk: Desk) -> float:
    """How long the shell may sleep, but for the history, which is written at the next ten seconds after any change."""
    at = desk.machine.books.deadlines.history
    assert at.when <= (desk.wall // 10 + 1) * 10 or not desk.machine.books.tallies.before
    at.when = inf
    return desk.machine.next_at(desk.clocks()) - desk.now


def test_everything_is_looked_at_in_the_first_turn_and_nothing_is_due_after_it() -> None:
    desk = Desk()
    desk.submit("a", delay=7.0)
    desk.restart()
    assert seconds(desk) == 0.0
    desk.turn()

    assert seconds(desk) == pytest.approx(7.0)


def _says_hello(desk: Desk) -> None:
    desk.say(W, Hello("w", "w", ("q",), 0, 1, ()))


def _extends(desk: Desk) -> None:
    desk.submit("a")
    (one,) = assigned(desk.say(CLIENT, Pull(1, "till", "q", 1, 0.0, 500.0)))
    desk.say(CLIENT, Extend(2, one.token, 9.0))


def _limits_the_rate(desk: Desk) -> None:
    desk.command("set-queue", queue="q", rate=0.25, burst=1)
    desk.submit("a", 2)
    desk.hello(W, "w", 5)


def _ends_one(desk: Desk) -> None:
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.settle(W, done(one))
    desk.now += LATER_SECONDS
    desk.turn()


@pytest.mark.parametrize(
    ("enter", "least", "most"),
    [
        (lambda desk: desk.submit("a", delay=3.0), 2.99, 3.01),
        (lambda desk: desk.submit("a", ttl=4.0), 3.99, 4.01),
        (lambda desk: desk.say(CLIENT, Pull(1, "till", "q", 1, 6.0, 30.0)), 6.0, 6.0),
        (_says_hello, 1e6, 1e6),
        (_extends, 9.0, 9.0),
        (_limits_the_rate, 4.0, 4.0),
        (_ends_one, 120.0, 120.0),
    ],
)
def test_what_is_entered_in_a_turn_wakes_in_time(enter: Callable[[Desk], object], least: float, most: float) -> None:
    desk = patient()
    enter(desk)

    assert least <= seconds(desk) <= most


def test_jump_of_the_wall_clock_moves_what_goes_by_it_and_nothing_else() -> None:
    desk = patient()
    desk.say(CLIENT, Pull(1, "till", "q", 1, 100.0, 30.0))
    desk.submit("a", queue="p", delay=60.0)
    assert seconds(desk) == pytest.approx(60.0)
    desk.wall -= 50.0
    assert seconds(desk) == pytest.approx(100.0)
    desk.wall += 100.0
    assert seconds(desk) == pytest.approx(10.0)
    desk.wall += 100.0

    assert seconds(desk) == 0.0
    desk.turn()
    assert desk.task("a")["state"] == "waiting"
    assert seconds(desk) == pytest.approx(100.0)


def test_part_is_left_alone_until_its_time() -> None:
    desk = patient()
    desk.submit("a", delay=30.0)
    desk.turn((CLIENT, Follow(1, None, (), 60.0, 0)))
    books = desk.machine.books
    whens = {part.due.__name__: part.deadline.when for part in parts_of(books)}
    desk.now += 1.0
    desk.turn()

    assert {part.due.__name__: part.deadline.when for part in parts_of(books)} == whens
    assert whens["release_due"] == pytest.approx(desk.wall + 30.0)


def test_next_time_is_never_in_the_past() -> None:
    desk = patient()
    desk.submit("a", delay=1.0)

    assert desk.machine.next_at(Now(desk.now + 50.0, desk.wall + 50.0)) == desk.now + 50.0
