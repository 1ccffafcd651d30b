"""The table of rights has a row for everything, and patterns fit what they say."""

from __future__ import annotations

import pytest

from zq.core.admin.commands import COMMANDS
from zq.core.insight.queries import QUERIES
from zq.core.peer_limits import PeerLimits
from zq.core.rights.rights import KEY_ROLES, PATTERNS_MAX, Rights, fits
from zq.core.rights.table import COMMAND_RIGHTS, MESSAGE_ROLES, QUERY_RIGHTS
from zq.core.rights.veil import QUERY_VEILS
from zq.wire.codec import KINDS
from zq.wire.questions import NAMES_IN_COMMANDS, NAMES_IN_QUERIES


def test_every_message_query_and_command_has_a_row_and_nothing_else_has() -> None:
    assert set(MESSAGE_ROLES) == {kind.message for kind in KINDS if kind.said_by != "coordinator"}
    assert set(QUERY_RIGHTS) == set(QUERIES) == set(QUERY_VEILS) == set(NAMES_IN_QUERIES)
    assert set(COMMAND_RIGHTS) == set(COMMANDS) == set(NAMES_IN_COMMANDS)


def test_every_argument_that_is_a_name_is_asked_about() -> None:
    for what, question in {**NAMES_IN_QUERIES, **NAMES_IN_COMMANDS}.items():
        row = QUERY_RIGHTS.get(what) or COMMAND_RIGHTS[what]
        asked = {name for name, _ in row.subjects}

        # A worker is only what rows are chosen by, which are of queues that may be seen.
        assert question.arguments - {"worker"} <= asked, what


def test_every_row_is_for_roles_that_there_are() -> None:
    rows = [*MESSAGE_ROLES.values(), *(ask.roles for ask in (*QUERY_RIGHTS.values(), *COMMAND_RIGHTS.values()))]

    assert all(roles and roles <= set(KEY_ROLES) for roles in rows)
    assert all("admin" in roles for roles in rows)


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("orders", ["orders"], ["order", "orders2", "team/orders", ""]),
        ("*", ["", "a", "team/orders"], []),
        ("orders.*", ["orders.", "orders.eu"], ["orders", "xorders.eu"]),
        ("*.eu", ["orders.eu", ".eu"], ["eu", "orders.eu.x"]),
        ("a*a", ["aa", "aba"], ["a", "ab"]),
        ("a*b*c", ["abc", "axbxc", "abbc"], ["acb", "ac", "abcb"]),
        ("a**c", ["ac", "abc"], ["a", "c"]),
    ],
)
def test_a_star_stands_for_any_text(pattern: str, names: list[str], others: list[str]) -> None:
    assert [name for name in names if not fits(pattern, name)] == []
    assert [name for name in others if fits(pattern, name)] == []


def test_in_namespaces_patterns_are_about_the_rest_of_a_name() -> None:
    rights = Rights("k", "client", ("orders*",), (), (), ("team-a", "b/c"))

    assert rights.may_submit("team-a/orders") and rights.may_submit("b/c/orders.eu")
    assert not any(map(rights.may_submit, ["orders", "team-b/orders", "team-a", "team-ab/orders", "b/orders"]))
    assert not rights.may_work("team-a/orders") and rights.may_see("team-a/orders")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"role": "boss"}, "expected a role of client, worker, admin, got 'boss'"),
        ({"submit": ("a b",)}, "expected a pattern like orders"),
        ({"work": ("",)}, "expected a pattern like orders"),
        ({"look": ("x",) * (PATTERNS_MAX + 1)}, "expected at most 100 patterns"),
        ({"namespaces": ("a/",)}, "expected a namespace like team-a"),
        ({"limits": (("wait", 1),)}, "expected limits of waits, pulls"),
        ({"limits": (("bytes_in", 0),)}, "expected bytes_in of a peer as a whole number from 1, got 0"),
        ({"limits": (("waits", 0),)}, "expected waits of a peer as a whole number from 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_in_words(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Rights(**{"name": "k", "role": "client", **fields})  # type: ignore[arg-type]


def test_limits_of_a_key_go_before_those_of_every_peer() -> None:
    rights = Rights("k", "client", limits=(("waits", 7),))

    assert rights.limits_from(PeerLimits(pulls=3)) == PeerLimits(waits=7, pulls=3)
