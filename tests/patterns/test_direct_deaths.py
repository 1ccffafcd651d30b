"""Direct runs whose processes are killed: what is lost is counted exactly, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from patterns import LostError, batch, gather, scatter
from patterns.direct.engine import DirectEngine
from patterns.pipeline.pipeline import Pipeline
from patterns.run.running import Run
from tests.patterns.leftovers import is_alive, processes_of
from tests.patterns.raw_peers import wait_until
from tests.patterns.shop import (
    add_one,
    describe,
    die_on_sevens,
    digits,
    double,
    keep,
    tell_process,
    tell_process_of_key,
    total,
)

ITEMS = 10_000

VICTIMS: list[Pipeline[Any, Any]] = [
    double,
    add_one | describe,
    keep | double,
    scatter(digits) | add_one | gather(total),
    double | batch(7) | total,
]


def workers_of(run: Run[Any]) -> dict[int, str]:
    """Returns process ids, and the stages they run."""
    engine = run._engine
    assert isinstance(engine, DirectEngine)
    assert engine._crew is not None
    workers = engine._crew.workers.values()
    return {worker.process.pid: worker.node.name for worker in workers if worker.process and not worker.is_dead}


@pytest.mark.parametrize("seed", range(20))
def test_killed_worker_sent_is_received_plus_reported_lost(seed: int, tidy: None) -> None:
    random = Random(seed)
    pipeline = VICTIMS[seed % len(VICTIMS)]
    kill_at = random.randrange(1, 1000)
    run = pipeline.run(range(ITEMS), ordered=seed % 2 == 0)
    received = 0
    victim = ""
    try:
        for _ in run:
            received += 1
            if received == kill_at:
                processes = workers_of(run)
                pid = random.choice(list(processes))
                victim = processes[pid]
                os.kill(pid, signal.SIGKILL)
    except LostError as error:
        assert error.lost == run.lost
        assert error.lost.keys() == {victim}

    lost = sum(run.lost.values())
    assert run.sent == run.completed + lost, (seed, run.lost)
    if not any(piece.is_batch for piece in pipeline.pieces):
        assert run.completed == received, seed
    assert run.sent == ITEMS or lost, f"seed {seed}: it ended early without a word"


def test_run_that_may_lose_goes_on_with_a_new_worker(tidy: None) -> None:
    run = (add_one | die_on_sevens).run(range(40), allow_loss=True)

    results = list(run)

    assert run.sent == 40 == run.completed + sum(run.lost.values())
    assert len(results) == run.completed
    assert set(run.lost) == {"die_on_sevens"}
    assert 40 in results or run.lost["die_on_sevens"] > 1


def test_death_of_a_worker_that_held_nothing_loses_nothing(tidy: None) -> None:
    run = (double | tell_process_of_key).run(range(ITEMS))
    busy = next(run)[0]
    (idle,) = (pid for pid, stage in workers_of(run).items() if stage == "tell_process_of_key" and pid != busy)

    os.kill(idle, signal.SIGKILL)

    assert len(list(run)) == ITEMS - 1
    assert (run.completed, run.lost) == (ITEMS, {})


@pytest.mark.parametrize("seed", range(3))
def test_books_add_up_when_workers_die_again_and_again_and_several_at_once(seed: int, tidy: None) -> None:
    random = Random(seed)
    run = (add_one | keep | describe).run(range(ITEMS), allow_loss=True)
    received = 0
    for _ in run:
        received += 1
        if received % 1500 == 700:
            processes = list(workers_of(run))
            for pid in random.sample(processes, min(random.randint(1, 3), len(processes))):
                os.kill(pid, signal.SIGKILL)

    assert run.sent == ITEMS == received + sum(run.lost.values()), (seed, run.lost)
    assert run.completed == received


def test_loss_says_how_many_of_which_stage(tidy: None) -> None:
    with pytest.raises(
        LostError, match=r"\d+ of the items were lost .*: \d+ with stage die_on_sevens; run these"
    ) as caught:
        list((double | add_one | die_on_sevens).run([3, 4, 5]))

    assert caught.value.lost["die_on_sevens"] >= 1


SCRIPT = """
import itertools, sys, tempfile
tempfile.tempdir = sys.argv[1]
from tests.patterns.shop import double, tell_process, wait_for_ever
from patterns import StageError
if __name__ == "__main__":
    if sys.argv[2] == "hang":
        pipeline = double | wait_for_ever
        print("started", flush=True)
    else:
        pipeline = double | tell_process
    for at, result in enumerate(pipeline.run(itertools.count())):
        if at == 100:
            print(result[0], flush=True)
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """The scripts of a test; they are dead when it ends."""
    scripts: list[subprocess.Popen[str]] = []
    yield scripts
    for process in scripts:
        process.kill()
        process.communicate()


def start_script(started: list[subprocess.Popen[str]], tmp_path: Path, place: Path, how: str) -> subprocess.Popen[str]:
    """Starts a script that runs a pipeline for ever, and waits until it works."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(place), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},  # noqa: PTH109 - the root of the repository, where pytest runs
    )
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline().strip()
    return process


def test_workers_end_and_clean_up_when_their_caller_is_killed(
    started: list[subprocess.Popen[str]], tmp_path: Path, tidy: Path
) -> None:
    process = start_script(started, tmp_path, tidy, "work")
    assert processes_of(tidy)

    process.kill()
    process.communicate()

    wait_until(lambda: not processes_of(tidy) and not list(tidy.iterdir()))


@pytest.mark.parametrize("how", ["work", "hang"])
def test_interrupt_leaves_nothing(how: str, started: list[subprocess.Popen[str]], tmp_path: Path, tidy: Path) -> None:
    process = start_script(started, tmp_path, tidy, how)
    wait_until(lambda: len(processes_of(tidy)) >= 2)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    assert errors.count("Traceback") == 1, errors  # the caller's own, and none of a worker
    assert not processes_of(tidy)
    assert not list(tidy.iterdir())


def test_worker_that_hangs_is_killed_at_the_end(tidy: Path) -> None:
    run = tell_process.run(range(10))
    pid = next(run)[0]
    os.kill(pid, signal.SIGSTOP)

    run.close()

    assert not is_alive(pid)
