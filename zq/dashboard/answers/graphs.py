"""What a task belongs to, as a graph: its group, the members and the callback of that, and what was forwarded.

Nothing of it is stored as a graph. A group's members have its id with a number behind; its callback has its id; what a
completion forwarded is in the trace of its task. So a graph is followed from one task or group on, forwards, and to the
group that is named by an id; who forwarded a task is not known from it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from starlette.requests import Request

from zq.dashboard.answers.site import Endpoint, Site, count_in, name_in, page_in, text_in
from zq.dashboard.answers.tasks import unknown_task
from zq.dashboard.problems import ProblemError
from zq.dashboard.values import JsonObject

NODES_MAX: Final = 60
"""Of a graph: more cannot be looked over, and each costs the coordinator two questions."""

MEMBERS_MAX: Final = 200
"""Members of a group in one answer."""

ASKED_AT_ONCE: Final = 16


class Graph:
    """A graph while it is gathered."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.nodes: dict[str, JsonObject] = {}
        self.edges: list[JsonObject] = []
        self.is_cut = False
        self._left: deque[str] = deque()

    async def gather(self, id: str) -> None:
        """Follows what begins with a task or group; raises ProblemError when neither is known."""
        group, _, number = id.rpartition(".")
        outer = await self._group(group) if group and number.partition("#")[0].isdigit() else None
        if outer is not None:
            await self._add_group(outer)
            if id not in self.nodes:  # one of many, and those that are drawn are others
                await self._add_task(id)
                self._connect(id, group, "member")
        elif (own := await self._group(id)) is not None:
            await self._add_group(own)
        elif not await self._add_task(id):
            raise unknown_task(id)
        while self._left:
            await self._follow(self._left.popleft())

    async def _group(self, id: str) -> JsonObject | None:
        row: JsonObject = await self._site.upstream.query("group", id=id)
        return None if row.get("state") == "unknown" else row

    async def _add_group(self, row: JsonObject) -> None:
        """Adds a group, which stands for its callback too, and its members, as many as there is room for."""
        id = row["id"]
        callback = await self._row(id)
        ended = (row["size"] or 0) - (row["outstanding"] or 0)
        self.nodes[id] = {
            "id": id,
            "kind": "group",
            "queue": row["callback"],
            "state": row["state"] if callback is None else callback["state"],
            "label": f"{ended} of {row['size']} ended" + (f", then {row['callback']}" if row["callback"] else ""),
        }
        if callback is not None:
            self._left.append(id)
        page = await members_of(self._site, id, None, NODES_MAX // 2)
        self.is_cut |= page["cursor"] is not None
        for member in page["rows"]:
            self._put(member)
            self._connect(member["id"], id, "member")

    async def _add_task(self, id: str) -> bool:
        row = await self._row(id)
        if row is None:
            return False
        self._put(row)
        return True

    async def _row(self, id: str) -> JsonObject | None:
        row: JsonObject = await self._site.upstream.query("task", id=id)
        return None if row.get("state") == "unknown" else row

    def _put(self, row: JsonObject, tasks: int = 1) -> None:
        queue = row.get("queue")
        label = queue if tasks == 1 else f"{queue} ({tasks} tasks)"
        node = {"id": row["id"], "kind": "task", "queue": queue, "state": row.get("state"), "label": label}
        self.nodes[row["id"]] = node
        self._left.append(row["id"])

    def _connect(self, origin: str, target: str, kind: str) -> None:
        edge = {"from": origin, "to": target, "kind": kind}
        if edge not in self.edges:
            self.edges.append(edge)

    async def _follow(self, id: str) -> None:
        """Adds what a task has forwarded."""
        for event in await self._site.upstream.query("trace", id=id):
            if event["event"] != "forwarded":
                continue
            self.is_cut |= bool(event["detail"].get("more"))
            for batch in event["detail"]["batches"]:
                await self._add_forward(id, batch)

    async def _add_forward(self, origin: str, batch: JsonObject) -> None:
        id = batch["id"]
        if id not in self.nodes:
            if len(self.nodes) >= NODES_MAX:
                self.is_cut = True
                return
            row = await self._row(id)
            self._put({"id": id, "state": "unknown", "queue": batch.get("queue"), **(row or {})}, batch["tasks"])
        group, _, number = id.rpartition(".")
        if number.isdigit() and group not in self.nodes and (inner := await self._group(group)) is not None:
            await self._add_group(inner)
        self._connect(origin, id, "forward")


async def members_of(site: Site, id: str, cursor: str | None, most: int) -> JsonObject:
    """Returns members of a group that are still known, as rows of tasks: batch after batch, as its client cut them.

    Args:
        site: where to ask.
        id: that of the group, and the beginning of theirs.
        cursor: of an earlier answer: number of a batch and index of a task.
        most: rows.
    """
    number, _, index = (cursor or "0:0").partition(":")
    if not (number.isdigit() and index.isdigit() and len(number) < 10 and len(index) < 10):
        raise ProblemError(400, "invalid", "expected cursor as an earlier answer has it")
    batch, at = int(number), int(index)
    ids: list[str] = []
    while True:
        name = f"{id}.{batch}"
        size = _size_in(await site.upstream.query("trace", id=name))
        if size is None:
            return {"rows": await _rows(site, ids), "cursor": None}
        names = [name] if size == 1 else [f"{name}#{one}" for one in range(size)]
        ids += names[at : at + most - len(ids)]
        if len(ids) >= most:
            done = 1 if size == 1 else int(ids[-1].rpartition("#")[2]) + 1
            following = f"{batch}:{done}" if done < size else f"{batch + 1}:0"
            return {"rows": await _rows(site, ids), "cursor": following}
        batch, at = batch + 1, 0


def _size_in(trace: list[JsonObject]) -> int | None:
    """Returns how many tasks a batch was accepted with; None when it is not known."""
    return next((event["detail"].get("tasks", 1) for event in trace if event["event"] == "accepted"), None)


async def _rows(site: Site, ids: list[str]) -> list[JsonObject]:
    rows: list[JsonObject] = []
    for first in range(0, len(ids), ASKED_AT_ONCE):
        part = ids[first : first + ASKED_AT_ONCE]
        rows += await asyncio.gather(*[site.upstream.query("task", id=one) for one in part])
    return site.redactor.rows(rows)


async def show_graph(site: Site, request: Request) -> JsonObject:
    graph = Graph(site)
    await graph.gather(name_in(request, "id"))
    return {"nodes": list(graph.nodes.values()), "edges": graph.edges, "is_cut": graph.is_cut}


async def list_groups(site: Site, request: Request) -> JsonObject:
    page = await site.upstream.page("groups", state=text_in(request, "state"), **page_in(request))
    return {"rows": site.redactor.rows(page["rows"]), "cursor": page["cursor"]}


async def show_group(site: Site, request: Request) -> JsonObject:
    """A group with its members, a page of them."""
    id = name_in(request, "id")
    row: JsonObject = await site.upstream.query("group", id=id)
    if row.get("state") == "unknown":
        raise ProblemError(404, "unknown", f"the coordinator does not know group {id}, or no longer")
    most = count_in(request, "limit", MEMBERS_MAX, MEMBERS_MAX)
    found: dict[str, Any] = site.redactor.row(row)
    return {**found, "members": await members_of(site, id, text_in(request, "cursor"), most)}


GRAPH_ENDPOINTS = [
    Endpoint("GET", "/graph/{id}", show_graph),
    Endpoint("GET", "/groups", list_groups),
    Endpoint("GET", "/groups/{id}", show_group),
]
