"""Commands that look at a coordinator as a whole."""

from __future__ import annotations

from typing import Any

from zq.cli.arguments import TIMEOUT, Address, Json, Timeout
from zq.cli.output import exit_codes, print_fields, print_rows


def ask(address: str | None, timeout: float, what: str, **arguments: Any) -> Any:
    """Asks a coordinator one question."""
    from zq.client import Client

    with Client(address, timeout=timeout) as client:
        return client.query(what, **arguments)


def status(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Show what the coordinator has and does."""
    with exit_codes():
        print_fields(ask(address, timeout, "status"), as_json=as_json)


def list_workers(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """List the workers: state, what they hold, when they were heard (seconds ago)."""
    with exit_codes():
        columns = ["name", "state", "queues", "credit", "held", "running", "heard_ago", "connected_for", "done"]
        print_rows(ask(address, timeout, "workers"), columns, as_json=as_json)
