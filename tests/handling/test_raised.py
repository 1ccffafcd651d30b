"""What is said of exceptions: always something, never too much, whatever they are."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.matrix.deeds import RAISING, Text
from zq.handling.raised import cut, kind_of, summary_of, text_of, trace_of
from zq.sessions.ids import IdMaker
from zq.task import Bury, Retry
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.limits import TEXT_CHARS_MAX
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Failed, Settle
from zq.worker.harvest import Harvest, failure

ASSIGNMENT = Assignment(7, "b", 1, "q", DEFAULT_OPTIONS, 1, 0, b"\1\0\0\0", b"\xc0")


def raised_by(deed: Any) -> BaseException:
    try:
        deed()
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


def fail(error: BaseException) -> Failed:
    return failure(ASSIGNMENT, 0, b"\xc0", error)


def check_sendable(failed: Failed) -> None:
    message = Settle(1, 1, (), (failed,))
    assert decode_for_coordinator(encode(message)) == message
    assert len(failed.error.encode()) <= TEXT_CHARS_MAX
    assert type(failed.error) is str


@pytest.mark.parametrize("deed", RAISING)
def test_every_odd_exception_is_words_that_can_be_sent(deed: str) -> None:
    error = raised_by(RAISING[deed])
    summary, trace = summary_of(error, 500), trace_of(error, 1000, 8)

    assert summary.startswith(type(error).__name__)
    assert 0 < len(summary.encode()) <= 500
    assert 0 < len(trace.encode()) <= 1000
    assert (type(summary), type(trace)) == (str, str)
    check_sendable(fail(error))


def test_usual_traceback_is_that_of_python() -> None:
    def deed() -> None:
        try:
            {"door": 1}["oven"]
        except KeyError as error:
            raise ExceptionGroup("kitchen", [ValueError("no oven"), OSError(5, "cold")]) from error

    error = raised_by(deed)

    assert trace_of(error, 1 << 20) == "".join(traceback.format_exception(error))


def test_traceback_is_that_of_python_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    format_exception = traceback.format_exception
    troubles = [SystemError("AST constructor recursion depth mismatch (before=147, after=60)")] * 2

    def fails_beside_others(*arguments: Any, **options: Any) -> list[str]:
        if troubles:
            raise troubles.pop()
        return format_exception(*arguments, **options)

    error = raised_by(lambda: {"door": 1}["oven"])
    usual = trace_of(error, 10_000)
    monkeypatch.setattr(traceback, "format_exception", fails_beside_others)

    assert trace_of(error, 10_000) == usual
    assert not troubles


def test_last_entries_of_a_traceback_are_kept() -> None:
    error = raised_by(RAISING["a plain error"])

    assert trace_of(error, 1000, 1) == "ValueError: an error\n"
    assert trace_of(error, 10) == "an error\n"[-10:] or trace_of(error, 10).endswith("error\n")


def test_traceback_of_many_causes_has_the_newest() -> None:
    trace = trace_of(raised_by(RAISING["a long chain of causes"]), 1 << 20)

    assert trace.endswith("ValueError: link 19999\n")
    assert "ValueError: link 19998\n" in trace
    assert "ValueError: link 100\n" not in trace


def test_traceback_reads_no_source_that_has_no_end() -> None:
    def deed() -> None:
        exec(compile("raise ValueError('endless')", "/dev/zero", "exec"))

    assert trace_of(raised_by(deed), 1000).endswith(", in <module>\nValueError: endless\n")


def test_traceback_reads_no_huge_source(tmp_path: Path) -> None:
    huge = tmp_path / "huge.py"
    with huge.open("wb") as file:
        file.truncate(1 << 40)

    def deed() -> None:
        exec(compile("raise ValueError('huge')", str(huge), "exec"))

    assert trace_of(raised_by(deed), 1000).endswith(", in <module>\nValueError: huge\n")


def test_traceback_of_a_deep_recursion_has_the_innermost_calls() -> None:
    def fall(depth: int) -> None:
        if depth == 0:
            raise ValueError("at the bottom")
        fall(depth - 1)

    error = raised_by(lambda: fall(500))
    lines = trace_of(error, 1 << 20).splitlines()

    assert lines[-1] == "ValueError: at the bottom"
    assert len(lines) < 300


@given(st.text(max_size=50), st.integers(1, 60), st.booleans())
def test_cut_text_fits_and_is_a_part_of_it(text: str, most: int, keep_end: bool) -> None:
    escaped = text.encode(errors="backslashreplace").decode()
    found = cut(text, most, keep_end=keep_end)

    assert len(found.encode()) <= most
    assert escaped.endswith(found) if keep_end else escaped.startswith(found)
    if len(escaped.encode()) <= most:
        assert found == escaped


def test_text_that_lies_is_read_as_it_is() -> None:
    assert cut(Text("a lie"), 100) == "a lie"
    assert text_of(Text("a lie"), 100) == "a lie"
    assert type(cut(Text("a lie"), 100)) is str


def test_what_has_no_text_is_said_by_its_kind() -> None:
    class Kind(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override] # it lies
            raise RuntimeError("no name")

    class Nameless(Exception, metaclass=Kind):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    assert kind_of(Nameless()) == "Nameless"
    assert summary_of(Nameless(), 100) == "Nameless, whose text cannot be made"
    assert text_of(Nameless(), 100) == "Nameless, whose text cannot be made"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("no oven", "no oven"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (Text("a lie"), "a lie"),
        (None, "None"),
        (b"bytes", "b'bytes'"),
        (7, "7"),
        ("\ud800", "\\ud800"),
    ],
)
def test_reason_of_a_burial_may_be_anything(reason: Any, said: str) -> None:
    failed = fail(Bury(reason))

    assert (failed.error, failed.retry_in, failed.is_final) == (said, None, True)
    check_sendable(failed)


def test_reason_that_is_huge_is_cut() -> None:
    check_sendable(fail(Bury("\U0001f355" * 10_000_000)))


@pytest.mark.parametrize("retry_in", [None, "soon", -1.0, float("nan"), float("inf"), 1e20, True])
def test_retry_without_seconds_is_up_to_the_policy(retry_in: Any) -> None:
    error = Retry(1.0, "later")
    error.retry_in = retry_in
    failed = fail(error)

    assert (failed.error, failed.retry_in, failed.is_final) == ("later", None, False)
    check_sendable(failed)


def test_retry_that_is_a_burial_too_is_a_burial() -> None:
    class Both(Retry, Bury):  # type: ignore[misc] # their reasons are of other types
        pass

    failed = fail(Both(5.0, "enough"))

    assert (failed.error, failed.retry_in, failed.is_final) == ("enough", None, True)


def test_attributes_that_raise_are_as_if_they_were_missing() -> None:
    class Odd(Retry):
        def __getattribute__(self, name: str) -> Any:
            raise SystemExit(name)

    failed = fail(Odd(5.0))

    assert failed.error.startswith("Odd")
    assert (failed.retry_in, failed.is_final) == (None, False)


def test_harvest_counts_what_it_says_of_failures() -> None:
    harvest = Harvest(IdMaker("x"))
    for index in range(400):
        harvest.fail(ASSIGNMENT, index, b"\xc0", ValueError("x" * 5_000_000))

    assert harvest.is_full
