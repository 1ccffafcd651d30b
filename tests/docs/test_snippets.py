"""What runs the snippets finds out when they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.docs.pages import Fence
from tests.docs.snippets import read_commands, run_python, run_shell


@pytest.mark.parametrize(
    "text",
    [
        "1 + 1  # -> 2",
        "[1,\n 2]  # -> [1, 2]",
        "'a', [1, 2, 3]  # -> ('a', [...])",
        "int('x')  # raises ValueError",
        "int('x')  # raises ValueError: invalid ... 'x'",
        "'# -> 3'  # -> '# -> 3'",
        "one = 1  # a remark",
    ],
)
def test_what_comes_out_as_it_is_said_passes(text: str) -> None:
    run_python(Fence("python", text, 1), {}, "page.md")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1 + 1  # -> 3", "page.md:7: said '3', but it is '2'"),
        ("one = 1\none  # -> 1.0", "page.md:8: said '1.0', but it is '1'"),
        ("one = 1  # -> 1", "page.md:7: no expression"),
        ("int('1')  # raises ValueError", "page.md:7: expected ValueError, and nothing was raised"),
        ("int('x')  # raises KeyError", "page.md:7: expected KeyError, got ValueError"),
        ("int('x')  # raises ValueError: too large", "page.md:7: said 'too large'"),
        ("for one in [1]:\n    one  # -> 1\n    two = 2", "page.md: said inside of a statement"),
    ],
)
def test_what_comes_out_otherwise_is_found(text: str, complaint: str) -> None:
    with pytest.raises(AssertionError) as caught:
        run_python(Fence("python", text, 7), {}, "page.md")

    assert complaint in str(caught.value)


SHELL = Fence("sh", "zq ls --all  # every one\n# id   state\n# 1    done\n\nzq set 'a b'", 3)


def test_commands_are_read_with_what_they_print() -> None:
    assert [(one.words, one.said, one.line) for one in read_commands(SHELL)] == [
        (["zq", "ls", "--all"], "id   state\n1    done", 3),
        (["zq", "set", "a b"], "", 7),
    ]


def test_output_is_compared_whatever_the_width_of_its_columns() -> None:
    printed: dict[str, str] = {"ls": "id\tstate\n1\tdone\n", "set": "whatever"}

    def shell(words: list[str]) -> str:
        return printed[words[1]]

    run_shell(SHELL, shell, "page.md")
    printed["ls"] = "id\tstate\n1\tdead\n"
    with pytest.raises(AssertionError, match=r"page\.md:3: said .*done.*, but it is .*dead"):
        run_shell(SHELL, shell, "page.md")


def test_names_stay_for_the_next_fence() -> None:
    names: dict[str, Any] = {}
    run_python(Fence("python", "one = 1", 1), names, "page.md")
    run_python(Fence("python", "one  # -> 1", 5), names, "page.md")
