"""Faults that a coordinator or a client could have; the simulation must catch each, or its green means nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Any

import pytest

from tests.simulation import deadlines
from tests.simulation.fault_plants import FAULT_PATCHES
from tests.simulation.journal_plants import JOURNAL_PATCHES
from zq.core import clocks, coordinator, tables, upkeep
from zq.core.admin import chores, commands, moving, operations, workers
from zq.core.measures.steps import Base, History
from zq.core.opening import read_books
from zq.core.options import CoordinatorOptions, Now
from zq.core.state import event_streams, history, namespace_limits, outcome_waits, places, queue, unique_keys
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.ceilings import Ceilings
from zq.core.state.deadlines import Deadline, Deadlines
from zq.core.state.holder import HolderOf
from zq.core.state.leases import Claimant, Holder, Lease
from zq.core.state.operation import Chore, Chores, Operation
from zq.core.state.step import EndedMembers, Step
from zq.core.state.throttle import Gate
from zq.core.state.transitions import DEAD, LEASED
from zq.core.tasks import (
    admission,
    assignment,
    cancelling,
    dead_letters,
    endings,
    expiry,
    follow_up,
    groups,
    key_turns,
    leasing,
    liveness,
    publishing,
    pulls,
    retrying,
    schedules,
    settling,
)
from zq.core.tasks.groups import GroupRow
from zq.core.tasks.schedules import ScheduleRow
from zq.core.upkeep import UpkeepPart
from zq.wire.messages import Answer, Held, Settled
from zq.wire.messages import Batch as WireBatch
from zq.wire.policies import DEFAULT_POLICIES
from zq.wire.steering import About
from zq.worker.bench import Bench

IN_THE_PEERS = ("ack before commit", "delete before commit", "resend with new id", "nak after timeout")
"""These are in the simulated shell and clients, see `kitchen`."""


def _no_token_check(patch: pytest.MonkeyPatch) -> None:
    real = settling.settle

    def settle(books: Books, step: Step, peer: bytes, sender: Holder | None, message: Any) -> None:
        """Believes every completion of a task that is leased to anyone, whatever its token."""

        def current(token: int, id: str, index: int) -> int:
            for lease in books.leases.values():
                if lease.batch.id == id and lease.mask & lease.batch.span_mask(index, index + 1):
                    return lease.token
            return token

        done = tuple(one._replace(token=current(one.token, one.id, one.lo)) for one in message.done)
        real(books, step, peer, sender, message._replace(done=done))

    patch.setattr(settling, "settle", settle)
    patch.setattr(settling, "lease_of", lambda books, claimant, token, id=None: books.leases.get(token))


def _pulls_are_anybodys(patch: pytest.MonkeyPatch) -> None:
    real = Claimant.may_speak_for
    patch.setattr(Claimant, "may_speak_for", lambda self, lease: lease.holder.is_puller or real(self, lease))


def _id_not_compared(patch: pytest.MonkeyPatch) -> None:
    real = settling.lease_of
    patch.setattr(settling, "lease_of", lambda books, claimant, token, id=None: real(books, claimant, token))


def _live_name_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(liveness, "_keeps_name", lambda books, step, worker: False)


def _ttl_of_leased_ignored(patch: pytest.MonkeyPatch) -> None:
    def forget(books: Books, step: Step, lease: Lease) -> None:
        lease.start_by = inf

    patch.setattr(expiry, "_take_back_unstarted", forget)


def _no_dedup(patch: pytest.MonkeyPatch) -> None:
    class Blind:
        def __getattr__(self, name: str) -> Any:
            return (lambda step, id: None) if name == "find" else getattr(places, name)

    patch.setattr(admission, "places", Blind())


def _wall_clock(patch: pytest.MonkeyPatch) -> None:
    real = Step.__init__
    patch.setattr(Step, "__init__", lambda self, now, tx: real(self, Now(now.wall, now.wall), tx))


def _heartbeat_marks_ready(patch: pytest.MonkeyPatch) -> None:
    real = liveness.heartbeat

    def heartbeat(books: Books, step: Step, worker: Holder, message: Any) -> None:
        worker.held = 0
        real(books, step, worker, message)

    patch.setattr(liveness, "heartbeat", heartbeat)


def _lease_not_cleared(patch: pytest.MonkeyPatch) -> None:
    real = leasing.uncover

    def uncover(books: Books, step: Step, lease: Lease, mask: int) -> None:
        real(books, step, lease, mask)
        if not lease.mask:
            step.tx.put(tables.LEASES, tables.token_key(lease.token), lease.record())

    patch.setattr(leasing, "uncover", uncover)


def _epoch_not_raised(patch: pytest.MonkeyPatch) -> None:
    real = leasing.grant

    def grant(books: Books, step: Step, batch: StoredBatch, mask: int, holder: Holder) -> Lease:
        books.epoch = 1
        return real(books, step, batch, mask, holder)

    patch.setattr(leasing, "grant", grant)


def _credit_not_returned(patch: pytest.MonkeyPatch) -> None:
    real = leasing.uncover

    def uncover(books: Books, step: Step, lease: Lease, mask: int) -> None:
        real(books, step, lease, mask)
        lease.holder.held += mask.bit_count()

    patch.setattr(leasing, "uncover", uncover)


def _dead_without_record(patch: pytest.MonkeyPatch) -> None:
    real = endings.bury

    def bury(books: Books, step: Step, single: StoredBatch, reason: str) -> None:
        real(books, step, single, reason)
        step.tx.delete(tables.DEAD, single.key)

    patch.setattr(endings, "bury", bury)


def _attempt_too_many(patch: pytest.MonkeyPatch) -> None:
    real = retrying.attempts_limit
    patch.setattr(retrying, "attempts_limit", lambda books, batch: real(books, batch) + 1)


def _retry_without_delay(patch: pytest.MonkeyPatch) -> None:
    real = retrying.try_again
    patch.setattr(
        retrying, "try_again", lambda books, step, single, error, delay: real(books, step, single, error, delay / 2)
    )


def _group_fires_twice(patch: pytest.MonkeyPatch) -> None:
    real = follow_up._complete

    def complete(books: Books, step: Step, row: GroupRow) -> None:
        real(books, step, row)
        batch = places.read(books, step, places.find(step, row.id))
        if batch is not None:
            wire = WireBatch(f"{row.id}-again", batch.queue.name, batch.options, batch.ends, batch.blob)
            admission.store(books, step, batch.queue, wire)

    patch.setattr(follow_up, "_complete", complete)


def _group_fires_early(patch: pytest.MonkeyPatch) -> None:
    real = follow_up._decide

    def decide(books: Books, step: Step, row: GroupRow, members: EndedMembers) -> bool:
        if row.outstanding == 1 and row.policy == "all":
            row.outstanding = 0
        return real(books, step, row, members)

    patch.setattr(follow_up, "_decide", decide)


def _membership_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(groups, "_count_in", lambda books, step, own, id, count: None)


def _group_kept_in_memory(patch: pytest.MonkeyPatch) -> None:
    real_save, real_find, real_init = groups.save, groups.find, Books.__init__
    kept: dict[str, GroupRow] = {}

    def save(step: Step, row: GroupRow) -> None:
        """Stores how a group began and how it ended; what it waits for is forgotten by a restart."""
        if row.id not in kept or row.state != groups.OPEN:
            real_save(step, row)
        kept[row.id] = row

    def init(self: Books, options: CoordinatorOptions) -> None:
        kept.clear()
        real_init(self, options)

    patch.setattr(groups, "save", save)
    patch.setattr(groups, "find", lambda step, id: kept.get(id) or real_find(step, id))
    patch.setattr(Books, "__init__", init)


def _notice_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(follow_up, "_store_notice", lambda books, step, notice: None)


def _key_kept_by_the_dead(patch: pytest.MonkeyPatch) -> None:
    real = settling.lose_task

    def lose_task(books: Books, step: Step, lease: Lease, bit: int, why: str) -> None:
        """Ends the task of a dead worker and forgets that its key is free."""
        before = dict(books.turned)
        real(books, step, lease, bit, why)
        books.turned = before

    patch.setattr(settling, "lose_task", lose_task)


def _turns_forgotten_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    real = read_books

    def forgetful(options: Any, now: Now, tx: Any) -> Books:
        """Reads the books, and lets whoever comes first have the turn of each key."""
        for key in [key for key, _ in tx.scan(tables.LINES)]:
            tx.delete(tables.LINES, key)
        books = real(options, now, tx)
        for one in books.queues.values():
            one.add_lines(-one.lines)
        return books

    patch.setattr(coordinator, "read_books", forgetful)


def _rest_of_a_batch_overtakes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(key_turns, "keep_for_retry", lambda books, step, single: None)


def _rest_of_a_run_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(key_turns, "end_run", lambda books, step, lease: None)


def _run_ends_in_any_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(key_turns, "is_next", lambda lease, mask: True)


def _run_to_a_worker_that_takes_none(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HolderOf, "run_max", property(lambda holder: 1 if holder.is_puller else max(1, holder.credit)))


def _suspect_heard_without_a_turn(patch: pytest.MonkeyPatch) -> None:
    def beat_idle(holder: Holder, now: float) -> bool:
        """Notes that it was heard, and tells nobody that it may have tasks again."""
        holder.heard_at = holder.beat_at = now
        return not (holder.leases or holder.is_resting)

    patch.setattr(HolderOf, "beat_idle", beat_idle)


def _beats_as_rare_as_silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CoordinatorOptions, "idle_interval", lambda options, workers: options.suspect_after)


def _beat_without_leases_that_it_has(patch: pytest.MonkeyPatch) -> None:
    real = HolderOf.beat_idle

    def beat_idle(holder: Holder, now: float) -> bool:
        """Does not look at what it has, and its beats do not list."""
        leases, holder.leases = holder.leases, {}
        is_idle = real(holder, now)
        holder.leases = leases
        return is_idle

    patch.setattr(HolderOf, "beat_idle", beat_idle)


def _expired_handed_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(expiry, "is_expired", lambda batch, wall: False)
    patch.setattr(expiry, "EXPIRE_MAX", 1)


def _expiry_forgotten_when_given_back(patch: pytest.MonkeyPatch) -> None:
    def give_back(books: Books, step: Step, lease: Lease, mask: int) -> None:
        batch = lease.batch
        options, batch.options = batch.options, batch.options._replace(ttl=None)
        real(books, step, lease, mask)
        batch.options = options

    real = leasing.give_back
    patch.setattr(leasing, "give_back", give_back)


def _replay_repeats_itself(patch: pytest.MonkeyPatch) -> None:
    """Leaves what it brought back among the dead, as a copy that is never acknowledged."""
    real = dead_letters.revive

    def revive(books: Books, step: Step, single: StoredBatch, to: Any = None) -> bool:
        value = step.tx.get(tables.DEAD, single.key) or b""
        key = single.key
        is_back = real(books, step, single, to)
        step.tx.put(tables.DEAD, key, value)
        single.queue.bring_in(LEASED, DEAD, 1, 0)
        return is_back

    patch.setattr(dead_letters, "revive", revive)


def _history_begins_anew(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(coordinator.Machine, "__init__", _without_base(coordinator.Machine.__init__))


def _without_base(real: Callable[..., None]) -> Callable[..., None]:
    def start(self: coordinator.Machine, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        self.books.measures.history.base = Base()

    return start


def _history_counts_twice(patch: pytest.MonkeyPatch) -> None:
    real = History.put_base

    def put_base(self: History, tx: Any, base: Base) -> None:
        before = self.base.totals
        real(self, tx, base)
        self.base = base._replace(totals=before)

    patch.setattr(History, "put_base", put_base)


def _history_forgets_the_deleted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(History, "leave_out", lambda self, tx, gone: None)


def _policies_forgotten_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(queue, "policies_of", lambda record: DEFAULT_POLICIES)


def _full_buckets_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    real = Gate.__init__
    patch.setattr(Gate, "__init__", lambda self, policies, now, is_restart: real(self, policies, now, is_restart=False))


def _key_not_reopened(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "touch", lambda self, key: False)


def _pulls_pass_the_gate(patch: pytest.MonkeyPatch) -> None:
    real = assignment.serve_pull

    def serve_pull(books: Books, step: Step, queue: Any, wait: Any) -> bool:
        gate, queue.gate = queue.gate, None
        try:
            return real(books, step, queue, wait)
        finally:
            queue.gate = gate

    patch.setattr(assignment, "serve_pull", serve_pull)


def _publication_in_part(patch: pytest.MonkeyPatch) -> None:
    real = publishing._refusal

    def refusal(books: Books, step: Step, message: Any, batches: list[WireBatch]) -> Any:
        """Looks at one queue after the other, and has stored in the first when the second is full."""
        refused = real(books, step, message, batches)
        if refused is not None and refused.code == "busy" and real(books, step, message, batches[:1]) is None:
            admission.store(books, step, books.queue(step, batches[0].queue), batches[0])
        return refused

    patch.setattr(publishing, "_refusal", refusal)


def _publication_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publishing, "find", lambda step, id: None)


def _binding_not_stored(patch: pytest.MonkeyPatch) -> None:
    real = publishing.bind

    def bind(books: Books, step: Step, arguments: dict[str, Any]) -> bool:
        is_new = real(books, step, arguments)
        step.tx.delete(tables.BINDINGS, tables.binding_key(books.bindings.last_number))
        return is_new

    patch.setitem(commands.COMMANDS, "bind", bind)


def _unique_key_kept_by_the_dead(patch: pytest.MonkeyPatch) -> None:
    real = endings.bury

    def bury(books: Books, step: Step, single: StoredBatch, reason: str) -> None:
        patch.setattr(unique_keys, "free", lambda step, batch: None)
        real(books, step, single, reason)
        patch.setattr(unique_keys, "free", free)

    free = unique_keys.free
    patch.setattr(endings, "bury", bury)


def _duplicate_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(places, "note_duplicate", lambda books, step, queue, id, original: None)


def _replaced_and_not_cancelled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(admission, "_replace_holder", lambda books, step, queue, batch: None)


def _operation_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = operations._save

    def save(books: Books, step: Step, operation: Operation) -> None:
        real(books, step, operation)
        step.tx.delete(tables.OPERATIONS, operation.id.encode())

    patch.setattr(operations, "_save", save)


def _moved_and_left_behind(patch: pytest.MonkeyPatch) -> None:
    real = moving._transplant

    def transplant(books: Books, step: Step, batch: StoredBatch, to: Any) -> StoredBatch:
        fresh = real(books, step, batch, to)
        step.tx.put(tables.PENDING, batch.key, batch.record())
        return fresh

    patch.setattr(moving, "_transplant", transplant)


def _schedule_not_moved(patch: pytest.MonkeyPatch) -> None:
    real = schedules._save

    def save(books: Books, step: Step, name: str, row: ScheduleRow) -> None:
        """Remembers that it fired, and not until when."""
        known = schedules.find(step, name)
        fired = known is not None and row.fired > known.fired
        real(books, step, name, row._replace(next_time=known.next_time) if known is not None and fired else row)

    patch.setattr(schedules, "_save", save)


def _times_not_taken_back(patch: pytest.MonkeyPatch) -> None:
    """What is to come stays where it is when the wall clock is set back."""
    patch.setattr(clocks, "_PHASES", (lambda books, step, start: None,) * 3)


def _schedule_not_atomic(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(admission, "store_if_new", lambda books, step, batch: True)


def _returned_and_not_traced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(history, "note_returned", lambda books, step, lease, mask, why: None)


def _history_lost_at_a_split(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(history, "inherit", lambda books, step, batch, single: None)


def _namespace_counts_one_queue(patch: pytest.MonkeyPatch) -> None:
    def take_in(self: namespace_limits.Shares, share: namespace_limits.Share, one: queue.Queue) -> None:
        """Has a namespace count the first of its queues alone."""
        if not share.queues:
            real(self, share, one)
            return
        share.queues += 1

    real = namespace_limits.Shares._take_in
    patch.setattr(namespace_limits.Shares, "_take_in", take_in)


def _budget_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ceilings, "check_peer", lambda self, step, kind, more=1: None)


def _count_does_not_fall(patch: pytest.MonkeyPatch) -> None:
    real = Books.free_leases

    def free_leases(self: Books, holder: Holder, count: int) -> None:
        """Takes what a peer has done for something that it still holds."""
        account, holder.account = holder.account, None
        real(self, holder, count)
        holder.account = account

    patch.setattr(Books, "free_leases", free_leases)


def _wait_counted_for_ever(patch: pytest.MonkeyPatch) -> None:
    real = outcome_waits.Waits.forget

    def forget(self: outcome_waits.Waits, peer: bytes, request: int) -> bool:
        guest = self._guests.get(peer)
        is_known = real(self, peer, request)
        if is_known and guest is not None:
            guest.account.waits += 1
        return is_known

    patch.setattr(outcome_waits.Waits, "forget", forget)


def _reserve_used_by_a_filler(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ceilings, "check_store", lambda self, step: None)


def _cancel_rewrites_an_end(patch: pytest.MonkeyPatch) -> None:
    real = cancelling.end_some

    def end_some(books: Books, step: Step, id: str, *rest: Any) -> Any:
        """Says of what was done long ago that it was cancelled."""
        known = places.find(step, id)
        if isinstance(known, places.End) and known.outcome == "done":
            step.tx.put(tables.INDEX, id.encode(), tables.pack(known._replace(outcome="cancelled")))
        return real(books, step, id, *rest)

    patch.setattr(cancelling, "end_some", end_some)


def _cancel_forgets_its_rest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chores, "PORTION", 1)
    real = Chores.save

    def save(self: Chores, step: Step, chore: Chore) -> None:
        real(self, step, chore)
        step.tx.delete(tables.CHORES, chore.key.encode())

    patch.setattr(Chores, "save", save)


def _cancel_answered_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chores, "PORTION", 1)
    real = chores._begin

    def begin(books: Books, step: Step, asker: tuple[bytes, int], chore: Chore, *done: int) -> None:
        real(books, step, asker, chore, *done)
        for peer, request in books.chores.askers.pop(chore.key, ()):
            step.send(peer, Answer(request, 1))

    patch.setattr(chores, "_begin", begin)


def _departure_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "PORTION_LEASES", 1)
    patch.setattr(liveness, "_see_off", lambda books, step: books.departed.clear())


def _chore_stops(patch: pytest.MonkeyPatch, way: Callable[..., None]) -> None:
    patch.setattr(chores, "PORTION", 1)
    way(patch, kind="chores")


def _end_not_told(patch: pytest.MonkeyPatch) -> None:
    real = event_streams.Followers.note

    def note(
        self: event_streams.Followers, kind: str, queue: str | None, id: str = "", *rest: Any, **named: Any
    ) -> None:
        if kind != "done" or not id.endswith("3"):
            real(self, kind, queue, id, *rest, **named)

    patch.setattr(event_streams.Followers, "note", note)


def _unconfirmed_kept(patch: pytest.MonkeyPatch) -> None:
    def forget(books: Books, step: Step) -> float:
        """Forgets that nobody has them, when it should take them back."""
        for token in [token for token, until in books.offers.items() if until <= step.now]:
            del books.offers[token]
        return min(books.offers.values(), default=inf)

    patch.setattr(pulls, "take_back_unconfirmed", forget)


def _undelivered_kept(patch: pytest.MonkeyPatch) -> None:
    real = pulls.disconnected

    def disconnected(books: Books, step: Step, *peers: bytes) -> None:
        offers, books.offers = books.offers, {}
        real(books, step, *peers)
        books.offers = offers

    patch.setattr(pulls, "disconnected", disconnected)


def _undelivered_kept_of_a_worker(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(liveness, "take_back_undelivered", lambda books, step, peer, since: None)


def _never_arrived_and_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "take_back", lambda books, step, lease: settling.lose(books, step, lease, "it is gone"))


def _confirmed_and_on_offer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pulls, "confirm", lambda books, step, peer, tokens: None)


def _withdrawn_and_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pulls, "withdraw", lambda books, step, peer, requests: None)


def _silent_not_called_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pulls, "call_on_guests", lambda books, step: step.now + books.options.suspect_after)


def _silent_served_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(assignment, "is_heard", lambda books, step, wait: True)


def _guests_never_leave(patch: pytest.MonkeyPatch) -> None:
    real = pulls.disconnected

    def disconnected(books: Books, step: Step, *peers: bytes) -> None:
        """Gives leases back, and lets those who are gone wait on."""
        guests = {peer: guest for peer in peers if (guest := books.guests.pop(peer, None)) is not None}
        real(books, step, *peers)
        for peer, guest in guests.items():
            books.guests[peer] = guest

    patch.setattr(pulls, "disconnected", disconnected)


def _idle_never_taken_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(liveness, "_look_for_idle", lambda books, step, worker, held: None)


def _lost_ends_not_missed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lease, "note_listed", lambda self, running, now: None)


def _unlisted_never_taken_back(patch: pytest.MonkeyPatch) -> None:
    real = liveness.heartbeat

    def heartbeat(books: Books, step: Step, worker: Holder, message: Any) -> None:
        """Believes that the worker lists all that it was given."""
        listed = {one.token for one in message.held}
        missing = tuple(Held(token, ()) for token in worker.leases if token not in listed)
        for token in [one.token for one in missing]:
            worker.leases[token].moved_at = step.now
        real(books, step, worker, message._replace(held=message.held + missing))

    patch.setattr(liveness, "heartbeat", heartbeat)


def _worker_never_gives_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Bench, "shed", lambda self, now, stuck, stuck_coroutines, running: [])


def _charged_when_given_back(patch: pytest.MonkeyPatch) -> None:
    real = leasing.give_back

    def give_back(books: Books, step: Step, lease: Lease, mask: int) -> None:
        real(books, step, lease, mask)
        lease.batch.attempts += 1

    patch.setattr(leasing, "give_back", give_back)


def _place_lost_when_given_back(patch: pytest.MonkeyPatch) -> None:
    real = leasing.give_back

    def give_back(books: Books, step: Step, lease: Lease, mask: int) -> None:
        """Has what comes back wait behind everything else of its priority."""
        batch = lease.batch
        if batch.is_queued:
            real(books, step, lease, mask)
            return
        batch.is_queued = True  # so that it is not put into its place
        real(books, step, lease, mask)
        batch.is_queued = False
        books.turn += 1
        batch.queue.put_behind(batch, books.sequence, books.turn)

    patch.setattr(leasing, "give_back", give_back)


def _given_back_and_kept(patch: pytest.MonkeyPatch) -> None:
    real = leasing.give_back

    def give_back(books: Books, step: Step, lease: Lease, mask: int) -> None:
        patch.setattr(leasing, "uncover", keep)
        real(books, step, lease, mask)
        patch.setattr(leasing, "uncover", uncover)

    def keep(books: Books, step: Step, lease: Lease, mask: int) -> None:
        lease.batch.leased &= ~mask

    uncover = leasing.uncover
    patch.setattr(leasing, "give_back", give_back)


def _steered_twice(patch: pytest.MonkeyPatch) -> None:
    real = workers.steer

    def steer(books: Books, step: Step, arguments: dict[str, Any]) -> Any:
        real(books, step, arguments)
        return real(books, step, arguments)

    patch.setitem(commands.COMMANDS, "steer-worker", steer)


def _older_worker_steered(patch: pytest.MonkeyPatch) -> None:
    real = workers.steer

    def steer(books: Books, step: Step, arguments: dict[str, Any]) -> Any:
        """Takes every worker for one that can be told."""
        worker = books.workers.get(arguments["name"])
        if worker is not None and worker.about is None:
            worker.about = About("", 0, 0, 1, is_draining=False, trouble=None)
        return real(books, step, arguments)

    patch.setitem(commands.COMMANDS, "steer-worker", steer)


def _about_not_kept(patch: pytest.MonkeyPatch) -> None:
    real = liveness.note_about

    def note_about(books: Books, worker: Holder, message: Any) -> None:
        if worker.about is None:
            real(books, worker, message)

    patch.setattr(liveness, "note_about", note_about)


def _next_try_not_told(patch: pytest.MonkeyPatch) -> None:
    real = settling._finish_settling

    def finish(books: Books, step: Step, peer: bytes, sender: Holder | None, message: Any, told: Settled) -> None:
        real(books, step, peer, sender, message, told._replace(next_tries=()))

    patch.setattr(settling, "_finish_settling", finish)


def _next_try_told_wrongly(patch: pytest.MonkeyPatch) -> None:
    real = settling._fail

    def fail(books: Books, step: Step, lease: Lease, bit: int, failed: Any) -> Any:
        """Says of the last attempt that there is another one."""
        next_try = real(books, step, lease, bit, failed)
        return next_try._replace(delay=next_try.delay or 1.0)

    patch.setattr(settling, "_fail", fail)


LATE_SECONDS = 5.0


def _part_is_late(patch: pytest.MonkeyPatch, kind: str) -> None:
    """Lets a part of the upkeep say too late a time."""

    if kind == "operations":
        patch.setattr(operations, "PORTION_TASKS", 1)  # else they have come to their end in one step

    def spoil(part: UpkeepPart) -> UpkeepPart:
        return part._replace(due=lambda books, step: part.due(books, step) + LATE_SECONDS)

    _spoil_part(patch, kind, spoil)


def _part_is_deaf(patch: pytest.MonkeyPatch, kind: str) -> None:
    """Lets a part of the upkeep go by what it found itself, whatever is entered before it looks again."""

    class Deaf(Deadline):
        __slots__ = ("hears",)

        def __init__(self, *, is_wall: bool) -> None:
            super().__init__(is_wall=is_wall)
            self.hears = False

        def bring_forward(self, when: float) -> None:
            if self.hears:
                super().bring_forward(when)
            self.hears = False

    def spoil(part: UpkeepPart) -> UpkeepPart:
        deadline = part.deadline
        assert isinstance(deadline, Deaf)

        def due(books: Books, step: Step) -> float:
            next_at = part.due(books, step)
            deadline.hears = True
            return next_at

        return part._replace(due=due)

    real = Deadlines.__init__

    def init(self: Deadlines) -> None:
        real(self)
        setattr(self, kind, Deaf(is_wall=getattr(self, kind).is_wall))

    patch.setattr(Deadlines, "__init__", init)
    _spoil_part(patch, kind, spoil)


def _spoil_part(patch: pytest.MonkeyPatch, kind: str, spoil: Callable[[UpkeepPart], UpkeepPart]) -> None:
    real = upkeep.parts_of

    def parts_of(books: Books) -> tuple[UpkeepPart, ...]:
        deadline = getattr(books.deadlines, kind)
        return tuple(spoil(part) if part.deadline is deadline else part for part in real(books))

    patch.setattr(upkeep, "parts_of", parts_of)


def _sums_not_told(patch: pytest.MonkeyPatch) -> None:
    """Adds up only what the step has changed in which somebody asks."""
    patch.setattr(namespace_limits.Tallies, "note", lambda self, changed: None)


_PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    **JOURNAL_PATCHES,
    **FAULT_PATCHES,
    **{f"{kind} said too late": partial(_part_is_late, kind=kind) for kind in deadlines.KINDS},
    **{f"{kind} not told what is entered": partial(_part_is_deaf, kind=kind) for kind in deadlines.KINDS_TOLD},
    "lease of a pull that nobody has confirmed is kept": _unconfirmed_kept,
    "lease of a pull that could not be delivered is kept": _undelivered_kept,
    "assignment that could not be delivered is kept": _undelivered_kept_of_a_worker,
    "lease of a pull that never arrived counts as lost": _never_arrived_and_lost,
    "lease of a pull that was confirmed is taken back": _confirmed_and_on_offer,
    "what a client has withdrawn is kept": _withdrawn_and_kept,
    "silent clients are not called on": _silent_not_called_on,
    "silent clients are served first": _silent_served_first,
    "what waits outlives its connection": _guests_never_leave,
    "idle tasks never taken back": _idle_never_taken_back,
    "ends that a worker lost not missed": _lost_ends_not_missed,
    "leases that a worker does not list not taken back": _unlisted_never_taken_back,
    "worker never gives back": _worker_never_gives_back,
    "charged when given back": _charged_when_given_back,
    "place lost when given back": _place_lost_when_given_back,
    "given back and kept": _given_back_and_kept,
    "worker steered twice": _steered_twice,
    "older worker steered": _older_worker_steered,
    "what a worker says of itself not kept": _about_not_kept,
    "next try of a failure not told": _next_try_not_told,
    "next try of a failure told wrongly": _next_try_told_wrongly,
    "namespace counts one queue only": _namespace_counts_one_queue,
    "sums not told what a step has changed": _sums_not_told,
    "limit of a peer not asked": _budget_not_asked,
    "count of a peer's leases does not fall": _count_does_not_fall,
    "count of a peer's waits does not fall": _wait_counted_for_ever,
    "reserve of the store used by a filler": _reserve_used_by_a_filler,
    "end of a task that a watcher is not told": _end_not_told,
    "cancel that rewrites how a task ended": _cancel_rewrites_an_end,
    "chores said too late": partial(_chore_stops, way=_part_is_late),
    "chores not told what is entered": partial(_chore_stops, way=_part_is_deaf),
    "rest of what a lost worker held is forgotten": _departure_forgotten,
    "cancel that forgets its rest at a restart": _cancel_forgets_its_rest,
    "cancel that is answered before it is over": _cancel_answered_early,
    "operation on a queue forgotten at a restart": _operation_forgotten,
    "moved task left behind, too": _moved_and_left_behind,
    "given back and not in the trace": _returned_and_not_traced,
    "history lost when a task is split off": _history_lost_at_a_split,
    "policies forgotten at a restart": _policies_forgotten_at_a_restart,
    "full buckets after a restart": _full_buckets_after_a_restart,
    "key not reopened": _key_not_reopened,
    "pulls pass the gate": _pulls_pass_the_gate,
    "publication stored in a part of its queues": _publication_in_part,
    "publication not known when it comes again": _publication_forgotten,
    "binding not kept over a restart": _binding_not_stored,
    "key kept by the dead": _key_kept_by_the_dead,
    "turns forgotten at a restart": _turns_forgotten_at_a_restart,
    "rest of a batch overtakes its retry": _rest_of_a_batch_overtakes,
    "rest of a run kept while a task of it is tried again": _rest_of_a_run_kept,
    "run that ends in any order": _run_ends_in_any_order,
    "run for a worker that takes none": _run_to_a_worker_that_takes_none,
    "suspect that beats is not live again": _suspect_heard_without_a_turn,
    "idle worker that beats as rarely as it may be silent": _beats_as_rare_as_silence,
    "beat that lists nothing not held against leases": _beat_without_leases_that_it_has,
    "no token check": _no_token_check,
    "lease of a pull that anybody ends": _pulls_are_anybodys,
    "id of a completion not compared": _id_not_compared,
    "name of a live worker taken": _live_name_taken,
    "ttl of what is leased not kept": _ttl_of_leased_ignored,
    "no dedup": _no_dedup,
    "wall clock for liveness": _wall_clock,
    "heartbeat marks ready": _heartbeat_marks_ready,
    "lease not cleared": _lease_not_cleared,
    "epoch not raised": _epoch_not_raised,
    "credit not returned": _credit_not_returned,
    "dead letter without record": _dead_without_record,
    "one attempt too many": _attempt_too_many,
    "retry too early": _retry_without_delay,
    "group fires twice": _group_fires_twice,
    "group fires early": _group_fires_early,
    "membership lost at a forward": _membership_lost,
    "group not kept over a restart": _group_kept_in_memory,
    "notice lost": _notice_lost,
    "expired and handed out": _expired_handed_out,
    "unique key kept by the dead": _unique_key_kept_by_the_dead,
    "duplicate forgotten": _duplicate_forgotten,
    "replaced and not cancelled": _replaced_and_not_cancelled,
    "schedule not moved": _schedule_not_moved,
    "times not taken back when the clock is": _times_not_taken_back,
    "schedule without its task": _schedule_not_atomic,
    "replay without taking": _replay_repeats_itself,
    "history begins anew at a restart": _history_begins_anew,
    "history counts a step twice": _history_counts_twice,
    "history forgets what a deleted queue did": _history_forgets_the_deleted,
    "expiry forgotten when given back": _expiry_forgotten_when_given_back,
}

PLANTS = (*_PATCHES, *IN_THE_PEERS)


@contextmanager
def planted(name: str) -> Iterator[str | None]:
    """Plants a fault; yields what `kitchen.run` must be told about it."""
    with pytest.MonkeyPatch.context() as patch:
        if name in _PATCHES:
            _PATCHES[name](patch)
        yield name if name in IN_THE_PEERS else None
