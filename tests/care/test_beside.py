"""Who looks at a directory, or reads it, beside the one that has it."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zq.care import back_up
from zq.core.tables import TABLES
from zq.errors import StoreError, StoreLockedError
from zq.store import hold
from zq.store.hold import DATA_FILE, HOLD_FILE, READERS_FILE
from zq.store.opening import DiskStore, open_store

HOLDING = """
import fcntl, sys
file = open(sys.argv[1], "rb+")
fcntl.flock(file, fcntl.LOCK_EX)
print("has it", flush=True)
sys.stdin.read()
"""

SERVING = """
import sys
from pathlib import Path
from zq.core.tables import TABLES
from zq.store.opening import open_store
store = open_store(Path(sys.argv[1]), TABLES)
print("has it", flush=True)
sys.stdin.read()
"""


@contextmanager
def another(program: str, path: Path) -> Iterator[int]:
    """Runs a program that has a file or a directory; yields its number."""
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "has it\n"
            yield process.pid
        finally:
            process.kill()


def opened(path: Path) -> DiskStore:
    return open_store(path, TABLES)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    opened(tmp_path / "data").close()
    return tmp_path / "data"


@pytest.mark.parametrize("name", [HOLD_FILE, DATA_FILE])
def test_start_waits_for_who_only_looks_whether_somebody_has_it(
    directory: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (directory / name).open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        pauses: list[float] = []

        def look_no_more(seconds: float) -> None:
            pauses.append(seconds)
            fcntl.flock(looking, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", look_no_more)
        opened(directory).close()

    assert len(pauses) == 1


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not tell who has a lock")
@pytest.mark.parametrize("name", [HOLD_FILE, DATA_FILE])
def test_refused_start_names_who_has_the_lock_and_not_who_had_it(
    directory: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold, "SHARED_PATIENCE", 0.0)
    with another(HOLDING, directory / name) as number, pytest.raises(StoreLockedError) as caught:
        opened(directory)
    assert f"in use by process {number};" in str(caught.value)
    with (directory / name).open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        with pytest.raises(StoreLockedError, match=rf"in use by this very process \({os.getpid()}\);"):
            opened(directory)
    monkeypatch.setattr(hold, "_locker_of", lambda _: None)  # as where the system does not tell
    with another(HOLDING, directory / name), pytest.raises(StoreLockedError, match="in use by another process;"):
        opened(directory)


@pytest.mark.parametrize("is_replaced", [True, False])
def test_copy_that_the_coordinator_would_not_see_is_refused_in_words(directory: Path, is_replaced: bool) -> None:
    readers, copy = directory / READERS_FILE, directory.with_name("copy")
    with another(SERVING, directory):
        content, kept = readers.read_bytes(), directory / "kept"
        kept.hardlink_to(readers)
        readers.unlink()
        if is_replaced:
            readers.write_bytes(content)
        how = "replaced" if is_replaced else "removed"
        with pytest.raises(StoreError, match=f"{READERS_FILE} was {how} while the coordinator has it open"):
            back_up(directory, copy)
        assert not copy.exists()
        assert readers.exists() is is_replaced
        kept.rename(readers)
        back_up(directory, copy)
    assert copy.exists()


def test_coordinator_says_once_that_it_would_not_see_readers(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    def turn() -> None:
        store._readers_look_at = 0.0
        store.check()

    store = hold.DirectoryHold(directory)
    try:
        store.hold_data()
        store.note_opened()
        turn()
        assert caplog.records == []
        (directory / READERS_FILE).rename(directory / "kept")
        for _ in range(2):
            turn()
        (directory / "kept").rename(directory / READERS_FILE)
        for _ in range(2):
            turn()
    finally:
        store.close()

    assert [one.levelno for one in caplog.records] == [logging.ERROR, logging.WARNING]
    assert f"{READERS_FILE} was removed or replaced while it is in use" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("end", ["> /dev/full", ">&-"])
def test_backup_that_cannot_be_told_is_done(directory: Path, end: str) -> None:
    command = f'"$0" -m zq backup {directory} --to {directory}-copy {end}'
    result = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert "zq: done, and not printed: copied" in result.stderr
    assert "Traceback" not in result.stderr
    assert directory.with_name("data-copy").exists()


def test_full_disk_of_the_copy_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    size = (directory / DATA_FILE).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 4, before[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot write .*copy.*File too large"):
            back_up(directory, directory.with_name("copy"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
