"""Copies a directory while it is in use: one that is whole by itself, with all that was answered before it began.

The tables are read in one transaction of LMDB's, which readers of other processes may have beside a writer, and written
without their free pages. What the journal had beyond them at that moment is read first, and written into the copy.
Between the two, a checkpoint may begin the journal anew: it then is no continuation of what was read, and both are read
again. The copy needs no journal, so it has none.

It is made beside its place and gets its name when it is whole and on disk, so that what has the name is never half. A
file in it says that it is half made, and is locked by who makes it: only what has that file, and nobody holds, is
removed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from zq.core.storage import Transaction
from zq.core.sums import SUM_BYTES
from zq.core.tables import SCHEMA
from zq.errors import StoreCorruptError, StoreError, StoreLockedError, StoreVersionError
from zq.store.carrying import INFO_TABLE, SCHEMA_KEY, SEALED_KEY, refusal, schema_told
from zq.store.damage import REBUILT_FILE, check_ours, kept_files
from zq.store.draft import MAP_SPARE
from zq.store.engine import NEW_FILE, store_error
from zq.store.hold import DATA_FILE, HOLD_FILE, READERS_FILE, check_readers, flush, who_has
from zq.store.journal import read_beyond
from zq.store.lmdb import LmdbOptions, LmdbStore
from zq.store.records import CHECKPOINT_KEY, CHECKPOINT_TABLE, Checkpoint, RedoRecord, apply, leave_log
from zq.store.room import LACKS

PART = ".part"
"""What the name of a copy ends in while it is made."""

REPORT_FILE = "salvage.jsonl"
"""What is not there in a directory that was salvaged, a JSON object a line."""

MARK_FILE = "half-made"
"""In a copy that is made, and in nothing else: whoever makes it holds its lock."""

MARK_TEXT = b"zq is making a copy here; without zq at work, it was left half made and may be removed\n"

MADE_FILES = frozenset({DATA_FILE, READERS_FILE, HOLD_FILE, REPORT_FILE, NEW_FILE, REBUILT_FILE, MARK_FILE})
"""What may be in a copy that somebody has left half made, beside `kept_files`: its pages may have been broken."""

TAKES_MAX = 5
"""Tries to take the place of a copy, which another process gives its name meanwhile."""

READS_MAX = 50
TRY_PAUSE = 0.02
"""Seconds between two tries to read tables and journal as of one moment."""


class Copied(NamedTuple):
    """What was copied.

    Attributes:
        bytes: of the copy.
        records: of the journal that are in it beside the tables.
    """

    bytes: int
    records: int


def copy_store(
    source: Path, target: Path, tables: tuple[str, ...], change: Callable[[Transaction], None] | None = None
) -> Copied:
    """Copies what is in a directory, which may be in use, into a new one.

    Args:
        target: where nothing is yet.
        tables: their names.
        change: is told the transaction in which the copy gets its last rows; None: nothing is changed.

    Raises:
        StoreError: there is something at the target, or the source cannot be read, or the target not written.
        StoreVersionError: another version of zq wrote it.
        StoreCorruptError: something is gone that was answered.
    """
    with making(source, target) as part:
        records = _copy_tables(source, part)
        _finish(part, (*tables, CHECKPOINT_TABLE), records, change)
    return Copied((target / DATA_FILE).stat().st_size, len(records))


@contextmanager
def making(source: Path, target: Path) -> Iterator[Path]:
    """Yields an empty directory, which gets its name when the block is left, and is removed when it raises.

    Raises:
        StoreError: there is something at the target, or no data file at the source, or it cannot be written.
    """
    _check_free(target)
    check_there(source)
    check_ours(source, is_read_only=True)
    part = None
    try:
        part = CopyInWork(target.with_name(target.name + PART))
        yield part.path
        part.give_name(target)
    except lmdb.Error as error:
        raise store_error(error, f"cannot write {target}{PART}") from error
    except OSError as error:
        raise StoreError(f"cannot copy {source} to {target}: {error.strerror or error}") from error
    finally:
        if part is not None:
            part.close()


class CopyInWork:
    """A directory in which a copy is made, from its making until it has its name, or is closed.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        """Makes a directory, or takes one that was left half made, and empties it.

        Raises:
            StoreError: somebody makes a copy there, or something else has the name.
            OSError: it cannot be made or written.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._mark = -1
        try:
            if not any(self._take() for _ in range(TAKES_MAX)):
                raise StoreError(f"{path} is made and removed by something else: try it again")
            self._clear()
            os.pwrite(self._mark, MARK_TEXT, 0)
            os.fsync(self._mark)
        except BaseException:
            self._let_go()
            raise

    def give_name(self, target: Path) -> None:
        """Gives what was made its name, whole and flushed."""
        if not self._has_name():
            raise StoreError(f"{self.path} was removed or replaced while the copy was made there: try it again")
        for name in (HOLD_FILE, READERS_FILE):
            (self.path / name).unlink(missing_ok=True)
        flush(self.path)
        _check_free(target)
        (self.path / MARK_FILE).unlink()  # from here on nobody takes it for half made
        self.path.rename(target)
        self._let_go()
        flush(target.absolute().parent)

    def close(self) -> None:
        """Removes what was made, unless it has got its name."""
        if self._mark == -1:
            return
        try:
            if self._has_name():
                self._clear()
                (self.path / MARK_FILE).unlink()
                self.path.rmdir()
        except (OSError, StoreError):  # the next one takes it
            pass
        finally:
            self._let_go()

    def _take(self) -> bool:
        """Opens the file that says that it is half made, and locks it; returns whether it is still there then."""
        path, foreign = self.path, f"{self.path} is there, and is no copy that was left half made: move it away"
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        if path.is_symlink() or not path.is_dir():
            raise StoreError(foreign)
        try:
            names = {one.name for one in path.iterdir()}
            kept = {one.name for one in kept_files(path).values()}
            if names and (MARK_FILE not in names or not names - kept <= MADE_FILES):
                raise StoreError(foreign)
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._mark = os.open(path / MARK_FILE, flags | (0 if names else os.O_CREAT), 0o600)
        except FileNotFoundError:  # another process has made it whole
            return False
        try:
            fcntl.flock(self._mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{path} is being made by another process: wait for it, or choose another name") from None
        if not self._has_name():
            self._let_go()
            return False
        text = os.pread(self._mark, 2 * len(MARK_TEXT), 0)
        if text != MARK_TEXT and (text.strip(b"\0") or names - {MARK_FILE}):
            raise StoreError(foreign)
        if is_in_use(path):
            raise StoreError(f"{path} was left half made, and is in use: stop what uses it, and move it away")
        return True

    def _has_name(self) -> bool:
        """Returns whether the file that is locked is the one that is there."""
        try:
            found, own = (self.path / MARK_FILE).lstat(), os.fstat(self._mark)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)

    def _clear(self) -> None:
        """Removes what is in it; the file that says what it is stays."""
        for one in (*(self.path / name for name in MADE_FILES - {MARK_FILE}), *kept_files(self.path).values()):
            one.unlink(missing_ok=True)

    def _let_go(self) -> None:
        number, self._mark = self._mark, -1
        if number != -1:
            fcntl.flock(number, fcntl.LOCK_UN)  # closing would leave it to what was forked meanwhile
            os.close(number)


def _check_free(target: Path) -> None:
    if os.path.lexists(target):
        raise StoreError(f"{target} is there already: expected a new name, or move it away")


def part_of(target: Path) -> Path:
    """Returns the file that grows while a copy is made."""
    return target.with_name(target.name + PART) / DATA_FILE


def check_there(directory: Path) -> None:
    """Raises StoreError when a directory has no data file: what is looked after is there, and is not made."""
    if not (directory / DATA_FILE).is_file():
        raise StoreError(f"{directory} has no {DATA_FILE}: expected the directory of a coordinator")


def _copy_tables(source: Path, part: Path) -> list[RedoRecord]:
    """Copies the tables as of one moment, and returns what the journal had beyond them then."""
    with _open_reading(source) as env:
        for _ in range(READS_MAX):
            with env.begin() as txn:
                checkpoint = _checkpoint_of(env, txn)
                try:
                    records = read_beyond(source, checkpoint)
                except StoreCorruptError as error:
                    trouble: StoreError = error  # or a checkpoint came between the two
                else:
                    if _is_still(env, checkpoint):
                        _copy_pages(env, txn, part / DATA_FILE)
                        return records
                    trouble = StoreError(f"{source} changes too fast to be copied: try it again")
            time.sleep(TRY_PAUSE)
        raise trouble


def _copy_pages(env: lmdb.Environment, txn: lmdb.Transaction, path: Path) -> None:
    with path.open("xb") as file:
        path.chmod(0o600)
        try:
            env.copyfd(file.fileno(), compact=True, txn=txn)
            os.fsync(file.fileno())
        except (lmdb.Error, OSError) as error:
            lack = next((text for text in map(os.strerror, LACKS) if text in str(error)), None)
            what = f"cannot copy {env.path()} to {path}: {error}" if lack is None else f"cannot write {path}: {lack}"
            raise StoreError(what) from error


@contextmanager
def _open_reading(source: Path) -> Iterator[lmdb.Environment]:
    size, in_use = (source / DATA_FILE).stat().st_size, is_in_use(source)
    if in_use:
        check_readers(source)
    try:
        with lmdb.open(
            str(source), map_size=size + MAP_SPARE, max_dbs=2, readonly=True, create=False, max_spare_txns=0
        ) as env:
            if in_use:
                check_readers(source)  # LMDB makes the file anew when it was removed just now
            _check_schema(env, source)
            yield env
    except lmdb.Error as error:
        raise StoreError(f"cannot read {source}: {error}") from error


def check_unused(directory: Path, remedy: str) -> None:
    """Raises StoreLockedError when somebody has a directory, with what to do."""
    if is_in_use(directory):
        raise StoreLockedError(f"{directory} is in use by {who_has(directory)}: {remedy}")


def is_in_use(directory: Path) -> bool:
    """Returns whether somebody has a directory: by each lock that there is, for any of its files may have been removed,
    or replaced, under who has it open.
    """
    return _is_locked(directory / HOLD_FILE) or _is_locked(directory / DATA_FILE) or _is_open(directory / READERS_FILE)


def _is_locked(path: Path) -> bool:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False


def _is_open(readers: Path) -> bool:
    """Returns whether LMDB has a directory open, where the system tells its locks. The file is not opened to be asked:
    to close it would let go of the locks that this process may have.
    """
    try:
        found = readers.stat()
        lines = Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any(name in line.split() for line in lines)


def _check_schema(env: lmdb.Environment, source: Path) -> None:
    try:
        with env.begin() as txn:
            db = env.open_db(INFO_TABLE.encode(), txn=txn, create=False)
            rows: list[Any] = [txn.get(key, db=db) for key in (SCHEMA_KEY, SEALED_KEY)]
            found = schema_told(*rows)
    except lmdb.NotFoundError:
        found = None
    if found is None:
        raise refusal(str(source), None)
    if found != b"%d" % SCHEMA:
        schema = f"schema {found.decode(errors='replace')}"
        raise StoreVersionError(
            f"{source} has {schema}, this version of zq copies schema {SCHEMA}: start a coordinator of this version on it "
            "first, which carries over what it can read"
        )


def _checkpoint_of(env: lmdb.Environment, txn: lmdb.Transaction) -> Checkpoint:
    """Returns what the tables know of their journal; what it says is checked when the copy is opened."""
    try:
        row: Any = txn.get(CHECKPOINT_KEY, db=env.open_db(CHECKPOINT_TABLE.encode(), txn=txn, create=False))
    except lmdb.NotFoundError:
        row = None
    return Checkpoint.from_bytes(None if row is None else row[SUM_BYTES:])


def _is_still(env: lmdb.Environment, checkpoint: Checkpoint) -> bool:
    with env.begin() as txn:
        return _checkpoint_of(env, txn) == checkpoint


def _finish(
    part: Path, tables: tuple[str, ...], records: list[RedoRecord], change: Callable[[Transaction], None] | None
) -> None:
    """Writes into a copy what its tables lack, and that it has no journal."""
    size = (part / DATA_FILE).stat().st_size
    store = LmdbStore(part, tables, LmdbOptions(map_bytes=2 * size + MAP_SPARE, free_bytes_min=0, journal=False))
    try:
        if store.damages:  # in a copy nothing is set aside: it is to be what it was made of
            raise StoreCorruptError(f"{part} is no copy to rely on: {store.damages[0]}")
        tx = store.begin()
        try:
            checkpoint = Checkpoint.from_bytes(tx.get(CHECKPOINT_TABLE, CHECKPOINT_KEY))
            for record in records:
                apply(record, tx)
            leave_log(checkpoint, records[-1].sequence if records else checkpoint.sequence, tx)
            if change is not None:
                change(tx)
        except BaseException:
            tx.abort()
            raise
        tx.commit()
    finally:
        store.close()
