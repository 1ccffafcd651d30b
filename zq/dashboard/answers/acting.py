"""What changes queues, workers and schedules, and submits. All of it is POST, and refused by a dashboard that only
shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request

import zq
from zq.dashboard.answers.site import Endpoint, EndpointHandler, Site, body_in, flag_in, name_in
from zq.dashboard.problems import invalid
from zq.dashboard.values import JsonObject, plain

SWEPT_STATES: Final = ("waiting", "parked", "scheduled", "dead")
"""Which tasks of a queue can be purged."""

QueueDeed = Callable[[zq.AsyncQueues, str], Awaitable[Any]]


def _of_queue(deed: QueueDeed) -> EndpointHandler:
    """Returns what does something with a queue that needs no more than its name, and answers with the queue."""

    async def handle(site: Site, request: Request) -> JsonObject:
        await body_in(request)
        found = await site.upstream.call(deed(site.upstream.client.queues, name_in(request)))
        return plain(found)  # type: ignore[no-any-return]

    return handle


async def set_policies(site: Site, request: Request) -> JsonObject:
    """Sets policies; those that are not named stay, null puts one back to its default."""
    policies: Any = await body_in(request, *zq.QueueSettings.__annotations__)
    if not policies:
        raise invalid(f"expected policies to set, of {', '.join(zq.QueueSettings.__annotations__)}")
    found = await site.upstream.call(site.upstream.client.queues.set(name_in(request), **policies))
    return plain(found)  # type: ignore[no-any-return]


async def purge_queue(site: Site, request: Request) -> JsonObject:
    """Ends the tasks of a queue; a dry run only counts them."""
    body = await body_in(request, "states", "is_dry_run")
    name, states = name_in(request), body.get("states", ["waiting", "scheduled"])
    if not isinstance(states, list) or not states or any(one not in SWEPT_STATES for one in states):
        raise invalid(f"expected states as a list of {', '.join(SWEPT_STATES)}")
    if flag_in(body, "is_dry_run"):
        row = await site.upstream.query("queue", queue=name)
        counted = [one for one in states if not (one == "parked" and "waiting" in states)]  # those are among these
        return {"count": sum(row[state] for state in set(counted))}
    return {"count": await site.upstream.act(site.upstream.client.queues.purge(name, states))}


async def delete_queue(site: Site, request: Request) -> JsonObject:
    """Forgets a queue; one that is not empty only with `may_purge`."""
    body = await body_in(request, "may_purge")
    call = site.upstream.client.queues.delete(name_in(request), may_purge=flag_in(body, "may_purge"))
    return {"is_deleted": await site.upstream.act(call)}


# Workers.


def _steering(action: str) -> EndpointHandler:
    async def handle(site: Site, request: Request) -> JsonObject:
        body = await body_in(request, *(("size",) if action == "resize" else ()))
        return await _steer(site, name_in(request), action, body.get("size"))

    return handle


async def _steer(site: Site, name: str, action: str, size: Any) -> JsonObject:
    workers = site.upstream.client.workers
    match action:
        case "drain":
            call = workers.drain(name)
        case "resume":
            call = workers.resume(name)
        case "stop":
            call = workers.stop(name)
        case _:
            if type(size) is not int:
                raise invalid(f"expected size as a number of processes or threads, got {str(size)[:60]!r}")
            call = workers.resize(name, size)
    return site.redactor.row(plain(await site.upstream.call(call)))


# Schedules.


async def pause_schedule(site: Site, request: Request) -> JsonObject:
    await body_in(request)
    return await _schedule(site, site.upstream.client.schedules.pause(name_in(request)))


async def resume_schedule(site: Site, request: Request) -> JsonObject:
    await body_in(request)
    return await _schedule(site, site.upstream.client.schedules.resume(name_in(request)))


async def delete_schedule(site: Site, request: Request) -> JsonObject:
    await body_in(request)
    return {"is_deleted": await site.upstream.call(site.upstream.client.schedules.delete(name_in(request)))}


async def run_schedule(site: Site, request: Request) -> JsonObject:
    """Has a schedule submit its task now, beside its times."""
    await body_in(request)
    return await _schedule(site, site.upstream.client.schedules.run(name_in(request)))


async def _schedule(site: Site, call: Awaitable[Any]) -> JsonObject:
    return site.redactor.row(plain(await site.upstream.call(call)))


# Submitting.


async def submit_task(site: Site, request: Request) -> JsonObject:
    """Submits one task; its options are those of `zq.Client.submit`."""
    body = await body_in(request, "queue", "payload", "options", "id")
    queue, options = body.get("queue"), body.get("options", {})
    if not isinstance(queue, str):
        raise invalid("expected queue as the name of a queue")
    if not isinstance(options, dict) or any(name not in zq.SubmitOptions.__annotations__ for name in options):
        raise invalid(f"expected options as an object with some of {', '.join(zq.SubmitOptions.__annotations__)}")
    if isinstance(options.get("unique"), dict):
        options = {**options, "unique": _read_unique(options["unique"])}
    call = site.upstream.client.submit(queue, body.get("payload"), id=body.get("id"), **options)
    receipt = await site.upstream.call(call)
    row = {"id": receipt.id, "position": receipt.position, "eta": receipt.eta}
    return {**row, "is_duplicate": receipt.is_duplicate}


def _read_unique(fields: JsonObject) -> zq.Unique:
    try:
        return zq.Unique(**fields)
    except (TypeError, ValueError) as error:
        raise invalid(f"expected unique as a key, or the fields of zq.Unique: {error}") from None


ACTING_ENDPOINTS = [
    Endpoint("POST", "/queues/{name}/pause", _of_queue(lambda queues, name: queues.pause(name))),
    Endpoint("POST", "/queues/{name}/resume", _of_queue(lambda queues, name: queues.resume(name))),
    Endpoint("POST", "/queues/{name}/drain", _of_queue(lambda queues, name: queues.drain(name))),
    Endpoint("POST", "/queues/{name}/policies", set_policies),
    Endpoint("POST", "/queues/{name}/purge", purge_queue),
    Endpoint("POST", "/queues/{name}/delete", delete_queue),
    *(
        Endpoint("POST", f"/workers/{{name}}/{action}", _steering(action))
        for action in ("drain", "resume", "stop", "resize")
    ),
    Endpoint("POST", "/schedules/{name}/run", run_schedule),
    Endpoint("POST", "/schedules/{name}/pause", pause_schedule),
    Endpoint("POST", "/schedules/{name}/resume", resume_schedule),
    Endpoint("POST", "/schedules/{name}/delete", delete_schedule),
    Endpoint("POST", "/tasks/submit", submit_task),
]
