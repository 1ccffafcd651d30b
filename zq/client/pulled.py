"""Tasks that were pulled: held under a lease by whoever pulled them, without a worker."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from zq.client.calls import Calls, D
from zq.client.driving import AsyncDriver, Call, Driver, understood
from zq.client.receipt import outcome_of
from zq.errors import PayloadTooLargeError, StaleLeaseError, ZqError
from zq.handling.raised import cut, summary_of, text_of
from zq.sessions.forwards import Forward, gather_forwards
from zq.sessions.requests import check_message
from zq.sessions.settles import joined
from zq.submit_options import check_items
from zq.task import Task
from zq.wire.batch import pack_payload, pack_payloads
from zq.wire.codec import encode
from zq.wire.limits import FRAME_BYTES_MAX, PAYLOAD_BYTES_CEILING, TASK_SEPARATOR, TEXT_CHARS_MAX
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Batch, Done, Extend, Failed, Release, Settle, Span
from zq.wire.proofs import PROOF_BYTES, Proof, proof_of

CALLER_SETTLE_BYTES_MAX = FRAME_BYTES_MAX * 3 // 4
"""One settle that a caller put together; the rest is room for what another process adds on the way."""


PLAIN_RESULT_BYTES = PAYLOAD_BYTES_CEILING // 2
"""Of a result, below which a completion surely fits its message."""

_PROOF = re.compile(rf"([0-9a-f]{{{2 * PROOF_BYTES}}})?", re.ASCII)


class PulledBase(Task, Generic[D]):
    """A pulled task; what its faces share. `forward` collects, as for a handler, what `done` submits in the same
    transaction.
    """

    __slots__ = ("_calls", "_run", "given", "said")

    def __init__(
        self, calls: Calls, run: D, assignment: Assignment, index: int, payload: Any, proof: Proof | None = None
    ) -> None:
        super().__init__(assignment, index, payload, _PullOwner(calls))
        self._calls = calls
        self.given = proof  # by the handle that it was made of
        self._run = run
        self.said: Done | None = None  # the last completion that forwards something: said again, it keeps its ids

    @property
    def handle(self) -> str:
        """Text by which any client, in another process too, can end the task or prolong its lease:
        `Client.pulled(handle)`. Nobody can guess it, and whoever has it may do so: keep it as you keep a password.
        """
        proof = _proof_of(self._calls, self).proof.hex()
        return f"{self.token}.{proof}:{self.id}" if proof else f"{self.token}:{self.id}"


def read_handle(handle: str) -> tuple[Assignment, int, None, Proof]:
    """Returns what a handle says of a pulled task: its lease and its id, and not its payload; and the proof in it.

    Raises:
        ValueError: it is no handle.
        TypeError: it is no text.
    """
    if not isinstance(handle, str):
        raise TypeError(f"expected a handle as text, got {handle!r}")
    lease, separator, id = handle.partition(":")
    token, _, proof = lease.partition(".")
    if not separator or not (token.isascii() and token.isdigit()) or not _PROOF.fullmatch(proof):
        raise ValueError(f"expected a handle such as 1099511627777.0f1e2d3c4b5a6978:order-7, got {handle!r:.200}")
    outcome, index = outcome_of(id)
    size = 1 if TASK_SEPARATOR not in id else 2  # more than one: only how the id is written hangs on it
    assignment = Assignment(int(token), outcome.id, size, "", DEFAULT_OPTIONS, 1, index, b"", b"")
    return assignment, index, None, Proof(assignment.token, bytes.fromhex(proof))


class PulledTask(PulledBase[Driver]):
    """A task that `Client.pull` returned; any thread may use it while its client is open, and end it once."""

    __slots__ = ()

    def done(self, result: Any = None) -> None:
        """Completes the task, and submits what was forwarded, in one transaction; durable on return. What it has said
        it may say again; another result, or other forwards, come too late.

        Args:
            result: what the submitter gets; anything msgpack can hold.

        Raises:
            StaleLeaseError: the task is no longer held here, and the text says why; nothing was stored.
            TypeError, PayloadTooLargeError: the result or a forwarded payload cannot be sent; nothing was stored.
            TimedOutError: no answer in time; whether it was stored is unknown, and it may be called again.
        """
        self._run(_settle(self._calls, self, _completion(self._calls, self, result)))

    def fail(self, error: str | BaseException, retry_in: float | None = None, *, is_final: bool = False) -> None:
        """Reports that the task failed: it is tried again, or becomes a dead letter when its attempts are used up.

        Args:
            error: for people; of a long text the end is kept, of an exception the beginning, with its type.
            retry_in: seconds until the next attempt; None leaves it to the task's retry policy.
            is_final: True: a dead letter at once.

        Raises:
            StaleLeaseError, TimedOutError: as `done`.
        """
        self._run(_settle(self._calls, self, _failure(self, error, retry_in, is_final=is_final)))

    def release(self) -> None:
        """Gives the task back, as if it had never been pulled; raises as `done`."""
        self._run(_release(self._calls, self))

    def extend(self, lease: float) -> None:
        """Prolongs the lease, and that of all tasks that were pulled under the same token.

        Args:
            lease: seconds from now.

        Raises:
            StaleLeaseError, TimedOutError: as `done`.
            ValueError: the lease is out of its range.
        """
        self._run(_extend(self._calls, self, lease))


class AsyncPulledTask(PulledBase[AsyncDriver]):
    """A task that `AsyncClient.pull` returned, awaited; as `PulledTask`."""

    __slots__ = ()

    async def done(self, result: Any = None) -> None:
        """As `PulledTask.done`."""
        await self._run(_settle(self._calls, self, _completion(self._calls, self, result)))

    async def fail(self, error: str | BaseException, retry_in: float | None = None, *, is_final: bool = False) -> None:
        """As `PulledTask.fail`."""
        await self._run(_settle(self._calls, self, _failure(self, error, retry_in, is_final=is_final)))

    async def release(self) -> None:
        """As `PulledTask.release`."""
        await self._run(_release(self._calls, self))

    async def extend(self, lease: float) -> None:
        """As `PulledTask.extend`."""
        await self._run(_extend(self._calls, self, lease))


# The calls, written once for both.


def _completion(calls: Calls, task: PulledBase[Any], result: Any) -> Done:
    """Returns the entry of a settle that completes a task; raises TypeError and PayloadTooLargeError."""
    pack, make_id = calls.pack, calls.session.make_id
    ends, blob = (b"", b"") if result is None else pack_payload(pack(result))
    index = task.index
    if task.forwards is None:
        return Done(task.token, task.batch_id, index, index + 1, ends, blob, ())
    collected = [Forward(index, queue, options, pack(payload)) for queue, options, payload in task.forwards]
    forwards = tuple(
        Batch(make_id(), batch.queue, batch.options, *pack_payloads(batch.payloads))
        for batch in gather_forwards(collected)
    )
    done = Done(task.token, task.batch_id, index, index + 1, ends, blob, forwards, tuple(task.groups))
    if forwards:
        if task.said is None or _without_ids(task.said) != _without_ids(done):
            task.said = done
        return task.said
    return done


def _without_ids(done: Done) -> Done:
    return done._replace(forwards=tuple(batch._replace(id="") for batch in done.forwards))


def _failure(task: Task, error: str | BaseException, retry_in: float | None, *, is_final: bool) -> Failed:
    """Returns the entry of a settle that reports a failure."""
    if issubclass(type(error), BaseException):
        text = summary_of(error, TEXT_CHARS_MAX)  # type: ignore[arg-type] # narrowed by its class, not by what it says
    elif issubclass(type(error), str):
        text = cut(error, 4 * TEXT_CHARS_MAX, keep_end=True)[-TEXT_CHARS_MAX:]  # type: ignore[arg-type] # the same
    else:
        text = text_of(error, TEXT_CHARS_MAX)
    return Failed(task.token, task.batch_id, task.index, text, retry_in, is_final)


def _proof_of(calls: Calls, task: PulledBase[Any]) -> Proof:
    """Returns what shows the coordinator that a task is held here."""
    return proof_of(calls.session.secret, task.token) if task.given is None else task.given


def _settle(calls: Calls, task: PulledBase[Any], entry: Done | Failed) -> Call[None]:
    """Reports the end of a task; what cannot be sent is raised here, where the caller can mend it."""
    proof = _proof_of(calls, task)
    if task.given is not None or not _is_plain(entry):
        _check_entry(entry, proof)
    return _or_why(calls, task, calls.settle(entry, proof))


def _is_plain(entry: Done | Failed) -> bool:
    """Whether nothing in it is the caller's but a result, which was packed within its limit: so most tasks end."""
    return type(entry) is Done and not (entry.forwards or entry.groups) and len(entry.blob) < PLAIN_RESULT_BYTES


def _check_entry(entry: Done | Failed, proof: Proof) -> None:
    done, failed = ((entry,), ()) if isinstance(entry, Done) else ((), (entry,))
    message = Settle(0, None, done, failed, False, (proof,) if proof.proof else ())
    check_message(message)
    size = len(encode(message))
    if size > PAYLOAD_BYTES_CEILING:
        raise PayloadTooLargeError(
            f"result and forwards of a task have {size} bytes, the limit is {PAYLOAD_BYTES_CEILING}"
        )


def _release(calls: Calls, task: PulledBase[Any]) -> Call[None]:
    return _or_why(calls, task, _give_back(calls, task))


@understood
def _give_back(calls: Calls, task: PulledBase[Any]) -> Call[None]:
    proof = _proof_of(calls, task)
    spans = (Span(task.token, task.index, task.index + 1),)
    is_unsure = yield from calls.ask(Release(0, None, spans, (proof,) if proof.proof else ()))
    if is_unsure and (yield from _why_stale(calls, task)) != _WHY_STALE["returned"]:
        raise StaleLeaseError("the task is no longer held here")


@understood
def _extend(calls: Calls, task: PulledBase[Any], lease: float) -> Call[None]:
    is_own = yield from calls.ask(Extend(0, task.token, lease, _proof_of(calls, task).proof))
    if not is_own:
        yield from _say_why(calls, task)


def _or_why(calls: Calls, task: Task, call: Call[None]) -> Call[None]:
    """Carries out a call; one that is refused as stale says why."""
    try:
        yield from call
    except StaleLeaseError:
        pass
    else:
        return
    yield from _say_why(calls, task)


@understood
def _say_why(calls: Calls, task: Task) -> Call[None]:
    raise StaleLeaseError(f"task {task.id} is no longer held here: {yield from _why_stale(calls, task)}")


def _why_stale(calls: Calls, task: Task) -> Call[str]:
    """Asks the coordinator what became of the task under its token."""
    try:
        events = yield from calls.query("trace", {"id": task.id})
    except ZqError:
        events = []
    for event in reversed(events):
        detail = event["detail"]
        if detail.get("token") == task.token and event["event"] in _WHY_STALE:
            return _WHY_STALE[event["event"]].format(reason=detail.get("reason", ""))
    return "its lease ran out, or it was cancelled" if events else "the coordinator does not know it, or no longer"


_WHY_STALE = {
    "done": "it was done",
    "retry": "it was reported as failed",
    "dead": "it is a dead letter: {reason}",
    "lost": "{reason}",
    "returned": "it was given back",
    "cancelled": "it was cancelled",
}
"""What ends a lease, by the event that tells of it."""


P = TypeVar("P", bound=PulledBase[Any])


@understood
def settle_together(
    calls: Calls,
    done: Iterable[P | tuple[P, Any]],
    failed: Iterable[tuple[P, str | BaseException]],
    *,
    is_whole: bool,
) -> Call[list[P]]:
    """Ends several pulled tasks in one message; returns those that were stale, in the order in which they were given.

    Raises:
        ValueError: there are too many, or together they are too large for one message.
        TypeError: something is not a pulled task, or not a task with what became of it.
    """
    tasks: list[P] = []
    dones: list[Done] = []
    for one in check_items("done", done):
        task, result = _pair_of(one) if isinstance(one, tuple) else _pair_of((one, None))
        tasks.append(task)
        dones.append(_completion(calls, task, result))
    failures = []
    for task, error in map(_pair_of, check_items("failed", failed)):
        tasks.append(task)
        failures.append(_failure(task, error, None, is_final=False))
    if not tasks:
        return []
    proofs = {task.token: task for task in tasks}
    proven = tuple(proof for task in proofs.values() if (proof := _proof_of(calls, task)).proof)
    message = Settle(0, None, joined(dones), tuple(failures), is_whole, proven)
    size = len(encode(message))
    if size > CALLER_SETTLE_BYTES_MAX:
        raise ValueError(
            f"expected a settle of at most {CALLER_SETTLE_BYTES_MAX} bytes, got {size}: settle fewer at once"
        )
    stale: tuple[Span, ...] = yield from calls.ask(message)
    refused = {(span.token, index) for span in stale for index in range(span.lo, span.hi)}
    return [task for task in tasks if (task.token, task.index) in refused]


def _pair_of(pair: Any) -> Any:
    """Returns a pulled task and what became of it, if it is such a pair."""
    if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], PulledBase):
        raise TypeError(f"expected pulled tasks, or tuples of a pulled task and its result or error, got {pair!r:.100}")
    return pair


class _PullOwner:
    """Carries out what tasks ask of those who made them."""

    __slots__ = ("_calls",)

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def note_progress(self, task: Task, fraction: float) -> None:
        raise ZqError(
            f"task {task.id} was pulled: only workers report progress ({fraction:g}); prolong its lease with extend"
        )

    def is_cancelled(self, task: Task) -> bool:
        return self._calls.session.is_cancelled(task.token, task.index)
