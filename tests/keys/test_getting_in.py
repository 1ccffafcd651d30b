"""Who gets in with a key, and what whoever does not is told, in each face, before any timeout is over."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

import zq
from tests.client.fake_coordinator import wait_until
from tests.keys.calls import bake_and_tell, bake_and_wait, double, kitchen
from tests.keys.gate import ORDERS, Gate
from zq.keys.own import OWN_KEYS
from zq.sockets import entrance
from zq.sockets.entrance import ROUNDS, Entrance

PATIENCE = 600.0
"""Far longer than any test may take: whoever is refused does not wait for it."""


def strange(key: zq.Key) -> zq.Key:
    """The same key, for another coordinator."""
    return replace(key, servers=(zq.Key.new("other", "coordinator").public,))


def refusal(address: str, key: zq.Key | None) -> str:
    """Returns what a client is told that tries."""
    client = zq.Client(address, timeout=PATIENCE, key=key or "")
    with client, pytest.raises(zq.AccessDeniedError) as caught:
        client.ping()
    return str(caught.value)


def test_a_key_that_is_admitted_gets_in(door: Gate, key: zq.Key) -> None:
    door.admit(key)

    with zq.Client(door.address, key=key) as client:
        receipt = client.submit("orders", {"pizza": "margherita"})
        assert client.status(receipt.id).state == "waiting"


def test_a_key_may_be_a_file_or_come_from_the_environment(
    door: Gate, key: zq.Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.admit(key)
    key.write(tmp_path / "shop-1.toml")

    for source in (tmp_path / "shop-1.toml", str(tmp_path / "shop-1.toml")):
        with zq.Client(door.address, key=source) as client:
            client.ping()
    monkeypatch.setenv("ZQ_KEY", str(tmp_path / "shop-1.toml"))
    with zq.Client(door.address) as client:
        client.ping()


def test_an_unknown_key_is_told_so(door: Gate, key: zq.Key) -> None:
    text = refusal(door.address, key)

    assert f"at {door.address} does not admit the key shop-1 ({key.public})" in text
    assert key.secret not in text


def test_nobody_gets_in_without_a_key(door: Gate) -> None:
    assert (
        "admits nobody without a key: give one as key= (access_key= of an Executor), ZQ_KEY or `zq --key FILE`"
        in refusal(door.address, None)
    )


def test_a_coordinator_with_another_key_is_not_trusted(door: Gate, key: zq.Key) -> None:
    door.admit(key)

    assert "has none of the keys that the key shop-1 trusts" in refusal(door.address, strange(key))


def test_a_coordinator_without_keys_is_not_trusted(doors: tuple[Gate, str], key: zq.Key) -> None:
    assert "has no keys, and so cannot show that it is the one" in refusal(doors[1], key)


def test_everything_that_waits_is_told_in_every_thread(door: Gate, key: zq.Key) -> None:
    errors: list[Exception] = []

    def call() -> None:
        try:
            client.submit("orders", 1)
        except zq.AccessDeniedError as error:
            errors.append(error)

    with zq.Client(door.address, timeout=PATIENCE, key=key) as client:
        threads = [threading.Thread(target=call) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len({id(error) for error in errors}) == 5


def test_a_client_that_was_refused_gets_in_once_its_key_is_admitted(door: Gate, key: zq.Key) -> None:
    with zq.Client(door.address, timeout=PATIENCE, key=key) as client:
        with pytest.raises(zq.AccessDeniedError):
            client.ping()
        door.admit(key)

        client.ping()


def test_a_client_that_was_refused_gets_in_once_its_file_is_replaced(door: Gate, key: zq.Key, tmp_path: Path) -> None:
    path = tmp_path / "shop-1.toml"
    door.admit(key)
    strange(key).write(path)

    with zq.Client(door.address, timeout=PATIENCE, key=path) as client:
        with pytest.raises(zq.AccessDeniedError):
            client.ping()
        key.write(path, is_replacing=True)

        client.ping()


def test_both_keys_of_a_coordinator_are_good_while_it_is_rotated(door: Gate, key: zq.Key) -> None:
    other = zq.Key.new("new", "coordinator").public
    door.admit(key)

    for servers in ((ORDERS.public, other), (other, ORDERS.public)):
        with zq.Client(door.address, timeout=PATIENCE, key=replace(key, servers=servers)) as client:
            client.ping()


def test_a_link_finds_the_coordinators_new_key_when_it_connects_again(tmp_path: Path, key: zq.Key) -> None:
    new = zq.Key.new("new", "coordinator")
    bind = f"ipc://{tmp_path}/door"
    trusting = replace(key, servers=(ORDERS.public, new.public))

    with zq.Client(bind, timeout=PATIENCE, key=trusting) as client:
        for server in (ORDERS, new):
            with Gate(tmp_path, bind, server) as gate:
                gate.admit(key)
                client.ping()


def test_an_awaiting_client_is_told_the_same(door: Gate, key: zq.Key) -> None:
    async def main() -> None:
        async with zq.AsyncClient(door.address, timeout=PATIENCE, key=key) as client:
            calls = [client.ping(), client.submit("orders", 1), client.pull("orders", wait=PATIENCE)]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(end) for end in ends] == [zq.AccessDeniedError] * 3
            door.admit(key)

            await client.ping()

    asyncio.run(main())


def test_events_that_are_followed_end_in_words(door: Gate, key: zq.Key) -> None:
    client = zq.Client(door.address, timeout=PATIENCE, key=key)
    with client, pytest.raises(zq.AccessDeniedError, match="does not admit"):
        next(client.events("orders"))


def make_worker(address: str, key: zq.Key | str | None) -> zq.Worker:
    worker = zq.Worker(address, name="shop-1", key=key)

    @worker.task("orders")
    def bake(task: zq.Task) -> str:
        return f"baked {task.payload}"

    return worker


def test_a_worker_works_with_a_key(door: Gate, key: zq.Key) -> None:
    door.admit(key)

    with make_worker(door.address, key), zq.Client(door.address, key=key) as client:
        assert client.request("orders", "margherita", 60.0) == "baked margherita"


@pytest.mark.parametrize("case", ["unknown", "none", "strange"])
def test_a_worker_that_is_refused_ends_in_words(door: Gate, key: zq.Key, case: str) -> None:
    sources: dict[str, zq.Key | str] = {"unknown": key, "none": "", "strange": strange(key)}
    worker = make_worker(door.address, sources[case])

    with pytest.raises(zq.AccessDeniedError, match=f"the coordinator at {door.address}"):
        worker.run()


def test_a_key_that_knows_no_coordinator_is_useless(key: zq.Key) -> None:
    for face in (zq.Client, zq.AsyncClient):
        with pytest.raises(ValueError, match="expected the public key of a coordinator in the key shop-1"):
            face("tcp://127.0.0.1:7700", key=replace(key, servers=()))


@pytest.mark.parametrize("face", [zq.Client, zq.AsyncClient, zq.Worker, zq.App])
def test_what_is_no_key_is_said(face: type[zq.Client], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"expected a zq\.Key or the path of its file, got int"):
        face("tcp://127.0.0.1:7700", key=5)  # type: ignore[arg-type]


def test_a_program_has_the_key_of_the_coordinator_inside_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZQ_KEY", "/nowhere/another.toml")  # for another coordinator
    coordinator = zq.Coordinator(tmp_path / "orders.zq", keys=tmp_path / "keys")

    with coordinator, make_worker(coordinator.address, None), zq.Client(coordinator.address) as client:
        assert client.request("orders", "margherita", 60.0) == "baked margherita"
        assert client.queues.list()


def test_the_key_of_a_program_is_for_what_does_not_find_it_and_new_each_time(tmp_path: Path) -> None:
    coordinator = zq.Coordinator(tmp_path / "orders.zq", keys=tmp_path / "new" / "keys")
    assert coordinator.key is None
    with coordinator:
        first = coordinator.key
        assert first is not None
        alone = replace(first, name="elsewhere")
        with zq.Client(coordinator.address, key=alone) as client:
            client.ping()
    with coordinator:
        assert refusal(coordinator.address, replace(first, servers=coordinator.key.servers if coordinator.key else ()))
    assert coordinator.address not in OWN_KEYS
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and first.secret in path.read_text("latin-1")]


def test_what_is_inside_follows_when_the_coordinators_own_key_is_rotated(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    coordinator = zq.Coordinator(tmp_path / "orders.zq", keys=keys)
    with coordinator, zq.Client(coordinator.address, timeout=PATIENCE) as client:
        client.ping()
        before = coordinator.key
        assert before is not None
        zq.Key.new("server", "coordinator").write(keys / "server.key", is_replacing=True)
        wait_until(lambda: coordinator.key != before)

        assert client.submit("orders", 1).id


def test_a_right_that_a_key_has_not_is_the_same_error_in_every_face(door: Gate, key: zq.Key) -> None:
    door.admit(key, role="client", submit=("orders",), work=(), look=())
    refused: list[zq.AccessDeniedError] = []

    def note(call: Callable[[], object]) -> None:
        with pytest.raises(zq.AccessDeniedError) as caught:
            call()
        refused.append(caught.value)

    with zq.Client(door.address, key=key) as client:
        client.submit("orders", 1)
        note(lambda: client.submit("others", 1))
        note(lambda: client.submit_many("others", [1, 2]))
        note(lambda: client.pull("others"))
        note(lambda: client.queues.pause("orders"))
        note(lambda: next(client.events("others")))
        client.ping()

    async def main() -> None:
        async with zq.AsyncClient(door.address, key=key) as client:
            calls = [client.submit("others", 1), client.pull("others"), client.queues.pause("orders")]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(end) for end in ends] == [zq.AccessDeniedError] * 3

    asyncio.run(main())
    assert all("shop-1" in str(error) or "client" in str(error) for error in refused), refused


def test_what_waits_on_a_connection_ends_in_words_when_its_key_is_revoked(door: Gate, key: zq.Key) -> None:
    watcher = replace(zq.Key.new("watcher", "admin"), servers=key.servers)
    door.admit(key)
    door.admit(watcher)

    def are_waited_for() -> bool:
        usage = watching.query("status")["usage"]
        return bool(usage["waits"] and usage["pulls"])

    watching = zq.Client(door.address, key=watcher)
    with watching, zq.Client(door.address, timeout=PATIENCE, key=key) as client:
        receipt = client.submit("orders", 1)
        with futures.ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(receipt.result), pool.submit(client.pull, "others", wait=PATIENCE)]
            wait_until(are_waited_for)
            door.revoke(key)

            assert [type(one.exception(60)) for one in waiting] == [zq.AccessDeniedError] * 2
        with pytest.raises(zq.AccessDeniedError):
            client.submit("orders", 2)


def test_a_worker_whose_key_is_revoked_ends_in_words(door: Gate, key: zq.Key) -> None:
    door.admit(key)
    worker = make_worker(door.address, key)

    with futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(worker.run)
        with zq.Client(door.address, key=key) as client:
            assert client.request("orders", "margherita", 60.0) == "baked margherita"
        door.revoke(key)

        assert isinstance(running.exception(60), zq.AccessDeniedError)


def test_a_worker_whose_key_may_not_work_ends_in_words(door: Gate, key: zq.Key) -> None:
    door.admit(key, role="client")

    with pytest.raises(zq.AccessDeniedError, match="a client's key may not say hello, but that of worker or admin"):
        make_worker(door.address, key).run()


@pytest.mark.parametrize("kind", ["threads", "children", "coroutines"])
def test_all_kinds_of_workers_work_with_a_worker_s_key(door: Gate, key: zq.Key, kind: str) -> None:
    door.admit(key, role="worker")
    customer = replace(zq.Key.new("customer", "client"), servers=key.servers)
    door.admit(customer, role="client")
    worker = zq.Worker(door.address, key=key, processes=2 if kind == "children" else 0)
    worker.task("orders")(bake_and_wait if kind == "coroutines" else bake_and_tell)
    if kind == "children":
        worker = kitchen
        worker.address, worker.key = door.address, key

    with worker, zq.Client(door.address, key=customer) as client:
        assert client.request("orders", "margherita", 60.0)[0] == "baked margherita"


def test_what_hangs_up_and_speaks_no_zeromq_is_not_taken_for_a_refusal(key: zq.Key) -> None:
    # What stands before a coordinator that is down, such as the port of a container, does that.
    with socket.create_server(("127.0.0.1", 0)) as server:
        hung_up = threading.Semaphore(0)

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # closed
                while True:
                    server.accept()[0].close()
                    hung_up.release()

        thread = threading.Thread(target=hang_up)
        thread.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        try:
            with zq.Client(address, timeout=2.0, key=key) as client, pytest.raises(zq.UnreachableError):
                client.ping()
            assert all(hung_up.acquire(timeout=0) for _ in range(2 * ROUNDS))
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(("status", "is_end"), [(400, True), (500, False)])
def test_only_a_key_that_is_not_admitted_is_refused_at_once(key: zq.Key, status: int, is_end: bool) -> None:
    with zmq.Context() as context, context.socket(zmq.PAIR) as monitor, context.socket(zmq.PAIR) as teller:
        monitor.bind("inproc://monitor")
        teller.connect("inproc://monitor")
        teller.send_multipart([struct.pack("=HI", zmq.EVENT_HANDSHAKE_FAILED_AUTH, status), b"tcp://127.0.0.1:7700"])

        assert (Entrance("tcp://127.0.0.1:7700", key).look(monitor) is not None) == is_end


@pytest.mark.parametrize("has_proved", [False, True])
def test_only_who_hangs_up_for_a_while_and_never_proved_its_key_is_taken_for_another(
    door: Gate, key: zq.Key, has_proved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "HUNG_UP_SECONDS", 10.0)
    passed = [0.0]
    looking = Entrance(door.address, strange(key), lambda: passed[0])

    with zmq.Context() as context, context.socket(zmq.PAIR) as monitor, context.socket(zmq.PAIR) as teller:
        monitor.bind("inproc://monitor")
        teller.connect("inproc://monitor")

        def look(event: int, at: float) -> bool:
            passed[0] = at
            teller.send_multipart([struct.pack("=HI", event, 0), b""])
            monitor.poll()
            return looking.look(monitor) is not None

        def hang_up(*times: float) -> list[bool]:
            return [look(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, at) for at in times]

        assert hang_up(0.0, 1.0, 3.0, 9.0) == [False] * 4
        look(zmq.EVENT_DISCONNECTED if has_proved else zmq.EVENT_HANDSHAKE_FAILED_AUTH, 9.5)
        assert hang_up(10.0, 15.0, 19.0) == [False] * 3
        assert hang_up(20.0, 25.0) == [not has_proved] * 2


def test_an_app_and_its_workers_show_its_key(door: Gate, key: zq.Key) -> None:
    app = zq.App(door.address, key=key)

    @app.task
    def bake(pizza: str) -> str:
        return f"baked {pizza}"

    with app:
        with pytest.raises(zq.AccessDeniedError):
            bake.submit("margherita")
        door.admit(key)
        with app.worker():
            assert bake.submit("margherita").result(timeout=60) == "baked margherita"


def test_an_app_on_another_coordinator_shows_that_one_another_key(door: Gate, key: zq.Key, tmp_path: Path) -> None:
    app = zq.App("tcp://127.0.0.1:1", key=tmp_path / "nowhere.toml")
    door.admit(key)

    with app.at(door.address, key=key):
        app.client.ping()
    with pytest.raises(zq.KeyFileError, match="nowhere"):
        app.client.ping()


def test_an_app_in_memory_needs_no_key(tmp_path: Path) -> None:
    app = zq.App("tcp://127.0.0.1:1", key=tmp_path / "nowhere.toml")
    done: list[int] = []

    @app.task
    def note(number: int) -> None:
        done.append(number)

    with app.in_memory():
        note.submit(1)
        app.run_pending()

    assert done == [1]


def test_an_executor_and_its_processes_show_its_key(door: Gate, key: zq.Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZQ_EXECUTOR_ALLOW", double.__module__)
    with zq.Executor(door.address, max_workers=1, access_key=key) as executor, pytest.raises(zq.AccessDeniedError):
        executor.submit(double, 2).result(timeout=60)
    door.admit(key)

    with zq.Executor(zq.App(door.address, key=key), max_workers=1) as executor:
        assert executor.submit(double, 2).result(timeout=60) == 4


def test_a_coordinator_of_this_program_without_keys_is_not_shown_that_of_the_environment(
    tmp_path: Path, key: zq.Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    key.write(tmp_path / "shop-1.toml")
    monkeypatch.setenv("ZQ_KEY", str(tmp_path / "shop-1.toml"))
    coordinator = zq.Coordinator(tmp_path / "orders.zq")

    with coordinator, make_worker(coordinator.address, None), zq.Client(coordinator.address) as client:
        assert client.request("orders", "margherita", 60.0) == "baked margherita"
    assert coordinator.address not in OWN_KEYS
