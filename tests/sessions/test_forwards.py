"""What handlers forwarded becomes batches of neighbours that are alike, in order, however many there are."""

from __future__ import annotations

import pytest

from zq.sessions.forwards import Forward, gather_forwards
from zq.wire.limits import BATCH_BYTES_MAX, BATCH_TASKS_MAX
from zq.wire.messages import DEFAULT_OPTIONS, Options


def forwards(count: int, queue: str = "q", options: Options = DEFAULT_OPTIONS, size: int = 1) -> list[Forward]:
    return [Forward(index, queue, options, bytes([index % 256]) * size) for index in range(count)]


@pytest.mark.parametrize("count", [1, 7, 8, BATCH_TASKS_MAX])
def test_tasks_that_are_alike_are_one_batch_in_order(count: int) -> None:
    [batch] = gather_forwards(forwards(count))

    assert (batch.queue, batch.options, batch.size) == ("q", DEFAULT_OPTIONS, count)
    assert batch.payloads == [one.payload for one in forwards(count)]


@pytest.mark.parametrize(
    ("some", "sizes"),
    [
        (forwards(BATCH_TASKS_MAX + 1), [BATCH_TASKS_MAX, 1]),
        (forwards(10, size=BATCH_BYTES_MAX // 9), [9, 1]),
        (forwards(10) + forwards(10, "r") + forwards(1), [11, 10]),
        (forwards(10) + forwards(10, options=Options(priority=9)), [10, 10]),
    ],
    ids=["too many", "too large", "of two queues", "of other options"],
)
def test_tasks_that_are_not_one_batch_are_several(some: list[Forward], sizes: list[int]) -> None:
    batches = gather_forwards(some)

    assert [len(batch.payloads) for batch in batches] == sizes
    assert sorted(one for batch in batches for one in batch.payloads) == sorted(one.payload for one in some)
