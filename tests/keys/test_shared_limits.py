"""The limits of a key, in the directory: of all its connections together, and at once."""

from __future__ import annotations

import pytest

import zq
from tests.client.fake_coordinator import wait_until
from tests.keys.gate import ORDERS, Gate


def make_queue(client: zq.Client, name: str) -> bool:
    """Returns whether it was not refused."""
    try:
        client.queues.set(name, fair=True)
    except zq.BusyError:
        return False
    return True


def test_connections_of_a_key_share_its_limits_which_change_while_they_are_there(door: Gate, key: zq.Key) -> None:
    other = zq.Key.new("shop-2", "client", [ORDERS.public])
    door.admit(key, limits="queues=1 messages_per_second=400")
    door.admit(other)
    with (
        zq.Client(door.address, key=key) as one,
        zq.Client(door.address, key=key) as two,
        zq.Client(door.address, key=other) as boss,
    ):
        assert make_queue(one, "a")
        assert not make_queue(two, "b")
        assert make_queue(boss, "c")
        usage = boss.query("status")["per_key"]
        assert (usage["shop-1"]["connections"], usage["shop-1"]["queues"]) == (2, 1)
        assert usage["shop-1"]["refused"] >= 1
        assert usage["shop-2"]["connections"] == 1

        door.admit(key, limits="queues=2 bytes_in=1000000")
        wait_until(lambda: make_queue(two, "b"))
        assert not make_queue(one, "d")
        assert make_queue(boss, "d")


def test_the_rate_of_a_key_is_one_for_its_connections(door: Gate, key: zq.Key) -> None:
    door.admit(key, limits="tasks_per_second=1")
    with zq.Client(door.address, key=key) as one, zq.Client(door.address, key=key) as two:
        for client, count in ((one, 900), (two, 1)):  # what is refused counts, too
            with pytest.raises(
                zq.BusyError, match="key shop-1, on all its connections, has used up its tasks a second"
            ):
                client.submit_many("a", range(count))
