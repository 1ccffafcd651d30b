"""The core under every storm that a seed can draw. `python -m tests.simulation --seeds 300000` runs more than the suite
does.
"""

import re
from pathlib import Path

import pytest

from tests.simulation.kitchen import run
from tests.simulation.ledger import Violation
from tests.simulation.lives import WAYS, counted_moves
from tests.simulation.plants import PLANTS, planted
from tests.simulation.twice import differing_seeds

README = Path(__file__).parent.parent.parent / "README.md"
SEEDS = 2000
PARTS = 10
FEW_SEEDS = 200
PLANT_SEEDS_MAX = 1000

KNOWN_SEEDS = {
    "duplicate forgotten": 111,
    "cancel that forgets its rest at a restart": 185,
    "rest of a batch overtakes its retry": 25,
    "rest of a run kept while a task of it is tried again": 91,
    "run that ends in any order": 42,
    "ttl of what is leased not kept": 88,
    "key kept by the dead": 20,
    "answered after a flush that failed": 139,
    "hole taken for the tail": 24,
    "replays said too late": 28,
    "offers said too late": 26,
    "silent clients are not called on": 52,
    "leases that a worker does not list not taken back": 17,
    "place lost when given back": 57,
    "next try of a failure not told": 101,
    "group of any that joins all that came": 68,
    "settled group that leaves out what failed": 20,
    "group of all that goes on without a member": 32,
    "delays kept when the clock was set back": 70,
    "clock set back while it was stopped": 32,
    "batch served of which nobody knows what was done": 32,
    "damaged tasks that never were": 23,
    "no end of what a lost lease had": 54,
    "found damage forgotten by the journal": 40,
    "turns lost with what is set aside": 17,
    "completions refused while there is room for them": 14,
}
"""Seeds that are tried first, for plants that few seeds catch; all others follow if one does not catch it any more."""

BROKEN_PLANTS = (TypeError, AttributeError, NameError, ImportError, UnboundLocalError)
"""What a plant raises whose target has changed, which is no fault of the coordinator that anybody has caught."""


@pytest.mark.parametrize("part", range(PARTS))
def test_every_promise_is_kept_under_every_seed(part: int) -> None:
    happened: dict[str, int] = {}
    size = SEEDS // PARTS
    for seed in range(part * size, (part + 1) * size):
        for fault, count in run(seed).happened.items():
            happened[fault] = happened.get(fault, 0) + count
    quiet = {
        "drop",
        "duplicate",
        "cut",
        "crash",
        "kill",
        "pause",
        "fail",
        "hang",
        "lie",
        "stall",
        "jump",
        "wedge",
        "fault",
        "stop",
        "rot",
        "torn",
        "crash in a commit",
        "flush failed",
        "journal applied",
        "journal grew",
        "disk full",
    } - set(happened)
    assert not quiet, f"these faults never happened, so nothing was shown about them: {sorted(quiet)}"


@pytest.mark.parametrize("batches", [1, 3])
def test_every_promise_is_kept_when_lanes_are_read_from_disk(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Else memory holds every backlog that a seed has.
    monkeypatch.setattr("zq.core.state.lane.LANE_BATCHES_MAX", batches)
    monkeypatch.setattr("zq.core.state.service_order.READ_BATCHES", batches + 1)
    for seed in range(FEW_SEEDS):
        run(seed)


def test_every_promise_is_kept_when_operations_take_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.core.admin.operations.PORTION_TASKS", 1)
    for name in ("admin.chores.PORTION", "admin.chores.JOIN_PORTION", "admin.chores.SWEPT", "tasks.groups.SWEEP_ROWS"):
        monkeypatch.setattr(f"zq.core.{name}", 1)
    monkeypatch.setattr("zq.core.tasks.follow_up.JOIN_AT_ONCE", 0)
    monkeypatch.setattr("zq.core.tasks.settling.PORTION_LEASES", 1)
    monkeypatch.setattr("zq.core.state.outcome_waits.TOLD_MAX", 1)
    monkeypatch.setattr("zq.core.tasks.outcomes.ANSWER_PORTION_SPANS", 4)
    monkeypatch.setattr("zq.core.tasks.dead_letters.PORTION_DEAD", 1)
    for seed in range(FEW_SEEDS):
        run(seed)


@pytest.mark.parametrize("plant", PLANTS)
def test_planted_fault_is_caught(plant: str) -> None:
    with planted(plant) as told:
        for seed in (KNOWN_SEEDS.get(plant, 0), *range(PLANT_SEEDS_MAX)):
            try:
                run(seed, plant=told)
            except Violation as caught:
                assert not isinstance(caught.__cause__, BROKEN_PLANTS), f"{plant} does not fit any more: {caught}"
                return
    pytest.fail(f"{PLANT_SEEDS_MAX} seeds did not notice: {plant}")


def test_every_way_between_two_states_happens_and_no_other() -> None:
    with counted_moves() as ways:
        for seed in range(FEW_SEEDS):
            run(seed)
            if ways >= WAYS:
                break

    assert ways == WAYS


def test_seeds_are_known_of_plants_that_there_are() -> None:
    assert set(KNOWN_SEEDS) <= set(PLANTS)


def test_the_readme_says_how_many_faults_are_planted() -> None:
    said = re.search(r"(\d+)\s+planted faults must be caught", README.read_text(encoding="utf-8"))

    assert said is not None
    assert int(said[1]) == len(PLANTS)


def test_same_seed_replays_exactly_under_two_hash_seeds() -> None:
    assert differing_seeds(0, 30) == []


def test_failing_seed_is_named_so_that_it_can_be_replayed() -> None:
    with planted("credit not returned") as told, pytest.raises(Violation, match=r"seed \d+: "):
        for seed in range(100):
            run(seed, plant=told)
