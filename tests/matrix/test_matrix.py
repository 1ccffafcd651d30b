"""Every kind of worker against everything odd that a handler may raise or do: the odd task ends as documented, its
neighbours end as if it had not been there, and the worker goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import zq
from tests.matrix.deeds import DEEDS
from tests.matrix.houses import HostHouse, House, WorkerHouse
from tests.matrix.table import FAILED, KINDS, WORKERS, expected, is_as_expected

CELLS = [(kind, deed) for kind in KINDS for deed in DEEDS if not expected(kind, deed).excluded]


@pytest.fixture(scope="module")
def house_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], House]]:
    """Returns the house of a kind, which is opened with its first cell."""
    folder: Path = tmp_path_factory.mktemp("matrix")
    houses: dict[str, House] = {}
    with zq.Coordinator(folder / "data.zq") as coordinator:

        def house_of(kind: str) -> House:
            if kind not in houses:
                place = folder / kind.replace(" ", "-")
                place.mkdir()
                houses[kind] = (
                    WorkerHouse(place, coordinator.address, kind) if kind in WORKERS else HostHouse(place, kind)
                )
            return houses[kind]

        yield house_of
        for house in houses.values():
            house.leave()


@pytest.mark.parametrize(("kind", "deed"), [pytest.param(*cell, id=": ".join(cell)) for cell in CELLS])
def test_odd_task_ends_alone(kind: str, deed: str, house_of: Callable[[str], House]) -> None:
    what = expected(kind, deed)

    trial = house_of(kind).try_out(deed, what)

    assert trial.exit == what.exit
    assert not trial.copies, "a copy of the handler's process goes on"
    if what.odd:
        ended = {name: trial.outcomes.get(name, "nothing") for name in ("before", "odd", "after", "later")}
        assert is_as_expected(ended["odd"], what.odd), ended["odd"][:500]
        neighbours = ["later"] if what.is_lossy else ["before", "after", "later"]
        assert {name: ended[name] for name in neighbours} == dict.fromkeys(neighbours, "done: sees nothing")


def test_matrix_has_no_silent_gap() -> None:
    assert set(FAILED) <= set(DEEDS)
    for kind in KINDS:
        for deed in DEEDS:
            what = expected(kind, deed)
            assert what.odd or what.exit is not None or what.excluded, (kind, deed)
