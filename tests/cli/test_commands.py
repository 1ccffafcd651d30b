"""Commands against a coordinator."""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Event, Thread

import pytest

import zq
from tests.cli.conftest import Invoke


@pytest.fixture
def work(coordinator: zq.Coordinator) -> Callable[[], zq.Worker]:
    """Returns a worker that bakes orders, and burns those that ask for it."""

    def make() -> zq.Worker:
        worker = zq.Worker(coordinator.address, name="shop-1")

        @worker.task("orders")
        def bake(task: zq.Task) -> object:
            if task.payload.get("burn"):
                raise RuntimeError("burnt")
            return {"baked": task.payload["pizza"]}

        return worker

    return make


def rows_of(text: str) -> list[dict[str, str]]:
    """Returns the rows of a tab-separated table by column."""
    head, *rows = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_submit_prints_the_id_alone(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    result = invoke("submit", "orders", '{"pizza": "margherita"}', "--id", "order-1")

    assert (result.exit_code, result.stdout) == (0, "order-1\n")
    assert "accepted at place 1" in result.stderr
    with zq.Client(coordinator.address) as client:
        assert client.status("order-1").state == "waiting"


def test_submit_passes_its_options_on(invoke: Invoke) -> None:
    options = ["--priority", "7", "--key", "customer-42", "--on-lost", "cancel", "--id", "order-1"]

    invoke("submit", "orders", "{}", *options)

    task = json.loads(invoke("tasks", "show", "order-1", "--json").stdout)
    assert (task["priority"], task["key"], task["on_lost"]) == (7, "customer-42", "cancel")


def test_submit_takes_a_date_a_ttl_and_a_retry_policy(invoke: Invoke) -> None:
    invoke("submit", "orders", "{}", "--id", "order-1", "--at", "2100-12-24T18:00+01:00", "--retry", "linear:5:60")
    invoke("submit", "orders", "{}", "--id", "order-2", "--at", "4133442000", "--ttl", "0.001")

    assert json.loads(invoke("tasks", "show", "order-1", "--json").stdout)["due_time"] == 4133350800.0
    assert invoke("submit", "orders", "{}", "--at", "2100-12-24T18:00").exit_code == 2
    wrong = invoke("submit", "orders", "{}", "--at", "soon")
    assert wrong.exit_code == 2
    assert "expected --at as" in wrong.stderr


def test_duplicate_prints_the_task_that_has_its_unique_key(invoke: Invoke) -> None:
    invoke("submit", "orders", "{}", "--unique", "table-7", "--id", "order-1")
    result = invoke("submit", "orders", "{}", "--unique", "table-7")

    assert (result.exit_code, result.stdout) == (0, "order-1\n")
    assert "nothing was stored: this task has the unique key" in result.stderr
    replaced = ["--unique", "table-7", "--unique-policy", "replace", "--unique-until", "started", "--id", "order-2"]
    assert invoke("submit", "orders", "{}", *replaced).stdout == "order-2\n"


def test_delayed_task_is_listed_as_scheduled(invoke: Invoke) -> None:
    invoke("submit", "orders", "{}", "--delay", "3600", "--id", "order-1")

    assert [row["id"] for row in rows_of(invoke("tasks", "ls", "--state", "scheduled").stdout)] == ["order-1"]
    assert rows_of(invoke("tasks", "ls", "--state", "waiting").stdout) == []
    assert [row["state"] for row in rows_of(invoke("tasks", "ls").stdout)] == ["scheduled"]


def test_submit_as_json_prints_the_receipt(invoke: Invoke) -> None:
    receipt = json.loads(invoke("submit", "orders", "1", "--id", "order-1", "--json").stdout)

    assert receipt == {"id": "order-1", "position": 1, "eta": None}


def test_submitting_an_id_twice_stores_it_once(invoke: Invoke) -> None:
    for _ in range(2):
        assert invoke("submit", "orders", "{}", "--id", "order-1").stdout == "order-1\n"

    assert len(rows_of(invoke("tasks", "ls").stdout)) == 1


def test_lines_of_stdin_are_one_task_each(invoke: Invoke) -> None:
    result = invoke("submit", "orders", "-", stdin='{"n": 1}\n\n{"n": 2}\n"three"\n')

    assert result.exit_code == 0
    ids = result.stdout.splitlines()
    assert len(set(ids)) == 3
    assert [row["id"] for row in rows_of(invoke("tasks", "ls").stdout)] == ids


def test_bad_line_of_stdin_fails_and_is_named(invoke: Invoke) -> None:
    result = invoke("submit", "orders", "-", stdin='{"n": 1}\n{n: 2}\n')

    assert result.exit_code == 1
    assert "line 2 of standard input: expected JSON" in result.stderr


def test_refused_tasks_fail_and_accepted_ones_are_printed(invoke: Invoke) -> None:
    invoke("queues", "set", "orders", "--max-tasks", "1")
    accepted = invoke("submit", "orders", "{}")
    refused = invoke("submit", "orders", "{}")

    assert accepted.exit_code == 0
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "come back in" in refused.stderr


def test_waiting_prints_the_result(invoke: Invoke, work: Callable[[], zq.Worker]) -> None:
    with work():
        result = invoke("submit", "orders", '{"pizza": "margherita"}', "--wait")

    assert (result.exit_code, json.loads(result.stdout)) == (0, {"baked": "margherita"})


def test_waiting_for_many_prints_all_results_in_order_and_fails_if_one_failed(
    invoke: Invoke, work: Callable[[], zq.Worker]
) -> None:
    lines = '{"pizza": "a"}\n{"burn": true}\n{"pizza": "c"}\n'

    with work():
        result = invoke("submit", "orders", "-", "--wait", stdin=lines)

    assert result.exit_code == 1
    assert [json.loads(line)["baked"] for line in result.stdout.splitlines()] == ["a", "c"]
    assert "burnt" in result.stderr


def test_waiting_for_a_task_that_does_not_end_is_75(invoke: Invoke) -> None:
    result = invoke("submit", "orders", "{}", "--wait", "--for", "0.05")

    assert (result.exit_code, result.stdout) == (75, "")


def test_status_counts_tasks_by_state(invoke: Invoke) -> None:
    invoke("submit", "orders", "{}")

    result = invoke("status", "--json")

    status = json.loads(result.stdout)
    assert (status["waiting"], status["queues"], status["version"]) == (1, 1, zq.__version__)
    assert "store.used_bytes" in invoke("status").stdout


def test_cancelled_task_is_shown_as_cancelled(invoke: Invoke) -> None:
    invoke("submit", "orders", "{}", "--id", "order-1")

    assert invoke("tasks", "cancel", "order-1").exit_code == 0
    assert json.loads(invoke("tasks", "show", "order-1", "--json").stdout)["state"] == "cancelled"
    assert invoke("tasks", "cancel", "order-1").exit_code == 1


def test_unknown_task_is_1(invoke: Invoke) -> None:
    result = invoke("tasks", "show", "never", "--json")

    assert (result.exit_code, json.loads(result.stdout)["state"]) == (1, "unknown")


def test_unknown_queue_is_1(invoke: Invoke) -> None:
    result = invoke("tasks", "ls", "--queue", "nowhere")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no queue" in result.stderr


def test_queue_keeps_what_was_set(invoke: Invoke) -> None:
    invoke("queues", "set", "orders", "--max-tasks", "5", "--assign", "hash")

    (row,) = rows_of(invoke("queues", "ls").stdout)
    assert (row["name"], row["max_tasks"], row["assign"]) == ("orders", "5", "hash")


def test_queue_is_shown_with_its_policies_and_put_back(invoke: Invoke) -> None:
    invoke("queues", "set", "orders", "--max-tasks", "5", "--assign", "hash")

    shown = json.loads(invoke("queues", "set", "orders", "--default", "max-tasks", "--json").stdout)

    assert shown == json.loads(invoke("queues", "show", "orders", "--json").stdout)
    assert (shown["policies"]["max_tasks"], shown["policies"]["assign"]) == (None, "hash")
    assert ["policies.assign", "hash"] in [
        line.split() for line in invoke("queues", "show", "orders").stdout.splitlines()
    ]
    assert invoke("queues", "show", "nowhere").exit_code == 1


def test_paused_queue_says_why_and_goes_on(invoke: Invoke, work: Callable[[], zq.Worker]) -> None:
    assert invoke("queues", "pause", "orders").exit_code == 0
    invoke("submit", "orders", '{"pizza": "a"}', "--id", "order-1", "--key", "k", "--ordered")

    reason = json.loads(invoke("why", "order-1", "--json").stdout)
    assert (reason["code"], reason["text"]) == ("paused", "queue orders is paused")
    assert invoke("why", "order-1").stdout == "paused: queue orders is paused\n"
    assert "1 wait" in invoke("queues", "resume", "orders").stderr
    with work():
        assert json.loads(invoke("submit", "orders", '{"pizza": "b"}', "--wait").stdout)
    assert json.loads(invoke("why", "order-1", "--json").stdout)["code"] == "ended"


def test_why_of_an_unknown_task_is_1(invoke: Invoke) -> None:
    result = invoke("why", "never")

    assert (result.exit_code, result.stdout) == (1, "unknown: the coordinator has no such task, or no longer\n")


def test_limits_of_a_queue_are_set_and_shown(invoke: Invoke) -> None:
    invoke(
        "queues", "set", "orders", "--rate", "2.5", "--burst", "3", "--concurrency", "4", "--key-rate", "1", "--fair"
    )

    shown = json.loads(invoke("queues", "show", "orders", "--json").stdout)["policies"]
    assert (shown["rate"], shown["burst"], shown["concurrency"], shown["key_rate"], shown["fair"]) == (
        2.5,
        3,
        4,
        1,
        True,
    )


def test_workers_are_listed(invoke: Invoke, work: Callable[[], zq.Worker]) -> None:
    with work():
        invoke("submit", "orders", '{"pizza": "a"}', "--wait")
        (row,) = rows_of(invoke("workers", "ls").stdout)

    assert (row["name"], row["state"], row["queues"]) == ("shop-1", "live", "orders")


def test_dead_letter_is_listed_with_its_error_and_its_history(invoke: Invoke, work: Callable[[], zq.Worker]) -> None:
    with work():
        invoke("submit", "orders", '{"burn": true}', "--id", "order-1", "--wait")

    (row,) = (json.loads(line) for line in invoke("dead", "ls", "--json").stdout.splitlines())
    assert row["id"] == "order-1"
    assert "burnt" in row["reason"]
    assert "order-1" in invoke("tasks", "show", "order-1").stdout


def test_dead_letter_goes_back_by_retry_or_replay(invoke: Invoke, work: Callable[[], zq.Worker]) -> None:
    for id, command in (("order-1", ["tasks", "retry", "order-1"]), ("order-2", ["dead", "replay"])):
        with work():
            invoke("submit", "orders", '{"burn": true}', "--id", id, "--wait")

        assert invoke(*command).exit_code == 0

        assert json.loads(invoke("tasks", "show", id, "--json").stdout)["state"] == "waiting"
        invoke("tasks", "cancel", id)


def test_task_that_is_not_dead_cannot_be_retried(invoke: Invoke) -> None:
    invoke("submit", "orders", "{}", "--id", "order-1")

    result = invoke("tasks", "retry", "order-1")

    assert result.exit_code == 1
    assert "not a dead letter" in result.stderr


def test_running_task_is_listed_with_its_worker(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    worker = zq.Worker(coordinator.address, name="shop-1")
    is_started, may_end = Event(), Event()

    @worker.task("orders")
    def bake(task: zq.Task) -> None:
        is_started.set()
        may_end.wait(60.0)

    with worker:
        invoke("submit", "orders", "{}", "--id", "order-1")
        assert is_started.wait(60.0)
        rows = rows_of(invoke("tasks", "ls", "--state", "leased").stdout)
        may_end.set()

    assert [(row["id"], row["worker"]) for row in rows] == [("order-1", "shop-1")]


def test_groups_are_listed_shown_and_cancelled(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as client:
        client.group([1, 2], queue="orders", callback="boxes", id="g")
        client.group([], id="empty")

    assert [row["id"] for row in rows_of(invoke("groups", "ls").stdout)] == ["empty", "g"]
    assert [row["id"] for row in rows_of(invoke("groups", "ls", "--state", "done").stdout)] == ["empty"]
    assert json.loads(invoke("groups", "show", "g", "--json").stdout)["outstanding"] == 2
    cancelled = invoke("groups", "cancel", "g")
    again = invoke("groups", "cancel", "g")

    assert (cancelled.exit_code, cancelled.stdout) == (0, "")
    assert "cancelled 3" in cancelled.stderr
    assert (again.exit_code, again.stderr) == (1, "zq: g is not an open group\n")
    assert invoke("groups", "show", "nobody").exit_code == 1


def test_tasks_trace_prints_an_event_a_line(invoke: Invoke) -> None:
    invoke("submit", "orders", "1", "--id", "order-1")
    invoke("tasks", "cancel", "order-1")

    lines = invoke("tasks", "trace", "order-1").stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["accepted", "cancelled"]
    assert "queue=orders" in lines[0]
    rows = [json.loads(line) for line in invoke("tasks", "trace", "order-1", "--json").stdout.splitlines()]
    assert [(row["event"], row["detail"].get("reason")) for row in rows] == [
        ("accepted", None),
        ("cancelled", "cancelled by a client"),
    ]
    assert invoke("tasks", "trace", "never").exit_code == 1


def test_tasks_are_listed_by_what_they_have(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as client:
        client.submit_many("orders", range(1200), key="customer-1", headers={"city": "rome"})
        client.submit("orders", {"pizza": 1}, id="order-1", key="customer-2")

    assert len(rows_of(invoke("tasks", "ls", "--all").stdout)) == 1201
    assert len(rows_of(invoke("tasks", "ls", "--limit", "1100", "--header", "city=rome").stdout)) == 1100
    [row] = [json.loads(line) for line in invoke("tasks", "ls", "--key", "customer-2", "--json").stdout.splitlines()]
    assert row["id"] == "order-1"
    assert rows_of(invoke("tasks", "ls", "--older-than", "5m").stdout) == []
    assert rows_of(invoke("tasks", "ls", "--worker", "shop-1", "--state", "any").stdout) == []
    assert rows_of(invoke("tasks", "ls", "--reason", "burnt", "--state", "dead").stdout) == []
    result = invoke("tasks", "ls", "--older-than", "soon")
    assert (result.exit_code, "expected a duration like 90" in result.stderr) == (2, True)


def test_tasks_show_prints_the_payload_when_it_is_asked_for(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as client:
        client.submit("orders", {"pizza": [1, 2]}, id="order-1")
        client.submit("orders", None, id="order-2")
        client.cancel("order-2")

    assert "payload" not in json.loads(invoke("tasks", "show", "order-1", "--json").stdout)
    assert json.loads(invoke("tasks", "show", "order-1", "--payload", "--json").stdout)["payload"] == {"pizza": [1, 2]}
    assert 'payload        {"pizza": [1, 2]}' in invoke("tasks", "show", "order-1", "--payload").stdout
    gone = invoke("tasks", "show", "order-2", "--payload")
    assert (gone.exit_code, "its payload is not there" in gone.stderr) == (0, True)


def test_events_are_printed_as_they_happen(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    done = Event()

    def act() -> None:
        with zq.Client(coordinator.address) as client:
            while not done.wait(0.01):  # until the command that watches has seen enough
                client.submit("other", 1)
                client.submit_many("orders", [1, 2, 3], batch_size=3)

    thread = Thread(target=act)
    thread.start()
    try:
        shown = invoke("events", "--queue", "orders", "--kind", "accepted", "--limit", "1")
        as_json = invoke("events", "--queue", "orders", "--limit", "1", "--json")
    finally:
        done.set()
        thread.join()

    assert shown.stdout.split()[2] == "accepted"
    assert "queue=orders" in shown.stdout
    assert "#0-2" in shown.stdout
    row = json.loads(as_json.stdout)
    assert (row["kind"], row["queue"], row["hi"]) == ("accepted", "orders", 3)
    assert invoke("events", "--kind", "tired").exit_code == 2
