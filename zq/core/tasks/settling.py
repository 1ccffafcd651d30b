"""Completions, failures, releases and losses: what ends a lease. Here tokens are compared, inside the transaction (the
fence).
"""

from collections.abc import Iterator, Sequence

from zq.core.state import history, places
from zq.core.state.batch import StoredBatch, bits, run_mask, runs
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.leases import Claimant, Holder, Lease
from zq.core.state.queue import LOST_AT
from zq.core.state.step import Step
from zq.core.state.transitions import CANCELLED, LEASED
from zq.core.tasks import admission, endings, groups, key_turns, leasing, retrying
from zq.core.tasks.repeats import Repeats, checksum, forwarded_of
from zq.task import task_id
from zq.wire.batch import slice_tasks
from zq.wire.messages import Done, Extend, Failed, Release, Settle, Settled, Span
from zq.wire.proofs import Proof
from zq.wire.steering import NextTry

NO_RESULTS = (b"", b"")

PORTION_LEASES = 300
"""Leases, or tasks that were started, that end in one step because their holder is gone or their time is up: a few
milliseconds.
"""

STALE_TASKS_MAX = 16
"""Tasks of one stale completion that were split off and get a row each in their history: a liar must not fill the
store.
"""

STALE_NOTED_MAX = 32
"""Spans of one message that are stale and get a row in a history."""

STALE_SPANS_MAX = 10_000
"""Of what is stale in one message, spans up to which each is told of; beyond, each completion has one over all of its
own.
"""


def settle(books: Books, step: Step, peer: Peer, sender: Holder | None, message: Settle) -> None:
    """Carries out completions and failures; those whose token is not current are listed as stale (protocol 3,
    settle).
    """
    claimant = Claimant(peer, sender, step.owner, message.proofs)
    stale = list(_all_stale(books, step, claimant, message)) if message.is_whole else []
    next_tries: list[NextTry] = []
    if not stale:
        repeats = Repeats(books, step)
        run = None if sender is None or books.events is not None else endings.EndRun(books, step, sender)
        for done in message.done:
            if run is not None:
                lease = None if repeats.has_looked else lease_of(books, claimant, done.token, done.id)
                if lease is not None and run.take(lease, done):
                    continue
                run.store()
            lease, mask, left = _judge_done(books, claimant, done, repeats)
            if lease is not None:
                _complete(books, step, lease, done, mask)
                if repeats.has_looked:
                    repeats.forget(done.id)
            stale += left if len(stale) < STALE_SPANS_MAX else _as_one(left)
        if run is not None:
            run.store()
        for failed in message.failed:
            lease, bit, left = _judge_failed(books, claimant, failed, repeats)
            if lease is not None:
                next_tries.append(_fail(books, step, lease, bit, failed))
            stale += left
    if sender is not None and (sender.idle_finds or sender.gaps > 1) and (message.done or message.failed) and not stale:
        sender.idle_finds, sender.gaps, sender.is_resting = 0, 0, False  # it works
        books.stir_for(sender)
    for id, span in stale[:STALE_NOTED_MAX]:
        _note_stale(books, step, sender, id, span)
    told = Settled(message.number, tuple([span for _, span in stale]))
    if next_tries and sender is not None and sender.about is not None:
        told = told._replace(next_tries=tuple(next_tries))  # it wants to know
    _finish_settling(books, step, peer, sender, message, told)


def release(books: Books, step: Step, peer: Peer, sender: Holder | None, message: Release) -> None:
    """Lets tasks wait again that their holder has not started; no attempt is charged."""
    claimant = Claimant(peer, sender, step.owner, message.proofs)
    stale: list[Span] = []
    broken: dict[int, int] = {}  # by token, from which index on a run went back
    for span in message.spans:
        lease = lease_of(books, claimant, span.token)
        mask = 0 if lease is None else lease.mask & lease.batch.span_mask(span.lo, span.hi)
        if lease is None or not mask:
            if span.lo < broken.get(span.token, span.hi):
                stale.append(span)
            continue
        behind = key_turns.behind(lease, mask) if lease.batch.options.ordered else 0
        if behind:  # its holder would do them before what it gives back
            broken[span.token] = span.lo
            leasing.tell_cancelled(step, lease, behind)
        leasing.give_back_noted(books, step, lease, mask | behind, "its holder gave it back")
    _finish_settling(books, step, peer, sender, message, Settled(message.number, tuple(stale)))


def give_back_all(books: Books, step: Step, lease: Lease, why: str) -> None:
    """Lets everything wait again that a lease covers; no attempt is charged."""
    leasing.give_back_noted(books, step, lease, lease.mask, why)


def take_back(books: Books, step: Step, lease: Lease) -> None:
    """Lets everything wait again of a lease on offer, which nobody has got."""
    books.count("never arrived", lease.mask.bit_count())
    give_back_all(books, step, lease, "it never reached its puller")


def take_back_idle(books: Books, step: Step, lease: Lease, since: float) -> int:
    """Takes from a live worker what it has not worked on since a time, and tells it; returns how many tasks that were.

    What was started and is not listed any more is lost, for it may have been done; the rest goes back uncharged.
    """
    batch, holder = lease.batch, lease.holder
    if batch.options.ordered and not lease.is_run_idle(since):
        return 0
    seconds = step.now - since
    lost = [index for index, missed_at in (lease.missed or {}).items() if missed_at <= since]
    lost_mask = lease.mask & sum(1 << (index - batch.first) for index in lost)
    started = sum(1 << (index - batch.first) for index in lease.started)
    idle_mask = lease.mask & ~started if lease.moved_at <= since else 0
    before = lease.mask
    if lost_mask:
        why = f"worker {holder.name} started it, and has not said for {seconds:g} s that it runs"
        if key_turns.is_breach(lease, lost_mask):
            key_turns.break_run(books, step, lease, why)
            books.count("taken back", before.bit_count())
            return before.bit_count()
        _note_lost(books, lease, lost_mask, why)
        for bit_index in bits(lost_mask):
            lose_task(books, step, lease, 1 << bit_index, why)
    idle_mask &= lease.mask  # what was lost of a run has taken what is behind it along
    if idle_mask:
        why = f"worker {holder.name} held it for {seconds:g} s and did not start it"
        leasing.give_back_noted(books, step, lease, idle_mask, why)
    taken = before & ~lease.mask
    if taken:
        books.count("taken back", taken.bit_count())
        leasing.tell_cancelled(step, lease, taken)
    return taken.bit_count()


def _finish_settling(
    books: Books, step: Step, peer: Peer, sender: Holder | None, message: Settle | Release, told: Settled
) -> None:
    stale = told.stale
    if stale:
        books.count("stale", sum(span.hi - span.lo for span in stale))
        if books.events is not None:
            name = None if sender is None else sender.name
            for span in stale:
                books.events.note("stale", None, "", span.lo, span.hi, name, span.token)
    credit = message.credit
    if sender is not None and credit is not None and credit != sender.credit:
        sender.credit = credit
        books.stir_for(sender)
    if sender is None or stale or told.next_tries or isinstance(message, Release):
        step.send(peer, told)
    else:
        books.waits.unhurried.add_settled(step.now, peer, told)


def lease_of(books: Books, claimant: Claimant, token: int, id: str | None = None) -> Lease | None:
    """Returns the lease of a token if the claimant may speak for it, and it is for the batch of the id, if one is
    said.
    """
    lease = books.leases.get(token)
    if lease is None or (id is not None and id != lease.batch.id):
        return None
    return lease if lease.holder is claimant.worker or claimant.may_speak_for(lease) else None


# What is stale of completions and failures (the fence): decided here, and nowhere else.

Stale = tuple[str, Span]
"""What is refused of a message: the id of its batch, and the tasks."""


def _judge_done(
    books: Books, claimant: Claimant, done: Done, repeats: Repeats
) -> tuple[Lease | None, int, Sequence[Stale]]:
    """Returns the lease and the tasks of it that a completion may end; and what is stale of it: neither covered by
    the lease of its token, nor word for word what was accepted under that token.
    """
    lease = lease_of(books, claimant, done.token, done.id)
    mask = 0 if lease is None else lease.mask & lease.batch.span_mask(done.lo, done.hi)
    if lease is not None and lease.batch.options.ordered and not key_turns.is_next(lease, mask):
        lease, mask = None, 0
    if lease is not None and mask.bit_count() == done.hi - done.lo:
        return lease, mask, ()
    left = run_mask(done.lo, done.hi) & ~(mask << (0 if lease is None else lease.batch.first))
    left &= ~repeats.done_mask(done, left)
    return lease, mask, [(done.id, Span(done.token, lo, hi)) for lo, hi in runs(left)]


def _as_one(stale: Sequence[Stale]) -> Sequence[Stale]:
    """Returns what is stale of one completion as one span, with what lies between."""
    return [(id, span._replace(hi=stale[-1][1].hi)) for id, span in stale[:1]]


def _judge_failed(
    books: Books, claimant: Claimant, failed: Failed, repeats: Repeats
) -> tuple[Lease | None, int, Sequence[Stale]]:
    """Returns the lease and the task of it that has failed; else whether its report is stale, and not the repeat of one
    that was noted before.
    """
    lease = lease_of(books, claimant, failed.token, failed.id)
    bit = 0 if lease is None else lease.mask & lease.batch.span_mask(failed.index, failed.index + 1)
    if bit:
        return lease, bit, ()
    if repeats.is_failure(failed):
        return None, 0, ()
    return None, 0, [(failed.id, Span(failed.token, failed.index, failed.index + 1))]


def _all_stale(books: Books, step: Step, claimant: Claimant, message: Settle) -> Iterator[Stale]:
    """Yields what would be refused of a message that is to be carried out as a whole, or not at all."""
    repeats = Repeats(books, step)
    for done in message.done:
        yield from _judge_done(books, claimant, done, repeats)[2]
    for failed in message.failed:
        yield from _judge_failed(books, claimant, failed, repeats)[2]


def _note_stale(books: Books, step: Step, sender: Holder | None, id: str, span: Span) -> None:
    """Leaves a trace in the history of the tasks, as far as they are known: of each that was split off, and of the
    batch.
    """
    detail = {"token": span.token, "worker": None if sender is None else sender.name}
    known = places.find(step, id)
    if known is None:  # nor is any task of it
        return
    is_single = places.size_of(step, known) == 1
    history.add_event(step, books, id, "stale", detail if is_single else {**detail, "spans": [span[1:]]})
    for index in range(span.lo, min(span.hi, span.lo + STALE_TASKS_MAX)):
        own_id = task_id(id, 0, index)
        if places.find(step, own_id) is not None:
            history.add_event(step, books, own_id, "stale", detail)


# Completions.


def _complete(books: Books, step: Step, lease: Lease, done: Done, mask: int) -> None:
    """Ends the tasks of a completion that its lease covers."""
    batch = lease.batch
    own_group = batch.options.group
    is_moved = own_group is not None and groups.is_moved(batch, done)
    if mask.bit_count() == done.hi - done.lo:
        started_at = lease.started.get(done.lo) if lease.started and done.hi - done.lo == 1 else None
        leasing.uncover(books, step, lease, mask)
        forwarded = forwarded_of(done) if done.forwards or done.groups else ()
        endings.end_done(
            books,
            step,
            lease,
            mask,
            (done.ends, done.blob),
            is_moved=is_moved,
            started_at=started_at,
            forwarded=forwarded,
        )
    else:
        _complete_in_part(books, step, lease, done, mask, is_moved=is_moved)
    lease.holder.done += mask.bit_count()
    if (done.forwards or done.groups) and mask:
        is_member = own_group is not None and groups.is_member(step, own_group[0], batch.id, groups.IS_TASK)
        admission.store_forwarded(
            books, step, batch.queue.name, own_group[0] if own_group is not None and is_member else None, done
        )


def _complete_in_part(books: Books, step: Step, lease: Lease, done: Done, mask: int, *, is_moved: bool) -> None:
    """Some tasks of the range were taken away (cancelled, say) while the holder did them."""
    batch = lease.batch
    leasing.uncover(books, step, lease, mask)
    forwarded = forwarded_of(done)
    for lo, hi in runs(mask):
        results = NO_RESULTS
        if done.blob:
            results = slice_tasks(done.ends, done.blob, lo + batch.first - done.lo, hi + batch.first - done.lo)
        endings.end_done(books, step, lease, run_mask(lo, hi), results, is_moved=is_moved, forwarded=forwarded)
        forwarded = ()


# Failures.


def _fail(books: Books, step: Step, lease: Lease, bit: int, failed: Failed) -> NextTry:
    """Ends one start of a task as failed; returns what becomes of the task."""
    if lease.batch.options.ordered and not key_turns.is_next(lease, bit):
        key_turns.break_run(books, step, lease, "a task failed before the end of others of its key was reported")
        return NextTry(failed.token, failed.index, retrying.attempts_limit(books, lease.batch), 0.0)
    single = take_out(books, step, lease, bit)
    key_turns.end_run(books, step, lease)
    single.last_failure = (lease.token, checksum(failed))
    books.count("failed")
    delay = retrying.fail(books, step, single, failed.error, retry_in=failed.retry_in, is_final=failed.is_final)
    return NextTry(failed.token, failed.index, retrying.attempts_limit(books, single), delay)


def take_out(books: Books, step: Step, lease: Lease, bit: int) -> StoredBatch:
    """Takes one leased task out of its lease and its batch; the caller says what becomes of it."""
    batch = lease.batch
    start = history.start_of(step, lease, bit)
    leasing.uncover(books, step, lease, bit)
    batch.queue.take_out(LEASED, 1, batch.options.priority)
    single = endings.split_off(books, step, batch, bit, LEASED)
    single.last_start = start
    return single


# Losses (protocol 3.1).


def suspects_of(holder: Holder) -> dict[int, int]:
    """Returns the tasks that a holder which is gone may have been at, by token, when it has said of none that it was
    started: the first ones, as it starts them in order.
    """
    found: dict[int, int] = {}
    left = holder.concurrency
    if any(lease.started for lease in holder.leases.values()):
        return found
    for lease in holder.leases.values():
        for bit_index in bits(lease.mask)[: min(left, 1) if lease.batch.options.ordered else left]:
            found[lease.token] = found.get(lease.token, 0) | 1 << bit_index
            left -= 1
        if left == 0:
            break
    return found


def lose(books: Books, step: Step, lease: Lease, why: str, suspects: int = 0, most: int = PORTION_LEASES) -> int:
    """Ends one lease whose holder is gone, or whose time is up: what it had started is charged, what it had not goes
    back.

    Args:
        lease: that ends; when more was started than may be lost now, it goes on with the rest.
        why: it ends.
        suspects: tasks that may have been started.
        most: tasks that may be lost now.

    Returns:
        What it cost, in tasks.
    """
    batch = lease.batch
    if lease.holder.is_puller or lease.is_solo:
        started = lease.mask
    else:
        started = lease.mask & sum(1 << (index - batch.first) for index in lease.started)
    if suspects & lease.mask:
        if batch.options.on_lost == "reassign":
            batch.is_solo = True
            books.save_progress(batch)
        else:
            started |= suspects & lease.mask
    if key_turns.is_breach(lease, started):
        key_turns.break_run(books, step, lease, why)
        return 1
    first = bits(started)[:most]
    is_all = len(first) == started.bit_count()
    _note_lost(books, lease, lease.mask if is_all else sum(1 << index for index in first), why)
    for bit_index in first:
        lose_task(books, step, lease, 1 << bit_index, why)
    if lease.mask and is_all:
        leasing.give_back_noted(books, step, lease, lease.mask, why)
    return len(first) + 1


def _note_lost(books: Books, lease: Lease, mask: int, why: str) -> None:
    books.count("lost", mask.bit_count())
    lease.batch.queue.count(LOST_AT, mask.bit_count())
    if books.events is not None:
        batch, at = lease.batch, lease.batch.first
        for lo, hi in runs(mask):
            books.events.note("lost", batch.queue.name, batch.id, lo + at, hi + at, lease.holder.name, lease.token, why)


def lose_task(books: Books, step: Step, lease: Lease, bit: int, why: str) -> None:
    """Applies `on_lost` to a started task."""
    detail = {"reason": why, **history.suspicion(lease.holder)}
    single = take_out(books, step, lease, bit)
    history.add_start_event(step, books, single, "lost", detail)
    single.last_start = None
    match single.options.on_lost:
        case "cancel":
            endings.end(books, step, single, CANCELLED, why)
        case "dead":
            endings.bury(books, step, single, why)
        case _:
            books.count("reassigned")
            key_turns.end_run(books, step, lease)
            retrying.lose(books, step, single, lease.holder.name, why)


def note_started(books: Books, step: Step, lease: Lease, started: tuple[int, ...]) -> None:
    """Notes what a worker says it has started, and when its time is up."""
    timeout = lease.batch.options.timeout
    for index in started:
        if index not in lease.started and lease.mask & lease.batch.span_mask(index, index + 1):
            lease.started[index] = lease.moved_at = step.now
            if timeout is not None:
                books.alarms.set(step.now + timeout + books.options.suspect_after, lease)


def extend(books: Books, step: Step, peer: Peer, message: Extend) -> bool:
    """Prolongs the lease of a pull, from now on; False when it is no longer the claimant's."""
    lease = lease_of(books, Claimant(peer, None, step.owner, (Proof(message.token, message.proof),)), message.token)
    if lease is None:
        return False
    books.offers.pop(lease.token, None)  # whoever prolongs it has it
    leasing.prolong(books, step, lease, message.lease)
    leasing.store(step, [lease])
    return True
