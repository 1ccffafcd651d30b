"""The line that says how far a command is."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from zq.cli.live.progress import counted, progress

PATIENCE = 60.0


class Screen(io.StringIO):
    """Standard error as a terminal, of which is kept what was written."""

    def isatty(self) -> bool:
        return True

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.getvalue():
            assert time.monotonic() < deadline, self.getvalue()
            time.sleep(0.02)


@contextmanager
def screen() -> Iterator[Screen]:
    """Has a terminal for standard error; not as a fixture, since pytest puts its own there after those."""
    with pytest.MonkeyPatch.context() as patch:
        found = Screen()
        patch.setattr(sys, "stderr", found)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "100")
        yield found


def test_a_terminal_is_told_what_is_done_and_how_far_it_is() -> None:
    with screen() as shown, progress("purging [red]orders\x1b[2J", 10, patience=0.0) as advance:
        advance(4)
        shown.wait_for("4/10")

    assert "purging [red]orders\\x1b[2J" in shown.getvalue()


def test_what_the_coordinator_does_is_asked_for() -> None:
    with screen() as shown, progress("moving", 8, look=lambda: 7, patience=0.0):
        shown.wait_for("7/8")


def test_what_is_done_at_once_says_nothing() -> None:
    with screen() as shown, progress("purging", 10, patience=PATIENCE) as advance:
        advance(10)

    assert shown.getvalue() == ""


def test_a_pipe_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("purging", 10, patience=0.0) as advance:
        assert list(counted("abc", advance)) == ["a", "b", "c"]

    assert capsys.readouterr().err == ""


def test_an_error_ends_the_line() -> None:
    with screen() as shown, pytest.raises(RuntimeError, match="no more"), progress("purging", patience=0.0):
        shown.wait_for("purging")
        raise RuntimeError("no more")

    assert "\x1b[?25h" in shown.getvalue()  # the cursor is there again
