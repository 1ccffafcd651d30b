"""`zq doctor`, `salvage`, `backup`, `restore` and `compact`: what they print, and with which code they end."""

from __future__ import annotations

import json
from pathlib import Path

import zq
from tests.cli.conftest import Invoke


def fill(directory: Path) -> None:
    with zq.Coordinator(directory) as coordinator, zq.Client(coordinator.address) as client:
        client.submit_many("orders", ["margherita" * 50] * 20)


def test_doctor_prints_a_finding_a_line_and_ends_with_1_when_something_is_broken(
    tmp_path: Path, invoke_alone: Invoke
) -> None:
    fill(tmp_path / "data")
    assert invoke_alone("doctor", str(tmp_path / "data")).exit_code == 0
    data = tmp_path / "data" / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"margherita", b"margheritA"))

    found = invoke_alone("doctor", str(tmp_path / "data"), "--json")

    assert found.exit_code == 1
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert {"weight", "where", "text", "remedy"} == set(rows[0])
    assert [row["where"] for row in rows if row["weight"] == "broken"] == ["table pending"]


def test_what_was_backed_up_is_restored_and_made_small(tmp_path: Path, invoke_alone: Invoke) -> None:
    data, copy, again = (str(tmp_path / name) for name in ("data", "copy", "again"))
    fill(tmp_path / "data")

    copied = invoke_alone("backup", data, "--to", copy)
    assert (copied.exit_code, copied.stdout.startswith(f"copied {data} to {copy}: ")) == (0, True)
    assert invoke_alone("backup", data, "--to", copy).exit_code == 1
    restored = invoke_alone("restore", copy, "--to", again, "--json")
    assert (restored.exit_code, set(json.loads(restored.stdout))) == (0, {"bytes", "records"})
    compacted = invoke_alone("compact", again, "--json")
    assert (compacted.exit_code, set(json.loads(compacted.stdout))) == (0, {"before", "after"})
    with zq.Coordinator(again) as coordinator, zq.Client(coordinator.address) as client:
        assert client.query("status")["waiting"] == 20


def test_what_is_damaged_is_repaired_and_saved(tmp_path: Path, invoke_alone: Invoke) -> None:
    data, into, to = (str(tmp_path / name) for name in ("data", "aside.jsonl", "saved"))
    fill(tmp_path / "data")
    path = tmp_path / "data" / "data.mdb"
    path.write_bytes(path.read_bytes().replace(b"margherita", b"margheritA"))

    found = invoke_alone("salvage", data, "--to", to)
    assert (found.exit_code, found.stdout.splitlines()[0]) == (0, f"saved 0 tasks of {data} in {to}")
    assert invoke_alone("salvage", data, "--to", to).exit_code == 1
    assert invoke_alone("doctor", data, "--into", into).exit_code == 2
    repaired = invoke_alone("doctor", data, "--repair", "--into", into, "--json")
    assert repaired.exit_code == 0
    assert f"wrote 1 of what was set aside into {into}" in json.loads(repaired.stdout)["done"]
    again = invoke_alone("doctor", data, "--repair", "--into", into)
    assert (again.exit_code, again.stdout) == (0, f"{data}: there was nothing to do\n")
