"""What must hold of each image: it opens, it is what a turn left, and everything that was acknowledged is in it."""

from __future__ import annotations

import random
from pathlib import Path

from tests.images.disk import Image
from tests.images.recorded import OPTIONS, store_sum
from tests.images.recording import Account
from tests.simulation.invariants import check_books, check_grants
from tests.simulation.ledger import Violation
from zq.core.coordinator import Machine
from zq.core.insight.queries import answer
from zq.core.options import Now
from zq.core.state.step import Step
from zq.core.storage import Store
from zq.core.tables import TABLES
from zq.store import LmdbOptions, open_store
from zq.wire.messages import Outcome, Wait

NOW = Now(100.0, 1_700_000_000.0)


def check_image(image: Image, account: Account, directory: Path, rng: random.Random) -> None:
    """Checks an image in a directory that is not there yet.

    Raises:
        Violation: a promise is broken.
        StoreError: it does not open.
    """
    if image.files is None:
        if account.committed is not None:
            raise Violation("the directory is lost, in which something was committed")
        return
    _write(image.files, directory, rng)
    store = open_store(directory, TABLES, LmdbOptions(journal=rng.random() < 0.7))
    try:
        found = _check_sum(store, account.allowed)
        machine = Machine(OPTIONS, NOW, store)
        _check_books(machine, store)
        if account.accepted and not found:
            raise Violation("there is nothing in the store")
        _check_account(machine, store, account)
        left = _sum(store)
    finally:
        store.close()
    store = open_store(directory, TABLES, LmdbOptions(journal=rng.random() < 0.7))  # what was mended stays so
    try:
        _check_sum(store, {left})
    finally:
        store.close()


def _write(files: dict[str, bytes], directory: Path, rng: random.Random) -> None:
    directory.mkdir()
    for name, content in files.items():
        if name == "lock.mdb":  # it is written through memory: there may be anything
            content = rng.choice((content, bytes(len(content)), rng.randbytes(len(content))))
        (directory / name).write_bytes(content)


def _sum(store: Store) -> int:
    tx = store.begin()
    found = store_sum(tx)
    tx.abort()
    return found


def _check_sum(store: Store, allowed: set[int]) -> int:
    found = _sum(store)
    if found not in allowed:
        raise Violation(f"the store has a sum of {found}, which is not what a turn left: {sorted(allowed)}")
    return found


def _check_books(machine: Machine, store: Store) -> None:
    tx = store.begin()
    check_books(machine.books, tx)
    tx.abort()
    check_grants(machine.books, NOW.monotonic)


def _check_account(machine: Machine, store: Store, account: Account) -> None:
    tx = store.begin()
    step = Step(NOW, tx)
    for id in account.accepted:
        if answer(machine.books, step, "task", {"id": id})["state"] == "unknown":
            raise Violation(f"{id} was accepted and is lost")
    tx.abort()
    waits = [(id, span) for id, spans in account.ended.items() for span in spans.values()]
    told = [(b"asker", Wait(number, id, span.lo, span.hi)) for number, (id, span) in enumerate(waits)]
    found = {}
    for _, message in machine.turn(NOW, told):
        if isinstance(message, Outcome):
            found[message.request] = message.ended
    for number, (id, span) in enumerate(waits):
        if found.get(number) != (span,):
            raise Violation(f"{id} ended with {span}, and now with {found.get(number)}")
