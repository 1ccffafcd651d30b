"""Commands about topics, against a coordinator."""

from __future__ import annotations

import json

from tests.cli.conftest import Invoke
from tests.cli.test_commands import rows_of


def test_publish_prints_a_task_for_each_bound_queue(invoke: Invoke) -> None:
    invoke("topics", "bind", "orders.#", "kitchen")
    invoke("topics", "bind", "*.eu", "audit")

    result = invoke("publish", "orders.eu", '{"pizza": 1}', "--id", "p")

    assert (result.exit_code, result.stdout) == (0, "p.1\taudit\np.2\tkitchen\n")
    as_json = json.loads(invoke("publish", "orders.eu", "{}", "--id", "p", "--json").stdout)
    assert as_json == {"id": "p", "tasks": {"audit": "p.1", "kitchen": "p.2"}}
    assert [row["waiting"] for row in rows_of(invoke("queues", "ls").stdout)] == ["1", "1"]


def test_publish_to_nobody_fails_unless_it_is_optional(invoke: Invoke) -> None:
    refused = invoke("publish", "nothing", "1")
    assert refused.exit_code == 1
    assert "no queue is bound to topic nothing" in refused.stderr

    assert invoke("publish", "nothing", "1", "--optional").exit_code == 0


def test_publish_reads_payloads_from_standard_input(invoke: Invoke) -> None:
    invoke("topics", "bind", "#", "all")

    result = invoke("publish", "a", "-", stdin="1\n2\n3\n")

    assert len(result.stdout.splitlines()) == 3
    assert rows_of(invoke("queues", "ls").stdout)[0]["waiting"] == "3"


def test_bindings_are_listed_matched_and_removed(invoke: Invoke) -> None:
    invoke("topics", "bind", "orders.*", "kitchen", "--header", "city=rome")

    [row] = rows_of(invoke("topics", "ls").stdout)
    assert row == {"pattern": "orders.*", "queue": "kitchen", "headers": "city=rome"}
    assert json.loads(invoke("topics", "ls", "--json").stdout)["headers"] == {"city": "rome"}
    assert invoke("topics", "match", "orders.eu", "-H", "city=rome").stdout == "kitchen\n"
    assert invoke("topics", "match", "orders.eu").exit_code == 1

    assert invoke("topics", "unbind", "orders.*", "kitchen").exit_code == 0
    assert invoke("topics", "unbind", "orders.*", "kitchen").exit_code == 1
    assert invoke("topics", "ls", "--json").stdout == ""


def test_what_cannot_be_a_topic_or_header_is_wrong_usage(invoke: Invoke) -> None:
    assert invoke("publish", "orders.*", "1").exit_code == 2
    assert invoke("topics", "bind", "a*b", "q").exit_code == 2
    assert invoke("topics", "bind", "a", "q", "--header", "city").exit_code == 2
