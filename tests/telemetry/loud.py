"""A worker whose handlers log."""

import logging
import threading
import warnings

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


class Odd:
    """What nobody can show."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@worker.task("odd")
def log_oddly(task: zq.Task) -> None:
    log.warning("%d pizzas", "x")
    log.warning("odd %s", Odd())
    log.warning(b"no text at all")
    log.warning("fields", extra={"task": Odd(), "queue": b"x", "attempt": float("nan")}, stack_info=True)
    warnings.warn("this oven is old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0, name="oven")
    thread.start()
    thread.join()
    try:
        raise ValueError("burnt\nblack")
    except ValueError:
        log.exception("with a traceback\nof several lines")
