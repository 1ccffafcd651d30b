"""The command line within a namespace, and commands about namespaces."""

from __future__ import annotations

import json
import os

from tests.cli.conftest import Invoke
from tests.cli.test_commands import rows_of


def test_names_are_inside_the_namespace(invoke: Invoke) -> None:
    assert invoke("--namespace", "team-a", "submit", "orders", "1", "--id", "order-1").stdout == "order-1\n"
    invoke("submit", "orders", "1", "--id", "order-1")

    assert [row["name"] for row in rows_of(invoke("queues", "ls").stdout)] == ["orders", "team-a/orders"]
    assert [row["name"] for row in rows_of(invoke("-N", "team-a", "queues", "ls").stdout)] == ["orders"]
    assert [row["id"] for row in rows_of(invoke("-N", "team-a", "tasks", "ls").stdout)] == ["order-1"]
    assert json.loads(invoke("-N", "team-a", "status", "--json").stdout)["waiting"] == 1
    assert "ZQ_NAMESPACE" not in os.environ


def test_limits_are_set_shown_and_listed(invoke: Invoke) -> None:
    invoke("namespaces", "set", "team-a", "--max-tasks", "1")
    invoke("-N", "team-a", "submit", "orders", "1")

    assert "namespace team-a is full: 1 of 1 tasks" in invoke("-N", "team-a", "submit", "orders", "2").stderr
    assert json.loads(invoke("namespaces", "show", "team-a", "--json").stdout)["max_tasks"] == 1
    [row] = rows_of(invoke("namespaces", "ls").stdout)
    assert (row["name"], row["waiting"], row["max_tasks"]) == ("team-a", "1", "1")
    invoke("namespaces", "set", "team-a", "--default", "max-tasks")
    assert invoke("-N", "team-a", "submit", "orders", "2").exit_code == 0


def test_what_is_not_there_or_cannot_be_is_said_so(invoke: Invoke) -> None:
    assert invoke("namespaces", "show", "nothing").exit_code == 1
    assert invoke("namespaces", "set", "a").exit_code == 2
    assert invoke("-N", "a b", "queues", "ls").exit_code == 2
