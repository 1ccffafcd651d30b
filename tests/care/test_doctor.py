"""What is found of a directory: that all is well, and each thing that is not."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

import zq
from tests.process.kitchen import Kitchen, kill
from zq.care import Finding, Weight, examine
from zq.care.surroundings import file_system_of


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
