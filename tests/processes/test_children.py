"""Child processes: how they are started, what they get, and how they end."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile

import pytest

from tests.patterns.leftovers import is_alive
from tests.process.kitchen import wait_until
from tests.processes import child
from zq.processes.children import end_child, restart_pause, start_child
from zq.processes.frames import read_frame, write_frame


def test_child_speaks_over_pipes_that_its_functions_do_not_get() -> None:
    with tempfile.TemporaryFile() as printed:
        process = start_child(child.__name__, "shop:worker", "3", stdout=printed.fileno())
        assert process.stdin is not None and process.stdout is not None
        said = ast.literal_eval((read_frame(process.stdout) or b"").decode())
        write_frame(process.stdin, b"pizza")
        echo = read_frame(process.stdout)
        end_child(process)
        printed.seek(0)

        assert said == [process.pid, "", ["shop:worker", "3"]]
        assert echo == b"pizza"
        assert printed.read() == b"printed\n"
        assert process.returncode == 0


def test_child_that_is_not_given_time_is_killed() -> None:
    process = start_child(child.__name__)
    end_child(process, patience=0)

    assert process.returncode == -9


@pytest.mark.parametrize("does", ["hang", "talk"])
def test_child_ends_without_a_word_when_its_parent_has_died(does: str) -> None:
    command = [sys.executable, "-m", child.__name__, does]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    pid = int(found.stdout.splitlines()[0])

    wait_until(lambda: not is_alive(pid), "the end of a child")
    assert "Traceback" not in found.stderr


def test_child_is_started_again_after_longer_and_longer_pauses_for_ever() -> None:
    assert [restart_pause(failures) for failures in (1, 2, 3, 6, 10_000)] == [0.2, 0.4, 0.8, 5.0, 5.0]


def test_child_that_has_died_leaves_no_open_pipe() -> None:
    process = start_child(child.__name__)
    process.kill()
    process.wait()
    end_child(process)

    assert process.stdin is not None and process.stdin.closed
    assert process.stdout is not None and process.stdout.closed
