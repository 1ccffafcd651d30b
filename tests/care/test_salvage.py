"""What can be read of a damaged directory is saved, and what cannot is named in a report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.care.ledger import batches_of, check_ledger_of, fill, handed_out
from tests.care.test_doctor import broken, files_of
from tests.process.kitchen import Kitchen, kill, wait_until
from zq.care import Salvaged, compact, examine, salvage
from zq.store.copying import part_of
from zq.store.journal import FIRST_PLACE, read_remains
from zq.store.journaled import JournaledStore
from zq.store.records import RedoRecord, all_records

PAGE = 4096

EARLY, LATE = 100, 20
"""Tasks in the tables, and in the journal alone."""


@pytest.fixture
def crashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as a power cut leaves it: the last tasks are in its journal alone, a record each."""
    directory = tmp_path / "data"
    fill(directory, EARLY)
    monkeypatch.setattr(JournaledStore, "rest", lambda *_: None)
    with zq.Coordinator(directory) as coordinator, zq.Client(coordinator.address) as client:
        for number in range(EARLY, EARLY + LATE):
            client.submit("orders", f"margherita {number:05}")
        shutil.copytree(directory, tmp_path / "crashed")
    monkeypatch.undo()
    return tmp_path / "crashed"


ALL = [f"margherita {number:05}" for number in range(EARLY + LATE)]


def saved(directory: Path) -> tuple[Salvaged, list[dict[str, Any]], list[str]]:
    """Returns what a salvage says, its report, and what is handed out then; the directory stays as it was."""
    before, target = files_of(directory), directory.with_name("saved")
    found = salvage(directory, target)
    assert files_of(directory) == before
    assert sorted(one.name for one in target.iterdir()) == ["data.mdb", "salvage.jsonl"]
    assert not broken(list(examine(target)))
    report = [json.loads(line) for line in Path(found.report).read_text(encoding="utf-8").splitlines()]
    return found, report, handed_out(target)


def records_of(directory: Path) -> list[RedoRecord]:
    salt, data = read_remains(directory)
    return all_records(data, salt)


def record_with(directory: Path, payload: str) -> RedoRecord:
    [found] = [one for one in records_of(directory) if payload.encode() in bytes(one.body)]
    return found


def damage(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


def test_directory_that_is_whole_is_saved_whole(crashed: Path) -> None:
    found, report, payloads = saved(crashed)

    assert payloads == ALL
    assert report == []
    assert (found.tasks, found.damaged, found.ids, found.records_missing) == (len(ALL), 0, 0, 0)
    assert found.records >= LATE


def test_records_before_and_beyond_a_hole_are_applied_and_the_hole_is_named(crashed: Path) -> None:
    hit = record_with(crashed, ALL[EARLY + 7])
    damage(crashed / "journal", FIRST_PLACE + hit.end - 3, b"???")
    with pytest.raises(zq.StoreCorruptError, match="zq salvage"):
        zq.Coordinator(crashed).__enter__()

    found, report, payloads = saved(crashed)

    assert payloads == [one for one in ALL if one != ALL[EARLY + 7]]
    assert found.records_missing == 1
    assert [(one["first"], one["count"]) for one in report if one["what"] == "journal"] == [(hit.sequence, 1)]


def test_journal_that_is_gone_or_was_cut_off_costs_what_it_held_alone(crashed: Path) -> None:
    hit = record_with(crashed, ALL[EARLY + 7])
    journal = crashed / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: FIRST_PLACE + hit.place + 10])
    _, report, payloads = saved(crashed)
    assert payloads == ALL[: EARLY + 7]
    assert [(one["what"], one["first"]) for one in report] == [("journal", hit.sequence)]
    assert "cut off" in report[0]["why"]

    shutil.rmtree(crashed.with_name("saved"))
    journal.unlink()
    _, report, payloads = saved(crashed)
    assert payloads == ALL[:EARLY]
    assert "cannot be read" in report[0]["why"]

    shutil.rmtree(crashed.with_name("saved"))
    journal.write_bytes(b"?" * 50 + whole[50:])  # its head, which the tables know
    assert saved(crashed)[2] == ALL


@pytest.mark.parametrize("number", [0, 1])
def test_one_meta_page_is_enough(crashed: Path, number: int) -> None:
    damage(crashed / "data.mdb", number * PAGE, bytes(PAGE))

    found, report, payloads = saved(crashed)

    assert payloads == ALL  # what the older one lacks, the journal still has
    assert found.damaged == 1
    assert f"meta page {number}" in report[0]["why"]


def test_without_a_meta_page_it_is_said_that_nothing_can_be_read(crashed: Path) -> None:
    damage(crashed / "data.mdb", 0, bytes(2 * PAGE))

    with pytest.raises(zq.StoreCorruptError, match="no meta page"):
        salvage(crashed, crashed.with_name("saved"))
    assert not part_of(crashed.with_name("saved")).parent.exists()


@pytest.mark.parametrize("kind", ["cut off", "zeroed", "flipped"])
def test_what_is_not_damaged_is_handed_out_and_what_is_is_named(tmp_path: Path, kind: str) -> None:
    directory = tmp_path / "data"
    fill(directory, 1500)
    compact(directory)  # its pages are in the order of the tables
    before = batches_of(directory)
    path = directory / "data.mdb"
    place = path.read_bytes().rindex(b"margherita 01005")
    if kind == "cut off":  # with the list of tables and most of their first pages
        path.write_bytes(path.read_bytes()[: place - place % PAGE])
    elif kind == "zeroed":
        damage(path, place - place % PAGE, bytes(PAGE))
    else:
        damage(path, place, b"M")
    left = path.read_bytes()
    readable = {key: payloads for key, payloads in before.items() if all(one.encode() in left for one in payloads)}
    assert len(readable) < len(before)

    _, report, payloads = saved(directory)

    assert payloads == sorted(payload for one in readable.values() for payload in one)
    kinds = [one["what"] for one in report]
    if kind == "cut off":
        assert "strays" in kinds  # and nobody knows any more which tables there were
    else:
        check_ledger_of(before, payloads, report)
    assert 10 * kinds.count("id") == 1500 - len(payloads)


def test_salvage_that_was_killed_half_way_leaves_nothing_of_that_name(kitchen: Kitchen) -> None:
    with zq.Coordinator(kitchen.data) as coordinator, zq.Client(coordinator.address) as client:
        client.submit_many("orders", (b"x" * 100_000 for _ in range(150)))
    target = kitchen.data.with_name("saved")
    salvaging = kitchen.start("salvage", str(kitchen.data), "--to", str(target))
    wait_until(lambda: part_of(target).exists() or salvaging.poll() is not None, "the new directory")
    kill(salvaging)

    assert salvaging.returncode == -9
    assert part_of(target).exists()
    assert not target.exists()
    assert kitchen.start("salvage", str(kitchen.data), "--to", str(target)).wait(60) == 0
    assert not part_of(target).parent.exists()
    with zq.Coordinator(target) as coordinator, zq.Client(coordinator.address) as client:
        assert client.query("status")["waiting"] == 150


def test_directory_in_use_is_not_salvaged(kitchen: Kitchen) -> None:
    kitchen.start_coordinator()
    with kitchen.client() as client:
        client.submit("orders", 1)

    with pytest.raises(zq.StoreLockedError, match="make a backup"):
        salvage(kitchen.data, kitchen.data.with_name("saved"))
