"""Runs the snippets of a document as they stand, and compares what they say comes out with what does.

In Python a comment `# -> value` behind an expression is what the console would show for it, and `# raises Error: text`
behind a statement is how it ends. In the shell the comments below a command are what it prints, however wide its
columns are. `...` stands for anything.
"""

from __future__ import annotations

import ast
import io
import re
import shlex
import tokenize
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.docs.pages import Fence

Shell = Callable[[list[str]], str]
"""Runs a command given by its words, and returns what it prints."""


class Command(NamedTuple):
    """A command of the shell, and what is said of it."""

    words: list[str]
    said: str  # what it prints; empty: nothing is said
    line: int


def run_python(fence: Fence, names: dict[str, Any], file: str, after: Callable[[], None] = lambda: None) -> None:
    """Runs the statements of a fence one after the other.

    Args:
        fence: of Python.
        names: the variables, which stay for the next fence.
        file: shown in tracebacks.
        after: called after each statement.

    Raises:
        AssertionError: something does not come out as it is said.
    """
    said = _remarks(fence)
    for statement in ast.parse(fence.text).body:
        remark = said.pop(statement.end_lineno or statement.lineno, "")
        ast.increment_lineno(statement, fence.line - 1)
        place = f"{file}:{statement.lineno}"
        if remark.startswith("raises "):
            _run_in_vain(statement, names, file, remark.removeprefix("raises "), place)
        elif remark:
            assert isinstance(statement, ast.Expr), f"{place}: no expression, so it has no value"
            value = eval(compile(ast.Expression(statement.value), file, "eval"), names)
            _compare(remark.removeprefix("-> "), repr(value), place)
        else:
            exec(compile(ast.Module([statement], []), file, "exec"), names)
        after()
    assert not said, f"{file}: said inside of a statement, where it is not compared: {said}"


def _remarks(fence: Fence) -> dict[int, str]:
    """Returns what is said to come out, by line of the fence."""
    tokens = tokenize.generate_tokens(io.StringIO(fence.text).readline)
    comments = {one.start[0]: one.string.lstrip("# ") for one in tokens if one.type == tokenize.COMMENT}
    return {line: text for line, text in comments.items() if text.startswith(("-> ", "raises "))}


def _run_in_vain(statement: ast.stmt, names: dict[str, Any], file: str, error: str, place: str) -> None:
    try:
        exec(compile(ast.Module([statement], []), file, "exec"), names)
    except Exception as found:
        name, _, text = error.partition(": ")
        wanted: type[BaseException] = eval(name, names)
        assert type(found) is wanted, f"{place}: expected {name}, got {found!r}"
        _compare(text or "...", str(found), place)
    else:
        raise AssertionError(f"{place}: expected {error}, and nothing was raised")


def read_commands(fence: Fence) -> Iterator[Command]:
    """Yields the commands of a fence of the shell."""
    said: list[str] = []
    found: tuple[str, int] | None = None
    for number, line in enumerate([*fence.text.splitlines(), ""], fence.line):
        if line.startswith("#"):
            said.append(line[1:].strip())
            continue
        if found is not None:
            yield Command(shlex.split(found[0], comments=True), "\n".join(said), found[1])
        found = (line, number) if line.strip() else None
        said = []


def run_shell(fence: Fence, shell: Shell, file: str) -> None:
    """Runs the commands of a fence.

    Raises:
        AssertionError: one prints something else than is said.
    """
    for command in read_commands(fence):
        printed = shell(command.words)
        if command.said:
            _compare(command.said, printed, f"{file}:{command.line}")


def _compare(said: str, found: str, place: str) -> None:
    pattern = r"\s+".join(re.escape(word).replace(r"\.\.\.", ".*") for word in said.split())
    assert re.fullmatch(pattern, found.strip(), re.DOTALL), f"{place}: said {said!r}, but it is {found!r}"
