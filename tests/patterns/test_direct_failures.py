"""Direct runs in which functions fail, hang, crash, or return what cannot travel; and mistakes in the call of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from patterns import Stage, StageError, StartError, scatter, stage
from patterns import gather as gather_parts
from patterns.run.settings import RunOptions
from tests.patterns.shop import (
    add_one,
    crash_on_sevens,
    die_of_a_signal_without_a_name,
    digits,
    double,
    fail_on_sevens,
    fail_slowly,
    fail_twice,
    fail_unreadably,
    hang_on_sevens,
    make_large,
    make_object,
    parity,
    total,
)

pytestmark = pytest.mark.usefixtures("tidy")


def test_failure_reaches_the_caller_with_stage_item_and_remote_traceback() -> None:
    with pytest.raises(StageError, match="stage fail_on_sevens failed: ValueError: no 7 today") as caught:
        list((add_one | fail_on_sevens).run(range(15)))

    error = caught.value
    assert (error.stage, error.item, error.error, error.attempts) == ("fail_on_sevens", 7, "ValueError: no 7 today", 1)
    assert "tests/patterns/shop.py" in error.remote_traceback
    assert "in fail_on_sevens" in error.remote_traceback


def test_failures_can_be_skipped() -> None:
    run = fail_on_sevens.run(range(30), on_error="skip", ordered=True)

    assert list(run) == [n for n in range(30) if n % 10 != 7]
    assert (run.sent, run.completed, run.failed, run.errors) == (30, 27, 3, [])


def test_failures_can_be_collected() -> None:
    run = (scatter(digits) | fail_on_sevens | gather_parts(total)).run([12, 747, 3], on_error="collect", threads=True)

    assert sorted(run) == [3, 3]
    assert [(error.stage, error.item) for error in run.errors] == [("fail_on_sevens", 7)]
    assert (run.completed, run.failed) == (2, 1)


def test_results_before_a_failure_are_given_first_in_an_ordered_run() -> None:
    taken: list[int] = []

    with pytest.raises(StageError):
        taken.extend(fail_on_sevens.run(range(30), ordered=True, threads=True))

    assert taken == list(range(7))


def test_stage_is_retried_in_the_direct_grade(tmp_path: Path) -> None:
    assert list(fail_twice.run([str(tmp_path / "calls")])) == [3]


@pytest.mark.parametrize("threads", [False, True])
def test_call_that_takes_too_long_is_killed_and_fails_its_item_alone(threads: bool) -> None:
    run = hang_on_sevens.run(range(10), on_error="collect", ordered=True, threads=threads)

    assert list(run) == [n for n in range(10) if n != 7]
    assert [(e.item, e.error) for e in run.errors] == [(7, "TimeoutError: ran longer than its timeout of 0.2 s")]


def test_call_with_a_timeout_that_crashes_its_process_fails_its_item_alone() -> None:
    run = crash_on_sevens.run(range(10), on_error="collect", ordered=True)

    assert list(run) == [n for n in range(10) if n != 7]
    assert [error.error for error in run.errors] == ["ProcessError: the process that ran it died of signal 9 (SIGKILL)"]


@pytest.mark.skipif(sys.platform != "linux", reason="signal 40 is Linux's")
def test_process_with_a_timeout_that_dies_of_a_signal_without_a_name_fails_its_item_alone() -> None:
    run = die_of_a_signal_without_a_name.run([1], on_error="collect")

    assert list(run) == []
    assert run.errors[0].error == "ProcessError: the process that ran it died of signal 40"


def test_failure_in_a_process_with_a_timeout_keeps_its_traceback() -> None:
    run = fail_slowly.run([1, 7], on_error="collect")

    assert list(run) == [1]
    assert run.errors[0].error == "LookupError: seven"
    assert "in fail_slowly" in run.errors[0].remote_traceback


def test_failure_in_a_process_with_a_timeout_may_have_a_text_that_utf_8_cannot_hold() -> None:
    run = fail_unreadably.run([1], on_error="collect")

    assert list(run) == []
    assert run.errors[0].error == "FileNotFoundError: no caf\\udce9"
    assert "in fail_unreadably" in run.errors[0].remote_traceback


@pytest.mark.parametrize("threads", [False, True])
def test_result_that_cannot_travel_fails_its_item_alone(threads: bool) -> None:
    run = make_object.run(range(10), on_error="collect", ordered=True, threads=threads)

    assert list(run) == [n for n in range(10) if n != 7]
    (error,) = run.errors
    assert (error.stage, error.item) == ("make_object", 7)
    assert "its result cannot be sent on: can not serialize 'object' object" in error.error


def test_result_larger_than_a_message_fails_its_item_and_smaller_ones_are_cut_up() -> None:
    run = make_large.run([9, 8, 17, 7], on_error="collect", ordered=True, threads=True)

    assert [len(result) >> 20 for result in run] == [9, 8, 7]
    assert "at most 16777216 fit into a message" in run.errors[0].error


def test_item_that_cannot_travel_is_the_callers_mistake() -> None:
    with pytest.raises(TypeError, match=r"an item of the input, number 0 .* cannot be sent: .*object"):
        list(double.run([object()], threads=True))  # type: ignore[list-item] # the mistake under test


def test_unknown_label_fails_the_item() -> None:
    from patterns import route

    run = route(parity, {"even": double}).run(range(4), on_error="collect", threads=True)

    assert sorted(run) == [0, 4]
    assert {error.error for error in run.errors} == {"ValueError: unknown route 'odd'; expected one of 'even'"}


def test_module_that_cannot_be_imported_is_told_with_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moody.py").write_text(
        "import os\nfrom patterns import stage\n"
        "if 'GOOD' not in os.environ: raise RuntimeError('not today')\n"
        "@stage\ndef work(x): return x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GOOD", "1")
    import moody  # type: ignore[import-not-found] # made above

    monkeypatch.delenv("GOOD")
    with pytest.raises(
        StartError,
        match=r"(?s)stage work: a worker cannot work: moody cannot be imported:.*moody.py.*RuntimeError: not today$",
    ):
        list(moody.work.run([1]))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"on_error": "ignore"}, "expected on_error as 'raise', 'skip' or 'collect', got 'ignore'"),
        ({"speed": 3}, "unknown option 'speed'; expected one of ordered"),
        ({"endpoints": {"bake": ["tcp://127.0.0.1:1"]}}, "there is no stage 'bake' in .*; expected one of double"),
        ({"endpoints": {"double": ["ipc://x"]}}, "expected an endpoint as tcp://host:port, got 'ipc://x'"),
    ],
)
def test_mistakes_in_the_options_are_told(options: Any, text: str) -> None:
    given: RunOptions = options
    with pytest.raises((ValueError, TypeError), match=text):
        list(double.run([1], **given))


def test_input_that_cannot_be_iterated_is_told() -> None:
    with pytest.raises(TypeError, match="expected an iterable of items, got int"):
        double.run(3)  # type: ignore[arg-type] # the mistake under test


def test_threads_may_run_what_cannot_be_imported() -> None:
    triple: Stage[int, int] = stage(threads=True, name="triple")(lambda number: number * 3)

    assert list((triple | add_one).run([1, 2], ordered=True)) == [4, 7]  # a thread gives to processes
