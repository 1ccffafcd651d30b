"""What is damaged on the disk is named, and the rest goes on: `python -m tests.images --damage 1000` draws more."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.images.damaged import Whole, check_damages, in_a_child, make_wholes
from tests.images.damaging import REFUSED_BY_RIGHT
from zq.core import sums
from zq.store import damage, raw

IMAGES = 30


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> list[Whole]:
    return make_wholes(tmp_path_factory.mktemp("wholes"))


def test_every_damage_is_named_and_the_rest_goes_on(wholes: list[Whole], tmp_path: Path) -> None:
    found = check_damages(wholes, tmp_path / "image", IMAGES, seed=1)

    assert (found.violations, found.images) == ([], IMAGES)
    always = sum(found.kinds[kind] for kind in REFUSED_BY_RIGHT)  # whatever the pages are that are free
    assert found.bitten.total() > always > 0, "nothing that was damaged was in use"
    assert found.lost_rows > 0
    assert found.refused.total() < IMAGES // 3


def _believe(*_: object) -> bool:
    return True


@pytest.mark.parametrize("mistake", ["a checksum that is not checked", "no look before", "a loss that is not told"])
def test_mistake_is_seen_in_a_damage_image(
    mistake: str, wholes: list[Whole], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mistake == "a checksum that is not checked":
        for module in (sums, raw, damage):
            monkeypatch.setattr(module, "is_whole", _believe)
        monkeypatch.setattr("zq.store.lmdb.open_value", lambda table, key, stored, salt: stored[4:])
    elif mistake == "no look before":
        monkeypatch.setattr("zq.store.lmdb.look", lambda *_, **__: [])
    else:
        monkeypatch.setattr(damage, "_note_in", lambda *_: None)

    found = check_damages(wholes, tmp_path / "image", 60, seed=1)

    assert re.match(r"image \d+ \(.*\): ", "".join(found.violations))


def test_a_process_that_is_ended_is_a_violation() -> None:
    def end() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGABRT)
        return {}

    assert in_a_child(end) == {"violation": "the process was ended by signal 6"}
