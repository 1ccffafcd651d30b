"""Large results and large tasks: nobody who reads and answers as fast as it can is cut off for them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import zmq

import zq
from tests.process.kitchen import PATIENCE
from zq.core.peer_limits import PeerLimits
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import Assign, Heartbeat, Held, Hello

LARGE = 1_000_000


def cuts(client: zq.Client) -> dict[str, int]:
    found: dict[str, Any] = client.query("status")["connections"]
    return dict(found["cut"])


def test_worker_whose_large_results_come_together_is_not_cut_off(tmp_path: Path) -> None:
    options = zq.CoordinatorOptions(peer_limits=PeerLimits(bytes_in=12 << 20))
    with zq.Coordinator(tmp_path / "s.zq", bind="tcp://127.0.0.1:*", options=options) as coordinator:
        together = threading.Barrier(60)
        worker = zq.Worker(coordinator.address, processes=0, concurrency=60)

        @worker.task("large")
        def bake(task: zq.Task) -> bytes:
            together.wait(PATIENCE)
            return bytes(LARGE)

        with zq.Client(coordinator.address, timeout=PATIENCE) as client:
            receipts = client.submit_many("large", [0] * 60)
            worker.start()
            try:
                assert sum(len(receipt.result(PATIENCE)) for receipt in receipts) == 60 * LARGE
            finally:
                worker.stop()
            assert cuts(client) == {}


def test_worker_on_a_slow_line_gets_large_tasks_as_fast_as_it_reads_them(tmp_path: Path) -> None:
    with (
        zq.Coordinator(tmp_path / "s.zq", bind="tcp://127.0.0.1:*") as coordinator,
        zq.Client(coordinator.address, timeout=PATIENCE) as client,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as line,
    ):
        client.submit_many("large", [bytes(100_000)] * 1000)
        line.linger = 0
        line.rcvhwm = 1
        line.rcvbuf = 100_000
        line.connect(coordinator.address)
        line.send(encode(Hello("slow", "life-1", ("large",), 10_000, 1, ())))
        held: list[Held] = []
        tasks = 0
        while tasks < 1000:
            assert line.poll(60_000), f"{tasks} tasks came"
            message = decode_from_coordinator(line.recv())
            if isinstance(message, Assign):
                tasks += sum(one.tasks for one in message.assignments)
                held += [Held(one.token, ()) for one in message.assignments]
                line.send(encode(Heartbeat(1, tuple(held))))
            client.ping()
        assert cuts(client) == {}
