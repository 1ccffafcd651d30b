"""The loop that calls handlers, without threads and sockets."""

import sys
import threading
from contextvars import ContextVar
from typing import Any

import msgpack
import pytest

from zq.sessions.ids import IdMaker
from zq.task import Bury, Retry, Task
from zq.wire.batch import decode_payload, iterate_payloads, pack_payloads
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Options
from zq.worker import runner as runner_module
from zq.worker.harvest import Report
from zq.worker.runner import Chunk, Runner, Slot


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has nothing reported in between only because this machine was slow."""
    monkeypatch.setattr(runner_module, "REPORT_AFTER", 600.0)


class Owner:
    """Takes what handlers ask for."""

    def __init__(self) -> None:
        self.progress: list[float] = []

    def note_progress(self, task: Task, fraction: float) -> None:
        self.progress.append(fraction)

    def is_cancelled(self, task: Task) -> bool:
        return False


def run(handler: Any, payloads: list[bytes], lo: int = 0, hi: int | None = None, revoked: Any = None) -> Report:
    """Runs a chunk and joins its reports."""
    ends, blob = pack_payloads(payloads)
    assignment = Assignment(7, "b", 100, "q", DEFAULT_OPTIONS, 1, 10, ends, blob)
    reports: list[Report] = []
    runner = Runner({"q": handler}, Owner(), IdMaker("prefix"), Slot())
    chunk = Chunk(assignment, 10 + lo, 10 + (len(payloads) if hi is None else hi))
    runner.run(chunk, revoked or {}, reports.append)
    return Report(
        [one for report in reports for one in report.done],
        [one for report in reports for one in report.failed],
        sum(report.tasks for report in reports),
        sum(report.seconds for report in reports),
    )


NUMBERS = [bytes([n]) for n in range(6)]


def test_tasks_that_return_nothing_are_one_completion() -> None:
    seen: list[Any] = []
    report = run(lambda task: seen.append((task.id, task.payload)), NUMBERS)

    assert [(one.lo, one.hi, one.ends, one.blob) for one in report.done] == [(10, 16, b"", b"")]
    assert seen == [(f"b#{10 + n}", n) for n in range(6)]


def test_part_of_a_lease_is_run_from_its_place() -> None:
    seen: list[Any] = []
    report = run(lambda task: seen.append(task.payload), NUMBERS, 2, 5)

    assert seen == [2, 3, 4]
    assert [(one.lo, one.hi) for one in report.done] == [(12, 15)]


def test_results_stand_at_their_places() -> None:
    report = run(lambda task: task.payload if task.payload % 2 else None, NUMBERS)

    (one,) = report.done
    assert [decode_payload(data) for data in iterate_payloads(one.ends, one.blob)] == [None, 1, None, 3, None, 5]


def test_exception_fails_its_task_and_no_other() -> None:
    def handler(task: Task) -> None:
        if task.payload == 2:
            raise ValueError("burnt")

    report = run(handler, NUMBERS)

    assert [(one.lo, one.hi) for one in report.done] == [(10, 12), (13, 16)]
    (failed,) = report.failed
    assert failed.index == 12
    assert failed.error.startswith("ValueError: burnt\nTraceback")
    assert not failed.is_final


@pytest.mark.parametrize("count", [1, 6])
def test_failure_shows_one_call_of_ours_and_then_those_of_the_handler(count: int) -> None:
    def handler(task: Task) -> None:
        raise ValueError("burnt")

    for failed in run(handler, NUMBERS[:count]).failed:
        frames = [line.rpartition("/")[2] for line in failed.error.splitlines() if line.startswith("  File ")]
        assert [frame.partition('"')[0] for frame in frames] == ["runner.py", "test_chunks.py"]


@pytest.mark.parametrize("count", [1, 6])
def test_coroutine_of_a_wrapper_runs_in_its_context_and_no_other(count: int) -> None:
    baker: ContextVar[int] = ContextVar("baker")

    async def bake() -> int:
        return baker.get()

    def wrapper(task: Task) -> Any:
        assert baker.get(None) is None
        baker.set(task.payload)
        return bake()

    report = run(wrapper, [bytes([n + 1]) for n in range(count)])

    assert not report.failed
    results = [decode_payload(data) for one in report.done for data in iterate_payloads(one.ends, one.blob)]
    assert results == [n + 1 for n in range(count)]


def test_payload_that_cannot_be_read_fails_for_good() -> None:
    (failed,) = run(lambda task: None, [b"\x01", b"\xc1"]).failed

    assert failed.is_final
    assert "expected a payload in msgpack" in failed.error


def test_result_that_cannot_be_sent_is_the_handlers_failure() -> None:
    (failed,) = run(lambda task: object(), [b"\x01"]).failed

    assert "expected a payload of None, bool" in failed.error
    assert not failed.is_final


def test_error_text_is_cut_to_what_a_message_takes() -> None:
    def handler(task: Task) -> None:
        raise ValueError("x" * 100_000)

    (failed,) = run(handler, [b"\x01"]).failed

    assert len(failed.error) <= 16_384


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), "SystemExit: 3\n"),
        (KeyboardInterrupt(), "KeyboardInterrupt: \n"),
        (SpeechlessError(), "SpeechlessError, whose text cannot be made\n"),
        (ValueError("half a \ud83c pizza"), "ValueError: half a \\ud83c pizza\n"),
        (ValueError("\N{SLICE OF PIZZA}" * 20_000), "ValueError: \N{SLICE OF PIZZA}"),
    ],
)
def test_whatever_a_handler_raises_is_a_failure_that_can_be_sent(error: BaseException, text: str) -> None:
    def handler(task: Task) -> None:
        if task.payload == 2:
            raise error

    report = run(handler, NUMBERS)

    (failed,) = report.failed
    assert failed.error.startswith(text)
    assert len(failed.error.encode()) <= 16_384
    assert [index for one in report.done for index in range(one.lo, one.hi)] == [10, 11, 13, 14, 15]


def test_revoked_tasks_are_not_run() -> None:
    seen: list[Any] = []
    report = run(lambda task: seen.append(task.payload), NUMBERS, revoked={7: {11, 12}, 8: {13}})

    assert seen == [0, 3, 4, 5]
    assert [(one.lo, one.hi) for one in report.done] == [(10, 11), (13, 16)]


def test_forwarded_tasks_travel_with_the_completion_in_batches_of_their_kind() -> None:
    def handler(task: Task) -> None:
        task.forward("boxes", task.payload)
        if task.payload == 3:
            task.forward("urgent", "now", priority=9)

    (one,) = run(handler, NUMBERS).done

    assert [(batch.queue, batch.options, len(batch.ends) >> 2) for batch in one.forwards] == [
        ("boxes", DEFAULT_OPTIONS, 6),
        ("urgent", Options(priority=9), 1),
    ]
    assert len({batch.id for batch in one.forwards}) == 2


def test_forwards_to_one_queue_stay_in_order_when_their_options_change() -> None:
    def handler(task: Task) -> None:
        task.forward("boxes", task.payload, key="a" if task.payload in (2, 3) else "b")

    (one,) = run(handler, NUMBERS).done

    assert [(batch.options.key, len(batch.ends) >> 2) for batch in one.forwards] == [("b", 2), ("a", 2), ("b", 2)]


def test_completion_never_forwards_more_batches_than_it_may() -> None:
    def handler(task: Task) -> None:
        for n in range(300):
            task.forward("boxes", n, priority=n % 2)

    done = run(handler, NUMBERS).done

    assert sum(len(one.forwards) for one in done) == 6 * 300
    assert max(len(one.forwards) for one in done) <= 1000


@pytest.mark.parametrize(("count", "payload"), [(501, b""), (5, b"x" * 1_000_000)])
def test_task_that_forwards_too_much_fails_in_words_and_alone(count: int, payload: bytes) -> None:
    def handler(task: Task) -> None:
        for n in range(count if task.payload == 2 else 1):
            task.forward("boxes", payload, priority=n % 2)

    report = run(handler, NUMBERS)

    (failed,) = report.failed
    assert "the result cannot be sent: PayloadTooLargeError: a task returned and forwarded" in failed.error
    assert [index for one in report.done for index in range(one.lo, one.hi)] == [10, 11, 13, 14, 15]


def test_failed_task_forwards_nothing() -> None:
    def handler(task: Task) -> None:
        task.forward("boxes", 1)
        if task.payload == 1:
            raise ValueError

    report = run(handler, NUMBERS[:3])

    assert [sum(len(batch.ends) >> 2 for batch in one.forwards) for one in report.done] == [1, 1]


def test_progress_out_of_range_is_refused() -> None:
    def handler(task: Task) -> None:
        task.progress(1.5)

    (failed,) = run(handler, [b"\x01"]).failed

    assert "expected a fraction from 0.0 to 1.0, got 1.5" in failed.error


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"priority": 10}, "expected priority from 0 to 9, got 10"),
        ({"prio": 1}, "unknown option 'prio'"),
        ({"delay": -1.0}, "expected delay from 0"),
        ({"on_lost": "explode"}, "expected on_lost as reassign, cancel or dead"),
        ({"headers": {"a": 1}}, "expected headers as a mapping of text to text"),
        ({"headers": {"a": "\ud800"}}, "expected header a as text that UTF-8 can hold"),
        ({"headers": {"a": "x" * 4097}}, "expected header a of at most 4096 characters, got 4097"),
        ({"key": "\ud800"}, "expected key as text that UTF-8 can hold"),
        ({"retry": "exponential:1:1001"}, "expected factor of a retry policy from 0 to 1000, got 1001.0"),
    ],
)
def test_bad_options_of_a_forward_fail_the_task_in_words(options: Any, text: str) -> None:
    (failed,) = run(lambda task: task.forward("q", 1, **options), [b"\x01"]).failed

    assert text in failed.error


def test_handler_that_asks_for_a_retry_says_when_and_why() -> None:
    def handler(task: Task) -> None:
        raise Retry(5, "the oven is cold") if task.payload else Retry(0.5)

    report = run(handler, NUMBERS[:2])

    assert [(one.error, one.retry_in, one.is_final) for one in report.failed] == [
        ("the handler asked to be called again in 0.5 s", 0.5, False),
        ("the oven is cold", 5.0, False),
    ]


def test_handler_that_buries_its_task_says_why() -> None:
    def handler(task: Task) -> None:
        raise Bury("there is no such street")

    (failure,) = run(handler, NUMBERS[:1]).failed

    assert (failure.error, failure.retry_in, failure.is_final) == ("there is no such street", None, True)


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e9])
def test_retry_in_no_time_or_a_negative_one_is_refused_where_it_is_raised(seconds: float) -> None:
    with pytest.raises(ValueError, match="expected retry_in from 0 to 31536000 seconds"):
        Retry(seconds)


def mixed(task: Task) -> int | None:
    """Returns, returns nothing, raises and forwards, by turns."""
    match task.payload % 4:
        case 1:
            raise ValueError("burnt")
        case 2:
            task.forward("boxes", task.payload)
    return task.payload if task.payload % 3 == 0 else None


def ends_in(reports: list[Report]) -> list[tuple[int, Any, Any]]:
    """Returns how each task ended: its index, its result or failure, and what it forwarded."""
    found: list[tuple[int, Any, Any]] = []
    for report in reports:
        found += [(one.index, one.error.partition("\n")[0], ()) for one in report.failed]
        for one in report.done:
            results = [decode_payload(data) for data in iterate_payloads(one.ends, one.blob)] or [None] * (
                one.hi - one.lo
            )
            boxes = [
                decode_payload(data) for batch in one.forwards for data in iterate_payloads(batch.ends, batch.blob)
            ]
            for index, result in zip(range(one.lo, one.hi), results, strict=True):
                found.append((index, result, tuple(box for box in boxes if box == index)))
    return found


def expected_ends(numbers: range) -> list[tuple[int, Any, Any]]:
    ends = {0: (None, ()), 1: ("ValueError: burnt", ()), 2: (None, ()), 3: (None, ())}
    return [(n, n if n % 3 == 0 and n % 4 != 1 else ends[n % 4][0], (n,) if n % 4 == 2 else ()) for n in numbers]


def run_early(handler: Any, count: int, take: Any) -> list[Report]:
    """Runs numbers, each the payload of the index that it is, and lets `take` have the runner first."""
    numbers = range(count)
    assignment = Assignment(
        7, "b", count, "q", DEFAULT_OPTIONS, 1, 0, *pack_payloads([msgpack.packb(n) for n in numbers])
    )
    reports: list[Report] = []
    runner = Runner({"q": handler}, Owner(), IdMaker("prefix"), Slot())
    take(runner, reports)
    runner.run(Chunk(assignment, 0, count), {}, reports.append)
    return reports


def test_what_ended_before_the_task_that_runs_can_be_taken_early() -> None:
    runners: list[Runner] = []
    early: list[Report] = []

    def handler(task: Task) -> int | None:
        if task.payload in (5, 6, 11):
            early.extend(report for report in [runners[0].take_early()] if report is not None)
        return mixed(task)

    reports = run_early(handler, 12, lambda runner, reports: runners.append(runner))

    assert [[end[0] for end in sorted(ends_in([one]))] for one in early] == [[0, 1, 2, 3, 4], [5], [6, 7, 8, 9, 10]]
    assert ends_in(early[:1]) != ends_in(reports)
    assert sorted(ends_in(early + reports)) == expected_ends(range(12))
    assert sum(report.tasks for report in early + reports) == 12
    assert runners[0].take_early() is None


def test_what_another_thread_takes_early_is_reported_once() -> None:
    is_over = threading.Event()
    early: list[Report] = []
    takers: list[threading.Thread] = []

    def keep_taking(runner: Runner) -> None:
        while not is_over.is_set():
            early.extend(report for report in [runner.take_early()] if report is not None)

    def begin(runner: Runner, reports: list[Report]) -> None:
        takers.append(threading.Thread(target=keep_taking, args=(runner,)))
        takers[0].start()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reports = run_early(mixed, 4000, begin)
    finally:
        is_over.set()
        takers[0].join()
        sys.setswitchinterval(before)

    assert early
    assert sorted(ends_in(early + reports)) == expected_ends(range(4000))
