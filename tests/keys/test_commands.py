"""Every command that talks to a coordinator, with a key, without one, and by a context in zq.toml."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.cli.conftest import Result, run_command
from tests.keys.gate import Gate
from zq.cli.app import own_functions
from zq.cli.line.commands import with_shared_options

DENIED = 77

GIVEN: dict[str, str] = {
    "tasks bury": "x --reason why",
    "queues move": "orders others",
    "topics bind": "a.b orders",
    "topics unbind": "a.b orders",
    "topics match": "a.b",
    "pulled done": "HANDLE null",
    "pulled fail": "HANDLE why",
    "pulled extend": "HANDLE 30",
    "pulled release": "HANDLE",
    "submit": "orders 1",
    "publish": "a.b 1",
    "schedules add": "s orders 1 --every 60",
    "schedules set": "s --every 60",
    "queues set": "orders --max-tasks 5",
    "namespaces set": "a --max-tasks 5",
    "pull": "orders",
    "worker": "tests.keys.shop_of_one:worker --burst --concurrency 1",
    "bench": "--tasks 1 --single 0",
    "work": "orders -- cat",
    "workers resize": "orders 2",
}
"""What commands need beside one argument each, by their names."""

LASTING = {"top": "needs a terminal", "dashboard": "serves what cannot reach the coordinator, too, and says so there"}
"""Commands that are looked at elsewhere, and why."""


def commands() -> dict[str, Any]:
    """Returns every command that has an address, by its name."""
    return {
        name: one
        for name, one in own_functions()
        if "address" in inspect.signature(one).parameters and name not in LASTING
    }


def arguments_of(name: str, command: Any, behind: str) -> list[str]:
    if name in GIVEN:
        return [handle(behind) if one == "HANDLE" else one for one in GIVEN[name].split()]
    parameters = [
        one for one in inspect.signature(command).parameters.values() if one.default is inspect.Parameter.empty
    ]
    return ["orders" for _ in parameters]


def handle(address: str) -> str:
    """Returns that of a task which somebody has pulled."""
    with zq.Client(address, key="") as client:
        client.submit("pulled", 1)
        [task] = client.pull("pulled")
        return task.handle


@pytest.mark.parametrize("name", commands())
def test_every_command_without_a_key_is_refused_in_words(doors: tuple[Gate, str], name: str) -> None:
    arguments = arguments_of(name, commands()[name], doors[1])

    result = run_command((*name.split(), "--address", doors[0].address, *arguments), None, {"ZQ_KEY": ""})

    assert (result.exit_code, "admits nobody without a key" in result.stderr) == (DENIED, True), result.stderr


def test_a_refusal_is_printed_once(door: Gate) -> None:
    command = [sys.executable, "-m", "zq", "status", "--address", door.address]

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "ZQ_KEY": ""}
    )

    assert (done.returncode, done.stderr.count("admits nobody without a key")) == (DENIED, 1), done.stderr


@pytest.mark.parametrize("name", commands())
def test_every_command_shows_the_key_that_it_is_given(
    doors: tuple[Gate, str], key: zq.Key, tmp_path: Path, name: str
) -> None:
    key.write(tmp_path / "shop-1.toml")
    arguments = (*name.split(), "--address", doors[0].address, *arguments_of(name, commands()[name], doors[1]))

    result = run_command(("--key", str(tmp_path / "shop-1.toml"), *arguments), None, {})

    assert (result.exit_code, "does not admit the key shop-1" in result.stderr) == (DENIED, True), result.stderr


def test_all_commands_that_have_an_address_are_looked_at() -> None:
    assert len(commands()) > 40
    assert {"status", "submit", "worker", "bench", "tasks ls", "pulled done"} <= commands().keys()


def status(door: Gate, *options: str, environment: dict[str, str] | None = None) -> Result:
    return run_command((*options, "status", "--json"), None, {"ZQ_ADDRESS": door.address, **(environment or {})})


def test_a_key_is_an_option_before_or_behind_a_command_or_in_the_environment(
    door: Gate, key: zq.Key, tmp_path: Path
) -> None:
    path = str(tmp_path / "shop-1.toml")
    key.write(path)
    door.admit(key)

    assert status(door, "--key", path).exit_code == 0
    assert status(door, environment={"ZQ_KEY": path}).exit_code == 0
    assert status(door, "--key", path, environment={"ZQ_KEY": "/nowhere"}).exit_code == 0
    behind = run_command(("status", "--key", path, "--address", door.address), None, {"ZQ_KEY": "/nowhere"})
    assert behind.exit_code == 0
    assert "ZQ_KEY" not in os.environ


def test_a_key_of_a_task_is_not_one_of_the_caller(door: Gate, key: zq.Key, tmp_path: Path) -> None:
    path = str(tmp_path / "shop-1.toml")
    key.write(path)
    door.admit(key)

    given = ("--key", path, "submit", "orders", "1", "--key", "customer-42", "--id", "order-1")
    assert run_command(given, None, {"ZQ_ADDRESS": door.address}).exit_code == 0
    with zq.Client(door.address, key=path) as client:
        assert client.status("order-1").key == "customer-42"


def test_a_file_that_is_no_key_is_wrong_usage(door: Gate, key: zq.Key, tmp_path: Path) -> None:
    path = tmp_path / "shop-1.toml"
    key.write(path)
    path.chmod(0o644)

    result = status(door, "--key", str(path))

    assert result.exit_code == 2
    assert "run `chmod 600" in result.stderr


def test_a_worker_shows_the_key_that_it_was_made_with(
    doors: tuple[Gate, str], key: zq.Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = doors[0]
    door.admit(key)
    key.write(tmp_path / "shop-1.toml")
    (tmp_path / "shop_with_key.py").write_text(
        "import zq\n"
        f"worker = zq.Worker({door.address!r}, key={str(tmp_path / 'shop-1.toml')!r})\n"
        "@worker.task('orders')\n"
        "def bake(task):\n"
        "    return 'baked'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    with zq.Client(door.address, key=key) as client:
        receipt = client.submit("orders", 1)
        ended = run_command(
            ("worker", "shop_with_key:worker", "--burst", "--concurrency", "1"), None, {"ZQ_ADDRESS": ""}
        )
        assert ended.exit_code == 0, ended.stderr
        assert receipt.result(timeout=60) == "baked"
    sys.modules.pop("shop_with_key")


# Contexts.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, and the user's own, without a file of contexts."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    for name in ("ZQ_CONFIG", "ZQ_CONTEXT", "ZQ_ADDRESS", "ZQ_KEY", "ZQ_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "here"


def shown(*options: str, **environment: str) -> dict[str, Any]:
    """Returns the address, key and namespace that a command would use."""
    result = run_command((*options, "context", "show", "--json"), None, environment)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


PROD = '[contexts.prod]\naddress = "tcp://prod:7700"\nkey = "keys/prod.toml"\nnamespace = "team-a"\n'


def test_a_context_says_address_key_and_namespace(folder: Path) -> None:
    (folder / "zq.toml").write_text(PROD)
    expected = {"address": "tcp://prod:7700", "key": str(folder / "keys/prod.toml"), "namespace": "team-a"}

    assert shown("--context", "prod") == expected
    assert shown(ZQ_CONTEXT="prod") == expected
    assert shown() == {"address": "tcp://127.0.0.1:7700", "key": None, "namespace": None}


def test_options_go_before_a_named_context_that_before_the_environment_and_that_before_its_context(
    folder: Path,
) -> None:
    (folder / "zq.toml").write_text(PROD)
    variables = {"ZQ_ADDRESS": "tcp://dev:7700", "ZQ_KEY": "/dev.toml", "ZQ_NAMESPACE": "dev"}

    assert shown("--context", "prod", **variables)["address"] == "tcp://prod:7700"
    assert shown("--context", "prod", **variables)["namespace"] == "team-a"
    assert shown(ZQ_CONTEXT="prod", **variables) == {
        "address": "tcp://dev:7700",
        "key": "/dev.toml",
        "namespace": "dev",
    }
    found = shown("--context", "prod", "--key", "/mine.toml", "--namespace", "mine", **variables)
    assert found == {"address": "tcp://prod:7700", "key": "/mine.toml", "namespace": "mine"}
    assert shown("--context", "prod", "--namespace", "")["namespace"] is None


def test_an_address_behind_a_command_goes_before_its_context(folder: Path, tmp_path: Path) -> None:
    (folder / "zq.toml").write_text(PROD.replace('key = "keys/prod.toml"\n', ""))

    with zq.Coordinator(tmp_path / "orders.zq") as coordinator:
        arguments = ("--context", "prod", "submit", "orders", "1", "--address", coordinator.address)
        assert run_command(arguments, None, {}).exit_code == 0
        with zq.Client(coordinator.address) as client:
            assert [queue.name for queue in client.queues.list()] == ["team-a/orders"]


def test_a_command_gets_in_by_a_context(door: Gate, key: zq.Key, folder: Path) -> None:
    (folder / "zq.toml").write_text(f'[contexts.prod]\naddress = "{door.address}"\nkey = "shop-1.toml"\n')
    key.write(folder / "shop-1.toml")
    door.admit(key)

    assert run_command(("--context", "prod", "status"), None, {}).exit_code == 0


def test_contexts_come_from_here_and_from_home_or_from_a_named_file_alone(folder: Path) -> None:
    home = folder.parent / "home" / "zq"
    home.mkdir(parents=True)
    (home / "zq.toml").write_text('[contexts.prod]\naddress = "tcp://other:1"\n[contexts.dev]\nnamespace = "dev"\n')
    (folder / "zq.toml").write_text(PROD)
    (folder / "named.toml").write_text('[contexts.one]\naddress = "tcp://one:1"\n')

    rows = [json.loads(line) for line in run_command(("context", "ls", "--json"), None, {}).stdout.splitlines()]
    assert [(row["name"], row["address"], row["file"]) for row in rows] == [
        ("prod", "tcp://prod:7700", str(folder / "zq.toml")),
        ("dev", None, str(home / "zq.toml")),
    ]
    named = run_command(("context", "ls", "--json"), None, {"ZQ_CONFIG": "named.toml"}).stdout
    assert [json.loads(line)["name"] for line in named.splitlines()] == ["one"]
    assert json.loads(run_command(("context", "show", "dev", "--json"), None, {}).stdout)["namespace"] == "dev"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("context = 1\n", "expected contexts in {file}, got the unknown 'context'"),
        ("contexts = 1\n", "expected tables [contexts.NAME] in {file}"),
        ('[contexts.a]\nadress = "x"\n', "expected address, key, namespace in [contexts.a] of {file}, got the unknown 'adress'"),
        ("[contexts.a]\nkey = 5\n", "[contexts.a] of {file}: expected key as text, got 5"),
        ('[contexts.a]\naddress = "nowhere"\n', "[contexts.a] of {file}: expected an address like"),
        ('[contexts.a]\nnamespace = "a b"\n', "[contexts.a] of {file}: expected a namespace"),
        ("contexts.a = 3\n", "expected a table at [contexts.a]"),
        ("[contexts\n", "expected TOML in {file}"),
        ("", "expected a context in {file} or"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_of_contexts_is_said(folder: Path, content: str, expected: str) -> None:
    (folder / "zq.toml").write_text(content)

    result = run_command(("--context", "a", "status"), None, {})

    assert result.exit_code == 2
    assert expected.format(file=folder / "zq.toml") in result.stderr


def test_a_named_file_must_be_there(folder: Path) -> None:
    result = run_command(("--context", "a", "status"), None, {"ZQ_CONFIG": str(folder / "nothing.toml")})

    assert result.exit_code == 2
    assert "which ZQ_CONFIG names, and there is no such file" in result.stderr


def test_only_commands_that_talk_to_a_coordinator_take_a_key() -> None:
    def lonely(name: str) -> None:
        """Talks to nobody."""

    def talking(address: str | None = None) -> None:
        """Talks to a coordinator."""

    assert with_shared_options(lonely) is lonely
    assert list(inspect.signature(with_shared_options(talking)).parameters) == ["address", "key"]
