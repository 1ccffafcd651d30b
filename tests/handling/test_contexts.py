"""Each call sees the context that it should, whatever the calls before it have left."""

from __future__ import annotations

import contextvars
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from zq.handling.contexts import FreshContexts, Work

seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


def look_and_set(value: str) -> str:
    found = seen.get()
    if value:
        seen.set(value)
    return found


def work_of(values: list[str], found: list[str]) -> Work[str]:
    context = yield
    for value in values:
        found.append(look_and_set(value))
        if context:
            context = yield
    return "ended"


@pytest.mark.parametrize("values", [[], [""], ["", ""], ["a"], ["a", ""], ["", "a", "b", "", ""], ["a", "b", "c"]])
def test_no_call_of_a_work_sees_what_another_has_set(values: list[str]) -> None:
    contexts = FreshContexts()
    for _ in range(2):
        found: list[str] = []
        assert contexts.drive(work_of(values, found)) == "ended"
        assert found == ["nothing"] * len(values)
    assert seen.get() == "nothing"


def test_calls_have_copies_of_the_context_in_which_it_was_made() -> None:
    contexts = contextvars.Context().run(make_with, "made")

    assert [contexts.call(look_and_set, value) for value in ("a", "", "b")] == ["made"] * 3
    found: list[str] = []
    contexts.drive(work_of(["a", "", "b"], found))
    assert found == ["made"] * 3
    assert contexts.copy()[seen] == "made"
    assert seen.get() == "nothing"


def make_with(value: str) -> FreshContexts:
    seen.set(value)
    return FreshContexts()


def test_call_that_raises_leaves_nothing_behind() -> None:
    contexts = FreshContexts()

    def set_and_raise() -> None:
        seen.set("left")
        raise StopIteration("as any other")

    with pytest.raises(StopIteration):
        contexts.call(set_and_raise)
    assert contexts.call(look_and_set, "") == "nothing"


def test_what_is_set_and_reset_costs_no_other_context() -> None:
    contexts = contextvars.Context().run(FreshContexts)

    def set_and_reset() -> int:
        seen.reset(seen.set("for a moment"))
        return id(contexts._context)

    assert len({contexts.call(set_and_reset) for _ in range(3)}) == 1


FORKING = """
import os, sys
from zq.handling.contexts import FreshContexts

def call(how):
    copy = os.fork()
    if copy:
        return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    {how}

try:
    print(FreshContexts().call(call, "it"))
finally:
    os.write(2, b"!")  # once for each process that comes here
"""


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("return 5", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('in words')", 1, "in words\n"),
        ("raise SystemExit(257)", 1, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("os._exit(9)", 9, ""),
    ],
)
def test_copy_of_the_process_ends_when_its_call_does(how: str, code: int, said: str) -> None:
    ran = subprocess.run([sys.executable, "-c", FORKING.format(how=how)], capture_output=True, text=True, check=True)

    assert ran.stdout == f"{code}\n"
    assert ran.stderr.endswith(f"{said}!")
    assert ran.stderr.count("!") == 1


FORKED = """
import os
from zq.handling.contexts import FreshContexts
if os.fork():
    os.wait()
else:
    print(FreshContexts().call(int, 7))
"""


def test_fork_outside_of_calls_is_nothing_special() -> None:
    ran = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)

    assert ran.stdout == "7\n"


FORKED_IN_A_CALL = """
import os
from zq.handling.contexts import FreshContexts

def call():
    if os.fork():
        return os.wait()
    contexts = FreshContexts()  # of a program of its own
    print([contexts.call(int, number) for number in (1, 2)], flush=True)
    contexts.call(call_again)
    os._exit(0)

def call_again():
    if os.fork():
        os.wait()
    else:
        print("again", flush=True)

FreshContexts().call(call)
"""


def test_program_that_a_call_forks_may_make_calls_of_its_own() -> None:
    ran = subprocess.run([sys.executable, "-c", FORKED_IN_A_CALL], capture_output=True, text=True, check=True)

    assert ran.stdout == "[1, 2]\nagain\n"


def test_work_is_a_generator_like_any_other() -> None:
    def work() -> Iterator[Any]:
        yield
        raise AssertionError("a fault of the work")

    with pytest.raises(AssertionError, match="a fault"):
        FreshContexts().drive(work())  # type: ignore[arg-type] # less than a whole generator


def test_what_a_copy_prints_of_an_error_drives_no_terminal() -> None:
    program = """
import os
from zq.handling.contexts import FreshContexts

def fork_and_fail():
    if os.fork() == 0:
        raise ValueError("\\x1b[2J \\x9b31m \\u202e")
    os.wait()

FreshContexts().call(fork_and_fail)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True, text=True)

    assert "ValueError: \\x1b[2J \\x9b31m \\u202e" in ended.stderr
    assert [one for one in ended.stderr if not one.isprintable() and one != "\n"] == []
