"""`zq health`: whether a coordinator or a worker does its work, for whatever starts it again if not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Timeout
from zq.cli.output import FAILED, echo, exit_codes, print_json


def health(
    file: Annotated[
        Path | None,
        typer.Option(
            help="Look at the signs of life of a worker in this file instead, which it has from --health-file."
        ),
    ] = None,
    max_age: Annotated[float, typer.Option(min=0.1, help="Seconds that the last sign of life may be old.")] = 30.0,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Say whether a coordinator answers and accepts tasks; or whether a worker gives signs of life.

    The exit code is 0 when all is well, 1 when something is not, and 69 when the coordinator cannot be reached.

    Examples:
        zq health
        zq health --address tcp://10.0.0.1:7700 --timeout 2 --json
        zq health --file /run/zq/worker --max-age 30
    """
    with exit_codes():
        found = _health_of_coordinator(address, timeout) if file is None else _health_of_worker(file, max_age)
        if as_json:
            print_json(found)
        else:
            echo(str(found["text"]))
    if not found["is_healthy"]:
        raise typer.Exit(FAILED)


def _health_of_coordinator(address: str | None, timeout: float) -> dict[str, Any]:
    """Returns what is well and what is not. It has written when it answers: an answer leaves after a commit."""
    from zq.client.client import Client

    since = time.monotonic()
    with Client(address, timeout=timeout) as client:
        status = client.query("status")
        seconds = round(time.monotonic() - since, 3)
        place = client.address
    store, memory = status["store"], status["memory"]
    problems = []
    if store["is_full"]:
        problems.append(f"it accepts nothing new: {store['why_full']}")
    if memory["max"] is not None and memory["bytes"] > 0.95 * memory["max"]:
        problems.append("it has nearly all the memory that it may have, and will end")
    text = f"the coordinator at {place} answers"
    if problems:
        text = f"{text}, but {' and '.join(problems)}"
    return {
        "is_healthy": not problems, "text": text, "seconds": seconds, "problems": problems,
        "version": status["version"], "uptime": status["uptime"], "store": store,
    }  # fmt: skip


def _health_of_worker(file: Path, max_age: float) -> dict[str, Any]:
    """Returns whether the last sign of life is young enough; nothing of the worker is imported or asked."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        age = max(0.0, round(time.time() - file.stat().st_mtime, 1))  # the clock may have been put back
        pid, text = said["pid"], said["text"]
    except FileNotFoundError:
        text = f"there is no {file}: the worker has not started, or has ended"
        return {"is_healthy": False, "text": text, "age": None, "pid": None}
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"{file} is not what zq worker --health-file writes") from None
    is_healthy = age <= max_age
    text = f"the worker (process {pid}) gave a sign of life {age:.1f} s ago: {text}"
    if not is_healthy:
        text = f"{text}; more than {max_age:g} s is too long"
    return {"is_healthy": is_healthy, "text": text, "age": age, "pid": pid}
