"""A coordinator with keys in this process, into which tests let keys while it is open."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zq
from zq.keys.directory import SERVER_FILE, KeyDirectory
from zq.keys.entry import REVOKED, KeyEntry
from zq.keys.own import OWN_KEYS

ORDERS = zq.Key.new("orders", "coordinator")

PATIENCE = 60.0


class Gate:
    """Opens with `with`. This process is not known to host it: each test says what it shows."""

    def __init__(self, folder: Path, bind: str, server: zq.Key = ORDERS) -> None:
        self.keys = KeyDirectory(folder / "keys")
        server.write(folder / "keys" / SERVER_FILE, is_replacing=True)
        self.coordinator = zq.Coordinator(folder / "orders.zq", bind=bind, keys=folder / "keys")

    @property
    def address(self) -> str:
        return self.coordinator.address

    def admit(self, key: zq.Key, **entry: Any) -> None:
        """Lets a key in, as an admin unless something else is said, and returns when it may come."""
        entry = {"role": "admin", **entry}
        self.keys.write(KeyEntry(key.name, key.public, **entry), is_replacing=True)
        service = self.coordinator._service
        assert service is not None
        door = service.server._door
        assert door is not None
        is_good = entry.get("state") != REVOKED
        give_up_at = time.monotonic() + PATIENCE
        while (key.public in door._directory.rights) != is_good:
            assert time.monotonic() < give_up_at
            time.sleep(0.005)

    def revoke(self, key: zq.Key, **entry: Any) -> None:
        """Takes a key's rights away, and returns when they are gone."""
        self.admit(key, state=REVOKED, **entry)

    def __enter__(self) -> Self:
        self.coordinator.open()
        del OWN_KEYS[self.coordinator.address]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.coordinator.close()
