"""Callers who use the socket themselves, and everything that may come between: signals, forks, others, the end."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from math import inf
from types import FrameType
from typing import Any

import pytest
import zmq

from tests.client.conftest import Spawned
from tests.client.fake_coordinator import FakeCoordinator, wait_until
from zq.client.client import Client
from zq.client.driving import Waiter
from zq.errors import BusyError, ClosedError, TimedOutError
from zq.sessions.exchanges import Exchange, RequestExchange
from zq.sessions.outcomes import FOREVER
from zq.sockets import caller_link
from zq.sockets import passage as passages
from zq.sockets.caller_link import CallerLink
from zq.sockets.passage import Passage
from zq.wire.batch import pack_payloads
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Accepted,
    Answer,
    Batch,
    Cancelled,
    Done,
    Ended,
    FromCoordinator,
    Outcome,
    Pull,
    Query,
    Receipt,
    Refused,
    Settle,
    Settled,
    Span,
    Submit,
    Tasks,
    ToCoordinator,
    Wait,
)
from zq.wire.proofs import Proof


class Interrupted(BaseException):
    """Raised where a signal handler could raise."""


def link_of(client: Client) -> CallerLink:
    link = client._calls.link
    assert isinstance(link, CallerLink)
    return link


def passage_of(client: Client) -> Passage:
    return link_of(client)._passage


def is_within(client: Client) -> bool:
    """Whether a caller has the socket."""
    return isinstance(passage_of(client)._holder, Exchange)


def let_rest(client: Client) -> None:
    """Leaves the connection's thread nothing that is due, and waits until it sleeps: callers find the passage free from
    then on, until they or somebody else need that thread. To have seen it free once says nothing of the next moment.
    """
    client.ping()
    link, passage = link_of(client), passage_of(client)
    opened: list[None] = []
    called_at: list[int] = []
    open_passage = passage.open

    def note(socket: Any) -> None:
        open_passage(socket)
        opened.append(None)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passage, "open", note)
        patched.setattr(link._channel, "next_at", lambda: inf)
        link.call(lambda: called_at.append(len(opened)))
        wait_until(lambda: called_at and len(opened) > called_at[0])


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers wait for their answers themselves until somebody has them leave."""
    monkeypatch.setattr(passages, "CARRY_SECONDS", 600.0)


class HandedOverError(Exception):
    """A call went to the connection's thread."""


def refuse_all_calls(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Callable[[], None]) -> None:
        raise HandedOverError

    monkeypatch.setattr(link_of(client), "call", refuse)


def run_alone(client: Client, monkeypatch: pytest.MonkeyPatch, call: Callable[[], None]) -> None:
    """Makes calls while none may go to the connection's thread; once more when that was awake for something due."""
    for _ in range(20):
        let_rest(client)
        with monkeypatch.context() as patched, suppress(HandedOverError):
            refuse_all_calls(client, patched)
            call()
            return
    pytest.fail("each time a call went to the connection's thread")


# Who is alone.


def test_a_caller_who_is_alone_needs_no_other_thread(
    coordinator: FakeCoordinator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(message: ToCoordinator) -> list[FromCoordinator] | None:
        match message:
            case Query(request):
                return [Answer(request, {"queues": 3})]
            case Wait(request, _, lo, hi):
                ended = Ended(lo, hi, "done", "", b"\1\0\0\0", b"\7")
                return [Outcome(request, (), is_last=False), Outcome(request, (ended,), is_last=True)]
            case Settle(number):
                return [Settled(number, ())]
        return None

    coordinator.handler = answer
    monkeypatch.setattr(passages, "CARRY_SECONDS", 600.0)

    def call() -> None:
        receipt = client.submit("orders", 1)
        assert receipt.result(20) == 7
        assert client.submit("orders", 1, id="mine").id == "mine"
        client._run(client._calls.settle(Done(7, "b", 0, 1, b"", b"", ()), Proof(7, b"")))
        assert client.ping() < 20
        assert client._run(client._calls.query("status", {})) == {"queues": 3}
        assert [one.id for one in client.submit_many("orders", [1, 2], batch_size=2)][1].endswith("#1")

    run_alone(client, monkeypatch, call)


def test_a_request_says_that_it_waits_right_behind_its_submit(coordinator: FakeCoordinator, client: Client) -> None:
    submits: list[Submit] = []

    def answer(message: ToCoordinator) -> list[FromCoordinator] | None:
        if isinstance(message, Submit):
            submits.append(message)
            return []
        if isinstance(message, Wait):
            return [Receipt(submits[0].request, (Accepted(submits[0].batches[0].id, 1, None),), ())]
        return None

    client.ping()
    coordinator.handler = answer
    batch = Batch("b", "orders", DEFAULT_OPTIONS, *pack_payloads([b"\1"]))
    make = partial(RequestExchange, client._calls.session, 0.0, batch, FOREVER, FOREVER)
    waiter = Waiter()
    wait_until(lambda: link_of(client).exchange(make, waiter))
    assert waiter.wait(time.monotonic() + 20)[2].id == "b"


@pytest.mark.parametrize("is_free", [True, False], ids=["carried", "not carried"])
def test_a_request_without_a_receipt_ends_at_its_own_timeout_and_says_its_id(
    coordinator: FakeCoordinator, is_free: bool
) -> None:
    ids: list[str] = []

    def swallow(message: ToCoordinator) -> list[FromCoordinator]:
        if isinstance(message, Submit):
            ids.extend(batch.id for batch in message.batches)
        return []

    with Client(coordinator.address, timeout=1e6) as client:
        if is_free:
            let_rest(client)
        coordinator.handler = swallow
        with pytest.raises(TimedOutError, match="was stored is unknown") as caught:
            client.request("orders", 1, 0.3)
    assert caught.value.id is not None
    assert ids in ([], [caught.value.id]), "none when it was not connected yet"


def test_a_request_that_is_refused_says_so(coordinator: FakeCoordinator, client: Client) -> None:
    def refuse(message: ToCoordinator) -> list[FromCoordinator] | None:
        if isinstance(message, Submit):
            return [Receipt(message.request, (), (Refused(message.batches[0].id, "busy", 3.0, "full"),))]
        if isinstance(message, Wait):
            return [Outcome(message.request, (Ended(0, 1, "unknown", "", b"", b""),), is_last=True)]
        return None

    let_rest(client)
    coordinator.handler = refuse
    with pytest.raises(BusyError, match="full"):
        client.request("orders", 1, 20)


def test_an_answer_that_is_not_plain_ends_its_call_too(coordinator: FakeCoordinator, client: Client) -> None:
    def refuse(message: ToCoordinator) -> list[FromCoordinator] | None:
        if isinstance(message, Submit):
            return [Receipt(message.request, (), (Refused(message.batches[0].id, "busy", 3.0, "full"),))]
        return None

    let_rest(client)
    coordinator.handler = refuse
    with pytest.raises(BusyError, match="full"):
        client.submit("orders", 1)
    with pytest.raises(BusyError, match="full"):
        client.submit_many("orders", [1])


def test_what_comes_beside_an_answer_reaches_the_session(
    coordinator: FakeCoordinator, client: Client, patient: None
) -> None:
    def tell(message: ToCoordinator) -> list[FromCoordinator] | None:
        if isinstance(message, Submit):
            accepted = tuple(Accepted(batch.id, 1, None) for batch in message.batches)
            return [Cancelled((Span(7, 0, 1),)), Receipt(message.request, accepted, ())]
        return None

    let_rest(client)
    coordinator.handler = tell
    client.submit("orders", 1)
    wait_until(lambda: client._calls.session.is_cancelled(7, 0))


def test_what_comes_while_nobody_calls_reaches_who_has_pulled(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.handler = lambda message: [Tasks(message.request, ())] if isinstance(message, Pull) else None
    client.pull("orders", wait=0)
    for token in range(1, 4):
        let_rest(client)
        client.submit("orders", 1)
        coordinator.send(Cancelled((Span(token, 0, 1),)))
        wait_until(partial(client._calls.session.is_cancelled, token, 0))


def test_a_wait_that_is_in_vain_ends_in_its_time(coordinator: FakeCoordinator, client: Client, patient: None) -> None:
    receipt = client.submit("orders", 1)
    let_rest(client)
    with pytest.raises(TimedOutError, match="has not ended within 0"):
        receipt.result(0.03)
    assert client.ping() < 20


def test_what_a_caller_has_heard_is_no_silence_for_who_waits_on(coordinator: FakeCoordinator, client: Client) -> None:
    def tell_first(message: ToCoordinator) -> list[FromCoordinator] | None:
        return [Outcome(message.request, (), is_last=False)] if isinstance(message, Wait) else None

    coordinator.handler = tell_first
    let_rest(client)
    receipt = client.submit("orders", 1)
    with pytest.raises(TimedOutError, match="has not ended within 0"):
        receipt.result(0.2)


# Others, and the end.


def test_who_comes_meanwhile_does_not_wait_for_who_was_first(
    coordinator: FakeCoordinator, client: Client, patient: None
) -> None:
    receipt = client.submit("orders", 1)
    let_rest(client)
    first = Spawned(receipt.result, 600)
    wait_until(lambda: is_within(client))
    others = [Spawned(client.submit, "orders", number) for number in range(3)]
    assert len({one.join().id for one in others}) == 3
    number = coordinator.wait_for(Wait)[0].request
    coordinator.send(Outcome(number, (Ended(0, 1, "done", "", b"\1\0\0\0", b"\5"),), is_last=True))
    assert first.join() == 5


def test_close_ends_who_waits_in_its_own_thread(coordinator: FakeCoordinator, client: Client, patient: None) -> None:
    let_rest(client)
    coordinator.is_deaf = True
    waiting = Spawned(client.submit, "orders", 1)
    wait_until(lambda: is_within(client))
    client.close()
    with pytest.raises(ClosedError):
        waiting.join()


def test_a_restart_of_the_coordinator_is_no_end_of_a_call(
    coordinator: FakeCoordinator, client: Client, patient: None
) -> None:
    let_rest(client)
    coordinator.is_deaf = True
    waiting = Spawned(client.submit, "orders", 1)
    first = coordinator.wait_for(Submit)[0]
    coordinator.stop()
    coordinator.is_deaf = False
    coordinator.start()
    assert waiting.join().id == first.batches[0].id
    assert set(coordinator.of_kind(Submit)) == {first}, "another number or id than before"


def test_a_process_forked_meanwhile_leaves_it_alone(
    coordinator: FakeCoordinator, client: Client, patient: None
) -> None:
    let_rest(client)
    coordinator.is_deaf = True
    waiting = Spawned(client.submit, "orders", 1)
    number = coordinator.wait_for(Submit)[0].request
    child = os.fork()
    if child == 0:
        try:
            client.submit("orders", 2)
        except ClosedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    id = coordinator.of_kind(Submit)[0].batches[0].id
    coordinator.send(Receipt(number, (Accepted(id, 1, None),), ()))
    assert waiting.join().id == id


def test_nobody_is_left_standing_however_the_socket_changes_hands(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No wait of this client ends by itself: whoever is not woken stands still.
    monkeypatch.setattr(passages, "CARRY_SECONDS", 600.0)
    monkeypatch.setattr(caller_link, "CROWDED_SECONDS", 0.0)  # the passage opens whenever it may
    with Client(coordinator.address, timeout=600.0) as client:
        client.ping()
        gate = threading.Barrier(3)

        def call(step: int) -> None:
            gate.wait(20)
            for number in range(400):
                if number % (7 + step) == 0:
                    client.ping()
                else:
                    client.submit("orders", number)

        callers = [Spawned(call, step) for step in range(3)]
        for one in callers:
            one.join()
        assert passage_of(client).entries > 0
        wait_until(lambda: passage_of(client).is_free)
        ids = [batch.id for message in coordinator.of_kind(Submit) for batch in message.batches]
        assert sum(batch.tasks for batch in coordinator.stored.values()) == 3 * 400 - sum(
            len(range(0, 400, 7 + step)) for step in range(3)
        )
        assert len(set(ids)) == len(ids), "one was sent twice"


# Signals.


class Points:
    """The points of a call at which Python runs signal handlers: where a function begins, and where one that is not in
    Python has returned. Does something at the nth of them, in the thread that enters it.
    """

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self._left = at
        self._act = act

    @property
    def was_reached(self) -> bool:
        return self._left <= 0

    def __enter__(self) -> Points:
        sys.setprofile(self._look)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "c_return") or "zq/" not in frame.f_code.co_filename or self._left <= 0:
            return
        self._left -= 1
        if not self._left:
            self._act()


def points(act: Callable[[], None]) -> Iterator[Points]:
    """Yields each point of a call, until one is not reached."""
    for at in count(1):
        one = Points(at, act)
        yield one
        if not one.was_reached:
            assert at > 20
            return


def _end_of(message: ToCoordinator) -> list[FromCoordinator] | None:
    match message:
        case Wait():
            return _done(message)
        case Settle(number):
            return [Settled(number, ())]
    return None


def raise_interrupted() -> None:
    raise Interrupted


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("what", ["submit", "wait", "settle"])
def test_an_exception_of_a_signal_handler_harms_nothing_wherever_it_is_raised(
    coordinator: FakeCoordinator, client: Client, what: str
) -> None:
    coordinator.handler = _end_of
    interrupted = 0
    for point in points(raise_interrupted):
        receipt = client.submit("orders", 1)
        let_rest(client)
        try:
            with point:
                if what == "submit":
                    client.submit("orders", 2)
                elif what == "settle":
                    client._run(client._calls.settle(Done(7, "b", 0, 1, b"", b"", ()), Proof(7, b"")))
                else:
                    receipt.result(600)
        except Interrupted:
            interrupted += 1
        assert client.submit("orders", 3).result(20) == 7
    assert interrupted > 20
    let_rest(client)
    assert not client._calls.session.is_asking


@pytest.mark.usefixtures("patient")
def test_a_signal_handler_may_call_wherever_it_interrupts_a_call(coordinator: FakeCoordinator, client: Client) -> None:
    ids: list[str] = []

    def call() -> None:
        ids.append(client.submit("orders", "handler").id)

    for point in points(call):
        let_rest(client)
        with point:
            ids.append(client.submit("orders", "thread").id)
    assert len(set(ids)) == len(ids) > 40
    assert set(ids) <= coordinator.stored.keys()


class Repeated:
    """A socket whose next look is interrupted by a signal handler, and repeated by pyzmq whatever that has done."""

    def __init__(self, socket: zmq.Socket[bytes], handler: Callable[[], None]) -> None:
        self._socket = socket
        self._handler: Callable[[], None] | None = handler

    def getsockopt(self, option: int) -> int | bytes:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler()
        return self._socket.getsockopt(option)

    def recv(self, flags: int) -> bytes:
        return self._socket.recv(flags)


def interrupt_within_a_look(client: Client, monkeypatch: pytest.MonkeyPatch, handler: Callable[[], None]) -> None:
    let_rest(client)
    passage = passage_of(client)
    assert passage._socket is not None
    monkeypatch.setattr(passage, "_socket", Repeated(passage._socket, handler))

    def send(socket: Any, frame: bytes, flags: int) -> None:
        getattr(socket, "_socket", socket).send(frame, flags)

    monkeypatch.setattr(passages, "bare_send", send)


@pytest.mark.usefixtures("patient")
def test_a_socket_in_whose_use_a_handler_calls_is_left_alone(
    coordinator: FakeCoordinator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def call() -> None:
        used = link_of(client)._channel.socket
        client.submit("orders", "handler")
        seen.append(used is not None and not used.closed and link_of(client)._channel.socket is not used)

    interrupt_within_a_look(client, monkeypatch, call)
    client.submit("orders", "thread")
    assert seen == [True]
    assert sum(batch.tasks for batch in coordinator.stored.values()) == 2
    let_rest(client)
    wait_until(lambda: not link_of(client)._channel._abandoned)


@pytest.mark.usefixtures("patient")
def test_a_handler_may_close_a_client_in_whose_use_it_interrupts(
    coordinator: FakeCoordinator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def close() -> None:
        link, used = link_of(client), link_of(client)._channel.socket
        client.close(600)
        seen.append(link.is_over and used is not None and not used.closed)

    interrupt_within_a_look(client, monkeypatch, close)
    with pytest.raises(ClosedError):
        client.submit("orders", "thread")
    assert seen == [True]
    context = link_of(client)._channel._context
    wait_until(lambda: context is not None and context.closed)


@pytest.mark.usefixtures("patient")
def test_a_handler_that_lasts_holds_up_nobody_else(
    coordinator: FakeCoordinator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passages, "LEAVE_SECONDS", 0.05)
    ids: list[str] = []
    interrupt_within_a_look(
        client, monkeypatch, lambda: ids.append(Spawned(client.submit, "orders", "other").join().id)
    )
    ids.append(client.submit("orders", "thread").id)
    assert len(set(ids)) == 2
    assert set(ids) == coordinator.stored.keys()


def _done(message: Wait) -> list[FromCoordinator]:
    return [Outcome(message.request, (Ended(message.lo, message.hi, "done", "", b"\1\0\0\0", b"\7"),), is_last=True)]
