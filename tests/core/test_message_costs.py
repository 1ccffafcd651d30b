"""What each kind of message costs at its largest: no more than linear in what is sent, and the same however much is
stored. Counted are the calls of the dearest turn: that in which it comes, or one of those that carry on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.core.cost import largest_cost_of
from tests.core.desk import CLIENT, Desk
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Batch,
    Cancel,
    Command,
    Confirm,
    Done,
    Extend,
    Failed,
    Follow,
    Goodbye,
    Group,
    Heartbeat,
    Held,
    Hello,
    Open,
    Options,
    Ping,
    Progress,
    Publish,
    Pull,
    Query,
    Release,
    Schedule,
    Settle,
    Span,
    Started,
    Submit,
    ToCoordinator,
    Wait,
    Withdraw,
)
from zq.wire.steering import About

W = b"w"
FEW, MANY = 60, 240
"""What a message names."""

SMALL, LARGE = 300, 1200
"""Tasks, queues and schedules that the store has."""

ONE = pack_payloads([encode_payload(1)])


def batch(id: str, queue: str = "q", options: Options = DEFAULT_OPTIONS, tasks: int = 1) -> Batch:
    return Batch(id, queue, options, *pack_payloads([encode_payload(1)] * tasks))


def submit(desk: Desk, ids: list[str], queue: str = "q", options: Options = DEFAULT_OPTIONS) -> None:
    desk.turn((CLIENT, Submit(1, tuple(batch(id, queue, options) for id in ids))))


def furnish(size: int) -> Desk:
    """Returns a desk whose store has as many tasks, queues with tasks, schedules, and tasks that have ended or died."""
    desk = Desk()
    submit(desk, [f"old-{number}" for number in range(size)], "old")
    desk.submit("large", size, "old")
    desk.turn((CLIENT, Submit(1, tuple(batch(f"other-{number}", f"other-{number}") for number in range(size)))))
    for number in range(size):
        desk.turn((CLIENT, Schedule(1, batch(f"beat-{number}"), 86_400.0, None, "UTC", "skip")))
        desk.turn((CLIENT, Command(1, "bind", {"queue": f"other-{number}", "pattern": f"old.t{number}"})))
    for number in range(0, size, 10):
        desk.turn((CLIENT, Cancel(1, f"old-{number}")))
        desk.turn((CLIENT, Command(1, "bury", {"id": f"old-{number + 1}"})))
    return desk


def names(count: int, front: str = "t") -> list[str]:
    return [f"{front}{number}" for number in range(count)]


def leased(desk: Desk, count: int) -> list[int]:
    """Lets a worker hold tasks of its own; returns their tokens."""
    submit(desk, names(count))
    desk.hello(W, "w", 10_000)
    return [lease.token for lease in desk.leases]


def pulled(desk: Desk, count: int) -> list[int]:
    submit(desk, names(count))
    desk.turn((CLIENT, Pull(1, "till", "q", 1000, 0.0, 60.0, True)))
    return [lease.token for lease in desk.leases]


# Each makes what it needs, and returns who says what.

Made = tuple[bytes, ToCoordinator]


def settle(desk: Desk, count: int) -> Made:
    done = [Done(token, f"t{at}", 0, 1, *ONE, ()) for at, token in enumerate(leased(desk, count))]
    return W, Settle(1, 0, tuple(done), ())


def settle_with_forwards(desk: Desk, count: int) -> Made:
    (token,) = leased(desk, 1)
    return W, Settle(1, 0, (Done(token, "t0", 0, 1, b"", b"", tuple(batch(id) for id in names(count, "f"))),), ())


def fail(desk: Desk, count: int) -> Made:
    failed = [Failed(token, f"t{at}", 0, "burnt", 50.0, False) for at, token in enumerate(leased(desk, count))]
    return W, Settle(1, 0, (), tuple(failed))


def settle_members(desk: Desk, count: int) -> Made:
    desk.turn((CLIENT, Open(1, Group("g", count, "all", False, "after", DEFAULT_OPTIONS))))
    members = tuple(batch(f"t{at}", options=Options(group=("g", (at,)))) for at in range(count))
    desk.turn((CLIENT, Submit(1, members)))
    return settle(desk, count)


def settle_on_many_queues(desk: Desk, count: int) -> Made:
    queues = names(count, "many-")
    desk.turn((CLIENT, Submit(1, tuple(batch(f"t{at}", queue) for at, queue in enumerate(queues)))))
    desk.turn((CLIENT, Submit(1, tuple(batch(f"u{at}", queue) for at, queue in enumerate(queues)))))
    desk.turn((W, Hello("w", "w", tuple(queues), count, 1, ())))
    done = [Done(lease.token, lease.batch.id, 0, 1, b"", b"", ()) for lease in desk.leases]
    return W, Settle(1, 0, tuple(done), ())


def release(desk: Desk, count: int) -> Made:
    return W, Release(1, 0, tuple(Span(token, 0, 1) for token in leased(desk, count)))


def heartbeat(desk: Desk, count: int) -> Made:
    return W, Heartbeat(1, tuple(Held(token, (0,)) for token in leased(desk, count)))


def heartbeat_of_strange(desk: Desk, count: int) -> Made:
    leased(desk, 1)
    return W, Heartbeat(1, tuple(Held(number, tuple(range(40))) for number in range(count)))


def started(desk: Desk, count: int) -> Made:
    return W, Started(tuple(Held(token, (0,)) for token in leased(desk, count)))


def progress(desk: Desk, count: int) -> Made:
    (token,) = leased(desk, 1)
    desk.turn(*[(CLIENT, Wait(number, "t0", 0, 1)) for number in range(count)])
    return W, Progress(token, 0, 0.5)


def hello(desk: Desk, count: int) -> Made:
    return W, Hello("w", "w", tuple(names(count, "new-")), 0, 1, ())


def hello_with_leases(desk: Desk, count: int) -> Made:
    tokens = leased(desk, count)
    return b"again", Hello("w", "w", ("q",), 10_000, 1, tuple(Held(token, (0,)) for token in tokens))


def goodbye(desk: Desk, count: int) -> Made:
    leased(desk, count)
    return W, Goodbye("w", "w")


def about(desk: Desk, count: int) -> Made:
    leased(desk, count)
    return W, About("oven", 7, 0, 1, False, None)


def fail_and_hear_of_it(desk: Desk, count: int) -> Made:
    said = fail(desk, count)
    desk.turn((W, About("oven", 7, 0, 1, False, None)))
    return said


def submit_many(desk: Desk, count: int) -> Made:
    return CLIENT, Submit(1, tuple(batch(id) for id in names(count)))


def submit_into_new_queues(desk: Desk, count: int) -> Made:
    return CLIENT, Submit(1, tuple(batch(id, id) for id in names(count)))


def submit_again(desk: Desk, count: int) -> Made:
    submit(desk, names(count))
    return submit_many(desk, count)


def submit_unique(desk: Desk, count: int) -> Made:
    for front in "au":
        batches = [batch(front + id, "u", Options(unique=(id, "ended", "replace"))) for id in names(count)]
        if front == "a":
            desk.turn((CLIENT, Submit(1, tuple(batches))))
    return CLIENT, Submit(1, tuple(batches))


def pull(desk: Desk, count: int) -> Made:
    submit(desk, names(count))
    return CLIENT, Pull(1, "till", "q", 1000, 0.0, 60.0, True)


def confirm(desk: Desk, count: int) -> Made:
    return CLIENT, Confirm(tuple(pulled(desk, count)))


def confirm_strange(desk: Desk, count: int) -> Made:
    return CLIENT, Confirm(tuple(range(count)))


def extend(desk: Desk, count: int) -> Made:
    return CLIENT, Extend(1, pulled(desk, count)[0], 60.0)


def withdraw(desk: Desk, count: int) -> Made:
    for number in range(count):
        desk.turn((CLIENT, Pull(number, "till", "empty", 1, 60.0, 60.0, True)))
    return CLIENT, Withdraw(tuple(range(count)))


def wait(desk: Desk, count: int) -> Made:
    desk.submit("b", count)
    desk.turn((CLIENT, Cancel(1, f"b#{count // 2}")), (CLIENT, Cancel(1, "b")))
    return CLIENT, Wait(1, "b", 0, count)


def wait_for_group(desk: Desk, count: int) -> Made:
    desk.turn((CLIENT, Open(1, Group("g", count, "all", False, None, DEFAULT_OPTIONS))))
    members = tuple(batch(f"t{at}", options=Options(group=("g", (at,)))) for at in range(count))
    desk.turn((CLIENT, Submit(1, members)))
    desk.turn(settle(desk, count))
    return CLIENT, Wait(1, "g", 0, 1)


def cancel(desk: Desk, count: int) -> Made:
    desk.submit("b", count)
    desk.turn((CLIENT, Cancel(1, "b#0")))
    return CLIENT, Cancel(1, "b")


def cancel_leased(desk: Desk, count: int) -> Made:
    desk.submit("b", count)
    desk.hello(W, "w", 10_000)
    return CLIENT, Cancel(1, "b")


def bury(desk: Desk, count: int) -> Made:
    desk.submit("b", count)
    return CLIENT, Command(1, "bury", {"id": "b"})


def open_group(desk: Desk, count: int) -> Made:
    return CLIENT, Open(1, Group("g", count, "all", False, "after", DEFAULT_OPTIONS))


def publish(desk: Desk, count: int) -> Made:
    for name in names(count, "bound-"):
        desk.turn((CLIENT, Command(1, "bind", {"queue": name, "pattern": "a.*"})))
    return CLIENT, Publish(1, "p", "a.b", DEFAULT_OPTIONS, False, *ONE)


def publish_again(desk: Desk, count: int) -> Made:
    desk.turn(publish(desk, count))
    return CLIENT, Publish(1, "p", "a.b", DEFAULT_OPTIONS, False, *ONE)


def schedule(desk: Desk, count: int) -> Made:
    return CLIENT, Schedule(1, batch("new"), 60.0, None, "UTC", "skip")


def ping(desk: Desk, count: int) -> Made:
    return CLIENT, Ping(1)


def follow(desk: Desk, count: int) -> Made:
    return CLIENT, Follow(1, None, (), 10.0, 0)


def ask_about_a_task(desk: Desk, count: int) -> Made:
    return CLIENT, Query(1, "task", {"id": "large#7"})


def revive(desk: Desk, count: int) -> Made:
    return CLIENT, Command(1, "retry", {"id": "old-1"})


def change_schedule(desk: Desk, count: int) -> Made:
    return CLIENT, Command(1, "set-schedule", {"name": "beat-5", "is_paused": True})


def delete_schedule(desk: Desk, count: int) -> Made:
    return CLIENT, Command(1, "delete-schedule", {"name": "beat-5"})


def set_queue(desk: Desk, count: int) -> Made:
    return CLIENT, Command(1, "set-queue", {"queue": "old", "concurrency": 5})


def steer(desk: Desk, count: int) -> Made:
    desk.turn(about(desk, count))
    return CLIENT, Command(1, "steer-worker", {"name": "w", "action": "drain"})


def bind(desk: Desk, count: int) -> Made:
    return CLIENT, Command(1, "bind", {"queue": "bound", "pattern": "a.#"})


def unbind(desk: Desk, count: int) -> Made:
    return CLIENT, Command(1, "unbind", {"queue": "other-5", "pattern": "old.t5"})


def purge(desk: Desk, count: int) -> Made:
    submit(desk, names(count))
    return CLIENT, Command(1, "purge", {"id": "op", "queue": "q"})


KINDS: list[Callable[[Desk, int], Made]] = [
    settle, settle_with_forwards, fail, settle_members, settle_on_many_queues, release, heartbeat,
    heartbeat_of_strange, started, progress, hello, hello_with_leases, goodbye, about, fail_and_hear_of_it, steer, submit_many, submit_into_new_queues,
    submit_again, submit_unique, pull, confirm, confirm_strange, extend, withdraw, wait, wait_for_group, cancel,
    cancel_leased, bury, open_group, publish, publish_again, schedule, ping, follow, ask_about_a_task, revive,
    change_schedule, delete_schedule, set_queue, bind, unbind, purge,
]  # fmt: skip


def cost(kind: Callable[[Desk, int], Made], count: int, size: int) -> int:
    desk = furnish(size)
    said = kind(desk, count)
    desk.turn()
    return largest_cost_of(desk, said)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_message_costs_no_more_than_linear_in_what_is_sent_and_nothing_for_what_is_stored(
    kind: Callable[[Desk, int], Made],
) -> None:
    few, many, at_large = cost(kind, FEW, 20), cost(kind, MANY, 20), cost(kind, FEW, LARGE)

    assert many <= MANY / FEW * 1.1 * few
    assert at_large <= 1.1 * cost(kind, FEW, SMALL) + 50


def test_every_kind_of_message_is_among_them() -> None:
    desk = furnish(20)
    said: list[Any] = [type(kind(Desk() if kind is not ask_about_a_task else desk, FEW)[1]) for kind in KINDS]

    assert set(said) == set(ToCoordinator.__args__)
