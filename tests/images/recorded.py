"""A coordinator that is recorded: the real one, which writes down what it is about to acknowledge.

`python -m tests.images.recorded DIRECTORY ADDRESS MARKS LIFE JOURNAL [MISTAKE]` serves until SIGTERM. Beside what it
does anyway, its one thread writes marks, which strace sees between its other calls:

- *opened*: a sum over all rows of all tables, as they were found;
- *begun*: a turn has come to its end and is about to be committed, which makes the sum that;
- *committed*: the commit has returned;
- *sent*: these receipts are about to be sent, and these outcomes of tasks of these batches.

The sum is that of all rows, whatever their order, so that a row that is written changes it by that row alone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgpack

from tests.images.mistakes import make_mistake
from zq.core.insight import waits
from zq.core.options import CoordinatorOptions
from zq.core.state.books import Books
from zq.core.state.step import Step
from zq.core.storage import Store, Transaction
from zq.core.tables import TABLES
from zq.core.tasks import admission
from zq.server import loop
from zq.server.sender import Sender
from zq.store import LmdbOptions, journaled, open_store
from zq.store.seam import JournalOptions
from zq.wire.codec import encode_answer
from zq.wire.messages import Outcome, Receipt, Submit, Wait
from zq.wire.retry import RetryPolicy

OPENED, BEGUN, COMMITTED, SENT = range(4)

OPTIONS = CoordinatorOptions(keep_seconds=1e6, max_attempts=3, retry=RetryPolicy.constant(0.01))

POISON = "poison"
"""Begin of the ids of tasks that a fault of the program strikes, when half of their turn is done."""

FATAL = "fatal"
"""Begin of the ids of tasks with which the process is killed in the life that they name: before the commit of their
turn, or after it.
"""


def row_sum(table: str, key: bytes, value: bytes) -> int:
    """Returns what a row adds to the sum of a store."""
    digest = blake2b(b"%b\0%d\0%b%b" % (table.encode(), len(key), key, value), digest_size=8)
    return int.from_bytes(digest.digest())


def store_sum(tx: Transaction) -> int:
    """Returns the sum over all rows of a store."""
    total = 0
    for table in TABLES:
        for key, value in tx.scan(table):
            total ^= row_sum(table, key, value)
    return total


class Marks:
    """The file that is written to for strace's eyes alone."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def write(self, *fields: Any) -> None:
        data = msgpack.packb(fields)
        assert os.write(self._file, data) == len(data)


class WatchedTransaction:
    """A transaction as it is, which adds up what it does."""

    def __init__(self, store: WatchedStore, tx: Transaction) -> None:
        self._store = store
        self._tx = tx
        self._sum = store.sum

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._forget(table, key)
        self._tx.put(table, key, value)
        self._sum ^= row_sum(table, key, value)

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in (rows := dict(items)).items():
            self._forget(table, key)
            self._sum ^= row_sum(table, key, value)
        self._tx.put_many(table, list(rows.items()))

    def delete(self, table: str, key: bytes) -> bool:
        self._forget(table, key)
        return self._tx.delete(table, key)

    def delete_many(self, table: str, keys: Sequence[bytes]) -> list[bool]:
        return [self.delete(table, key) for key in keys]

    def commit(self) -> None:
        self._store.commit(self._tx, self._sum)

    def _forget(self, table: str, key: bytes) -> None:
        before = self._tx.get(table, key)
        if before is not None:
            self._sum ^= row_sum(table, key, before)


class WatchedStore:
    """The store as it is, which writes marks around each commit; it ends the process where it is told to."""

    def __init__(self, store: Store, marks: Marks) -> None:
        self._store = store
        self._marks = marks
        self.dies = ""
        tx = store.begin()
        self.sum = store_sum(tx)
        tx.abort()
        marks.write(OPENED, self.sum)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def begin(self) -> WatchedTransaction:
        return WatchedTransaction(self, self._store.begin())

    def commit(self, tx: Transaction, total: int) -> None:
        self._marks.write(BEGUN, total)
        if self.dies.endswith("before"):
            os.kill(os.getpid(), signal.SIGKILL)
        tx.commit()
        self.sum = total
        self._marks.write(COMMITTED)
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)


def main(directory: str, address: str, marks_path: str, life: str, journal: str, *mistakes: str) -> None:
    """Serves until SIGTERM.

    Args:
        life: its number.
        journal: on, off, or "long": then only that it is full begins it anew.
    """
    if journal == "long":
        options = JournalOptions(age_max=60.0, idle_after=60.0)
        setattr(journaled, "JournalOptions", lambda: options)  # noqa: B010 - mypy would have it a class
    marks = Marks(marks_path)
    stores: list[WatchedStore] = []

    def watch(path: Path, tables: tuple[str, ...], options: LmdbOptions) -> WatchedStore:
        stores.append(WatchedStore(open_store(path, tables, replace(options, journal=journal != "off")), marks))
        return stores[-1]

    for mistake in mistakes:
        make_mistake(mistake)
    setattr(loop, "open_store", watch)  # noqa: B010 - mypy forbids to assign to a function
    _write_down_what_is_sent(marks)
    _strike_some(stores, f"{FATAL}-{life}-")
    server = loop.Server(Path(directory), bind=address, options=OPTIONS)
    server.open()
    signal.signal(signal.SIGTERM, lambda number, frame: server.stop())
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    try:
        server.run()
    finally:
        server.close()


def _write_down_what_is_sent(marks: Marks) -> None:
    awaited: dict[tuple[Any, int], str] = {}
    send, wait = Sender.send, waits.wait

    def wait_and_note(books: Books, step: Step, peer: Any, message: Wait) -> Any:
        awaited[peer, message.request] = message.id
        return wait(books, step, peer, message)

    def send_and_mark(self: Sender, outbox: Sequence[tuple[Any, Any]]) -> list[Any]:
        told = [
            (awaited[peer, message.request] if isinstance(message, Outcome) else "", encode_answer(message))
            for peer, message in outbox
            if isinstance(message, Receipt | Outcome)
        ]
        if told:
            marks.write(SENT, told)
        return send(self, outbox)

    setattr(waits, "wait", wait_and_note)  # noqa: B010 - mypy forbids to assign to a function
    setattr(Sender, "send", send_and_mark)  # noqa: B010 - the same, of a method


def _strike_some(stores: list[WatchedStore], fatal: str) -> None:
    submit = admission.submit

    def submit_or_fail(books: Any, step: Any, peer: Any, message: Submit, run: Any) -> None:
        left = submit(books, step, peer, message, run)
        if left is not None:
            left.store(books, step)
        for batch in message.batches:
            if batch.id.startswith(POISON):
                raise KeyError("a fault of the program, when half of it is done")
            if batch.id.startswith(fatal):
                stores[-1].dies = batch.id

    setattr(admission, "submit", submit_or_fail)  # noqa: B010 - mypy forbids to assign to a function


if __name__ == "__main__":
    main(*sys.argv[1:])
