"""kill -9 of everything that a durable pipeline is made of, judged by what the caller has noted: each input has exactly
its results, and joins are complete.

A caller that is killed between taking a result and acknowledging it is given that result again when it goes on, so a
line may stand there twice, and never two different ones.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.kitchen import QUICK, wait_until

CYCLES = 10
COUNT = 400


class Bench:
    """A caller, and a coordinator if it is not embedded, as processes; whoever is killed is started again."""

    def __init__(self, folder: Path, grade: str, workers: str) -> None:
        self.notes = folder / "notes"
        self.notes.touch()
        self._folder = folder
        self._grade = grade
        self._workers = workers
        self._place = str(folder / "data") if grade == "embedded" else f"ipc://{folder}/socket"
        self._log = (folder / "log").open("ab")
        self.coordinator = self.start_coordinator() if grade == "shared" else None
        self.caller = self.start_caller()

    def start_coordinator(self) -> subprocess.Popen[bytes]:
        data = str(self._folder / "data")
        return self._start("-m", "zq.cli", "coordinator", "--data", data, "--bind", self._place, *QUICK)

    def start_caller(self) -> subprocess.Popen[bytes]:
        arguments = [str(self.notes), str(COUNT), "the-run", self._grade, self._place, self._workers]
        return self._start("-m", "tests.patterns.caller", *arguments)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, *arguments], stdout=self._log, stderr=self._log)

    def children(self) -> list[int]:
        """Returns the stage workers of the caller."""
        listed = subprocess.run(["ps", "-eww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
        rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
        return [int(pid) for pid, parent, what in rows if int(parent) == self.caller.pid and "stage_process" in what]

    @property
    def lines(self) -> list[str]:
        return self.notes.read_text().splitlines()

    @property
    def is_over(self) -> bool:
        return self.caller.poll() is not None

    def kill(self, whom: str, rng: random.Random) -> None:
        """Kills, and starts again what nobody else does."""
        if whom == "coordinator" and self.coordinator is not None:
            _kill(self.coordinator)
            self.coordinator = self.start_coordinator()
        elif whom == "worker" and (children := self.children()):
            try:
                os.kill(rng.choice(children), signal.SIGKILL)
            except ProcessLookupError:  # it has ended by itself since
                pass
        else:
            _kill(self.caller)
            self.caller = self.start_caller()

    def close(self) -> None:
        for process in (self.caller, self.coordinator):
            if process is not None:
                _kill(process)
        self._log.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path, *request.param)
    yield one
    one.close()
    print((tmp_path / "log").read_text()[-4000:])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("bench", [("embedded", "processes"), ("shared", "processes")], indirect=True, ids="-".join)
def test_each_input_has_exactly_its_results_whoever_is_killed(bench: Bench, rng: random.Random) -> None:
    victims = ["worker", "caller", *(["coordinator"] if bench.coordinator is not None else [])]
    for cycle in range(CYCLES):
        count = len(bench.lines)
        wait_until(lambda: len(bench.lines) > count or bench.is_over, "a result")  # noqa: B023 - called at once
        time.sleep(rng.uniform(0.0, 0.1))  # so that the blow falls anywhere
        if bench.lines[-1:] == ["end"]:
            break
        bench.kill(victims[cycle % len(victims)], rng)
    wait_until(lambda: bench.is_over, "the end of the run", 120.0)

    lines = [line for line in bench.lines if line != "end" and line.count(" ") == 2]
    print(cycle + 1, "kills,", len(lines) - len(set(lines)), "results taken twice, just before a kill")
    assert bench.caller.returncode == 0
    assert Counter(line.rpartition(" ")[0] for line in set(lines)) == {
        f"{n} {t}": 1 for n in range(COUNT) for t in (0, 1)
    }
    assert {line.rpartition(" ")[2] for line in lines} == {"2"}
