"""A directory that is damaged is put right, and what was set aside is named; one that is whole is not written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zq
from tests.care.ledger import batches_of, check_ledger_of, fill, handed_out
from tests.care.test_doctor import broken, change, files_of, lose_counts, open_group
from tests.process.kitchen import Kitchen, kill, wait_until
from zq.care import examine, repair

PAGE = 4096


def flip_and_zero(directory: Path) -> None:
    """Changes a payload, and zeroes the page that has another one."""
    path = directory / "data.mdb"
    data = bytearray(path.read_bytes())
    place = data.rindex(b"margherita 00995")
    page = place - place % PAGE
    data[page : page + PAGE] = bytes(PAGE)
    place = data.rindex(b"margherita 00105")
    data[place] ^= 1
    path.write_bytes(data)


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("journal", [True, False], ids=["journal", "no journal"])
def test_what_is_broken_is_set_aside_into_a_file_and_the_rest_is_handed_out(tmp_path: Path, journal: bool) -> None:
    directory, into = tmp_path / "data", tmp_path / "aside.jsonl"
    fill(directory, 1500, store_options=zq.LmdbOptions(journal=journal))
    before = batches_of(directory)
    flip_and_zero(directory)
    (directory / "journal.new").touch()

    done = repair(directory, into)

    assert any(text.startswith("set aside: table pending from key") for text in done)
    assert any(text.startswith("queue orders: ") and "tasks were in what is gone" in text for text in done)
    assert "removed journal.new, which was half made" in done
    files, lines = files_of(directory), into.read_bytes()
    assert repair(directory, into) == []
    assert (files_of(directory), into.read_bytes()) == (files, lines)
    assert not broken(list(examine(directory)))
    flipped = [one for one in lines_of(into) if not one["is_part"] and one["table"] == "pending"]
    assert [bytes.fromhex(str(one["stored"])).count(b"margherita") for one in flipped] in ([9], [10])
    assert [(one["queue"], one["tasks"]) for one in flipped] == [("orders", 10)]
    check_ledger_of(before, handed_out(directory), lines_of(into))


def test_counts_and_orphans_are_put_right(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    fill(directory, 20)
    open_group(directory)
    change(directory, lose_counts)

    done = repair(directory)

    assert sum(text.startswith("counted anew: ") for text in done) == 10
    assert not broken(list(examine(directory)))
    assert repair(directory) == []


def test_repair_that_was_killed_half_way_is_gone_on_with(kitchen: Kitchen) -> None:
    directory = kitchen.data
    fill(directory, 1500)
    before = batches_of(directory)
    with zq.Coordinator(directory) as coordinator, zq.Client(coordinator.address) as client:
        client.submit_many("large", (b"x" * 100_000 for _ in range(150)))
    flip_and_zero(directory)
    made, whole = directory / "data.rebuilt", (directory / "data.mdb").read_bytes()
    repairing = kitchen.start("doctor", str(directory), "--repair")
    wait_until(lambda: made.exists() or repairing.poll() is not None, "the new file")
    kill(repairing)

    assert repairing.returncode == -9
    assert made.exists()
    assert (directory / "data.mdb").read_bytes() == whole
    into = directory.with_name("aside.jsonl")
    again = kitchen.start("doctor", str(directory), "--repair", "--into", str(into))
    assert again.wait(60) == 0
    assert not made.exists()
    with zq.Coordinator(directory) as coordinator, zq.Client(coordinator.address) as client:
        client.queues.purge("large")
    check_ledger_of(before, handed_out(directory), lines_of(into))


def test_what_cannot_be_repaired_is_said(kitchen: Kitchen) -> None:
    kitchen.start_coordinator()
    with kitchen.client() as client:
        client.submit("orders", 1)
        with pytest.raises(zq.StoreLockedError, match="stop its coordinator first"):
            repair(kitchen.data)
    empty, other = kitchen.data.with_name("empty"), kitchen.data.with_name("notes.txt")
    empty.mkdir()
    other.write_text("to do\n", encoding="utf-8")
    with pytest.raises(zq.StoreError, match=r"has no data\.mdb"):
        repair(empty)
    directory = kitchen.data.with_name("other")
    fill(directory, 10)
    with pytest.raises(zq.StoreError, match="is not what was set aside"):
        repair(directory, other)
    (directory / "journal").unlink()
    with pytest.raises(zq.StoreCorruptError, match="is not there"):
        repair(directory)
