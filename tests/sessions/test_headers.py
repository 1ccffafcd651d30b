"""Headers count for where messages are cut, for each batch has a copy of its own."""

from __future__ import annotations

from typing import Any

from zq.sessions.client import ClientSession
from zq.sessions.reports import WORKER_SETTLE_BYTES_MAX
from zq.sessions.settles import PULLER_SETTLE_BYTES_MAX, Settles, Settling, settle_message
from zq.sessions.submits import SUBMIT_BYTES_MAX, Single, Submits
from zq.sessions.worker import WorkerSession
from zq.wire.batch import pack_payload
from zq.wire.codec import encode
from zq.wire.messages import Batch, Done, Group, Options, Settle, Submit, Welcome
from zq.wire.options import header_bytes

OPTIONS = Options(headers={f"header-{number}": "x" * 4096 for number in range(32)})
"""As long as they may be."""

LONGEST = 150_000
"""More than one batch with them takes."""


class Nobody:
    """Who waits for nothing."""

    def resolve(self, value: Any) -> None: ...

    def reject(self, error: Exception) -> None: ...


def batch(id: str) -> Batch:
    return Batch(id, "q", OPTIONS, *pack_payload(b"\x01"))


def done(number: int) -> Done:
    group = Group(f"g-{number}", 1, "all", False, "q", OPTIONS)
    return Done(number, f"b-{number}", 0, 1, b"", b"", (batch(f"f-{number}"),), (group,))


def test_what_headers_take_is_never_less_than_they_do() -> None:
    for text in ("x" * 4096, "\u00e9" * 4096, "\U0001f355" * 4096, ""):
        options = Options(headers={f"header-{number}": text for number in range(32)})
        bare = Batch("id", "q", Options(), *pack_payload(b"\x01"))
        took = len(encode(Submit(1, (bare._replace(options=options),)))) - len(encode(Submit(1, (bare,))))
        assert took - 20 <= header_bytes(options) <= (1.1 if text.isascii() else 2.1) * took + 200, text[:1]
    assert header_bytes(Options()) == 0


def test_submits_are_cut_with_their_headers() -> None:
    session = ClientSession("prefix", "client")
    session.connected(0.0)
    for number in range(100):
        session.submit_batch(0.0, batch(f"b-{number}"), 1000.0, Nobody())
    session.tick(0.0)

    frames = [len(encode(message)) for message in session.take_outbox() if isinstance(message, Submit)]
    assert frames
    assert max(frames) < SUBMIT_BYTES_MAX + LONGEST


def test_single_tasks_that_are_taken_apart_are_cut_with_their_headers() -> None:
    ids = (f"id-{number}" for number in range(1000))
    submits = Submits(lambda: next(ids))
    for _ in range(100):
        submits.add_single(0.0, Single("q", OPTIONS, b"\x01", 1000.0, Nobody()))
    load = submits.take_load()
    assert load is not None
    assert load.bytes < LONGEST
    submits.settle(load)
    submits.add_apart(next(iter(load.parts.values())))

    while (load := submits.take_load()) is not None:
        assert len(encode(Submit(1, load.batches))) < SUBMIT_BYTES_MAX + LONGEST
        submits.settle(load)


def test_reports_of_a_worker_are_cut_with_the_headers_of_what_they_forward() -> None:
    session = WorkerSession("w", "life-1", ("q",), 1, list)
    session.connected(0.0)
    session.receive(0.0, Welcome(1, 1.0, 5.0, 15.0, ()))
    session.finish([done(number) for number in range(100)], [], 10)

    frames = [len(encode(message)) for message in session.take_outbox() if isinstance(message, Settle)]
    assert frames
    assert max(frames) < WORKER_SETTLE_BYTES_MAX + 2 * LONGEST


def test_ends_of_pulled_tasks_are_cut_with_the_headers_of_what_they_forward() -> None:
    settles = Settles()
    for number in range(100):
        settles.queue.append(Settling(done(number), 1000.0, Nobody()))
    count = 0
    while load := settles.take_load():
        assert len(encode(settle_message(load))) < PULLER_SETTLE_BYTES_MAX + 2 * LONGEST
        settles.is_in_flight = False
        count += len(load)

    assert count == 100
