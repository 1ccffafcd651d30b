"""The broker speaks RFC 7 and 8: every peer here is a bare socket, every frame is written as the RFC texts have it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
import zmq

import zq
from patterns.guide import MajordomoBroker
from patterns.guide.majordomo_services import MajordomoServices, MajordomoWorker
from tests.patterns.raw_peers import RawPeers, Socket, is_silent, receive, wait_until

BEAT = [b"", b"MDPW01", b"\x04"]
DISCONNECT = [b"", b"MDPW01", b"\x05"]


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "orders.zq") as one:
        yield one


@pytest.fixture
def broker(coordinator: zq.Coordinator) -> Iterator[MajordomoBroker]:
    with patient_broker(coordinator.address) as one:
        yield one


def patient_broker(address: str, **options: float) -> MajordomoBroker:
    """A broker that takes a worker for lost after 10 s: only the tests that are about loss are quicker."""
    limits = {"heartbeat_interval": 0.1, "missed_max": 100, **options}
    return MajordomoBroker(bind="tcp://127.0.0.1:*", address=address, **limits)  # type: ignore[arg-type]  # numbers all


def ready_worker(peers: RawPeers, broker: MajordomoBroker, service: bytes = b"bake") -> Socket:
    worker = peers.connect(zmq.DEALER, broker.bind)
    worker.send_multipart([b"", b"MDPW01", b"\x01", service])
    return worker


def ask(peers: RawPeers, broker: MajordomoBroker, service: bytes, *body: bytes) -> Socket:
    """A client with a REQ socket, which makes the empty frame 0 by itself."""
    client = peers.connect(zmq.REQ, broker.bind)
    client.send_multipart([b"MDPC01", service, *body])
    return client


def reply_to(worker: Socket, request: list[bytes], *body: bytes) -> None:
    worker.send_multipart([b"", b"MDPW01", b"\x03", request[3], b"", *body])


def take(worker: Socket) -> list[bytes]:
    """Returns the REQUEST that a worker gets, after checking its frames."""
    request = receive(worker, skip=BEAT)
    assert request[:3] == [b"", b"MDPW01", b"\x02"]
    assert request[3]  # precisely one client address
    assert request[4] == b""  # envelope delimiter
    return request


# RFC 7.


def test_a_request_goes_to_a_worker_of_its_service_and_the_reply_to_its_client(
    peers: RawPeers, broker: MajordomoBroker
) -> None:
    client = ask(peers, broker, b"bake", b"one", b"margherita")
    worker = ready_worker(peers, broker)
    request = take(worker)
    assert request[5:] == [b"one", b"margherita"]
    reply_to(worker, request, b"hot", b"box")
    assert receive(client) == [b"MDPC01", b"bake", b"hot", b"box"]


def test_a_dealer_client_sends_many_requests_and_makes_frame_zero_itself(
    peers: RawPeers, broker: MajordomoBroker
) -> None:
    client = peers.connect(zmq.DEALER, broker.bind)
    for number in range(5):
        client.send_multipart([b"", b"MDPC01", b"bake", b"%d" % number])
    worker = ready_worker(peers, broker)
    for _ in range(5):
        request = take(worker)
        reply_to(worker, request, b"hot", *request[5:])
    replies = sorted(tuple(receive(client)) for _ in range(5))
    assert replies == [(b"", b"MDPC01", b"bake", b"hot", b"%d" % number) for number in range(5)]


def test_services_have_queues_of_their_own(peers: RawPeers, broker: MajordomoBroker) -> None:
    baker, driver = ready_worker(peers, broker, b"bake"), ready_worker(peers, broker, b"drive")
    ask(peers, broker, b"drive", b"to the harbour")
    ask(peers, broker, b"bake", b"calzone")
    assert take(baker)[5:] == [b"calzone"]
    assert take(driver)[5:] == [b"to the harbour"]


def test_the_broker_beats_free_and_busy_workers(peers: RawPeers, broker: MajordomoBroker) -> None:
    worker = ready_worker(peers, broker)
    assert receive(worker) == receive(worker) == BEAT
    ask(peers, broker, b"bake", b"one")
    take(worker)
    assert receive(worker) == receive(worker) == BEAT


@pytest.mark.parametrize(
    "commands",
    [
        [[b"\x04"]],
        [[b"\x03", b"task", b"", b"reply"]],
        [[b"\x01", b"bake"], [b"\x01", b"bake"]],
        [[b"\x01", b"bake"], [b"\x03", b"task", b"", b"reply"]],
        [[b"\x01", b"mmi.bake"]],
    ],
    ids=["heartbeat before ready", "reply before ready", "ready twice", "reply to nothing", "ready for mmi"],
)
def test_a_valid_but_unexpected_command_is_answered_by_one_disconnect(
    peers: RawPeers, broker: MajordomoBroker, commands: list[list[bytes]]
) -> None:
    worker = peers.connect(zmq.DEALER, broker.bind)
    for command in commands:
        worker.send_multipart([b"", b"MDPW01", *command])
    assert receive(worker, skip=BEAT) == DISCONNECT
    worker.send_multipart([b"", b"MDPW01", b"\x04"])
    assert is_silent(worker)  # no further command to that worker

    again = ready_worker(peers, broker)
    ask(peers, broker, b"bake", b"one")
    take(again)


def test_disconnect_is_valid_before_ready_and_has_no_answer(peers: RawPeers, broker: MajordomoBroker) -> None:
    worker = peers.connect(zmq.DEALER, broker.bind)
    worker.send_multipart(DISCONNECT)
    assert is_silent(worker)
    assert broker.malformed == 0


@pytest.mark.parametrize(
    "frames",
    [
        [b"x"],
        [b"", b"MDPC01"],
        [b"", b"MDPC01", b"bake"],
        [b"", b"MDPC01", b"", b"body"],
        [b"", b"MDPC01", b"\xff", b"body"],
        [b"", b"MDPC01", b"x" * 200, b"body"],
        [b"", b"MDPC02", b"\x01", b"bake", b"body"],
        [b"", b"MDPW01"],
        [b"", b"MDPW01", b"\x01"],
        [b"", b"MDPW01", b"\x01", b"two words"],
        [b"", b"MDPW01", b"\x03", b"task", b"no delimiter", b"reply"],
        [b"", b"MDPW01", b"\x09"],
        [b"MDPW01", b"\x01", b"bake"],
    ],
)
def test_an_invalid_message_is_dropped_and_counted(
    peers: RawPeers, broker: MajordomoBroker, frames: list[bytes]
) -> None:
    peer = peers.connect(zmq.DEALER, broker.bind)
    peer.send_multipart(frames)
    wait_until(lambda: broker.malformed == 1)
    assert is_silent(peer)


# RFC 8.


def test_mmi_service_says_whether_a_service_has_workers(peers: RawPeers, broker: MajordomoBroker) -> None:
    client = ask(peers, broker, b"mmi.service", b"bake")
    assert receive(client) == [b"MDPC01", b"mmi.service", b"404"]
    worker = ready_worker(peers, broker)
    assert receive(worker) == BEAT
    client.send_multipart([b"MDPC01", b"mmi.service", b"bake"])
    assert receive(client) == [b"MDPC01", b"mmi.service", b"200"]
    worker.send_multipart(DISCONNECT)
    wait_until(lambda: not broker._workers)
    client.send_multipart([b"MDPC01", b"mmi.service", b"bake"])
    assert receive(client) == [b"MDPC01", b"mmi.service", b"404"]


def test_other_services_of_mmi_are_not_implemented(peers: RawPeers, broker: MajordomoBroker) -> None:
    assert receive(ask(peers, broker, b"mmi.discover", b"x")) == [b"MDPC01", b"mmi.discover", b"501"]


# What is durable.


def test_the_request_of_a_silent_worker_goes_to_another_and_is_charged(
    peers: RawPeers, coordinator: zq.Coordinator
) -> None:
    with patient_broker(coordinator.address, missed_max=10) as broker:
        client = ask(peers, broker, b"bake", b"one")
        silent = ready_worker(peers, broker)
        request = take(silent)
        wait_until(lambda: not broker._workers)
        with zq.Client(coordinator.address) as looker:
            wait_until(lambda: looker.status(request[3].decode()).state in {"waiting", "scheduled"})
            assert looker.status(request[3].decode()).attempts == 1

        other = ready_worker(peers, broker)
        assert take(other)[3:] == request[3:]
        reply_to(other, request, b"hot")
        assert receive(client) == [b"MDPC01", b"bake", b"hot"]
        reply_to(silent, request, b"burnt")  # unexpected by now
        assert receive(silent, skip=BEAT) == DISCONNECT


def test_the_request_of_a_worker_that_says_disconnect_goes_back_uncharged(
    peers: RawPeers, broker: MajordomoBroker, coordinator: zq.Coordinator
) -> None:
    client = ask(peers, broker, b"bake", b"one")
    leaving = ready_worker(peers, broker)
    request = take(leaving)
    leaving.send_multipart(DISCONNECT)
    staying = ready_worker(peers, broker)
    assert take(staying) == request
    with zq.Client(coordinator.address) as looker:
        assert looker.status(request[3].decode()).attempts == 0
    reply_to(staying, request, b"hot")
    assert receive(client) == [b"MDPC01", b"bake", b"hot"]


def test_a_worker_that_replies_and_leaves_at_once_has_replied(peers: RawPeers, broker: MajordomoBroker) -> None:
    for number in range(20):
        client = ask(peers, broker, b"bake", b"%d" % number)
        worker = ready_worker(peers, broker)
        request = take(worker)
        assert request[5:] == [b"%d" % number]
        reply_to(worker, request, b"hot")
        worker.send_multipart(DISCONNECT)
        assert receive(client) == [b"MDPC01", b"bake", b"hot"]


def test_the_lease_is_held_while_a_worker_works(peers: RawPeers, coordinator: zq.Coordinator) -> None:
    lease = 2.0
    with patient_broker(coordinator.address, lease=lease) as broker:
        client = ask(peers, broker, b"bake", b"one")
        slow = ready_worker(peers, broker)
        request = take(slow)
        idle = ready_worker(peers, broker)
        held_until = time.monotonic() + lease * 1.2
        while time.monotonic() < held_until:
            assert receive(idle) == BEAT  # and not the request
        reply_to(slow, request, b"hot")
        assert receive(client) == [b"MDPC01", b"bake", b"hot"]
        assert broker.services.stale == 0


def test_requests_survive_the_broker_and_its_coordinator(peers: RawPeers, tmp_path: Path) -> None:
    data = tmp_path / "bakery.zq"
    with MajordomoBroker(bind="tcp://127.0.0.1:*", data=data) as broker:
        client = ask(peers, broker, b"bake", b"one")
        worker = ready_worker(peers, broker)
        request = take(worker)
    assert receive(worker, skip=BEAT) == DISCONNECT
    assert is_silent(client)

    with MajordomoBroker(bind="tcp://127.0.0.1:*", data=data) as broker:
        worker = ready_worker(peers, broker)
        assert take(worker) == request
        reply_to(worker, request, b"hot")
        wait_until(lambda: broker.services.completed == 1)


BROKER = """
import sys
from patterns.guide import MajordomoBroker
broker = MajordomoBroker(bind="tcp://127.0.0.1:*", address=sys.argv[1], lease=0.5)
with broker:
    print(broker.bind, flush=True)
    sys.stdin.read()
"""


def test_a_request_survives_a_broker_that_is_killed(
    peers: RawPeers, broker: MajordomoBroker, coordinator: zq.Coordinator
) -> None:
    doomed = subprocess.Popen(
        [sys.executable, "-c", BROKER, coordinator.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with doomed:
        assert doomed.stdout is not None
        address = doomed.stdout.readline().strip()
        client, worker = peers.connect(zmq.REQ, address), peers.connect(zmq.DEALER, address)
        client.send_multipart([b"MDPC01", b"bake", b"one"])
        worker.send_multipart([b"", b"MDPW01", b"\x01", b"bake"])
        request = take(worker)
        doomed.kill()

    other = ready_worker(peers, broker)
    assert take(other) == request
    reply_to(other, request, b"hot")
    wait_until(lambda: broker.services.completed == 1)


def test_mdp_clients_and_zq_workers_meet_in_the_queue(
    peers: RawPeers, broker: MajordomoBroker, coordinator: zq.Coordinator
) -> None:
    client = ask(peers, broker, b"bake", b"one")
    with zq.Client(coordinator.address) as shop:
        [task] = shop.pull("bake", wait=20)
        assert task.payload == [b"one"]
        task.done(b"hot")
        assert receive(client) == [b"MDPC01", b"bake", b"hot"]

        worker = ready_worker(peers, broker)
        receipt = shop.submit("bake", b"two")
        request = take(worker)
        assert request[5:] == [b"two"]
        reply_to(worker, request, b"hot")
        assert receipt.result(20) == [b"hot"]


def test_a_request_without_workers_expires(peers: RawPeers, coordinator: zq.Coordinator) -> None:
    with patient_broker(coordinator.address, request_ttl=0.05) as broker:
        ask(peers, broker, b"bake", b"one")
        wait_until(lambda: broker.services.expired == 1 and broker._requests == 0)


def test_a_request_that_waits_for_a_busy_worker_does_not_expire(peers: RawPeers, coordinator: zq.Coordinator) -> None:
    with patient_broker(coordinator.address, request_ttl=0.05) as broker:
        worker = ready_worker(peers, broker)
        assert receive(worker) == BEAT
        first, second = ask(peers, broker, b"bake", b"one"), ask(peers, broker, b"bake", b"one")
        request = take(worker)
        for _ in range(3):
            assert receive(worker) == BEAT
        reply_to(worker, request, b"hot")
        request = take(worker)
        reply_to(worker, request, b"hot")
        assert receive(first) == receive(second) == [b"MDPC01", b"bake", b"hot"]
        assert broker.services.expired == 0


def test_requests_over_the_limit_are_dropped_and_the_others_served(
    peers: RawPeers, coordinator: zq.Coordinator
) -> None:
    with patient_broker(coordinator.address, requests_max=2) as broker:
        client = peers.connect(zmq.DEALER, broker.bind)
        for number in range(3):
            client.send_multipart([b"", b"MDPC01", b"bake", b"%d" % number])
        wait_until(lambda: broker.dropped == 1)
        worker = ready_worker(peers, broker)
        for _ in range(2):
            reply_to(worker, take(worker), b"hot")
            assert receive(client) == [b"", b"MDPC01", b"bake", b"hot"]
        wait_until(lambda: broker._requests == 0)


def test_a_request_that_is_too_large_for_a_task_is_refused(peers: RawPeers, broker: MajordomoBroker) -> None:
    ask(peers, broker, b"bake", bytes(2 << 20))
    wait_until(lambda: broker.services.refused == 1 and broker._requests == 0)


def test_a_reply_that_is_too_large_for_a_result_makes_a_dead_letter(
    peers: RawPeers, broker: MajordomoBroker, coordinator: zq.Coordinator
) -> None:
    ask(peers, broker, b"bake", b"one")
    worker = ready_worker(peers, broker)
    request = take(worker)
    reply_to(worker, request, bytes(2 << 20))
    wait_until(lambda: broker.services.failed == 1 and broker._requests == 0)
    with zq.Client(coordinator.address) as looker:
        status = looker.status(request[3].decode())
    assert status.state == "dead"
    assert "PayloadTooLargeError" in (status.reason or "")
    ask(peers, broker, b"bake", b"two")
    assert take(worker)[5:] == [b"two"]


def test_a_request_that_fails_for_good_is_counted(
    peers: RawPeers, broker: MajordomoBroker, coordinator: zq.Coordinator
) -> None:
    ask(peers, broker, b"bake", b"one")
    with zq.Client(coordinator.address) as shop:
        shop.pull("bake", wait=20)[0].fail("the oven is broken", is_final=True)
    wait_until(lambda: broker.services.failed == 1 and broker._requests == 0)


def test_a_reply_to_a_client_that_has_gone_is_counted(peers: RawPeers, broker: MajordomoBroker) -> None:
    worker = ready_worker(peers, broker)

    def is_counted() -> bool:
        client = ask(peers, broker, b"bake", b"one")
        request = take(worker)
        client.close(0)  # the broker may hear of it only after the reply
        reply_to(worker, request, b"hot")
        wait_until(lambda: broker._requests == 0)
        return broker.undeliverable > 0

    wait_until(is_counted)


def test_nothing_stays_behind_when_no_coordinator_answers(peers: RawPeers) -> None:
    _, nobody = peers.bind(zmq.ROUTER)
    before = threading.active_count()
    with patient_broker(nobody) as broker:
        ask(peers, broker, b"bake", b"one")
        worker = ready_worker(peers, broker)
        assert receive(worker) == BEAT
        wait_until(lambda: broker._requests == 1)
    assert threading.active_count() == before


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="expected the address of a coordinator or a data directory"):
        MajordomoBroker(bind="tcp://127.0.0.1:*", address="tcp://127.0.0.1:7700", data="somewhere")
    with pytest.raises(ValueError, match="expected requests_max from 1"):
        MajordomoBroker(bind="tcp://127.0.0.1:*", requests_max=0)
    with pytest.raises(ValueError, match="expected an address like"), MajordomoBroker(bind="inproc://x", address="x"):
        pass


def test_giving_back_what_a_dismissed_worker_held_is_not_cut_short_by_the_end_of_the_broker(tmp_path: Path) -> None:
    given_back: list[bool] = []

    class Watched(MajordomoServices):
        async def _give_back(
            self, task: zq.AsyncPulledTask, lost_because: str | None, *, is_final: bool = False
        ) -> None:
            given_back.append(False)
            await super()._give_back(task, lost_because, is_final=is_final)
            given_back[-1] = True

    posts: SimpleQueue[Callable[[], None]] = SimpleQueue()
    worker = MajordomoWorker(b"worker", "bake")
    with zq.Coordinator(tmp_path / "bakery.zq") as coordinator, zq.Client(coordinator.address) as client:
        receipt = client.submit("bake", [b"one"])
        services = Watched(posts.put, lease=30.0, request_ttl=None)
        services.open(coordinator.address)
        services.hire(worker, lambda address, body: None)
        posts.get(timeout=20.0)  # it holds the task

        services.dismiss(worker, None)
        services.close()

        assert given_back == [True]
        assert receipt.status().state == "waiting"
