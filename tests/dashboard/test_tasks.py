"""Tasks in the interface: searched, shown, followed as a graph, and done something with."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

import zq
from tests.dashboard.conftest import OpenSite
from zq.dashboard.answers import bulk

Json = dict[str, Any]


def test_tasks_are_found_as_on_the_command_line(site: TestClient, client: zq.Client) -> None:
    wanted = client.submit("orders", 1, key="k", headers={"shop": "a: b"}).id
    for options in ({"key": "other"}, {"key": "k"}, {"headers": {"shop": "a: b"}}):
        client.submit("orders", 2, **options)
    client.submit("other", 2, key="k", headers={"shop": "a: b"})

    found = site.get("/api/v1/tasks", params={"queue": "orders", "key": "k", "header": "shop:a: b"}).json()
    young = site.get("/api/v1/tasks", params={"queue": "orders", "older": "60"}).json()

    assert [row["id"] for row in found["rows"]] == [wanted]
    assert found["cursor"] is None
    assert young["rows"] == []


@pytest.mark.parametrize(
    "query",
    ["state=odd", "older=x", "older=inf", "header=x", "limit=0", "limit=501", "limit=x", "cursor=zz", "queue=no"],
)
def test_search_that_cannot_be_is_refused_in_words(site: TestClient, query: str) -> None:
    answer = site.get(f"/api/v1/tasks?{query}")

    assert answer.status_code in (400, 404)
    assert len(answer.json()["error"]["message"]) > 10


def test_pages_have_all_tasks_once(site: TestClient, client: zq.Client) -> None:
    ids = [receipt.id for receipt in client.submit_many("orders", range(25))]
    found: list[str] = []
    cursor = None
    while True:
        page = site.get("/api/v1/tasks", params={"limit": 10, **({} if cursor is None else {"cursor": cursor})}).json()
        found += [row["id"] for row in page["rows"]]
        cursor = page["cursor"]
        if cursor is None:
            break

    assert sorted(found) == sorted(ids)


def test_task_is_shown_with_its_trace_reason_payload_and_result(site: TestClient, client: zq.Client) -> None:
    id = client.submit("orders", {"pizza": "funghi"}).id

    waits = site.get(f"/api/v1/tasks/{id}").json()
    why = site.get(f"/api/v1/tasks/{id}/why").json()
    payload = site.get(f"/api/v1/tasks/{id}/payload").json()
    early = site.get(f"/api/v1/tasks/{id}/result")
    (task,) = client.pull("orders")
    task.done({"box": 1})
    trace = site.get(f"/api/v1/tasks/{id}/trace").json()
    result = site.get(f"/api/v1/tasks/{id}/result").json()

    assert (waits["id"], waits["queue"], waits["state"]) == (id, "orders", "waiting")
    assert (why["code"], why["id"]) == ("no-worker", id)
    assert (payload["payload"], payload["is_cut"], payload["is_redacted"]) == ({"pizza": "funghi"}, False, False)
    assert early.status_code == 409
    assert [row["event"] for row in trace["rows"]][::2] == ["accepted", "done"]
    assert result["result"] == {"box": 1}


def test_large_payload_is_shown_in_part(site: TestClient, client: zq.Client) -> None:
    id = client.submit("orders", "x" * 500_000).id

    shown = site.get(f"/api/v1/tasks/{id}/payload").json()

    assert shown["is_cut"] is True
    assert shown["json_bytes"] == 500_002
    assert shown["payload"].startswith('"xxx')
    assert len(shown["payload"]) < 100_000


def test_payload_that_is_nested_deeply_is_shown_as_far_as_it_goes(site: TestClient, client: zq.Client) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    id = client.submit("orders", deep).id

    shown = site.get(f"/api/v1/tasks/{id}/payload")

    assert "nested too deeply" in shown.text


@pytest.mark.parametrize("path", ["", "/trace", "/payload", "/result"])
def test_task_that_is_not_there_is_not_found(site: TestClient, path: str) -> None:
    answer = site.get(f"/api/v1/tasks/nobody-000000000000000001{path}")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown"


def test_names_with_slashes_and_marks_are_one_part_of_a_path(site: TestClient, client: zq.Client) -> None:
    (first, second) = client.submit_many("team/orders#1", [1, 2])

    row = site.get(f"/api/v1/tasks/{second.id.replace('#', '%23')}").json()
    queue = site.get("/api/v1/queues/team%2Forders%231").json()

    assert row["id"] == second.id != first.id
    assert (queue["name"], queue["waiting"]) == ("team/orders#1", 2)


# Deeds.


def test_tasks_are_cancelled_by_their_ids(site: TestClient, client: zq.Client) -> None:
    ids = [client.submit("orders", n).id for n in range(3)]

    dry = site.post("/api/v1/tasks/cancel", json={"ids": ids[:2], "is_dry_run": True}).json()
    done = site.post("/api/v1/tasks/cancel", json={"ids": ids[:2]}).json()

    assert dry["count"] == done["count"] == 2
    assert [client.status(id).state for id in ids] == ["cancelled", "cancelled", "waiting"]


def test_deed_that_fails_in_the_midst_says_what_was_done(site: TestClient, client: zq.Client) -> None:
    ids = [client.submit("orders", n).id for n in range(3)]

    answer = site.post("/api/v1/tasks/cancel", json={"ids": [ids[0], "no id", *ids[1:]]})
    alone = site.post("/api/v1/tasks/cancel", json={"ids": ["no id"]})

    assert answer.status_code == alone.status_code == 400
    assert answer.json()["error"]["message"].startswith("it was done to 3 before this: expected id of 1 to")
    assert alone.json()["error"]["message"].startswith("expected id of 1 to")
    assert [client.status(id).state for id in ids] == ["cancelled"] * 3


@pytest.mark.parametrize("path", ["tasks/cancel", "tasks/retry", "dead/purge"])
@pytest.mark.parametrize("value", [0, None, "no", []])
def test_dry_run_that_is_neither_true_nor_false_does_nothing(
    site: TestClient, client: zq.Client, path: str, value: Any
) -> None:
    client.dead.bury(client.submit("q", 1).id, "bad")
    which: Json = {"queue": "q"} if path == "dead/purge" else {"search": {"queue": "q", "state": "dead"}}

    answer = site.post(f"/api/v1/{path}", json={**which, "is_dry_run": value})

    assert (answer.status_code, client.queues.show("q").dead) == (400, 1)


def test_what_a_search_finds_is_counted_and_cancelled_in_portions(
    site: TestClient, client: zq.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PAGE_ROWS_MAX", 40)
    client.submit_many("orders", range(100), key="k")
    other = client.submit("orders", 1, key="other").id
    search = {"queue": "orders", "key": "k"}

    dry = site.post("/api/v1/tasks/cancel", json={"search": search, "is_dry_run": True}).json()
    waiting = client.queues.show("orders").waiting
    done = site.post("/api/v1/tasks/cancel", json={"search": search}).json()

    assert (dry["count"], dry["is_least"], waiting) == (100, False, 101)
    assert (done["count"], done["cursor"]) == (100, None)
    assert client.status(other).state == "waiting"


def test_deed_that_takes_long_goes_on_by_its_cursor(
    site: TestClient, client: zq.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PAGE_ROWS_MAX", 40)
    monkeypatch.setattr(bulk, "DEED_SECONDS", 0.0)
    monkeypatch.setattr(bulk, "COUNT_SECONDS", 0.0)
    client.submit_many("orders", range(100))
    search = {"state": "waiting"}

    dry = site.post("/api/v1/tasks/cancel", json={"search": search, "is_dry_run": True}).json()
    counts, cursor = [], None
    while True:
        done = site.post("/api/v1/tasks/cancel", json={"search": search, "cursor": cursor}).json()
        counts.append(done["count"])
        cursor = done["cursor"]
        if cursor is None:
            break

    assert (dry["count"], dry["is_least"]) == (40, True)
    assert len(counts) > 1
    assert sum(counts) == 100


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": []},
        {"ids": [1]},
        {"ids": "abc"},
        {"ids": ["x"] * 1001},
        {"search": {}},
        {"search": {"state": ""}},
        {"search": {"colour": "red"}},
        {"search": {"older": "soon"}},
        {"ids": ["x"], "search": {"queue": "q"}},
    ],
)
def test_deed_on_nothing_in_particular_is_refused(site: TestClient, client: zq.Client, body: Json) -> None:
    client.submit("q", 1)

    answer = site.post("/api/v1/tasks/cancel", json=body)

    assert answer.status_code == 400
    assert client.queues.show("q").waiting == 1


def die(client: zq.Client, queue: str, count: int, reason: str) -> list[str]:
    ids = [client.submit(queue, n).id for n in range(count)]
    for id in ids:
        client.dead.bury(id, reason)
    return ids


def test_dead_letters_are_retried_replayed_and_purged(site: TestClient, client: zq.Client) -> None:
    first, second = die(client, "orders", 2, "no oven"), die(client, "orders", 3, "no flour")
    third = die(client, "orders", 2, "no salt")

    retried = site.post("/api/v1/tasks/retry", json={"ids": first[:1]}).json()
    found = site.post("/api/v1/tasks/retry", json={"search": {"reason": "oven"}}).json()
    replayed = site.post("/api/v1/dead/replay", json={"queue": "orders", "reason": "flour", "to": "other"}).json()
    dry = site.post("/api/v1/dead/purge", json={"queue": "orders", "reason": "salt", "is_dry_run": True}).json()
    purged = site.post("/api/v1/dead/purge", json={"queue": "orders", "reason": "salt"}).json()

    assert (retried["count"], found["count"], replayed["count"]) == (1, 1, 3)
    assert dry["count"] == purged["count"] == 2
    assert {client.status(id).state for id in (*first, *second)} == {"waiting"}
    assert {client.status(id).queue for id in second} == {"other"}
    assert client.dead.list() == []
    assert {client.why(id).code for id in third} == {"ended"}


def test_replay_at_a_rate_goes_on_and_is_stopped(site: TestClient, client: zq.Client) -> None:
    die(client, "orders", 5, "no oven")

    begun = site.post("/api/v1/dead/replay", json={"queue": "orders", "rate": 0.01}).json()
    listed = site.get("/api/v1/replays").json()["rows"]
    stopped = site.post(f"/api/v1/replays/{begun['id']}/stop", json={}).json()

    assert [row["id"] for row in listed] == [begun["id"]]
    assert stopped == {"is_stopped": True}


def test_task_is_submitted(site: TestClient, client: zq.Client) -> None:
    options = {"priority": 7, "key": "k", "unique": {"key": "once", "until": "started"}, "headers": {"shop": "a"}}
    body = {"queue": "orders", "payload": {"pizza": "funghi"}, "options": options}

    first = site.post("/api/v1/tasks/submit", json=body).json()
    second = site.post("/api/v1/tasks/submit", json=body).json()

    assert (second["id"], second["is_duplicate"]) == (first["id"], True)
    assert client.payload(first["id"]) == {"pizza": "funghi"}
    assert client.status(first["id"]).priority == 7


@pytest.mark.parametrize(
    "body",
    [
        {"payload": 1},
        {"queue": "", "payload": 1},
        {"queue": "q", "payload": 1, "options": {"colour": 1}},
        {"queue": "q", "payload": 1, "options": {"priority": "high"}},
        {"queue": "q", "payload": 1, "options": []},
    ],
)
def test_submit_that_cannot_be_is_refused_in_words(site: TestClient, body: Json) -> None:
    answer = site.post("/api/v1/tasks/submit", json=body)

    assert answer.status_code == 400
    assert len(answer.json()["error"]["message"]) > 10


# Graphs.


def work_off(coordinator: zq.Coordinator, client: zq.Client) -> zq.Group:
    """A group whose members forward, and a callback that forwards, too; all of it is done."""
    worker = zq.Worker(coordinator.address, name="cook")

    @worker.task("dough")
    def dough(task: zq.Task) -> int:
        task.forward("bake", task.payload)
        return 1

    @worker.task("serve")
    def serve(task: zq.Task) -> str:
        task.forward("wash", None)
        return "served"

    with worker:
        group = client.group([1, 2], queue="dough", callback="serve")
        assert group.result(timeout=30) == "served"
    return group


def test_graph_leads_from_members_over_the_callback_to_what_was_forwarded(
    coordinator: zq.Coordinator, site: TestClient, client: zq.Client
) -> None:
    group = work_off(coordinator, client)

    graph = site.get(f"/api/v1/graph/{group.id}").json()
    of_member = site.get(f"/api/v1/graph/{group.id}.0%230").json()

    nodes = {node["id"]: node for node in graph["nodes"]}
    kinds = sorted((nodes[edge["from"]]["queue"], nodes[edge["to"]]["queue"], edge["kind"]) for edge in graph["edges"])
    assert nodes[group.id] == {
        "id": group.id,
        "kind": "group",
        "queue": "serve",
        "state": "done",
        "label": "2 of 2 ended, then serve",
    }
    assert kinds == [
        ("dough", "bake", "forward"),
        ("dough", "bake", "forward"),
        ("dough", "serve", "member"),
        ("dough", "serve", "member"),
        ("serve", "wash", "forward"),
    ]
    assert of_member["nodes"] == graph["nodes"]
    assert graph["is_cut"] is False


def test_group_is_shown_with_its_members_page_by_page(site: TestClient, client: zq.Client) -> None:
    group = client.group([("a", 1), ("a", 2), ("b", 3), ("a", 4)], callback="end")

    seen, cursor = [], None
    while True:
        query = {"limit": 1, **({} if cursor is None else {"cursor": cursor})}
        shown = site.get(f"/api/v1/groups/{group.id}", params=query).json()
        seen += [(row["queue"], row["state"]) for row in shown["members"]["rows"]]
        cursor = shown["members"]["cursor"]
        if cursor is None:
            break

    assert (shown["state"], shown["size"], shown["callback"]) == ("open", 4, "end")
    assert sorted(seen) == [("a", "waiting")] * 3 + [("b", "waiting")]
    assert [row["id"] for row in site.get("/api/v1/groups?state=open").json()["rows"]] == [group.id]
    assert site.get("/api/v1/groups/nobody").status_code == site.get("/api/v1/graph/nobody").status_code == 404


def test_large_group_is_drawn_in_part(site: TestClient, client: zq.Client) -> None:
    group = client.group(range(200), queue="many")

    graph = site.get(f"/api/v1/graph/{group.id}").json()

    assert len(graph["nodes"]) < 100
    assert graph["is_cut"] is True


# Redaction.


def hide(value: Any, about: dict[str, Any]) -> Any:
    return f"[{about['field']} of {about['queue']}]"


def test_values_and_texts_go_through_the_function_before_they_are_shown(open_site: OpenSite, client: zq.Client) -> None:
    site = open_site(redact=hide)
    id = client.submit("orders", {"card": "4111-1111"}).id
    (task,) = client.pull("orders")
    task.fail("no card 4111-1111 here")
    done = client.submit("orders", 1).id
    (task,) = client.pull("orders")
    task.done("4111-1111")

    paths = (
        *(f"tasks/{id}", f"tasks/{id}/trace", f"tasks/{id}/why", f"tasks/{id}/payload", f"tasks/{done}/result"),
        *("tasks?state=dead", "failures", "overview", "dead/reasons"),
    )
    answers = {path: site.get(f"/api/v1/{path}").text for path in paths}

    assert {path for path, text in answers.items() if "4111" in text} == set()
    assert site.get(f"/api/v1/tasks/{id}/payload").json()["payload"] == "[payload of orders]"
    assert site.get(f"/api/v1/tasks/{done}/result").json()["result"] == "[result of orders]"
    assert "[reason of orders]" in answers[f"tasks/{id}"]
    assert site.get("/api/v1/session").json()["redacts"] is True


def test_value_is_not_shown_when_the_function_fails(open_site: OpenSite, client: zq.Client) -> None:
    def fail(value: Any, about: Any) -> Any:
        raise RuntimeError("no")

    id = client.submit("orders", "4111-1111").id
    answer = open_site(redact=fail).get(f"/api/v1/tasks/{id}/payload")

    assert answer.json()["payload"] == "(not shown: the redaction function failed)"
