"""Faults in what is promised of policies of groups, clocks, full disks and damage; see `tests.simulation.plants`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

import pytest

from tests.simulation import rot, space
from tests.simulation.disk import DiskTransaction
from zq.core import clocks, tables, upkeep
from zq.core.recount import Recount
from zq.core.state.books import Books
from zq.core.state.step import EndedMembers, Step
from zq.core.storage import STORE_FULL
from zq.core.tasks import follow_up, groups
from zq.core.tasks.groups import FAILED, GroupRow
from zq.errors import StoreCorruptError, StoreFullError
from zq.server.loop import Server
from zq.store import damage, engine, gauge, journaled
from zq.store.gauge import Gauge
from zq.store.journaled import JournaledStore
from zq.store.memory import MemoryTransaction
from zq.store.records import Change
from zq.store.room import DiskRoom

# Policies of groups.


def _any_joins_all_that_came(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(follow_up, "_first_of", lambda members: members)


def _any_waits_for_all(patch: pytest.MonkeyPatch) -> None:
    """Looks whether one was done when all have ended."""
    real = follow_up._decide

    def decide(books: Books, step: Step, row: GroupRow, members: EndedMembers) -> bool:
        if row.policy == "any" and members.outcome == "done" and row.outstanding > 0 and not row.stored:
            return follow_up._store(step, row, follow_up._first_of(members))
        return real(books, step, row, members) if row.policy != "any" or not row.stored else True

    patch.setattr(follow_up, "_decide", decide)


def _settled_leaves_out_failures(patch: pytest.MonkeyPatch) -> None:
    real = follow_up._store

    def store(step: Step, row: GroupRow, members: EndedMembers) -> bool:
        return members.outcome != "done" or real(step, row, members)

    patch.setattr(follow_up, "_store", store)


def _settled_fails_with_a_member(patch: pytest.MonkeyPatch) -> None:
    real = follow_up._decide

    def decide(books: Books, step: Step, row: GroupRow, members: EndedMembers) -> bool:
        if row.policy == "settled" and members.outcome != "done":
            groups.end(books, step, row, FAILED, "a member of it has failed")
            return False
        return real(books, step, row, members)

    patch.setattr(follow_up, "_decide", decide)


def _all_goes_on_without_a_member(patch: pytest.MonkeyPatch) -> None:
    """Waits for the others of a group that has failed already."""
    real = follow_up._decide

    def decide(books: Books, step: Step, row: GroupRow, members: EndedMembers) -> bool:
        if row.policy == "all" and members.outcome != "done" and row.outstanding > 0:
            return True
        return real(books, step, row, members)

    patch.setattr(follow_up, "_decide", decide)


# Clocks that were set back.


def _delays_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clocks, "_PHASES", (lambda books, step, start: None, *clocks._PHASES[1:]))


def _times_of_schedules_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clocks, "_PHASES", (clocks._PHASES[0], lambda books, step, start: None, clocks._PHASES[2]))


def _ends_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clocks, "_PHASES", (*clocks._PHASES[:2], lambda books, step, start: None))


def _not_noticed_at_a_start(patch: pytest.MonkeyPatch) -> None:
    def open_clock(books: Books, now: Any) -> None:
        books.deadlines.clock.offset, books.deadlines.clock.latest = now.wall - now.monotonic, now.wall

    patch.setattr("zq.core.opening.open_clock", open_clock)


# Disks that others fill.


def _full_disk_not_noticed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gauge, "is_full", property(lambda self: False))


def _room_looked_at_by_turns_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gauge, "LOOK_AGE_MAX", inf)


def _room_that_is_back_not_taken(patch: pytest.MonkeyPatch) -> None:
    real = Gauge._runs_low
    patch.setattr(Gauge, "_runs_low", lambda self, end: getattr(self, "_is_low", False) or real(self, end))


def _nothing_held_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DiskRoom, "hold", lambda self, end, waiting, most, now: None)


def _accepted_into_what_is_held_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DiskTransaction, "is_full", property(lambda self: False))


def _spent_when_it_is_full(patch: pytest.MonkeyPatch) -> None:
    """Refuses completions as if they were new tasks."""
    patch.setattr(Gauge, "is_spent", property(lambda self: self.is_full))


# Stores that are full.


def _busy_without_its_reason(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gauge, "why_full", property(lambda self: STORE_FULL))


def _turns_lost_with_one_that_found_no_room(patch: pytest.MonkeyPatch) -> None:
    """Takes a commit that has found no room for one that has left what came before it since the checkpoint."""
    real = JournaledStore._commit_tables

    def commit_tables(self: JournaledStore, checkpoint: Any = None) -> None:
        with pytest.MonkeyPatch.context() as later:
            later.setattr(self, "_redo_somehow", lambda log: None)
            real(self, checkpoint)

    patch.setattr(JournaledStore, "_commit_tables", commit_tables)


def _answered_without_room(patch: pytest.MonkeyPatch) -> None:
    real = JournaledStore.commit_turn

    def commit_turn(self: JournaledStore, changes: list[Change], rows: int, begun_bytes: int, *, is_full: bool) -> None:
        with suppress(StoreFullError):
            real(self, changes, rows, begun_bytes, is_full=is_full)

    patch.setattr(JournaledStore, "commit_turn", commit_turn)


def _put_off_for_good(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upkeep.Upkeep, "_resume", lambda self, step: None)
    patch.setattr(upkeep, "PUT_OFF_MIN", 1e4)


def _ends_where_it_waits_for_room(patch: pytest.MonkeyPatch) -> None:
    real = Server._read_books

    def read_books(self: Any, before: Any = None) -> None:
        serving, self._is_serving = self._is_serving, False
        real(self, before)
        self._is_serving = serving

    patch.setattr(Server, "_read_books", read_books)


def _completions_refused_before_they_must(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryTransaction, "is_spent", property(lambda self: self.is_short))


# Rows that rot.


def _checksum_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "open_value", lambda table, key, stored, salt: stored[4:])


def _set_aside_twice(patch: pytest.MonkeyPatch) -> None:
    real = damage._note_in
    patch.setattr(damage, "_note_in", lambda env, txn, found: real(env, txn, [*found, *found]))


def _set_aside_and_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(damage, "_take_out", lambda txn, db, wanted: iter(sorted(wanted)))


def _damage_not_named(patch: pytest.MonkeyPatch) -> None:
    """Clears what was found before anybody has told of it."""
    real = Server._read_books

    def read_books(self: Any, before: Any = None) -> None:
        self._store.damages.clear()
        real(self, before)

    patch.setattr(Server, "_read_books", read_books)


def _nothing_counted_anew(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recount, "run", lambda self: False)


def _hurt_batches_served(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recount, "_set_hurt_aside", lambda self: None)


def _hurt_tasks_unknown(patch: pytest.MonkeyPatch) -> None:
    """Tells of one task of a batch whose size nobody knows, and of the others that they never were."""
    patch.setattr("zq.core.recount.SIZE_UNKNOWN", 1)


def _no_end_of_what_a_lost_lease_had(patch: pytest.MonkeyPatch) -> None:
    """Leaves what waits again, since its lease is gone, without the row by which it expires."""
    real = Recount._count_tasks

    def count_tasks(self: Recount) -> None:
        gone, self._gone = self._gone, self._gone - {tables.LEASES}
        real(self)
        self._gone = gone

    patch.setattr(Recount, "_count_tasks", count_tasks)


def _damage_ends_the_loop(patch: pytest.MonkeyPatch) -> None:
    def mend(self: Any, error: StoreCorruptError) -> None:
        raise error

    patch.setattr(Server, "_mend", mend)


def _nothing_stored_after_damage(patch: pytest.MonkeyPatch) -> None:
    real = JournaledStore.mend

    def mend(self: JournaledStore, error: StoreCorruptError) -> None:
        real(self, error)
        self._failure = error

    patch.setattr(JournaledStore, "mend", mend)


def _turns_lost_with_what_is_set_aside(patch: pytest.MonkeyPatch) -> None:
    """Takes the tables as they were committed, and forgets what the journal has beyond."""

    def mend(self: JournaledStore, error: StoreCorruptError) -> None:
        tx, self._tx = self._tx, None
        if tx is not None:
            tx.abort()
        self._tables.mend(error)
        self._tx = self._tables.begin()

    patch.setattr(JournaledStore, "mend", mend)


def _found_damage_forgotten_by_the_journal(patch: pytest.MonkeyPatch) -> None:
    """Applies records of before to what was set aside after them."""
    patch.setattr(journaled, "keep_noted", lambda tx, before: None)


def _rotting(plant: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
    """Plants a fault where something rots in every seed, so that few of them find it."""

    def patch_both(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(rot, "SHARE", 1.0)
        plant(patch)

    return patch_both


def _filling(kind: str, plant: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
    """Plants a fault where every seed fills its store in one way."""

    def patch_both(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(space, "KINDS", (kind,))
        plant(patch)

    return patch_both


FAULT_PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "group of any that joins all that came": _any_joins_all_that_came,
    "group of any that waits for all": _any_waits_for_all,
    "settled group that leaves out what failed": _settled_leaves_out_failures,
    "settled group that fails with a member": _settled_fails_with_a_member,
    "group of all that goes on without a member": _all_goes_on_without_a_member,
    "delays kept when the clock was set back": _delays_kept,
    "times of schedules kept when the clock was set back": _times_of_schedules_kept,
    "ends kept when the clock was set back": _ends_kept,
    "clock set back while it was stopped": _not_noticed_at_a_start,
    "disk that others have filled not noticed": _full_disk_not_noticed,
    "room on the disk looked at by turns alone": _room_looked_at_by_turns_alone,
    "room on the disk that is back not noticed": _room_that_is_back_not_taken,
    "nothing held back of the disk": _nothing_held_back,
    "new tasks taken into what is held back": _accepted_into_what_is_held_back,
    "completions refused on a full disk": _spent_when_it_is_full,
    "checksum not checked": _rotting(_checksum_not_checked),
    "damaged row set aside twice": _rotting(_set_aside_twice),
    "damaged row set aside and left": _rotting(_set_aside_and_left),
    "damage not named in the log": _rotting(_damage_not_named),
    "nothing counted anew after damage": _rotting(_nothing_counted_anew),
    "batch served of which nobody knows what was done": _rotting(_hurt_batches_served),
    "damaged tasks that never were": _rotting(_hurt_tasks_unknown),
    "no end of what a lost lease had": _rotting(_no_end_of_what_a_lost_lease_had),
    "found damage forgotten by the journal": _rotting(_found_damage_forgotten_by_the_journal),
    "damage that ends the loop": _rotting(_damage_ends_the_loop),
    "nothing stored after damage": _rotting(_nothing_stored_after_damage),
    "turns lost with what is set aside": _rotting(_turns_lost_with_what_is_set_aside),
    "busy without its reason": _filling("held", _busy_without_its_reason),
    "turns lost with one that found no room": _filling("loose", _turns_lost_with_one_that_found_no_room),
    "answered although the commit found no room": _filling("loose", _answered_without_room),
    "upkeep put off for good": _filling("map", _put_off_for_good),
    "end of a process that should wait for room": _filling("loose", _ends_where_it_waits_for_room),
    "completions refused while there is room for them": _filling("map", _completions_refused_before_they_must),
}
