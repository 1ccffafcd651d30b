"""Puts a directory right: what is broken is set aside, what was left half made goes, and everything is counted anew.

Nothing is done here that a coordinator would not do when it meets the damage; here it is all looked for first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from zq.care.counting import REPAIR
from zq.care.doctor import examine
from zq.care.findings import Weight
from zq.care.set_aside import all_set_aside
from zq.care.surroundings import HALF_MADE
from zq.core.coordinator import Machine
from zq.core.options import CoordinatorOptions, Now
from zq.core.remains import ask_recount
from zq.core.storage import Damage
from zq.core.tables import FINISHED, TABLES
from zq.errors import StoreCorruptError, StoreError
from zq.store import DiskStore, LmdbOptions, open_store
from zq.store.copying import check_there, check_unused
from zq.store.damage import check_ours
from zq.store.draft import MAP_SPARE, reading
from zq.store.hold import DATA_FILE, JOURNAL_FILE, flush
from zq.store.lmdb import LmdbStore
from zq.store.records import CHECKPOINT_TABLE


def repair(
    directory: str | Path, into: str | Path | None = None, advance: Callable[[int], None] | None = None
) -> list[str]:
    """Sets aside what is broken in a directory, and rebuilds what can be derived of the rest. A directory that is whole
    is not written.

    Args:
        into: a file that gets all that was ever set aside, too, a JSON object a line; one that is there goes on.
        advance: is told now and then how many rows were read.

    Returns:
        What was done, in words.

    Raises:
        StoreLockedError: a coordinator has it.
        StoreVersionError: another version of zq wrote it, or something else.
        StoreCorruptError: the journal is not whole, or the data file was cut off: `salvage` is for these.
        StoreError: it cannot be read or written, or the file is something else.
    """
    path = Path(directory)
    check_there(path)
    check_unused(path, "stop its coordinator first; what it meets by itself, it sets aside")
    check_ours(path)
    into = None if into is None else _place_of(Path(into))
    known = {} if into is None else _read_lines(into)
    done: list[str] = []
    left = sorted(one.name for one in path.iterdir() if one.name in HALF_MADE)
    found = [one for one in examine(path, advance) if one.weight is Weight.BROKEN]
    if found or left:
        done += _set_aside(path)
        done += [f"counted anew: {one.text}" for one in found if one.remedy == REPAIR]
        for name in left:
            (path / name).unlink(missing_ok=True)
            done.append(f"removed {name}, which was half made")
        flush(path)
    if into is not None:
        done += _write_lines(path, into, known)
    return done


def _set_aside(path: Path) -> list[str]:
    options = LmdbOptions(
        map_bytes=2 * (path / DATA_FILE).stat().st_size + MAP_SPARE,
        free_bytes_min=0,
        journal=(path / JOURNAL_FILE).exists(),
    )
    damages: list[Damage] = []
    with closing(LmdbStore(path, (*TABLES, CHECKPOINT_TABLE), options)) as tables:
        mend_all(tables)
        damages += tables.damages
    with closing(open_store(path, TABLES, options)) as store:
        notes = recount(store)
        damages += store.damages
    return [f"{'put right' if one.is_mended else 'set aside'}: {one}" for one in damages] + notes


def mend_all(tables: LmdbStore) -> None:
    """Sets aside all that is damaged, of a file of whatever size."""
    nothing = StoreCorruptError("nothing is damaged")
    try:
        tables.mend(nothing)
    except StoreCorruptError as error:
        if error is not nothing:
            raise


def recount(store: DiskStore) -> list[str]:
    """Reads the books as a start does, and has everything counted anew; returns what was found, in words."""
    tx = store.begin()
    ask_recount(tx, (FINISHED,))
    tx.commit()
    while True:
        try:
            return Machine(CoordinatorOptions(), Now(time.monotonic(), time.time()), store).recounted
        except StoreCorruptError as error:
            store.mend(error)


# What is set aside, in a file.


def _place_of(path: Path) -> Path:
    """Returns the file that a name stands for, behind links; raises StoreError when none can be made of that name."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is no file: expected a new name, or the file of a former repair")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write {path}: expected a directory that can be written at {path.parent}")
    return path


def _read_lines(path: Path) -> dict[tuple[Any, ...], str]:
    """Returns the lines of a file by what they are of; raises StoreError when it is another kind of file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = [json.loads(line) for line in lines]
        return {_name_of(row): line for row, line in zip(rows, lines, strict=True)}
    except (ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{path} is there, and is not what was set aside: expected a new file") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _name_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["table"], row["key"], row["stop"], row["stored"], row["time"]


def _write_lines(directory: Path, path: Path, known: dict[tuple[Any, ...], str]) -> list[str]:
    """Adds to a file what it has not yet of what was set aside; it has its name when it is whole."""
    with reading(directory, TABLES, in_use=False) as rows:
        found = {_name_of(row): json.dumps(row) for row in (one.as_map() for one in all_set_aside(rows))}
    fresh = [line for name, line in found.items() if name not in known]
    if not fresh:
        return []
    try:
        with NamedTemporaryFile("w", dir=path.parent, prefix=path.name, encoding="utf-8", delete=False) as file:
            try:
                file.writelines(f"{line}\n" for line in (*known.values(), *fresh))
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).rename(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        flush(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    return [f"wrote {len(fresh)} of what was set aside into {path}"]
