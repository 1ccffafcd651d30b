"""What a command is given that means the same when the user's code has gone to another folder."""

from __future__ import annotations

import os
from pathlib import Path

from zq.keys.own import given_key
from zq.processes.endpoints import kept_address, kept_path
from zq.processes.references import PART_SEPARATOR, kept_reference


def kept_for_worker(
    spec: str, stage: list[str] | None, address: str | None, health_file: Path | None
) -> tuple[str, str, str | None, Path | None]:
    """Returns the whole spec, and all as it means the same when a handler goes to another folder; so does ZQ_KEY."""
    spec = f"{spec}{PART_SEPARATOR}{','.join(stage)}" if stage else spec
    if key := os.environ.get("ZQ_KEY"):
        os.environ["ZQ_KEY"] = str(given_key(key))
    return spec, kept_reference(spec), address and kept_address(address), health_file and kept_path(health_file)
