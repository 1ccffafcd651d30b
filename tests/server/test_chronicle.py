"""What the log of a coordinator tells of others, and how much of it at most."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import zq
from tests.process.kitchen import wait_until
from zq.server.chronicle import BURST, REFUSED_INTERVAL, Chronicle
from zq.wire.messages import Error, FromCoordinator, Receipt, Refused

LOG = "zq.server.chronicle"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == LOG]


def test_workers_that_come_and_go_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    with zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket") as coordinator:
        worker = zq.Worker(coordinator.address, name="shop")
        worker.task("q")(lambda task: None)
        with worker:
            wait_until(lambda: "worker shop: hello" in lines(caplog), "it has come")
        wait_until(lambda: "worker shop: goodbye" in lines(caplog), "it has gone")


def test_what_a_client_is_refused_is_told_at_debug(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOG)
    with zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket") as coordinator:
        with zq.Client(coordinator.address) as client, pytest.raises(zq.RemoteProtocolError):
            client.query("weather")
        wait_until(lambda: any("refused invalid from" in one for one in lines(caplog)), "the refusal")


def test_a_flood_of_workers_is_counted_and_what_they_say_is_escaped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    chronicle = Chronicle()
    chronicle.tell_workers(0.0, [(f"w{number}", "hello") for number in range(10 * BURST)])
    assert len(lines(caplog)) == BURST
    chronicle.tell_workers(1000.0, [("w", "goodbye: \x1b[31mred")])

    assert lines(caplog)[-1] == (rf"worker w: goodbye: \x1b[31mred ({9 * BURST} lines like this were left out before)")
    assert caplog.records[-1].levelname == "WARNING"


def test_refusals_are_told_once_a_minute_by_kind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    chronicle = Chronicle()
    for at, malformed in enumerate(range(0, 1000, 10)):
        counters = {"error malformed": malformed, "accepted": 5}
        chronicle.look(at * REFUSED_INTERVAL / 50, counters, {"tasks a second": malformed // 10}, why_full="")

    assert lines(caplog) == ["refused within 60 s: 500 error malformed, 50 above tasks a second"]


def test_a_full_store_is_told_when_it_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    chronicle = Chronicle()
    for at, is_full in enumerate([False, True, True, True, False, False]):
        chronicle.look(float(at), {}, {}, why_full="the disk is full" if is_full else "")

    assert lines(caplog) == [
        "nothing new is accepted: the disk is full",
        "there is room again: what is new is accepted",
    ]


def test_each_refusal_is_told_at_debug_as_far_as_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    chronicle = Chronicle()
    sent: list[tuple[bytes, FromCoordinator]] = [
        (b"\x01", Error(1, "malformed", "a\nb")),
        (b"\x02", Receipt(1, (), (Refused("t", "busy", 1.0, "full"),))),
    ]
    caplog.set_level(logging.INFO, LOG)
    chronicle.tell_each_refusal(0.0, sent)
    assert lines(caplog) == []
    caplog.set_level(logging.DEBUG, LOG)
    for _ in range(BURST):
        chronicle.tell_each_refusal(0.0, sent)

    assert lines(caplog)[:2] == [r"refused malformed from 01: a\nb", "refused busy from 02: full"]
    assert len(lines(caplog)) == BURST
