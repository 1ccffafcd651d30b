"""Policies of queues: read, kept, shown, and put back to their defaults."""

from typing import Any

import pytest

from tests.core.desk import Desk
from zq.wire.policies import DEFAULT_POLICIES, QueuePolicies, QueueSettings, policies_of, policies_record, read_policies


def test_every_policy_has_a_setting_and_a_reader() -> None:
    assert set(QueueSettings.__annotations__) == set(QueuePolicies._fields)
    assert read_policies(dict.fromkeys(QueuePolicies._fields)) == DEFAULT_POLICIES._asdict()


def test_record_holds_only_what_is_not_default() -> None:
    policies = DEFAULT_POLICIES._replace(max_tasks=5)

    assert policies_record(policies) == {"max_tasks": 5}
    assert policies_of({"max_tasks": 5}) == policies


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"colour": 1}, "expected policies of max_tasks, .*got 'colour'"),
        ({"max_tasks": 0}, "expected max_tasks from 1 to .*, got 0"),
        ({"max_tasks": True}, "expected max_tasks from 1 to .*, got True"),
        ({"assign": "random"}, "expected assign as one of least-loaded, hash, got 'random'"),
    ],
    ids=str,
)
def test_policy_that_cannot_be_is_refused_in_words(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_policies(values)


def test_policies_are_shown_kept_over_a_restart_and_put_back() -> None:
    desk = Desk(queue_tasks_max=7)
    shown = desk.command("set-queue", queue="q", max_tasks=3, assign="hash")
    assert (shown["max_tasks"], shown["policies"]["max_tasks"], shown["policies"]["assign"]) == (3, 3, "hash")
    desk.restart()
    assert desk.query("queue", queue="q") == shown

    desk.command("set-queue", queue="q", max_tasks=None)

    after = desk.query("queue", queue="q")
    assert (after["max_tasks"], after["policies"]["max_tasks"], after["policies"]["assign"]) == (7, None, "hash")


def test_wider_limit_holds_at_once() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", max_tasks=1)
    desk.submit("a")
    assert desk.submit("b").refused

    desk.command("set-queue", queue="q", max_tasks=2)

    assert desk.submit("b").accepted
