"""What keys cost: the same flows without keys, with one that may do everything, and with one that is bound to queues,
whose rights are asked about each message.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import batched
import latency
from flow import Row, Scale

KINDS: dict[str, tuple[str, ...] | None] = {
    "without keys": None,
    "with a key": ("--role", "admin"),
    "with a key bound to queues": ("--role", "admin", "--queue", "*"),
}


def keyed(scale: Scale) -> Iterator[Row]:
    """Runs the flows in turn, so that what the machine does meanwhile is in all of them."""
    for _ in range(scale.repeat):
        for kind, options in KINDS.items():
            with _shown(options):
                once = scale._replace(repeat=1)
                for row in (*batched.batches(once, 100, 500_000, ""), next(iter(latency.one_at_a_time(once)))):
                    yield row._replace(name=f"{row.name}, {kind}")


@contextmanager
def _shown(options: tuple[str, ...] | None) -> Iterator[None]:
    """Has the coordinators that are started let in one key only, and everything here show it."""
    if options is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="zq-benchmark-") as directory:
        keys, key = Path(directory, "keys"), Path(directory, "baker.key")
        command = [sys.executable, "-m", "zq.cli", "keys", "new", "baker", *options]
        subprocess.run([*command, "--keys", str(keys), "--out", str(key)], check=True, capture_output=True)
        os.environ["ZQ_KEYS"], os.environ["ZQ_KEY"] = str(keys), str(key)
        try:
            yield
        finally:
            del os.environ["ZQ_KEYS"], os.environ["ZQ_KEY"]
