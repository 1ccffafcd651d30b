"""Every door through which values go: what is let in arrives, with the keys that it had."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from patterns import stage

VALUE = {(1, "a"): {b"k": [1.5, None]}, ((2,),): "nested", None: 1, 2.5: True}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with zq.Coordinator(tmp_path_factory.mktemp("doors") / "s.zq") as coordinator:
        yield coordinator.address


@pytest.fixture
def client(address: str) -> Iterator[zq.Client]:
    with zq.Client(address) as client:
        yield client


def pull_payload(client: zq.Client, queue: str) -> Any:
    (task,) = client.pull(queue, wait=30.0)
    task.done()
    return task.payload


DOORS: dict[str, Callable[[zq.Client], Any]] = {
    "submit": lambda client: client.submit("submit", VALUE),
    "submit_many": lambda client: client.submit_many("submit_many", [VALUE]),
    "publish": lambda client: (client.topics.bind("doors", "publish"), client.publish("doors", VALUE)),
    "schedule": lambda client: client.schedules.define("doors", "schedule", VALUE, every=1),
    "member": lambda client: client.group([VALUE], queue="member", callback="nowhere"),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_payload_arrives_whatever_door_it_takes(client: zq.Client, door: str) -> None:
    DOORS[door](client)

    assert pull_payload(client, door) == VALUE


def work(address: str, queues: dict[str, Callable[[zq.Task], Any]]) -> None:
    worker = zq.Worker(address, name=f"doors-{threading.get_ident()}")
    for queue, handler in queues.items():
        worker.task(queue)(handler)
    worker.run(burst=True)


def test_a_result_arrives_and_a_forward_does(client: zq.Client, address: str) -> None:
    def handler(task: zq.Task) -> Any:
        assert task.payload == VALUE
        task.forward("forwarded", task.payload)
        return task.payload

    receipt = client.submit("result", VALUE)
    work(address, {"result": handler})

    assert receipt.result(timeout=30.0) == VALUE
    assert client.result(receipt.id, timeout=30.0) == VALUE
    assert pull_payload(client, "forwarded") == VALUE


def test_results_of_a_group_arrive_in_its_callback(client: zq.Client, address: str) -> None:
    client.group([1, 2], queue="members", callback="joined")
    work(address, {"members": lambda task: VALUE})

    assert pull_payload(client, "joined") == [VALUE, VALUE]


def test_what_a_puller_says_arrives(client: zq.Client) -> None:
    receipts = client.submit_many("pulled", [1, 2])
    first, second = client.pull("pulled", max_tasks=2, wait=30.0)
    first.done(VALUE)
    client.settle(done=[(second, VALUE)])

    assert [receipt.result(timeout=30.0) for receipt in receipts] == [VALUE, VALUE]


def test_a_dead_letter_keeps_its_payload(client: zq.Client) -> None:
    receipt = client.submit("dead", VALUE)
    client.dead.bury(receipt.id, "for the test")

    assert client.payload(receipt.id) == VALUE


def test_what_coroutines_await_arrives(address: str) -> None:
    async def request() -> Any:
        async with zq.AsyncClient(address) as client:
            receipt = await client.submit("awaited", VALUE)
            (task,) = await client.pull("awaited", wait=30.0)
            await task.done(task.payload)
            return await receipt.result(timeout=30.0)

    assert asyncio.run(request()) == VALUE


def test_the_command_line_shows_what_json_has_no_keys_for(client: zq.Client, address: str) -> None:
    receipt = client.submit("shown", VALUE)
    command = [sys.executable, "-m", "zq.cli", "pull", "shown", "--address", address]
    result = subprocess.run(command, capture_output=True, text=True, check=True)

    assert json.loads(result.stdout)["id"] == receipt.id
    assert "nested" in result.stdout


def test_arguments_and_results_of_an_app_keep_their_keys() -> None:
    app = zq.App.memory()

    @app.task
    def price(menu: dict[tuple[str, int], float], sets: dict[frozenset[int], int]) -> dict[tuple[str, int], float]:
        assert sets == {frozenset([1, 2]): 3}
        return menu

    receipt = price.submit({("funghi", 1): 9.5}, {frozenset([1, 2]): 3})
    app.run_pending()

    assert receipt.result() == {("funghi", 1): 9.5}


def test_calls_of_an_executor_keep_keys(tmp_path: Path) -> None:
    with zq.Executor(max_workers=1, directory=tmp_path / "calls.zq") as executor:
        assert executor.submit(dict, VALUE).result(timeout=60.0) == VALUE


@stage(threads=True)
def same(item: Any) -> Any:
    return item


@stage(timeout=60.0)
def same_in_time(item: Any) -> Any:
    return item


@pytest.mark.parametrize("grade", ["threads", "processes", "embedded"])
def test_items_of_pipelines_keep_their_keys(tmp_path: Path, grade: str) -> None:
    grades: dict[str, dict[str, Any]] = {
        "threads": {"threads": True},
        "processes": {},
        "embedded": {"data": tmp_path / "p.zq"},
    }

    assert list((same | same_in_time).run([VALUE, 1], ordered=True, **grades[grade])) == [VALUE, 1]


RESERVED: dict[str, Any] = {"headers": {"zq-topic": "forged"}}


@pytest.mark.parametrize(
    "door",
    [
        lambda client: client.submit("q", 1, **RESERVED),
        lambda client: client.submit_many("q", [1], **RESERVED),
        lambda client: client.publish("doors", 1, **RESERVED),
        lambda client: client.publish_many("doors", [1], **RESERVED),
        lambda client: client.schedules.define("forged", "q", 1, every=60, **RESERVED),
        lambda client: client.group([1], queue="q", callback="joined", **RESERVED),
        lambda client: client.group([("q", 1, RESERVED)], callback="joined"),
        lambda client: client.group([1], queue="q", callback=("joined", RESERVED)),
        lambda client: client.pulled("1:x").forward("q", 1, **RESERVED),
        lambda client: client.pulled("1:x").group([1], queue="q", callback=("joined", RESERVED)),
        lambda client: client.request("q", 1, 5.0, **RESERVED),
        lambda client: zq.Executor(client.address, **RESERVED),
    ],
)
def test_no_door_takes_headers_that_the_coordinator_sets(client: zq.Client, door: Callable[[zq.Client], Any]) -> None:
    with pytest.raises(ValueError, match="header 'zq-topic' cannot be given: names that begin with zq- are set by"):
        door(client)
