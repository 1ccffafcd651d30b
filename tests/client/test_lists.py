"""Lists are whole, however many pages they come in, for clients, awaited ones, raw queries and commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import zq
from zq.cli.app import app as command_line
from zq.core import pages

MANY = 23
"""Of everything; a page has a few."""

QUEUES = [f"team-{number}/q" for number in range(MANY)]

NAMES = sorted(QUEUES)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("lists")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "WORK_MAX", 4 * (pages.ROW_WORK + 1))
        with zq.Coordinator(folder / "z", bind=f"ipc://{folder}/socket") as coordinator:
            with zq.Client(coordinator.address, timeout=20.0) as client:
                fill(client)
            yield coordinator.address


def fill(client: zq.Client) -> None:
    for number, name in enumerate(QUEUES):
        client.queues.set(name, max_tasks=1000)
        client.topics.bind(f"topic-{number}.#", name)
        client.schedules.define(f"schedule-{number:02}", name, None, every=1000.0)
        client.group([1], queue=name, id=f"group-{number:02}")
        client.submit(name, 5)
        client.queues.move(name, "other", states=["dead"])


def lists_of(client: zq.Client) -> dict[str, list[Any]]:
    return {
        "queues": [one.name for one in client.queues.list()],
        "namespaces": [one.name for one in client.namespaces.list()],
        "schedules": [one.name for one in client.schedules.list()],
        "bindings": [one.queue for one in client.topics.list()],
        "operations": [one.queue for one in client.queues.operations()],
    }


async def awaited_lists_of(client: zq.AsyncClient) -> dict[str, list[Any]]:
    return {
        "queues": [one.name for one in await client.queues.list()],
        "namespaces": [one.name for one in await client.namespaces.list()],
        "schedules": [one.name for one in await client.schedules.list()],
        "bindings": [one.queue for one in await client.topics.list()],
        "operations": [one.queue for one in await client.queues.operations()],
    }


EXPECTED: dict[str, list[str]] = {
    "queues": sorted([*NAMES, "other"]),
    "namespaces": sorted(name.partition("/")[0] for name in NAMES),
    "schedules": [f"schedule-{number:02}" for number in range(MANY)],
    "bindings": [f"team-{number}/q" for _, number in sorted((f"topic-{n}.#", n) for n in range(MANY))],
    "operations": QUEUES,
}


def test_lists_of_a_client_are_whole(address: str) -> None:
    with zq.Client(address, timeout=20.0) as client:
        assert lists_of(client) == EXPECTED


def test_lists_of_an_awaited_client_are_whole(address: str) -> None:
    async def main() -> dict[str, list[Any]]:
        async with zq.AsyncClient(address, timeout=20.0) as client:
            assert [row["name"] for row in await client.query("queues")] == EXPECTED["queues"]
            return await awaited_lists_of(client)

    assert asyncio.run(main()) == EXPECTED


def test_raw_query_of_a_list_is_whole_and_a_page_if_it_says_so(address: str) -> None:
    with zq.Client(address, timeout=20.0) as client:
        assert [row["name"] for row in client.query("queues")] == EXPECTED["queues"]
        assert [row["id"] for row in client.query("groups")] == [f"group-{number:02}" for number in range(MANY)]
        page = client.query("queues", cursor=None)
        assert 0 < len(page["rows"]) < MANY
        following = client.query("queues", cursor=page["cursor"], limit=1)
        assert following["rows"][0]["name"] == EXPECTED["queues"][len(page["rows"])]
        with pytest.raises(ValueError, match="limit"):
            client.query("queues", limit=0)


def test_lists_have_as_many_rows_as_are_asked_for(address: str) -> None:
    with zq.Client(address, timeout=20.0) as client:
        assert [one.name for one in client.schedules.list(limit=7)] == EXPECTED["schedules"][:7]
        assert len(client.namespaces.list(limit=9)) == 9
        assert len(client.topics.list(limit=11)) == 11
        assert len(client.query("groups", limit=13)) == 13


def test_lists_within_a_namespace_are_those_of_it(address: str) -> None:
    with zq.Client(address, timeout=20.0, namespace="team-7") as client:
        assert [one.name for one in client.queues.list()] == ["q"]
        assert [one.queue for one in client.topics.list()] == ["q"]
        assert client.query("status")["queues"] == 1


@pytest.mark.parametrize(
    ("command", "count"),
    [("queues", MANY + 1), ("namespaces", MANY), ("schedules", MANY), ("topics", MANY), ("groups", MANY)],
)
def test_lists_of_commands_are_whole(address: str, command: str, count: int) -> None:
    result = CliRunner().invoke(command_line, [command, "ls", "--json", "--address", address])

    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows[0] if len(rows) == 1 else rows) == count
