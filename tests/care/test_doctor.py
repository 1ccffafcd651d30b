"""What is found of a directory: that all is well, and each thing that is not."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import zq
from tests.process.kitchen import Kitchen, kill
from zq.care import Finding, Weight, back_up, examine
from zq.care.surroundings import file_system_of
from zq.core import tables
from zq.core.state.leases import LeaseRecord
from zq.core.state.queue import QueueRecord
from zq.core.storage import Transaction
from zq.core.tables import TABLES
from zq.core.tasks import groups
from zq.store import open_store
from zq.store.raw import RawFile


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    with zq.Coordinator(path) as coordinator, zq.Client(coordinator.address) as client:
        client.submit_many("orders", (f"margherita {number}" * 50 for number in range(300)), batch_size=10)
        client.submit("orders", "soon", delay=3600)
    return path


def broken(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.weight is Weight.BROKEN]


def files_of(directory: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in directory.iterdir()}


def test_directory_that_is_whole_is_said_to_be_and_is_not_changed(directory: Path) -> None:
    before = files_of(directory)

    found = list(examine(directory))

    assert not broken(found)
    texts = [one.text for one in found]
    assert any(re.fullmatch(r"\d+ rows in \d+ tables on \d+ pages are as they were written", text) for text in texts)
    assert any(re.fullmatch(r"a flush takes \d+ us.*", text) for text in texts)
    assert files_of(directory) == before


def test_directory_in_which_long_values_became_short_within_a_transaction_is_whole(tmp_path: Path) -> None:
    directory, sizes = tmp_path / "data", (10, 1000, 5000, 12_000, 19_000)
    with zq.Coordinator(directory) as coordinator, zq.Client(coordinator.address) as client:
        for size in sizes:
            client.schedules.define(f"of-{size}", "orders", b"x" * size, every=3600)
    store = open_store(directory, TABLES)
    tx = store.begin()
    for key, value in list(tx.scan(tables.SCHEDULES)):
        tx.put(tables.SCHEDULES, key, b"x" * 20_000)
        tx.put(tables.SCHEDULES, key, value)
    tx.commit()
    store.close()
    with RawFile.open(directory) as raw:
        assert raw.tables()[tables.SCHEDULES].overflow_pages >= 5 * len(sizes)

    assert not broken(list(examine(directory)))
    back_up(directory, tmp_path / "copy")
    for one in (directory, tmp_path / "copy"):
        with zq.Coordinator(one) as coordinator, zq.Client(coordinator.address) as client:
            assert len(client.schedules.list()) == len(sizes)
        assert not list(one.glob("data.damaged-*"))
        assert not broken(list(examine(one)))


def test_directory_is_looked_over_while_it_is_written(kitchen: Kitchen) -> None:
    kitchen.start_coordinator()
    with kitchen.client() as client:
        client.submit_many("orders", [b"x" * 1000] * 2000)
        for number in range(20):
            client.submit("orders", number)
            found = list(examine(kitchen.data))
            assert not broken(found), found
            assert any("a coordinator serves it" in one.text for one in found)


def test_records_that_the_tables_lack_are_counted(kitchen: Kitchen) -> None:
    coordinator = kitchen.start_coordinator()
    with kitchen.client() as client:
        client.submit("orders", 1)
        coordinator.send_signal(19)  # SIGSTOP: the tables are not committed any more
        kill(coordinator)

    found = list(examine(kitchen.data))

    assert not broken(found)
    assert any(re.match(r"whole up to record \d+, of which the tables lack \d+", one.text) for one in found)


def test_flipped_bits_of_payloads_are_named_by_table_and_key(directory: Path) -> None:
    data = directory / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"margherita 7", b"margherita 9"))

    found = broken(list(examine(directory)))

    assert found
    assert all(one.where == "table pending" and "does not match its checksum" in one.text for one in found)
    assert all("zq salvage" in one.remedy for one in found)


def test_file_that_was_cut_off_and_files_that_are_gone_are_named(directory: Path) -> None:
    data = directory / "data.mdb"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    assert any("it was cut off" in one.text for one in broken(list(examine(directory))))

    data.write_bytes(b"")
    assert any("no meta page" in one.text for one in broken(list(examine(directory))))

    data.unlink()
    (gone,) = broken(list(examine(directory)))
    assert gone.text.startswith("is not there, and ")

    data.write_bytes(whole)
    (directory / "journal").unlink()
    (gone,) = broken(list(examine(directory)))
    assert "journal is not there" in gone.text


def test_what_is_around_the_data_is_named(directory: Path) -> None:
    directory.chmod(0o777)
    (directory / "data.new").touch()
    (directory / "notes.txt").touch()
    lock = directory / "lock"
    lock.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(lock))
        found = {(one.weight, Path(one.where).name): one for one in examine(directory)}

    assert found[Weight.WARNING, "data"].remedy == f"chmod 700 {directory}"
    assert "half made" in found[Weight.NOTE, "data.new"].text
    assert found[Weight.NOTE, "notes.txt"].text == "is no file of a coordinator"
    assert found[Weight.BROKEN, "lock"].text == "is no file"


def test_directory_in_memory_is_warned_of(directory: Path) -> None:
    there = Path("/dev/shm")
    if not there.is_dir() or file_system_of(there) != "tmpfs":
        pytest.skip("there is no tmpfs at /dev/shm")
    made = there / f"zq-doctor-{os.getpid()}"
    made.mkdir(mode=0o700)
    try:
        (made / "data.mdb").write_bytes((directory / "data.mdb").read_bytes())
        (made / "journal").write_bytes((directory / "journal").read_bytes())
        found = [one.text for one in examine(made) if one.weight is Weight.WARNING]
    finally:
        for one in made.iterdir():
            one.unlink()
        made.rmdir()

    assert any("is on tmpfs" in text for text in found)


def test_what_is_no_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(zq.StoreError, match="no directory: expected that of a coordinator"):
        list(examine(tmp_path / "nothing"))


# What counts and rows say of each other.


def change(directory: Path, edit: Callable[[Transaction], None]) -> None:
    """Writes rows that are whole, as a fault of a program would."""
    store = open_store(directory, TABLES)
    tx = store.begin()
    edit(tx)
    tx.commit()
    store.close()


def lose_counts(tx: Transaction) -> None:
    """Leaves counts of what is not there, and rows that name it."""
    [(key, value)] = tx.scan(tables.QUEUES)
    queue = QueueRecord(*tables.unpack(value))
    tx.put(tables.QUEUES, key, tables.pack(tuple(queue._replace(scheduled=8, parked=2))))
    gone = tables.task_key(1, 5, 999)
    tx.put(tables.INDEX, b"nobody-1", tables.pending_place(gone))
    tx.put(tables.LEASES, tables.token_key(7), tables.pack(LEASE._replace(key=gone)))
    tx.put(tables.RESULTS, tables.result_key(gone, 0), tables.pack((1, b"", b"")))
    tx.put(tables.EXPIRY, tables.due_key(1.0, b"nobody-2"), b"")
    tx.put(tables.ROSTER, tables.roster_key("no-group", "nobody-3"), b"\0")
    tx.put(tables.MEMBERS, tables.member_key("no-group", (0,)), tables.pack((1, "done", b"", b"")))
    tx.put(tables.UNIQUE, tables.unique_key(1, "margherita"), b"nobody-4")
    tx.put(tables.PROGRESS, gone, tables.pack((b"", b"", b"", False)))
    for key, value in list(tx.scan(tables.GROUPS)):
        row = groups.read_row(key.decode(), value)
        row.outstanding += 3
        tx.put(tables.GROUPS, key, row.record())


LEASE = LeaseRecord(b"", b"\1", False, "nobody", "", None, 0.0)

MISCOUNTS = (
    "queue orders tells of 8 scheduled, and there are 1; of 2 parked, and there are 0",
    "the index says where task or batch nobody-1 is, and it is not there",
    "lease 7 of nobody is of a task that is not there",
    "is a result, and its task is not there",
    "says when a task expires that is not there",
    "names a member of a group that is not there",
    "is of a member of a group that is not there",
    "keeps a unique key for a task that is not there",
    "says which tasks of a batch have ended, and the batch is not there",
    "group pizzas waits for 5 members, and that is not how many there are",
)


def open_group(directory: Path) -> None:
    with zq.Coordinator(directory) as coordinator, zq.Client(coordinator.address) as client:
        client.group(["one", "two"], queue="orders", id="pizzas")


def test_counts_and_orphans_that_do_not_fit_the_rows_are_named(directory: Path) -> None:
    open_group(directory)
    change(directory, lose_counts)
    before = files_of(directory)

    found = broken(list(examine(directory)))

    texts = "\n".join(one.text for one in found)
    assert [one for one in MISCOUNTS if one not in texts] == []
    assert len(found) == len(MISCOUNTS), texts
    assert all("--repair" in one.remedy for one in found)
    assert files_of(directory) == before


def test_what_was_set_aside_is_listed(directory: Path) -> None:
    data = directory / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"margherita 70", b"margherita 90"))
    with zq.Coordinator(directory):
        pass

    found = list(examine(directory))

    assert not broken(found)
    (listed,) = [one for one in found if one.where == "table damaged"]
    assert re.fullmatch(
        r"the row of key [0-9a-f]{30} in table pending: it does not match its checksum, of queue orders, id \S+, which may "
        r"have held 10 tasks; set aside on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
        listed.text,
    )
    counted = [one.text for one in found if "counted anew" in one.text]
    assert [text.partition("made, ")[2] for text in counted] == [
        "table finished: rows rebuilt from others: 1",
        "table index: rows put right by others: 1",
        "table queues: rows put right by others: 1",
    ]
