"""What clients do, written once for callers that block and callers that await.

A `Call` (see `zq.client.driving`) says what to start and what to make of how that ended; who carries it out decides how
to wait. What programs see of it are faces, two of each, side by side: the same methods, one giving its calls to what
blocks, the other to what awaits.
"""

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, Generic, TypeAlias, TypeVar

from zq.client.driving import Ask, AsyncDriver, Call, Connection, Driver, Medium, Submitted, understood
from zq.client.flow import FLOW_WINDOW_BATCHES, FLOW_WINDOW_BYTES, Entry, Flow, finish, note_accepted
from zq.errors import BusyError, ClosedError, InvalidTaskError, TimedOutError, UnreachableError
from zq.keys.own import KeySource
from zq.sessions.client import ClientSession
from zq.sessions.ends import result_of
from zq.sessions.exchanges import AskExchange, Exchange, RequestExchange, SettleExchange, SubmitExchange, WatchExchange
from zq.sessions.ids import PREFIX_LENGTH, make_prefix
from zq.sessions.outcomes import ALL_TASKS, FOREVER, BatchOutcome, Reply
from zq.sessions.requests import Askable as AskMessage
from zq.sessions.requests import check_message, marked
from zq.sessions.settles import Settling
from zq.sessions.submits import Single
from zq.sockets.caller_link import CallerLink, start_link
from zq.sockets.link import resolve_address, resolve_namespace
from zq.submit_options import (
    SubmitOptions,
    check_count,
    check_id,
    check_items,
    check_name,
    check_patience,
    check_queue,
    make_options,
)
from zq.task import task_id
from zq.wire.batch import PayloadPacker, decode_payload, pack_payload, pack_payloads, payload_at
from zq.wire.limits import BATCH_BYTES_MAX, BATCH_TASKS_MAX, PAYLOAD_BYTES_CEILING, PAYLOAD_BYTES_MAX, WAIT_MAX
from zq.wire.messages import Assignment, Batch, Cancel, Command, Done, Ended, Failed, Options, Ping, Pull, Query
from zq.wire.proofs import Proof, proof_of

D = TypeVar("D", bound=Driver | AsyncDriver)
T = TypeVar("T")


Pulled: TypeAlias = tuple[Assignment, int, Any]
"""A task that was pulled: its lease, its index in that, and its payload."""


class Calls:
    """The calls of one client, for any thread: a session, its link, and what stands between them and the caller.

    Args:
        address: of the coordinator; None as in `zq.sockets.link.resolve_address`.
        timeout: seconds within which a call must be answered.
        name: shown to the coordinator; None for a neutral one.
        payload_bytes_max: limit of one encoded payload.
        medium: what carries it; None makes a link with a socket.
        make_link: makes that link, of the arguments of `zq.sockets.link.Link`.
        namespace, key: of the link; None as in `zq.sockets.link.resolve_namespace` and `zq.keys.own.resolve_key`.

    Raises:
        ValueError: an argument is out of its range, or no key can be read.
    """

    def __init__(
        self,
        address: str | None,
        *,
        timeout: float = 30.0,
        name: str | None = None,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        medium: Medium | None = None,
        namespace: str | None = None,
        key: KeySource | None = None,
        make_link: Callable[..., Connection] = start_link,
    ) -> None:
        if not check_patience("timeout", timeout) > 0:
            raise ValueError(f"expected timeout as seconds above 0, got {timeout}")
        check_count("payload_bytes_max", payload_bytes_max, 1, PAYLOAD_BYTES_CEILING)
        prefix = make_prefix(int.from_bytes(os.urandom(PREFIX_LENGTH))) if medium is None else medium.prefix
        self.timeout = timeout
        address = resolve_address(address)
        secret = os.urandom(16).hex() if medium is None else medium.prefix
        self.session = ClientSession(prefix, check_name("name", f"{name or 'client'}-{prefix}"), address, secret)
        self.clock = time.monotonic if medium is None else medium.clock
        self._payload_bytes_max = payload_bytes_max
        self._local = threading.local()
        self.carrier: CallerLink | None = None  # the link, if its callers may use its socket
        self._exchange: Callable[[Callable[[Reply], Exchange], Reply], bool] | None = None  # in the caller's thread
        self.link: Connection
        if medium is not None:
            self.link = medium.connect(self.session)
        else:
            called = f"zq-{name or 'client'}"
            self.link = make_link(address, self.session, called, resolve_namespace(namespace), key)
            if isinstance(self.link, CallerLink):
                self.carrier = self.link
                self._exchange = self.link.exchange

    def __del__(self) -> None:
        """Whoever forgets a client need not run out of descriptors: with the last that knows it, its thread ends."""
        link = self.__dict__.get("link")  # None: its making has failed
        drop = getattr(link, "drop", None)  # None: there is nothing to free
        if drop is not None and not sys.is_finalizing() and drop():
            text = f"unclosed client of {self.link.address}: close it with close(), or use it in a with statement"
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    def pack(self, value: Any) -> bytes:
        """Returns a payload or result; raises TypeError or PayloadTooLargeError."""
        try:
            data: bytes = self._local.pack(value)
        except AttributeError:
            self._local.pack = PayloadPacker(self._payload_bytes_max).pack
            return self._local.pack(value)  # type: ignore[no-any-return]  # threading.local is untyped
        return data

    def hooked(
        self,
        queue: str,
        payload: Any,  # noqa: ARG002 - `zq.client.hooking` shows it to its hooks
        options: SubmitOptions,
        call: Callable[[str, SubmitOptions], Call[T]],
    ) -> Call[T]:
        """Returns a call that submits, with the hooks of this client around it; here there are none."""
        return call(queue, options)

    def submit(
        self, queue: str, payload: Any, id: str | None, options: SubmitOptions, until: float | None = None
    ) -> Call[Submitted]:
        """Submits one task; returns what was accepted, of the task that has its unique key if one does. Whoever waits
        for its end until a time, too, may get it along, and waits no longer for this.
        """
        data = self.pack(payload)
        made = make_options(**options)
        now = self.clock()
        deadline = now + self.timeout if until is None else min(now + self.timeout, until)
        check_queue(queue)
        if id is None and made.unique is None:
            fields = (queue, made, data, deadline)
            carry = self._carried(partial(self._single_exchange, now, fields, until))
            ask = Ask(partial(self._start_single, now, fields), deadline, None, carry)
        else:
            id = self.session.make_id() if id is None else check_id(id)
            ask = self._ask_for_batch(now, Batch(id, queue, made, *pack_payloads([data])), deadline)
        outcome, index, accepted = yield ask
        if accepted.duplicate_of is not None:
            outcome = BatchOutcome(accepted.duplicate_of, 1, 0, 1)
        return outcome, index, accepted

    def submit_many(
        self, queue: str, payloads: Iterable[Any], batch_size: int, options: SubmitOptions
    ) -> Call[tuple[list[Entry], BusyError | InvalidTaskError | None]]:
        """Submits many tasks in batches; returns the entries of those that were accepted, and the error to raise if
        others were refused.
        """
        check_queue(queue)
        check_count("batch_size", batch_size, 1, BATCH_TASKS_MAX)
        made = make_options(**options)
        if made.unique is not None:
            raise ValueError("a unique key is for one task: submit tasks with unique one by one")
        make_id = self.session.make_id
        parts = self.cut(check_items("payloads", payloads), batch_size)
        batches = (Batch(make_id(), queue, made, *pack_payloads(part)) for part in parts)
        is_one = isinstance(payloads, list | tuple) and 0 < len(payloads) <= batch_size  # most likely
        return self._submit_one_or_more(batches) if is_one else self.submit_batches(batches)

    def _submit_one_or_more(
        self, batches: Iterator[Batch]
    ) -> Call[tuple[list[Entry], BusyError | InvalidTaskError | None]]:
        """As `submit_batches`; one batch is a call like any other."""
        flow = Flow()
        try:
            first, second = next(batches), next(batches, None)
        except Exception as error:
            note_accepted(error, flow)
            raise
        if second is not None:
            return (yield from self.submit_batches(chain((first, second), batches)))
        now = self.clock()
        deadline = now + self.timeout
        reply = flow.start(first.tasks, 0, deadline)
        try:
            reply.resolve((yield self._ask_for_batch(now, first, deadline)))
        except Exception as error:
            reply.reject(error)
        return finish(flow)

    def submit_batches(self, batches: Iterable[Batch]) -> Call[tuple[list[Entry], BusyError | InvalidTaskError | None]]:
        """Submits batches as they are, no more at once than the session sends; returns as `submit_many`."""
        flow = Flow()
        try:
            for batch in batches:
                self._start_batch(flow, batch)
                if flow.is_full:
                    room = partial(flow.wait, FLOW_WINDOW_BYTES // 2, FLOW_WINDOW_BATCHES // 2)
                    yield Ask(partial(self.post, room), flow.deadline)
                    if flow.error is not None:
                        break
        except Exception as error:
            yield Ask(partial(self.post, partial(flow.wait, 0, 0)), flow.deadline)
            note_accepted(error, flow)
            raise
        yield Ask(partial(self.post, partial(flow.wait, 0, 0)), flow.deadline)
        return finish(flow)

    def cut(self, payloads: Iterable[Any], batch_size: int, bytes_max: int = BATCH_BYTES_MAX) -> Iterator[list[bytes]]:
        """Yields encoded payloads in batches within the limits."""
        pack = PayloadPacker(self._payload_bytes_max).pack
        parts: list[bytes] = []
        size = 0
        for payload in payloads:
            data = pack(payload)
            if len(parts) == batch_size or (parts and size + len(data) > bytes_max):
                yield parts
                parts, size = [], 0
            parts.append(data)
            size += len(data)
        if parts:
            yield parts

    def _start_batch(self, flow: Flow, batch: Batch) -> None:
        now = self.clock()
        deadline = now + self.timeout
        reply = flow.start(batch.tasks, len(batch.blob) + len(batch.ends), deadline)
        if flow.gather(now, batch, deadline, reply):
            self.post(flow.submit_gathered, self.session.submit_batch)

    def _start_single(self, now: float, fields: tuple[str, Options, bytes, float], reply: Reply) -> None:
        self.link.call(partial(self.session.submit_single, now, Single(*fields, reply)))

    def _single_exchange(
        self, now: float, fields: tuple[str, Options, bytes, float], until: float | None, reply: Reply
    ) -> SubmitExchange:
        queue, options, data, deadline = fields
        batch = Batch(self.session.make_id(), queue, options, *pack_payload(data))
        if until is not None:
            return RequestExchange(self.session, now, batch, deadline, until, reply)
        return SubmitExchange(self.session, now, batch, deadline, reply)

    def _ask_for_batch(self, now: float, batch: Batch, deadline: float) -> Ask:
        carry = self._carried(partial(SubmitExchange, self.session, now, batch, deadline))
        return Ask(partial(self.post, self.session.submit_batch, now, batch, deadline), deadline, None, carry)

    def _carried(self, make: Callable[[Reply], Exchange]) -> Callable[[Reply], bool] | None:
        """Returns the `carry` of an ask, whose exchange is made when it is tried."""
        return None if self._exchange is None else partial(self._exchange, make)

    def post(self, function: Callable[..., None], *arguments: Any) -> None:
        """Has a function of the session called where the session is at home: on the link's thread."""
        self.link.call(partial(function, *arguments))

    def result(self, outcome: BatchOutcome, index: int, timeout: float | None, asked: float | None = None) -> Call[Any]:
        """Waits for the end of a task; returns its result, or raises TaskError. What was asked for, in seconds, may be
        more than the timeout, which is what is left of it.
        """
        ended = outcome.get(index)
        if ended is None:
            now = self.clock()
            deadline = FOREVER if timeout is None else now + check_patience("timeout", timeout)
            try:
                ended = yield self._watch(now, outcome, index, deadline, None)
            except UnreachableError:
                raise
            except TimedOutError:
                if timeout is None:  # in memory it can be seen that a wait is in vain
                    raise
                id = task_id(outcome.id, outcome.size, index)
                raise TimedOutError(
                    f"task {id} has not ended within {timeout if asked is None else asked:.1f} s; it goes on, wait for it again by its id"
                ) from None
        return result_of(outcome, index, ended)

    def progress(self, outcome: BatchOutcome, index: int, seen: float, timeout: float | None) -> Call[float | None]:
        """Waits until a handler reports another progress than `seen`; returns it, or None when the task has ended."""
        now = self.clock()
        news = yield self._watch(
            now, outcome, index, FOREVER if timeout is None else now + check_patience("timeout", timeout), seen
        )
        return news if isinstance(news, float) else None

    def submit_whole(self, batch: Batch) -> Call[BatchOutcome]:
        """Submits a batch as it is; returns what is to be known of it, of another if that has its unique key.

        Raises:
            BusyError, InvalidTaskError: nothing of it was stored.
        """
        now = self.clock()
        deadline = now + self.timeout
        outcome, _, accepted = yield Ask(partial(self.post, self.session.submit_batch, now, batch, deadline), deadline)
        return outcome if accepted.duplicate_of is None else BatchOutcome(accepted.duplicate_of, 1, 0, 1)

    def follow(self, outcome: BatchOutcome) -> Call[list[Ended]]:
        """Waits for news of a batch; returns what has ended since the last call, which is told once, or, after a new
        connection, again. One at a time may follow a batch.
        """
        if outcome.news is None:
            outcome.news = []
        news: list[Ended] = yield self._watch(self.clock(), outcome, ALL_TASKS, FOREVER, None)
        return news

    def _watch(self, now: float, outcome: BatchOutcome, index: int, deadline: float, seen: float | None) -> Ask:
        def start(reply: Reply) -> None:
            self.post(self.session.watch, now, outcome, index, deadline, reply, seen)

        carry = None
        if seen is None and outcome.count == 1 and outcome.wait is None:
            carry = self._carried(partial(WatchExchange, self.session, now, outcome, deadline))
        return Ask(start, deadline, partial(self.session.unwatch, outcome), carry)

    def request(self, queue: str, payload: Any, timeout: float, options: SubmitOptions) -> Call[Any]:
        """Submits a task and waits for its end; returns its result, or raises TaskError."""
        give_up_at = self.clock() + check_patience("timeout", timeout)
        outcome, index, _ = yield from self.submit(queue, payload, None, options, give_up_at)
        return (yield from self.result(outcome, index, max(give_up_at - self.clock(), 0.0), timeout))

    def close(self, timeout: float = 5.0) -> None:
        """Ends the connection; what waits ends here with ClosedError, and over there at once."""
        with suppress(ClosedError):
            self.post(self.session.leave)
        self.link.close(timeout)

    def ask(self, message: AskMessage) -> Call[Any]:
        """Sends a request; returns the value of its answer."""
        check_message(message)
        now = self.clock()
        deadline = now + self.timeout
        carry = self._carried(partial(AskExchange, self.session, now, message, deadline))
        return (yield Ask(partial(self.post, self.session.ask, now, message, deadline), deadline, None, carry))

    def query(self, what: str, arguments: dict[str, Any]) -> Call[Any]:
        return self.ask(Query(0, what, arguments))

    def command(self, verb: str, arguments: dict[str, Any]) -> Call[Any]:
        return self.ask(Command(0, verb, marked(verb, arguments, self.session.make_id)))

    def cancel(self, id: str) -> Call[int]:
        return self.ask(Cancel(0, id))

    def ping(self) -> Call[float]:
        """Returns the seconds that the answer took."""
        started_at = self.clock()
        yield from self.ask(Ping(0))
        return self.clock() - started_at

    @understood
    def pull(self, queue: str, max_tasks: int, wait: float, lease: float) -> Call[list[Pulled]]:
        """Pulls tasks, and waits for the first one."""
        if not check_patience("wait", wait) >= 0:
            raise ValueError(f"expected wait as seconds from 0, got {wait}")
        stop_at = self.clock() + wait
        while True:
            now = self.clock()
            part = min(max(stop_at - now, 0.0), WAIT_MAX)
            message = Pull(0, self.session.name, queue, max_tasks, part, lease)
            check_message(message)
            deadline = now + part + self.timeout
            start = partial(self.post, self.session.ask, now, message, deadline)
            assignments = yield Ask(start, deadline, self._abandon_pull)
            if assignments or self.clock() >= stop_at:
                return self._decode(assignments)

    def settle(self, entry: Done | Failed, proof: Proof) -> Call[None]:
        """Reports the end of a pulled task; raises StaleLeaseError."""
        now = self.clock()
        deadline = now + self.timeout
        carry = self._carried(partial(SettleExchange, self.session, now, entry, proof, deadline))
        yield Ask(partial(self._start_settle, now, entry, deadline, proof), deadline, None, carry)

    def _start_settle(self, now: float, entry: Done | Failed, deadline: float, proof: Proof, reply: Reply) -> None:
        self.link.call(partial(self.session.settle, now, Settling(entry, deadline, reply, proof)))

    def abandon(self, ask: Ask, reply: Reply) -> None:
        """The caller waits no longer. Most calls just run to their end; waits end, and the tasks of a pull go back."""
        if ask.give_up is not None and not self.link.is_over:
            with suppress(ClosedError):  # closed in between, which ends it, too
                self.post(ask.give_up, reply)

    def _abandon_pull(self, reply: Reply) -> None:
        """On the link's thread: the tasks may have come in the meantime."""
        now = self.clock()
        self.session.give_back(now, getattr(reply, "value", None) or ())
        self.session.abandon_pull(now, reply)

    def _decode(self, assignments: tuple[Assignment, ...]) -> list[Pulled]:
        tasks = []
        for assignment in assignments:
            for at in range(assignment.tasks):
                index = assignment.lo + at
                try:
                    payload = decode_payload(payload_at(assignment.ends, assignment.blob, at))
                except ValueError as error:
                    self._fail_unreadable(assignment, index, error)
                else:
                    tasks.append((assignment, index, payload))
        return tasks

    def _fail_unreadable(self, assignment: Assignment, index: int, error: ValueError) -> None:
        """A payload that is not msgpack never will be: the task becomes a dead letter, and its neighbours are not
        held up.
        """
        now = self.clock()
        failed = Failed(assignment.token, assignment.id, index, str(error), None, True)
        proof = proof_of(self.session.secret, assignment.token)
        self.post(self.session.settle, now, Settling(failed, now + self.timeout, _Nobody(), proof))


class Face(Generic[D]):
    """What programs hold: the calls of a client, and what carries them out, which says whether it blocks or awaits."""

    __slots__ = ("_calls", "_run")

    def __init__(self, calls: Calls, run: D) -> None:
        self._calls = calls
        self._run = run


class _Nobody:
    """Waits for nothing."""

    def resolve(self, value: Any) -> None: ...

    def reject(self, error: Exception) -> None: ...
