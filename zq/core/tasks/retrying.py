"""What becomes of a task whose start failed or was lost: it is tried again by its retry policy, or its attempts are
used up.
"""

from zlib import crc32

from zq.core.measures.failures import FailedAttempt, cut_error
from zq.core.state import event_streams, history, places
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.queue import FAILED_AT, RETRIED_AT
from zq.core.state.step import Step
from zq.core.tasks import endings, key_turns
from zq.wire.retry import RetryPolicy


def fail(
    books: Books, step: Step, single: StoredBatch, error: str, *, retry_in: float | None = None, is_final: bool = False
) -> float | None:
    """Charges a start that failed to a task that was split off: it is tried again, or it is dead.

    Returns:
        Seconds until it is tried again; None: it is dead.
    """
    event_streams.note_batch(books.events, single, "failed", error)
    single.attempts += 1
    single.failures += 1
    single.queue.count(FAILED_AT)
    worker = None
    if single.last_start is not None:
        worker, _, assigned_time, started_time = single.last_start
        run = step.wall - (assigned_time if started_time is None else started_time)
        books.measures.timed.note_run(single.queue, run, 1)
    policy = retry_policy(books, single)
    if is_final or single.attempts >= attempts_limit(books, single) or (policy.kind == "none" and retry_in is None):
        _note(books, step, single, worker, error, None)
        endings.bury(books, step, single, error)
        return None
    # Chance is a hash of the task and the attempt, so that the core needs no random numbers and still no two tasks keep
    # step.
    chance = crc32(f"{single.own_id}/{single.attempts}".encode()) / 0xFFFFFFFF
    delay = policy.delay(single.failures, chance) if retry_in is None else retry_in
    _note(books, step, single, worker, error, step.wall + delay)
    try_again(books, step, single, error, delay)
    return delay


def lose(books: Books, step: Step, single: StoredBatch, worker: str, why: str) -> None:
    """Charges a start that was lost, which is no failure of the handler: the task is tried again at once, or it is
    dead.
    """
    single.attempts += 1
    if single.attempts >= attempts_limit(books, single):
        _note(books, step, single, worker, why, None)
        endings.bury(books, step, single, why)
    else:
        _note(books, step, single, worker, why, step.wall)
        try_again(books, step, single, why, 0.0)


def attempts_limit(books: Books, batch: StoredBatch) -> int:
    """Returns how many starts of a task may fail or be lost: the task's own limit, else its queue's, else the
    coordinator's.
    """
    return batch.options.max_attempts or batch.queue.policies.max_attempts or books.options.max_attempts


def retry_policy(books: Books, batch: StoredBatch) -> RetryPolicy:
    """Returns when a task is tried again: as it says itself, else as its queue, else as the coordinator."""
    if batch.options.retry is not None:
        return RetryPolicy(*batch.options.retry)
    text = batch.queue.policies.retry
    return books.options.retry if text is None else RetryPolicy.parse(text)


def try_again(books: Books, step: Step, single: StoredBatch, error: str, delay: float) -> None:
    """Lets a task wait again, in its place, once the delay is over."""
    detail = {"attempt": single.attempts, "failures": single.failures, "in": delay, "error": error[-500:]}
    event_streams.note_batch(
        books.events, single, "retried", f"in {delay:g} s, after {single.attempts} attempts: {error}"
    )
    history.add_start_event(step, books, single, "retry", detail)
    single.last_start = None
    single.queue.count(RETRIED_AT)
    books.count("retried")
    if single.options.ordered:
        key_turns.keep_for_retry(books, step, single)
    if single.is_solo:
        books.save_progress(single)
    if delay > 0:
        places.enter_scheduled(books, step, single, step.wall + delay)
    else:
        endings.wait_again(books, step, single)


def _note(
    books: Books, step: Step, single: StoredBatch, worker: str | None, error: str, next_time: float | None
) -> None:
    """Notes an attempt among the last failures; `next_time` is None when it was the last one."""
    is_dead = next_time is None
    what = (step.wall, single.queue.name, single.own_id, single.attempts, worker, cut_error(error), next_time, is_dead)
    books.measures.failures.note(FailedAttempt(*what))
