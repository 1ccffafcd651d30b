"""Damage images: a directory is damaged in one way after another, and each time it opens, in books that agree with
themselves; what is whole is there, what is not is named, and nothing is given out that is not what was stored. Or it is
refused in words, where all of it may be concerned.

Each image is looked at by a process of its own: LMDB may end it.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import zq
from tests.images.damaging import DAMAGINGS, REFUSED_BY_RIGHT
from tests.simulation.invariants import check_books
from tests.simulation.ledger import Violation
from zq.care import compact
from zq.core import tables
from zq.core.coordinator import Machine
from zq.core.options import Now
from zq.core.recount import DAMAGED_RECORD, DAMAGED_RESULT
from zq.core.storage import Damage, Store
from zq.errors import StoreCorruptError, StoreError
from zq.store import DiskStore, LmdbOptions, open_store

OPTIONS = zq.CoordinatorOptions(heartbeat_interval=0.5, suspect_after=1.0, gone_after=3.0)

KEPT = (tables.PENDING, tables.SCHEDULED, tables.PARKED, tables.DEAD, tables.RESULTS, tables.SCHEDULES, tables.BINDINGS)
"""Tables whose rows are given out as they are."""

WEIGHTS = {"journal": 5, "young": 1, "off": 4}
"""How often a directory is drawn."""

OPENINGS_MAX = 5
"""Of one image, of which the last finds nothing any more."""

MENDS_MAX = 100
"""Of an image, of which each sets something aside for good."""

CHECK_SECONDS = 100
"""After which an image that is looked at for ever is given up, however busy the machine is."""

Rows = dict[tuple[str, bytes], bytes]


class Whole(NamedTuple):
    """A directory that is to be damaged, and its rows."""

    path: Path
    name: str
    journal: bool
    rows: Rows


@dataclass
class Found:
    """What a run of images has shown.

    Attributes:
        kinds: how many images of each kind there were.
        bitten: how many of them had something set aside, put right, or were refused.
        lost_rows: rows that were not there any more, each of them named.
        violations: promises that were broken, in words.
    """

    images: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    bitten: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    lost_rows: int = 0
    violations: list[str] = field(default_factory=list)


def _options_of(journal: bool) -> LmdbOptions:
    return LmdbOptions(map_bytes=64 << 20, free_bytes_min=0, journal=journal)


def _fill(served: Path, journal: bool) -> None:
    """Makes a directory with all that there may be, on some pages of each table."""
    coordinator = zq.Coordinator(served, options=OPTIONS, store_options=_options_of(journal))
    with coordinator, zq.Client(coordinator.address) as client:
        for n in range(60):
            client.submit_many("orders", [f"payload {n} {i} " * 5 for i in range(5)], priority=n % 3)
            client.submit("lines", f"step {n} " * 20, id=f"ordered-{n}", key=f"key {n % 7}", ordered=True)
        for n in range(30):
            client.submit("later", f"later {n} " * 30, id=f"later-{n}", delay=1e6, ttl=2e6)
            client.submit("unique", n, id=f"unique-{n}", unique=f"number {n}")
            client.submit("sad", f"sad {n} " * 20, id=f"sad-{n}", max_attempts=1)
        client.submit("large", "large " * 3000, id="large-1")
        for task in client.pull("orders", max_tasks=43, wait=5):
            task.done(f"result of {task.payload}")
        for task in client.pull("sad", max_tasks=30, wait=5):
            task.fail("too sad", is_final=True)
        for n in range(8):
            client.group([f"member {n} {i}" for i in range(4)], queue="members", id=f"group-{n}", callback="sums")
            client.schedules.define(f"nightly-{n}", "reports", {"of": "orders"}, cron="30 2 29 2 *")
            client.topics.bind(f"orders.{n}.#", f"audit-{n}")
        for task in client.pull("members", max_tasks=9, wait=5):
            task.done(len(task.payload))
        client.publish("orders.3.created", "pizza")
        client.pull("lines", max_tasks=3, wait=5, lease=40_000)


def _fill_more(served: Path, copied: Path, journal: bool) -> None:
    """Adds to a directory, or makes one, and copies it while it is served: a journal has what was added."""
    coordinator = zq.Coordinator(served, options=OPTIONS, store_options=_options_of(journal))
    with coordinator, zq.Client(coordinator.address) as client:
        commits = -1
        while commits != (commits := client.query("status")["journal"]["checkpoints"]):  # none while it was copied
            shutil.rmtree(copied, ignore_errors=True)
            client.submit("orders", "the last one")
            shutil.copytree(served, copied)


def make_wholes(place: Path) -> list[Whole]:
    """Makes the directories that are to be damaged: one with a journal that has what its tables lack; one in whose
    tables hardly anything is yet, so that what is hit is the list of them; and one without a journal.
    """
    found = []
    for name in ("journal", "young", "off"):
        path, journal = place / f"whole-{name}", name != "off"
        if name != "young":
            _fill(place / "served", journal)
        _fill_more(place / "served", path, journal)
        shutil.rmtree(place / "served")
        if journal:
            compact(path)  # so that most of what is hit is in use; the other one has pages that are free
        shutil.copytree(path, place / "copy")
        store = open_store(place / "copy", tables.TABLES, _options_of(journal))
        found.append(Whole(path, name, journal, _rows(store)))
        store.close()
        shutil.rmtree(place / "copy")
    return found


def check_damages(wholes: list[Whole], place: Path, images: int, seed: int, *, violations_max: int = 1) -> Found:
    """Makes and checks images, until so many have broken a promise; each of these is kept beside the others.

    Args:
        wholes: what is damaged.
        place: folder for an image, which is made anew.
        images: how many.
        seed: of the first; that of each other is one more.
    """
    found = Found()
    names, weights = list(DAMAGINGS), [weight for weight, _ in DAMAGINGS.values()]
    shares = [WEIGHTS[whole.name] for whole in wholes]
    for number in range(seed, seed + images):
        draw = random.Random(number)
        kind, whole = draw.choices(names, weights)[0], draw.choices(wholes, shares)[0]
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole.path, place)
        data = bytearray((place / "data.mdb").read_bytes())
        DAMAGINGS[kind][1](data, draw)
        (place / "data.mdb").write_bytes(data)
        said = in_a_child(partial(_check, place, whole, kind))
        found.images += 1
        found.kinds[kind] += 1
        if "violation" in said:
            shutil.rmtree(place)
            shutil.copytree(whole.path, place)
            (place / "data.mdb").write_bytes(data)  # as it was before it was opened
            place.rename(place.with_name(f"image-{number}"))
            found.violations.append(f"image {number} ({kind}, {whole.name}): {said['violation']}")
            if len(found.violations) >= violations_max:
                break
            continue
        found.bitten[kind] += said["bitten"]
        found.refused[kind] += said["refused"]
        found.lost_rows += said["lost"]
    return found


def in_a_child(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Calls something in a process of its own, and returns what it returns, or how the process ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        logging.disable()
        faulthandler.disable()
        signal.alarm(CHECK_SECONDS)
        try:
            said = check()
        except BaseException:
            said = {"violation": traceback.format_exc()}
        with os.fdopen(writer, "w") as pipe:
            json.dump(said, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {"violation": f"the process was ended by signal {os.WTERMSIG(status)}"}
    told: dict[str, Any] = json.loads(text)
    return told


def _rows(store: Store) -> Rows:
    tx = store.begin()
    try:
        return {(table, key): value for table in tables.TABLES for key, value in tx.scan(table)}
    finally:
        tx.abort()


def _check(path: Path, whole: Whole, kind: str) -> dict[str, Any]:
    counts: list[int] = []
    lost = 0
    while not counts or counts[-1]:
        if len(counts) >= OPENINGS_MAX:
            raise Violation(f"it finds damage at every opening: {counts}")
        try:
            store = open_store(path, tables.TABLES, _options_of(whole.journal))
        except StoreError as error:
            _check_refusal(kind, error)
            return {"bitten": True, "refused": True, "lost": 0}
        machine = _read_books(store)
        counts.append(len(store.damages))
        lost = _check_rows(store, whole.rows)
        tx = store.begin()
        check_books(machine.books, tx)
        tx.abort()
        machine.turn(Now(1e6 + 1, time.time()))
        store.close()
    return {"bitten": counts[0] > 0, "refused": False, "lost": lost}


def _check_refusal(kind: str, error: StoreError) -> None:
    text = str(error)
    by_right = (
        "which records of the journal",
        "their journal",
        "do not belong together",
        "it was cut off",
        "which tables it has",
    )
    if kind not in REFUSED_BY_RIGHT and not any(words in text for words in by_right):
        raise Violation(f"it is refused: {error}") from error
    if len(text) < 40:
        raise Violation(f"it is refused in few words: {text}") from error


def _read_books(store: DiskStore) -> Machine:
    """As the server does."""
    for _ in range(MENDS_MAX):
        try:
            return Machine(OPTIONS, Now(1e6, time.time()), store)
        except StoreCorruptError as error:
            store.mend(error)
    raise Violation(f"what is found is set aside again and again: {[*map(str, store.damages)]}")


def _check_rows(store: DiskStore, before: Rows) -> int:
    """What is given out is what was stored, and what is not there is named; returns how many rows that are."""
    now = _rows(store)
    damages = [Damage(*tables.unpack(value)) for (table, key), value in now.items() if _is_damage(table, key)]
    if any(damage.why.startswith("meta page") for damage in damages):
        return 0  # the tables may be those of the commit before
    parked = {tables.unpack(value)[1] for (table, _), value in before.items() if table == tables.PARKED}
    for (table, key), value in now.items():
        is_moved = table == tables.PENDING and value in parked  # the next of a line whose turn is gone
        if table in KEPT and before.get((table, key)) != value and not is_moved and not _is_time(table, key):
            raise Violation(f"key {key.hex()} of table {table} is given out, and it is not what was stored")
    moved = {value for (table, _), value in now.items() if table == tables.PENDING}
    lost = [
        (table, key)
        for (table, key), value in before.items()
        if (table in KEPT or table == tables.INDEX)
        and (table, key) not in now
        and not _is_time(table, key)
        and not (table == tables.PARKED and tables.unpack(value)[1] in moved)
    ]
    owners = _owners_gone(before, now, damages)
    _check_named([(table, key) for table, key in lost if table != tables.RESULTS or key[:-2] not in owners], damages)
    _check_ids(before, now)
    return len(lost)


def _owners_gone(before: Rows, now: Rows, damages: list[Damage]) -> set[bytes]:
    """Returns keys of batches whose own row is gone, which has to be named, or that are told as dead since some of
    their results are, which have to be named: nobody could ask for the others, and these go with it.
    """
    told = {DAMAGED_RECORD} | {DAMAGED_RESULT for damage in damages if damage.table == tables.RESULTS}
    found = set()
    for (table, key), value in before.items():
        if table == tables.PENDING and (table, key) not in now:
            found.add(key)
        elif table == tables.INDEX:
            record, left = tables.unpack(value), now.get((table, key))
            if record[0] == tables.AT_ENDED and (left is None or told.intersection(tables.unpack(left)[4:5])):
                found.add(record[2])
    return found


def _check_named(lost: list[tuple[str, bytes]], damages: list[Damage]) -> None:
    """Each row that is gone lies in a part that is said to be, or is one of the rows of its table that are: the key of
    these may be damaged, too.
    """
    rows = Counter(damage.table for damage in damages if not damage.is_part and not damage.is_mended)
    alone = Counter(table for table, key in lost if not any(_covers(damage, table, key) for damage in damages))
    for table, count in alone.items():
        if count > rows[table]:
            raise Violation(f"{count} rows of table {table} are gone, {rows[table]} are named: {[*map(str, damages)]}")


def _covers(damage: Damage, table: str, key: bytes) -> bool:
    if not damage.is_part or damage.is_mended or damage.table not in ("", table):
        return False
    place = key if damage.table else table.encode()  # what has no table is about the list of them
    if not damage.table and not damage.why.startswith("the list of tables"):
        return damage.key == place
    return damage.key <= place and (damage.stop is None or place < damage.stop)


def _check_ids(before: Rows, now: Rows) -> None:
    """Each id is where it was, or told as damaged; and nobody is given a task as done whose result is gone."""
    results = Counter(key[:15] for table, key in before if table == tables.RESULTS)
    left = Counter(key[:15] for table, key in now if table == tables.RESULTS)
    for (table, key), value in now.items():
        if table != tables.INDEX or (table, key) not in before:
            continue
        record, old = tables.unpack(value), tables.unpack(before[table, key])
        if record[0] != tables.AT_ENDED:
            continue
        if record != old and "damaged on the disk" not in record[4]:
            raise Violation(f"id {key.decode()} has ended as {record[1:5]}, it was {old[:3]}")
        if record[1] == "done" and left[record[2]] < results[record[2]]:
            raise Violation(f"id {key.decode()} is told as done, and a result of it is gone")


def _is_time(table: str, key: bytes) -> bool:
    """Returns whether a row only says when a schedule is due, which the schedule says, too."""
    return table == tables.SCHEDULES and key[:1] == b"t"


def _is_damage(table: str, key: bytes) -> bool:
    return table == tables.DAMAGED and key not in (tables.RECOUNT_KEY, tables.RECOUNTED_KEY)
