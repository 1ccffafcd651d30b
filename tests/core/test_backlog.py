"""What waits on disk only is served like what is in memory."""

from __future__ import annotations

from tests.core.desk import Desk, assigned
from zq.core.state.service_order import READ_BATCHES


def test_rest_of_a_queue_is_served_at_once_behind_leases_of_workers_that_have_not_come_back() -> None:
    desk = Desk()
    held = 2 * READ_BATCHES + 1
    for number in range(held + 1):
        desk.submit(f"b{number}")
    assert len(assigned(desk.hello(b"A", "a", held))) == held
    desk.restart()

    assert [one.id for one in assigned(desk.hello(b"B", "b"))] == [f"b{held}"]
