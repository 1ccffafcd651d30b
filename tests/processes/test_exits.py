"""How the end of a process is told."""

import pytest

from zq.processes.exits import describe_exit


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "ended with exit code 0"),
        (3, "ended with exit code 3"),
        (-9, "died of signal 9 (SIGKILL)"),
        (-40, "died of signal 40"),
    ],
)
def test_end_of_a_process_is_told_in_words(code: int, text: str) -> None:
    assert describe_exit(code) == text
