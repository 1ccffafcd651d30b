"""In what handlers and stages run, and that what they start ends as anywhere else, in every kind of worker."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

import zq
from tests.patterns.leftovers import is_alive
from tests.process.kitchen import PATIENCE, Kitchen, wait_until
from tests.surroundings.conftest import CHILDREN, THREADS, Ask
from tests.surroundings.shop import staged

ALL = [*CHILDREN, *THREADS]
SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("number", SIGNALS)
def test_program_that_a_handler_starts_ends_by_signals(asks: dict[str, Ask], kind: str, number: int) -> None:
    assert asks[kind]("signal_started", number) == str(-number)


@pytest.mark.parametrize("kind", ALL)
def test_copy_that_a_handler_makes_of_its_process_ends_by_sigterm(asks: dict[str, Ask], kind: str) -> None:
    assert asks[kind]("signal_forked", signal.SIGTERM) == str(-signal.SIGTERM)


@pytest.mark.parametrize("kind", CHILDREN)
def test_no_signal_is_ignored_or_blocked_where_handlers_run(asks: dict[str, Ask], kind: str) -> None:
    assert asks[kind]("own_signals") == []


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pool_whose_process_is_busy_can_be_left(asks: dict[str, Ask], kind: str, method: str) -> None:
    assert asks[kind]("leave_pool", method) == "left"


@pytest.mark.parametrize("kind", CHILDREN)
def test_standard_input_is_empty(asks: dict[str, Ask], kind: str) -> None:
    assert asks[kind]("read_input") == ["", "", "no terminal"]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", ["PYTHONPATH", "HOME"])
def test_environment_is_that_of_the_worker(asks: dict[str, Ask], kind: str, name: str, kitchen: Kitchen) -> None:
    had = kitchen.environment.get(name)

    assert asks[kind]("environment", name) == [had, "unset" if had is None else had]


@pytest.mark.parametrize("kind", CHILDREN)
def test_search_path_is_that_of_the_worker(asks: dict[str, Ask], kind: str) -> None:
    of_worker = asks["thread"]("search_path") if kind in ("child", "coroutine child") else sys.path

    assert asks[kind]("search_path") == [place or str(Path.cwd()) for place in of_worker]


@pytest.mark.parametrize("end", ["return", "exit", "say", "raise", "interrupt"])
@pytest.mark.parametrize("kind", [*ALL, "direct flat"])
def test_copy_of_a_handlers_process_ends_for_itself(asks: dict[str, Ask], kind: str, end: str, tmp_path: Path) -> None:
    code = {"return": "0", "exit": "3", "say": "1", "raise": "1", "interrupt": "130"}[end]
    ledger = tmp_path / "ledger"

    assert asks[kind]("fork", end, str(ledger)) == ["told", code]
    for number in range(4):  # what comes after it is answered, each for itself
        assert asks[kind]("note", str(ledger), str(number)) == str(number)
    assert ledger.read_text().split() == ["copy", *map(str, range(4))]


@pytest.mark.parametrize("kind", [*ALL, "direct flat"])
def test_daemon_that_a_handler_makes_of_its_process_says_nothing(
    asks: dict[str, Ask], kind: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    told, daemon = asks[kind]("daemonize", str(ledger))

    assert told == "told"
    assert asks[kind]("note", str(ledger), "next") == "next"
    wait_until(lambda: not is_alive(daemon), "the end of the daemon")
    assert asks[kind]("note", str(ledger), "last") == "last"
    assert ledger.read_text().split() == ["daemon", "next", "last"]


@pytest.mark.parametrize("queue", ["plain", "coroutine"])
@pytest.mark.parametrize("place", ["threads", "children"])
def test_neighbours_of_a_handler_that_forks_run_once(
    asks: dict[str, Ask], kitchen: Kitchen, place: str, queue: str, tmp_path: Path
) -> None:
    ledger = str(tmp_path / "ledger")
    with zq.Client(kitchen.address, namespace=place, timeout=PATIENCE) as client:
        quick = client.submit_many(queue, [["note", ledger, f"quick-{number}"] for number in range(200)])
        [receipt.result(PATIENCE) for receipt in quick]  # so that many come in one chunk now
        asked = [
            ["fork", "exit", ledger] if number % 10 == 5 else ["note", ledger, str(number)] for number in range(50)
        ]
        found = [receipt.result(PATIENCE) for receipt in client.submit_many(queue, asked)]

    assert found == [["told", "3"] if number % 10 == 5 else str(number) for number in range(50)]
    counts = Counter(Path(ledger).read_text().split())
    assert counts.pop("copy") == 5
    assert set(counts.values()) == {1}


def test_neighbours_of_an_item_whose_stage_forks_are_worked_on_once(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")
    items = [["fork", "exit", ledger] if number == 20 else ["note", ledger, str(number)] for number in range(50)]
    found = list(staged.run(items, quiet=True))

    assert sorted(map(str, found)) == sorted(map(str, [one[2] if one[0] == "note" else ["told", "3"] for one in items]))
    counts = Counter(Path(ledger).read_text().split())
    assert counts.pop("copy") == 1
    assert set(counts.values()) == {1}
