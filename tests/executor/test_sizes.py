"""How many calls of a map share a task, in virtual time."""

from __future__ import annotations

import heapq

from zq.executor.sizes import GROWTH, TASK_CALLS_MAX, TASK_SECONDS, WITHIN_SECONDS, Sizes


def test_first_calls_go_alone_and_no_more_than_keep_the_processes_busy() -> None:
    sizes = Sizes(2)

    assert [sizes.next_size(1000, under_way, is_all=True) for under_way in range(6)] == [1, 1, 1, 1, 0, 0]


def test_tasks_grow_with_those_that_have_ended_whole() -> None:
    sizes = Sizes(2)
    seen = []
    for _ in range(8):
        seen.append(sizes.next_size(100_000, 3, is_all=False))
        assert sizes.next_size(100_000, 4, is_all=False) in (0, TASK_CALLS_MAX)  # what is a guess is not made often
        sizes.note(seen[-1], 0, seen[-1] * 1e-6)

    assert seen == [1, *(GROWTH**n for n in range(1, 6)), TASK_CALLS_MAX, TASK_CALLS_MAX]


def test_calls_of_some_milliseconds_are_tasks_of_their_own_at_once() -> None:
    sizes = Sizes(2)
    sizes.note(1, 0, TASK_SECONDS)

    assert sizes.next_size(1000, 2 * 16, is_all=True) == 1


def test_no_more_is_submitted_on_one_guess_than_keeps_the_processes_busy() -> None:
    for seconds in (TASK_SECONDS, TASK_SECONDS / 2, 1.0):
        sizes = Sizes(2)
        for each in (1e-6, seconds):
            sizes.note(1, 0, each)

        assert sizes.next_size(1_000_000, 500, is_all=True) == 0
        assert sizes.next_size(1_000_000, 3, is_all=True) == 1 + (seconds < TASK_SECONDS)  # and somebody waits for them


def test_calls_that_nothing_is_known_of_for_long_are_taken_for_long_ones() -> None:
    sizes = Sizes(2)
    assert sizes.next_size(1000, 4, is_all=True) == 0
    sizes.give_up()

    assert sizes.next_size(1000, 4, is_all=True) == 1


def test_no_call_waits_behind_a_long_one_for_ever() -> None:
    sizes = Sizes(2)
    for _ in range(4):
        sizes.note(1, 0, 1e-6)
    assert sizes.next_size(1000, 4, is_all=True) == 0  # four tasks of four calls, of which the first may take long
    sizes.give_up()

    assert sizes.next_size(1000, 4, is_all=True) == GROWTH
    assert sizes.next_size(1, 400, is_all=True) == 1


def test_calls_whose_results_were_too_large_for_one_task_share_smaller_ones() -> None:
    sizes = Sizes(2)
    for calls in (1, 4, 16, 64):
        sizes.note(calls, 0, calls * 1e-6)
    sizes.note(40, 216, 40e-6)

    assert sizes.next_size(1000, 0, is_all=False) == 40


def test_after_a_wrong_guess_calls_go_alone_again() -> None:
    sizes = Sizes(2)
    for calls in (1, 4, 16, 64):
        sizes.note(calls, 0, calls * 1e-6)
    assert sizes.next_size(1000, 0, is_all=False) > 64
    sizes.note(1, 255, 1.0)

    assert sizes.next_size(1000, 3, is_all=False) == 1


def test_last_calls_are_shared_by_all_processes() -> None:
    sizes = Sizes(2)
    for calls in (1, 4, 16, 64, 256):
        sizes.note(calls, 0, calls * 1e-5)

    assert sizes.next_size(200, 4, is_all=True) in (124, 125)  # a quarter of what 5 ms are enough for
    assert sizes.next_size(200, 4, is_all=False) == 0  # more may come, and nobody waits for them
    assert sizes.next_size(200, 3, is_all=False) == 200


def seconds_taken(durations: list[float], processes: int) -> tuple[float, int]:
    """Runs calls as the map and its workers do, in virtual time; returns how long that took, and in how many tasks."""
    sizes, under_way, tasks = Sizes(processes), 0, 0
    waiting = durations[::-1]
    queue: list[list[float]] = []
    busy: list[tuple[float, int, list[float], int]] = []  # until when, the calls, how many of them are run
    now = 0.0
    while waiting or queue or busy:
        while size := sizes.next_size(len(waiting), under_way, is_all=True):
            queue.append([waiting.pop() for _ in range(size)])
            under_way, tasks = under_way + 1, tasks + 1
        while queue and len(busy) < processes:
            calls = queue.pop(0)
            spent, run = 0.0, 0
            while run < len(calls) and spent < WITHIN_SECONDS:
                spent, run = spent + calls[run], run + 1
            heapq.heappush(busy, (now + spent, tasks + len(queue) + run, calls, run))
        now, _, calls, run = heapq.heappop(busy)
        under_way -= 1
        sizes.note(run, len(calls) - run, sum(calls[:run]))
        waiting += calls[run:][::-1]
    return now, tasks


def test_long_calls_among_short_ones_are_spread() -> None:
    for durations in (
        [1e-6] * 5000 + [1.0] * 8,  # when thousands would share a task
        [1.0] * 8 + [1e-6] * 5000,
        ([1e-6] * 500 + [0.5]) * 16,
        [1e-6, 0.2] * 40,
    ):
        seconds, _ = seconds_taken(durations, 4)
        assert seconds <= sum(durations) / 4 + 2 * max(durations) + 0.1


def test_short_calls_need_few_tasks() -> None:
    _, tasks = seconds_taken([1e-6] * 1_000_000, 2)

    assert tasks < 600


def test_short_calls_need_few_tasks_although_some_seem_long() -> None:
    for seconds in (0.002, TASK_SECONDS, 2 * WITHIN_SECONDS):
        for before in (0, 1, 100, 10_000):
            durations = [1e-6] * before + [seconds] + [1e-6] * 100_000
            _, tasks = seconds_taken(durations, 2)

            assert tasks < 500
