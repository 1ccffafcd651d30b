"""What a command loads before it does its work: nothing that it does not need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import zq

HEAVY = {
    *("pydantic", "rich", "asyncio", "importlib.metadata", "email", "lmdb", "multiprocessing", "concurrent.futures"),
    *("zq.core", "zq.server", "zq.store", "zq.worker", "zq.app", "zq.executor", "patterns", "starlette", "uvicorn"),
}
"""What no quick command loads."""

OF_FEW = {
    *("secrets", "hashlib", "hmac", "encodings.idna", "zq.keys.key", "zq.client.insight"),
    *("zq.client.group", "zq.client.events", "zq.client.hooking.hooked_calls", "zq.client.queues", "zq.client.workers"),
}
"""What no command loads that shows what a query returns."""

OF_CLIENTS = {"zmq", "msgpack", "zq.client.client"}

RUN = """
import contextlib, io, sys
sys.argv = ["zq", *{arguments!r}]
from zq.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print(*sorted({heavy!r} & sys.modules.keys()))
"""


def loaded_by(*arguments: str, heavy: set[str], **environment: str) -> list[str]:
    """Returns what a command has loaded of some modules."""
    code = RUN.format(arguments=arguments, heavy=heavy)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, check=True, env={**os.environ, **environment},
    )  # fmt: skip
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("command", ["--help", "--version", "", "tasks --help", "queues ls --help"])
def test_help_loads_neither_sockets_nor_stores_nor_tables(command: str) -> None:
    assert loaded_by(*command.split(), heavy=HEAVY | OF_CLIENTS) == []


@pytest.mark.parametrize("command", ["status", "queues ls", "tasks ls", "submit orders 1 --delay 5 --on-lost dead"])
def test_commands_that_ask_load_a_client_and_no_more(coordinator: zq.Coordinator, command: str) -> None:
    assert loaded_by(*command.split(), heavy=HEAVY, ZQ_ADDRESS=coordinator.address) == []


@pytest.mark.parametrize("command", ["status", "status --json", "queues ls", "workers ls"])
def test_commands_that_show_answers_load_nothing_that_makes_values_ids_and_keys(
    coordinator: zq.Coordinator, command: str
) -> None:
    assert loaded_by(*command.split(), heavy=OF_FEW, ZQ_ADDRESS=coordinator.address) == []


def test_list_of_commands_loads_no_command() -> None:
    heavy = {f"zq.cli.{name}" for name in ("tasks", "queues", "dead", "serving", "listing", "keys", "schedules")}

    assert loaded_by("--help", heavy=heavy) == []
    assert loaded_by("queues", "--help", heavy=heavy) == ["zq.cli.queues"]


def test_package_can_be_run() -> None:
    done = subprocess.run([sys.executable, "-m", "zq", "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == f"{zq.__version__}\n"
