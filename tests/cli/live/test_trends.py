"""Rates of what a coordinator counts."""

from __future__ import annotations

from typing import Any

from tests.cli.live.snapshots import NOW, queue, snapshot
from zq.cli.live.stat import stat_row
from zq.cli.live.trends import Trends, alerts_of, oldest_time


def test_a_queue_has_rates_and_keeps_the_past_ones() -> None:
    trends = Trends()
    for second, done in enumerate([0, 10, 30]):
        status = {"accepted": 2 * done, "done": done, "commits": 5 * second}
        flow, flows = trends.feed(float(second), status, [queue("orders", accepted=2 * done, done=done, failed=0)])

    assert (flows["orders"].into, flows["orders"].out, flows["orders"].failed) == (30.0, 15.0, 0.0)
    assert flows["orders"].outs == (None, 10.0, 15.0)
    assert (flow.into, flow.out, flow.commits) == (30.0, 15.0, 5.0)


def test_what_an_older_coordinator_does_not_tell_is_not_known() -> None:
    trends = Trends()
    for second in range(2):
        flow, flows = trends.feed(float(second), {}, [queue("orders", done=second)])

    assert (flow.into, flow.out, flow.commits) == (None, None, None)
    assert (flows["orders"].into, flows["orders"].out) == (None, 1.0)


def test_a_queue_that_is_gone_is_forgotten() -> None:
    trends = Trends()
    trends.feed(0.0, {}, [queue("orders", done=1)])
    trends.feed(1.0, {}, [])
    _, flows = trends.feed(2.0, {}, [queue("orders", done=9)])

    assert flows["orders"].outs == (None,)


def test_the_oldest_task_is_that_of_all_queues() -> None:
    rows = (queue("a", oldest_time=NOW - 5), queue("b", oldest_time=NOW - 50), queue("c"))

    assert oldest_time(snapshot(queues=rows)) == NOW - 50
    assert oldest_time(snapshot(queues=())) is None


def test_alerts_name_their_queue() -> None:
    rows = (queue("a", alerts=["too old"]), queue("b", alerts=[{"text": "too many"}]), queue("c", alerts=[]))

    assert alerts_of(snapshot(queues=rows)) == ["a: too old", "b: too many"]


def test_a_line_of_stat_has_what_the_coordinator_tells() -> None:
    trends = Trends()
    status: dict[str, Any] = {"accepted": 0, "done": 0, "time": NOW, "waiting": 4, "store": {"used_bytes": 4096}}
    stat_row(status, [], trends, 0.0)
    row = stat_row({**status, "accepted": 6, "done": 4}, [], trends, 2.0)

    assert (row["in"], row["out"], row["waiting"], row["store"], row["memory"]) == (3.0, 2.0, 4, 4096, None)
