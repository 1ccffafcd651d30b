"""What help says, how wrong usage ends, and what a start costs."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields

import pytest

import zq
from tests.cli.conftest import Invoke

EXIT_CODES = (
    "0 done, 1 the operation or task failed, 2 usage, 69 coordinator unreachable, 75 timed out or nothing to pull, "
    "77 access denied, 130 interrupted, 141 nobody reads the output"
)

SETTINGS = {
    "data": ("Directory", "orders.zq"),
    "bind": ("address", "tcp://127.0.0.1:7700"),
    "heartbeat-interval": ("Seconds", "1.0"),
    "suspect-after": ("Seconds", "3.0"),
    "gone-after": ("Seconds", "15.0"),
    "idle-beats-max": ("second", "200"),
    "max-attempts": ("Starts", "5"),
    "retry": ("seconds", "full-jitter:1:2:60"),
    "queue-tasks-max": ("tasks", "10000000"),
    "payload-bytes-max": ("bytes", "1048576"),
    "keep-seconds": ("Seconds", "3600.0"),
    "keep-count": ("batches", "1000000"),
    "keep-seconds-min": ("Seconds", "120.0"),
    "assign": ("least-loaded|hash", "least-loaded"),
    "map-mib": ("MiB", "65536"),
    "disk-free-mib": ("MiB", "256"),
    "journal": ("on|off", "on"),
    "queues-max": ("Queues", "200000"),
    "bindings-max": ("Bindings", "100000"),
    "schedules-max": ("Schedules", "100000"),
    "peer-limits": ("waits=5000", "default"),
}
"""Options of the coordinator: the unit that help must name, and the default."""


def option_in_help(text: str, option: str) -> str:
    """Returns what help says of an option, on one line."""
    [found] = [one for one in re.split(r"\n(?=  -|\n)", text) if re.match(rf"  (-\w, )?--{option} ", one)]
    return " ".join(found.split())


def test_help_lists_the_exit_codes(invoke_alone: Invoke) -> None:
    assert EXIT_CODES in " ".join(invoke_alone("--help").stdout.split())


@pytest.mark.parametrize("option", SETTINGS)
def test_help_of_the_coordinator_shows_unit_default_and_variable(option: str, invoke_alone: Invoke) -> None:
    unit, default = SETTINGS[option]

    said = option_in_help(invoke_alone("coordinator", "--help").stdout, option)

    assert unit in said
    assert f"[env var: ZQ_{option.upper().replace('-', '_')}" in said
    assert default in said.partition("default: ")[2]


@pytest.mark.parametrize("option", ["keys", "audit"])
def test_help_of_the_coordinator_shows_the_variable_of_what_has_no_default(option: str, invoke_alone: Invoke) -> None:
    said = option_in_help(invoke_alone("coordinator", "--help").stdout, option)

    assert f"[env var: ZQ_{option.upper()}]" in said


def test_every_setting_of_a_coordinator_is_an_option() -> None:
    names = {field.name.replace("_", "-") for field in fields(zq.CoordinatorOptions)}

    assert names <= SETTINGS.keys()


def test_defaults_of_the_store_are_those_of_the_library() -> None:
    options = zq.LmdbOptions()

    assert (options.map_bytes >> 20, options.free_bytes_min >> 20) == (65536, 256)


@pytest.mark.parametrize(
    "arguments",
    [
        ["tasks", "ls"],
        ["tasks", "show", "t"],
        ["tasks", "cancel", "t"],
        ["tasks", "retry", "t"],
        ["queues", "ls"],
        ["queues", "pause", "orders"],
        ["queues", "resume", "orders"],
        ["why", "t"],
        ["queues", "show", "orders"],
        ["queues", "set", "orders", "--max-tasks", "3"],
        ["workers", "ls"],
        ["dead", "ls"],
        ["dead", "replay"],
        ["status"],
        ["submit", "orders", "{}"],
        ["publish", "orders.eu", "{}"],
        ["topics", "ls"],
        ["namespaces", "ls"],
        ["namespaces", "show", "team-a"],
        ["namespaces", "set", "team-a", "--max-tasks", "9"],
        ["queues", "purge", "orders", "--yes"],
        ["queues", "move", "orders", "later", "--yes"],
        ["queues", "rm", "orders", "--yes"],
        ["queues", "drain", "orders"],
        ["queues", "operations"],
        ["topics", "match", "orders.eu"],
        ["topics", "bind", "orders.*", "orders"],
        ["topics", "unbind", "orders.*", "orders"],
    ],
    ids=" ".join,
)
def test_unreachable_coordinator_is_69(arguments: list[str], invoke_alone: Invoke) -> None:
    result = invoke_alone(*arguments, "--address", "tcp://127.0.0.1:1", "--timeout", "0.2")

    assert result.exit_code == 69
    assert result.stdout == ""
    assert "nothing was heard of the coordinator at tcp://127.0.0.1:1;" in result.stderr


def test_measurement_of_a_coordinator_that_is_not_there_ends_like_the_others(
    invoke_alone: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zq.cli.benching.TIMEOUT", 0.2)

    result = invoke_alone("bench", "--address", "tcp://127.0.0.1:1")

    assert (result.exit_code, result.stdout) == (69, "")
    assert "nothing was heard of the coordinator at tcp://127.0.0.1:1;" in result.stderr


def test_address_may_come_from_the_environment(invoke_alone: Invoke) -> None:
    result = invoke_alone("status", "--help")

    assert "[env var: ZQ_ADDRESS]" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["bake"], "No such command"),
        (["submit", "orders"], "Missing argument"),
        (["submit", "orders", "{pizza}"], "expected JSON"),
        (["submit", "orders", "{}", "--priority", "10"], "--priority"),
        (["submit", "orders", "{}", "--on-lost", "shrug"], "reassign"),
        (["submit", "two words", "{}"], "expected queue"),
        (["submit", "orders", "-", "--id", "mine"], "--id"),
        (["submit", "orders", "{}", "--id", "a#1"], "expected an id without"),
        (["status", "--address", "localhost"], "expected an address like"),
        (["queues", "set", "orders"], "nothing to set"),
        (["tasks", "ls", "--limit", "0"], "--limit"),
        (["coordinator", "--gone-after", "1", "--suspect-after", "2"], "suspect_after <= gone_after"),
        (["coordinator", "--assign", "chance"], "least-loaded"),
        (["worker", "tests.cli.kitchen:worker", "--processes", "2", "--concurrency", "2"], "exclude each other"),
        (["worker", "tests.cli.kitchen"], "expected module:name or file.py:name"),
        (["worker", "tests.cli.nowhere:worker"], "there is no module"),
        (["worker", "tests.cli.kitchen:nobody"], "there is no nobody"),
        (["worker", "tests.cli.kitchen:idle"], "expected a zq.Worker"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_2_and_says_what_was_expected(arguments: list[str], text: str, invoke_alone: Invoke) -> None:
    result = invoke_alone(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert text in result.stderr


def test_version_is_that_of_the_package(invoke_alone: Invoke) -> None:
    result = invoke_alone("--version")

    assert (result.exit_code, result.stdout) == (0, f"{zq.__version__}\n")


def test_importing_zq_loads_nothing_until_it_is_used() -> None:
    code = "import sys, zq; print(sorted(name for name in sys.modules if name.startswith(('zq.', 'zmq', 'msgpack'))))"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout == "['zq.lazy']\n"  # what loads the rest


def test_every_exported_name_can_be_loaded() -> None:
    missing = [name for name in dir(zq) if not hasattr(zq, name)]

    assert not missing
    with pytest.raises(AttributeError, match="has no attribute 'Broker'"):
        zq.Broker  # type: ignore[attr-defined]  # noqa: B018 - the access is what is tested
