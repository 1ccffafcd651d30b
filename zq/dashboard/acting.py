"""What changes something: queues, schedules. All of it is POST, and refused by a dashboard that only shows."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from zq.dashboard.site import Endpoint, Site, body_in, name_in
from zq.dashboard.values import JsonObject, plain


async def pause(site: Site, request: Request) -> JsonObject:
    await body_in(request)
    return _queue(await site.upstream.call(site.upstream.client.queues.pause(name_in(request))))


async def resume(site: Site, request: Request) -> JsonObject:
    await body_in(request)
    return _queue(await site.upstream.call(site.upstream.client.queues.resume(name_in(request))))


async def drain(site: Site, request: Request) -> JsonObject:
    await body_in(request)
    return _queue(await site.upstream.call(site.upstream.client.queues.drain(name_in(request))))


def _queue(found: Any) -> JsonObject:
    return plain(found)  # type: ignore[no-any-return]


ACTING_ENDPOINTS = [
    Endpoint("POST", "/queues/{name}/pause", pause),
    Endpoint("POST", "/queues/{name}/resume", resume),
    Endpoint("POST", "/queues/{name}/drain", drain),
]
