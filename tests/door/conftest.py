"""The directory of keys is looked at often here: nobody waits a second for each change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zq.keys import door


@pytest.fixture(scope="package", autouse=True)
def _keys_are_looked_at_often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "KEYS_INTERVAL", 0.02)
        patch.setattr("zq.server.loop.KEYS_INTERVAL", 0.02)
        yield
