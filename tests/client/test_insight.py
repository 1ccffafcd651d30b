"""What can be seen of tasks, over a real coordinator."""

import asyncio
from pathlib import Path

import pytest

import zq
from tests.client.test_with_coordinator import client, coordinator

__all__ = ["client", "coordinator"]  # fixtures


def test_trace_tells_what_happened_to_a_task(client: zq.Client) -> None:
    receipt = client.submit("q", 1)
    [task] = client.pull("q", wait=10)
    task.done()

    events = client.trace(receipt.id)

    assert [event.event for event in events] == ["accepted", "assigned", "done"]
    assert events[1].detail["token"] == task.token
    assert client.trace("never") == ()


def test_async_client_has_the_same_trace(client: zq.Client) -> None:
    receipt = client.submit("q", 1)

    async def look() -> tuple[zq.TaskEvent, ...]:
        async with zq.AsyncClient(client.address) as other:
            return await other.trace(receipt.id)

    assert asyncio.run(look()) == client.trace(receipt.id)


def test_tasks_are_found_beyond_the_rows_of_one_answer(client: zq.Client) -> None:
    client.submit_many("q", range(2300), batch_size=1000, headers={"city": "rome"})
    client.submit("q", "other", id="other")

    assert len(list(client.tasks(queue="q", headers={"city": "rome"}))) == 2300
    assert len({task.id for task in client.tasks("unfinished")}) == 2301
    assert [task.id for task in client.tasks(limit=3)] == [task.id for task in client.tasks()][:3]
    with pytest.raises(zq.RemoteProtocolError, match="there is no queue 'r'"):
        list(client.tasks(queue="r"))
    with pytest.raises(ValueError, match="expected limit from 1"):
        client.tasks(limit=0)


def test_async_client_finds_the_same(client: zq.Client) -> None:
    client.submit_many("q", range(700))

    async def look() -> list[str]:
        async with zq.AsyncClient(client.address) as other:
            assert await other.payload((await other.query("tasks"))["rows"][3]["id"]) == 3
            return [task.id async for task in other.tasks()]

    assert asyncio.run(look()) == [task.id for task in client.tasks()]


def test_payload_is_what_was_submitted_while_the_task_is_there(client: zq.Client) -> None:
    client.submit("q", {"pizza": [1, b"raw"]}, id="a")

    assert client.payload("a") == {"pizza": [1, b"raw"]}
    with pytest.raises(zq.TaskUnknownError, match="its payload is not there"):
        client.payload("b")


def test_events_are_told_as_they_happen(client: zq.Client) -> None:
    with client.events("q", ["accepted", "done"], timeout=20) as stream:
        client.submit("r", 0)
        receipt = client.submit("q", 1)
        [task] = client.pull("q", wait=10)
        task.done()
        first, second = next(stream), next(stream)

    assert (first.kind, first.id, first.tasks) == ("accepted", receipt.id, 1)
    assert (second.kind, second.id, second.token) == ("done", receipt.id, task.token)
    assert list(stream) == []


def test_stream_ends_after_its_time_without_an_event_and_can_go_on(client: zq.Client) -> None:
    with client.events(timeout=0.01) as stream:
        assert list(stream) == []
        client.submit("q", 1)
        assert [event.kind for event in stream][:1] == ["accepted"]


def test_slow_watcher_is_told_how_many_events_it_missed(client: zq.Client) -> None:
    with zq.Client(client.address) as other, other.events(kinds=["accepted"], timeout=5) as stream:
        for number in range(150):
            client.submit("q", number)
        events = []
        for event in stream:
            events.append(event)
            if sum(max(one.tasks, one.dropped) for one in events) == 150:
                break

    dropped = [event for event in events if event.kind == "dropped"]
    assert sum(event.tasks for event in events) + sum(event.dropped for event in dropped) == 150
    assert dropped


def test_stream_follows_a_coordinator_that_was_restarted_and_says_so(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/socket"
    with zq.Client(address) as client:
        first = zq.Coordinator(tmp_path / "s.zq", bind=address).open()
        with client.events(kinds=["accepted"], timeout=30) as stream:
            client.submit("q", 1)
            assert next(stream).kind == "accepted"
            first.close()
            with zq.Coordinator(tmp_path / "s.zq", bind=address):
                gap = next(stream)
                client.submit("q", 2, id="after")
                assert (gap.kind, gap.dropped) == ("dropped", 0)
                assert next(stream).id == "after"


def test_what_cannot_be_followed_is_refused(client: zq.Client) -> None:
    with pytest.raises(ValueError, match="got 'tired'"):
        client.events(kinds=["tired"])
    with pytest.raises(TypeError, match="as a list"):
        client.events(kinds="done")
    streams = [client.events() for _ in range(16)]
    with pytest.raises(zq.BusyError, match="may have 16 follows"):
        client.events()
    streams[0].close()
    client.ping()
    client.events().close()


def test_async_client_follows_the_same_events(client: zq.Client) -> None:
    async def look() -> list[str]:
        async with zq.AsyncClient(client.address) as other, other.events("q", timeout=20) as stream:
            await other.submit("q", 1, id="a")
            await other.cancel("a")
            return [(await anext(stream)).kind for _ in range(2)]

    assert asyncio.run(look()) == ["accepted", "cancelled"]


def test_stream_of_a_client_that_is_closed_ends_with_an_error(coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as other:
        stream = other.events()
    with pytest.raises(zq.ClosedError):
        next(stream)


def test_events_and_traces_are_those_of_the_namespace(client: zq.Client) -> None:
    with zq.Client(client.address, namespace="team-a") as team, team.events(timeout=20) as stream:
        client.submit("q", 1, id="outside")
        team.submit("q", 1, id="inside")
        event = next(stream)
        [task] = team.pull("q", wait=10)
        task.forward("boxes", 1)
        task.done()

        assert (event.kind, event.queue, event.id) == ("accepted", "q", "inside")
        (forwarded,) = [one.detail for one in team.trace("inside") if one.event == "forwarded"]
        assert forwarded["batches"][0]["queue"] == "boxes"


def test_filter_that_there_is_not_is_named(client: zq.Client) -> None:
    with pytest.raises(
        TypeError, match=r"^unknown filter colour; expected one of queue, key, headers, worker, reason, older_than$"
    ):
        client.tasks(colour="red")  # type: ignore[call-arg]


def test_dead_letters_are_meant_by_id_or_by_queue_and_reason(client: zq.Client) -> None:
    for call in (client.dead.replay, client.dead.purge):
        with pytest.raises(
            ValueError, match=r"^expected the id of one dead letter, or a queue and a reason that several have"
        ):
            call("order-1", queue="orders")
