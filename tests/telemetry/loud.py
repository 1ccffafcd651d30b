"""A worker whose handlers log."""

import logging

import zq

log = logging.getLogger("loud")
worker = zq.Worker(name="loud-1")


@worker.task("plain")
def plain(task: zq.Task) -> None:
    log.warning("baked %s", task.payload)


@worker.task("coroutine")
async def coroutine(task: zq.Task) -> None:
    log.warning("baked %s", task.payload)
    raise zq.Bury("burnt")
