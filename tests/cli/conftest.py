"""A coordinator to talk to, and commands that talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from typer.testing import CliRunner

import zq
from zq.cli.app import app


class Result(Protocol):
    """How a command ended: what tests read of it."""

    exit_code: int

    @property
    def stdout(self) -> str: ...

    @property
    def stderr(self) -> str: ...


class Invoke(Protocol):
    """Runs a command of zq in this process, with its output in pipes."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> Result: ...


def run_command(arguments: tuple[str, ...], stdin: str | None, environment: dict[str, str]) -> Result:
    # Wide, so that help is not broken into lines; plain, whatever the terminal is that runs the tests.
    shown = {"COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1", "FORCE_COLOR": "", "GITHUB_ACTIONS": ""}
    result: Any = CliRunner().invoke(app, list(arguments), input=stdin, env={**shown, **environment})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    found: Result = result
    return found


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    """Returns a coordinator within this process."""
    options = zq.CoordinatorOptions(max_attempts=1)
    with zq.Coordinator(tmp_path / "orders.zq", bind=f"ipc://{tmp_path}/socket", options=options) as found:
        yield found


@pytest.fixture
def invoke(coordinator: zq.Coordinator) -> Invoke:
    """Returns commands whose coordinator is that of the test."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return run_command(arguments, stdin, {"ZQ_ADDRESS": coordinator.address})

    return run


@pytest.fixture
def invoke_alone() -> Invoke:
    """Returns commands that know no coordinator."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return run_command(arguments, stdin, {"ZQ_ADDRESS": ""})

    return run
