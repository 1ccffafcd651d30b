"""Mistakes that a coordinator's way to the disk could have; the images must show each, or their green means nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import lmdb

from zq.store import journal, records
from zq.store.journal import JournalFile
from zq.store.records import Checkpoint


def _tables_not_flushed() -> None:
    _open_lmdb_with(sync=False)


def _meta_not_flushed() -> None:
    _open_lmdb_with(metasync=False)


def _open_lmdb_with(**changed: Any) -> None:
    real = lmdb.open

    def open_with(*arguments: Any, **options: Any) -> Any:
        return real(*arguments, **{**options, **changed})

    _replace(lmdb, "open", open_with)


def _answered_before_the_flush() -> None:
    append, flush = JournalFile.append, JournalFile.flush
    owed: list[JournalFile] = []

    def append_later(self: JournalFile, record: bytes) -> None:
        while owed:
            flush(owed.pop())
        append(self, record)

    _replace(JournalFile, "append", append_later)
    _replace(JournalFile, "flush", lambda self: owed.append(self))


def _journal_not_flushed() -> None:
    _replace(JournalFile, "flush", lambda self: None)


def _checkpoint_ahead() -> None:
    real = Checkpoint.to_bytes
    _replace(Checkpoint, "to_bytes", lambda self: real(self._replace(sequence=self.sequence + 1)))


def _checkpoint_behind() -> None:
    real = Checkpoint.to_bytes
    _replace(Checkpoint, "to_bytes", lambda self: real(self._replace(sequence=max(self.sequence - 1, 0))))


def _torn_record_applied() -> None:
    _replace(records, "crc32", lambda data, seed=0: 0)


def _journal_named_before_it_is_whole() -> None:
    _replace(journal, "_fill", lambda number, start, stop: os.truncate(number, stop))


def _name_of_the_journal_not_flushed() -> None:
    _replace(journal, "flush", lambda path: None)


def _replace(where: object, name: str, by: Any) -> None:
    assert hasattr(where, name), f"{name} is called otherwise by now"
    setattr(where, name, by)


MISTAKES: dict[str, Callable[[], None]] = {
    "tables not flushed": _tables_not_flushed,
    "page that makes a commit current not flushed": _meta_not_flushed,
    "answered before the flush": _answered_before_the_flush,
    "journal not flushed": _journal_not_flushed,
    "checkpoint ahead of the tables": _checkpoint_ahead,
    "checkpoint behind the tables": _checkpoint_behind,
    "torn record applied": _torn_record_applied,
    "journal named before it is whole": _journal_named_before_it_is_whole,
    "name of the journal not flushed": _name_of_the_journal_not_flushed,
}

SHORT = ("answered before the flush",)
"""Those for which the suite has the time; `python -m tests.images --mistakes` makes all."""


def make_mistake(name: str) -> None:
    """Changes this process, for good."""
    MISTAKES[name]()
