"""Commands about keys: files that appear, what they say, and what is refused in words."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.cli.conftest import Invoke, Result, run_command
from zq.keys.directory import KeyDirectory


@pytest.fixture
def invoke_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Returns commands in a folder of their own, with the directory of keys named in the environment."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return run_command(("keys", *arguments), stdin, {"ZQ_KEYS": str(tmp_path / "keys")})

    return run


def listed(invoke_keys: Invoke) -> dict[str, Any]:
    rows = [json.loads(line) for line in invoke_keys("ls", "--json").stdout.splitlines()]
    return {row["name"]: row for row in rows}


def test_a_new_key_is_a_secret_file_and_an_entry(invoke_keys: Invoke, tmp_path: Path) -> None:
    result = invoke_keys(
        "new", "till", "--role", "client", "-q", "orders*", "--namespace", "team-a", "--limits", "waits=9"
    )

    assert (result.exit_code, result.stdout) == (0, "till.key\n")
    key = zq.Key.read(tmp_path / "till.key")
    directory = KeyDirectory(tmp_path / "keys")
    assert (key.name, key.role, key.servers) == ("till", "client", directory.server_publics(time.time()))
    entry = directory.entry("till")
    assert (entry.public, entry.queues, entry.namespaces, entry.limits) == (
        key.public, ("orders*",), ("team-a",), "waits=9",
    )  # fmt: skip
    assert key.secret not in directory.path_of("till").read_text()
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_a_key_that_cannot_be_written_is_not_let_in(invoke_keys: Invoke, tmp_path: Path) -> None:
    (tmp_path / "till.key").touch()

    assert "is there already" in invoke_keys("new", "till", "--role", "client").stderr
    assert listed(invoke_keys) == {}


def test_a_public_key_from_elsewhere_is_allowed_changed_revoked_and_allowed_again(invoke_keys: Invoke) -> None:
    public = zq.Key.new("till", "client").public

    assert invoke_keys("allow", "till", f"--public={public}", "--role", "client").stdout == f"{public}\n"
    assert invoke_keys("allow", "till", "--work", "parcels", "--expires", "30d").exit_code == 0
    row = listed(invoke_keys)["till"]
    assert (row["work"], row["queues"], row["state"]) == (["parcels"], ["*"], "good")
    assert row["expires"] > "2"
    invoke_keys("revoke", "till")
    assert listed(invoke_keys)["till"]["state"] == "revoked"
    invoke_keys("allow", "till", "--expires", "never")
    assert (listed(invoke_keys)["till"]["state"], listed(invoke_keys)["till"]["expires"]) == ("good", None)


def test_a_public_key_is_not_let_in_under_two_names(invoke_keys: Invoke, tmp_path: Path) -> None:
    invoke_keys("new", "till", "--role", "client")
    before = zq.Key.read(tmp_path / "till.key").public
    invoke_keys("rotate", "till")

    for public in (before, zq.Key.read(tmp_path / "till.key").public):
        result = invoke_keys("allow", "other", f"--public={public}", "--role", "client")
        assert "is that of till already" in result.stderr
        assert result.exit_code != 0
    assert set(listed(invoke_keys)) == {"till"}


def test_a_key_that_has_ended_is_not_said_to_be_let_in(invoke_keys: Invoke) -> None:
    for arguments in (("new", "till", "--role", "client", "--expires", "2020-01-01"), ("allow", "till")):
        said = invoke_keys(*arguments).stderr
        assert "key till (client) is not let in: it has ended at 2020-01-01" in said
    assert "is let in within a second" in invoke_keys("allow", "till", "--expires", "never").stderr


def test_a_directory_that_is_made_is_said(invoke_keys: Invoke, tmp_path: Path) -> None:
    for name, is_new in (("till", True), ("oven", False)):
        said = invoke_keys("new", name, "--role", "client").stderr
        assert (f"{tmp_path / 'keys'} was made, for a new coordinator" in said) == is_new


def test_a_rotated_key_keeps_its_rights_and_the_one_before_for_a_while(invoke_keys: Invoke, tmp_path: Path) -> None:
    invoke_keys("new", "till", "--role", "client", "-q", "orders")
    before = zq.Key.read(tmp_path / "till.key")

    assert invoke_keys("rotate", "till", "--overlap", "1h").exit_code == 0

    entry = KeyDirectory(tmp_path / "keys").entry("till")
    assert (entry.public, entry.previous, entry.queues) == (
        zq.Key.read(tmp_path / "till.key").public, before.public, ("orders",),
    )  # fmt: skip


def test_a_key_is_not_rotated_again_while_the_pair_before_is_good(invoke_keys: Invoke, tmp_path: Path) -> None:
    invoke_keys("new", "till", "--role", "client")
    before = zq.Key.read(tmp_path / "till.key")
    invoke_keys("rotate", "till")
    entry = KeyDirectory(tmp_path / "keys").entry("till")

    result = invoke_keys("rotate", "till")

    assert "is being rotated already" in result.stderr
    assert result.exit_code != 0
    assert KeyDirectory(tmp_path / "keys").entry("till") == entry
    assert (entry.previous, entry.public) == (before.public, zq.Key.read(tmp_path / "till.key").public)
    assert invoke_keys("rotate", "till", "--force").exit_code == 0
    assert KeyDirectory(tmp_path / "keys").entry("till").previous == entry.public


@pytest.mark.parametrize("place", ["folder", "file/till.key"], ids=["rename", "write"])
def test_a_new_pair_that_cannot_be_written_leaves_the_key_as_it_was(
    invoke_keys: Invoke, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    invoke_keys("new", "till", "--role", "client")
    entry = KeyDirectory(tmp_path / "keys").entry("till")
    monkeypatch.setattr("zq.cli.keys._check_place", lambda *_: None)  # it would have said so before

    result = invoke_keys("rotate", "till", "--out", place)

    assert "cannot write" in result.stderr
    assert KeyDirectory(tmp_path / "keys").entry("till") == entry
    assert {one.name for one in tmp_path.iterdir()} == {"folder", "file", "keys", "till.key"}


def test_a_new_pair_replaces_nothing_but_the_key_of_its_name(invoke_keys: Invoke, tmp_path: Path) -> None:
    for name in ("till", "boss", "server"):
        invoke_keys("new", name, "--role", "client")
    (tmp_path / "notes").write_text("notes")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    for name, place in (("till", "notes"), ("till", "boss.key"), ("server", "keys/server.key")):
        result = invoke_keys("rotate", name, "--out", place)
        assert f"expected the key {name} at {place}, which is replaced, or nothing" in result.stderr

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert invoke_keys("rotate", "till", "--out", "elsewhere.key").exit_code == 0


def test_the_key_of_the_coordinator_is_rotated_and_new_keys_know_both(invoke_keys: Invoke, tmp_path: Path) -> None:
    invoke_keys("new", "till", "--role", "client")

    said = json.loads(invoke_keys("rotate", "--server", "--json").stdout)
    invoke_keys("new", "oven", "--role", "worker")

    assert zq.Key.read(tmp_path / "oven.key").servers == tuple(said["servers"])
    assert zq.Key.read(tmp_path / "till.key").servers == tuple(said["servers"][:1])
    assert "is being rotated already" in invoke_keys("rotate", "--server").stderr


def test_a_broken_entry_is_listed_with_what_is_wrong(invoke_keys: Invoke, tmp_path: Path) -> None:
    invoke_keys("new", "till", "--role", "client")
    (tmp_path / "keys" / "till.pub").write_text("nonsense")

    row = listed(invoke_keys)["till"]
    assert row["state"] == "broken"
    assert "till.pub" in row["fault"]
    assert "broken" in invoke_keys("ls").stdout


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (["new", "till"], "expected --role", 2),
        (["new", "../till", "--role", "client"], "expected a key's name", 2),
        (["new", "till", "--role", "client", "-q", "a b"], "expected a pattern", 2),
        (["new", "till", "--role", "client", "--namespace", "a/"], "expected a namespace", 2),
        (["new", "till", "--role", "client", "--limits", "wait=1"], "expected limits of waits", 2),
        (["new", "till", "--role", "client", "--expires", "soon"], "expected --expires as a time", 2),
        (["allow", "till"], "expected a key till", 2),
        (["allow", "till", "--public", "x", "--role", "client"], "expected a CURVE key", 2),
        (["revoke", "till"], "expected a key till", 2),
        (["rotate"], "expected the name of a key, or --server", 2),
        (["rotate", "till", "--server"], "expected the name of a key, or --server", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said(invoke_keys: Invoke, arguments: list[str], text: str, code: int) -> None:
    invoke_keys("new", "boss", "--role", "admin")

    result = invoke_keys(*arguments)

    assert text in result.stderr
    assert result.exit_code in (1, code)
    assert result.stdout == ""
    assert set(listed(invoke_keys)) == {"boss"}


def test_a_directory_has_to_be_named_and_private(invoke_alone: Invoke, invoke_keys: Invoke, tmp_path: Path) -> None:
    assert "expected --keys DIR, or ZQ_KEYS" in invoke_alone("keys", "ls").stderr
    invoke_keys("new", "boss", "--role", "admin")
    os.chmod(tmp_path / "keys", 0o755)  # noqa: PTH101 - as a shell does
    assert "run `chmod 700" in invoke_keys("ls").stderr


def test_a_name_without_a_file_needs_keys(invoke_alone: Invoke, tmp_path: Path) -> None:
    result = invoke_alone("coordinator", "--data", str(tmp_path / "data"), "--bind", "ipc://@zq")

    assert "every user of this machine" in result.stderr


@pytest.mark.parametrize(("extra", "is_refused"), [((), True), (("--keys", "nowhere"), False)])
def test_an_address_beyond_this_machine_needs_keys(
    invoke_alone: Invoke, tmp_path: Path, extra: tuple[str, ...], is_refused: bool
) -> None:
    result = invoke_alone("coordinator", "--data", str(tmp_path / "data"), "--bind", "tcp://*:*", *extra)

    assert ("give --keys" in result.stderr) == is_refused
    assert ("cannot use the directory of keys" in result.stderr) != is_refused
