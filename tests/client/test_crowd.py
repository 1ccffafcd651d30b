"""Threads that share a client, woken one after the other, and what may come between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.client.conftest import Spawned
from tests.client.fake_coordinator import FakeCoordinator, wait_until
from tests.client.test_passage import link_of
from zq.client import driving
from zq.client.client import Client
from zq.client.driving import CrowdWaiter, Waiter
from zq.errors import ClosedError, TimedOutError
from zq.sessions.outcomes import FOREVER
from zq.sessions.submits import Single
from zq.sockets import caller_link
from zq.sockets.crowd import CROWD_MIN, Crowd
from zq.wire.messages import DEFAULT_OPTIONS


def crowd_of(count: int, looks: list[None]) -> tuple[Crowd, list[CrowdWaiter]]:
    """Returns a crowd and those of it who are answered, and not woken yet."""
    crowd = Crowd(lambda: looks.append(None))
    waiters = [CrowdWaiter(crowd) for _ in range(count)]
    crowd.is_gathering = True
    for place, waiter in enumerate(waiters):
        waiter.resolve(place)
    crowd.is_gathering = False
    return crowd, waiters


def awake(waiters: list[CrowdWaiter]) -> list[int]:
    return [place for place, waiter in enumerate(waiters) if not waiter._lock.locked()]


# The crowd by itself.


def test_few_are_woken_at_once() -> None:
    crowd, waiters = crowd_of(CROWD_MIN - 1, [])
    assert crowd.wake(0) == 0
    assert awake(waiters) == list(range(CROWD_MIN - 1))
    assert not crowd.asleep


def test_of_many_each_wakes_the_next_and_the_last_tells_the_links_thread() -> None:
    looks: list[None] = []
    crowd, waiters = crowd_of(CROWD_MIN, looks)
    assert crowd.wake(0) == CROWD_MIN
    for place in range(CROWD_MIN):
        assert awake(waiters) == [place]
        assert not looks
        assert waiters[place].wait(FOREVER) == place
    assert len(looks) == 1


def test_few_are_many_with_those_who_ask_and_those_who_sleep() -> None:
    crowd, waiters = crowd_of(2, [])
    assert crowd.wake(CROWD_MIN - 2) == 2
    assert awake(waiters) == [0]
    for lock in (threading.Lock(), threading.Lock()):
        lock.acquire()
        crowd.answered.append(lock)
    assert crowd.wake(CROWD_MIN - 3) == 2
    crowd.wake_all()
    assert awake(waiters) == [0, 1]


def test_who_is_answered_in_another_way_is_awake_at_once() -> None:
    crowd = Crowd(lambda: None)
    waiter = CrowdWaiter(crowd)
    waiter.resolve(7)
    assert waiter.wait(FOREVER) == 7
    waiter = CrowdWaiter(crowd)
    crowd.is_gathering = True
    waiter.reject(ClosedError("over"))
    with pytest.raises(ClosedError, match="over"):
        waiter.wait(FOREVER)


def test_who_waits_in_vain_wakes_the_next_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "GRACE", 0.0)
    crowd, waiters = crowd_of(CROWD_MIN, [])
    crowd.wake(0)
    with pytest.raises(TimedOutError):
        CrowdWaiter(crowd).wait(time.monotonic())
    assert awake(waiters) == [0, 1]


# With a connection.


def submit_without_waiting(client: Client, count: int) -> list[CrowdWaiter]:
    """Submits tasks for threads of which none comes to wake the next."""
    link, session = link_of(client), client._calls.session
    waiters = [CrowdWaiter(link.crowd) for _ in range(count)]
    singles = [Single("orders", DEFAULT_OPTIONS, b"\1", FOREVER, waiter) for waiter in waiters]

    def submit() -> None:
        for single in singles:
            session.submit_single(0.0, single)

    link.call(submit)
    return waiters


def test_those_whom_nobody_wakes_are_woken_by_the_links_thread(coordinator: FakeCoordinator, client: Client) -> None:
    client.ping()
    waiters = submit_without_waiting(client, 2 * CROWD_MIN)
    wait_until(lambda: len(awake(waiters)) == 2 * CROWD_MIN)
    assert client.ping() < 20
    assert not link_of(client).crowd.asleep


def test_what_is_asked_while_nobody_wakes_the_next_is_asked_all_the_same(
    coordinator: FakeCoordinator, client: Client
) -> None:
    client.ping()
    waiters = submit_without_waiting(client, 2 * CROWD_MIN)
    wait_until(lambda: awake(waiters))
    assert client.submit("orders", 2).id in coordinator.stored
    assert Spawned(client.submit, "orders", 3).join().id in coordinator.stored


def test_a_client_that_is_closed_wakes_all_who_have_their_answers(
    coordinator: FakeCoordinator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.ping()
    monkeypatch.setattr(caller_link, "STEP_SECONDS", 600.0)
    waiters = submit_without_waiting(client, 2 * CROWD_MIN)
    wait_until(lambda: awake(waiters))
    asking = Spawned(client.submit, "orders", 2)
    wait_until(lambda: link_of(client)._calls)
    client.close()
    assert awake(waiters) == list(range(2 * CROWD_MIN))
    with pytest.raises(ClosedError):
        asking.join()


def test_the_main_thread_is_none_of_a_crowd(client: Client) -> None:
    make_waiter: Callable[[], Waiter] = client._run._make_waiter  # type: ignore[attr-defined]  # of a Blocking
    assert type(make_waiter()) is Waiter
    assert type(Spawned(make_waiter).join()) is CrowdWaiter


@pytest.mark.parametrize("threads", [2, CROWD_MIN, 3 * CROWD_MIN])
def test_every_task_of_many_threads_is_stored_once_and_answered(
    coordinator: FakeCoordinator, client: Client, threads: int
) -> None:
    def submit() -> list[str]:
        return [client.submit("orders", number).id for number in range(30)]

    ids = [id for one in [Spawned(submit) for _ in range(threads)] for id in one.join()]
    assert len(set(ids)) == len(ids) == 30 * threads
    assert sum(batch.tasks for batch in coordinator.stored.values()) == 30 * threads
