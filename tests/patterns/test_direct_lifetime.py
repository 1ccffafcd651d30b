"""When a direct run starts and ends, and how little it holds meanwhile."""

from __future__ import annotations

import gc
import itertools
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from patterns import Stage, batch, stage
from tests.patterns.leftovers import is_alive, processes_of
from tests.patterns.raw_peers import wait_until
from tests.patterns.shop import add_one, double, fail_on_sevens, keep, repeat, tell_process, total


def test_run_is_lazy(tidy: Path) -> None:
    asked: list[int] = []
    run = double.run(asked.append(n) or n for n in range(3))  # type: ignore[func-returns-value] # that is the trick

    assert not asked
    assert not processes_of(tidy)
    assert next(run) == 0
    run.close()


@pytest.mark.parametrize("threads", [False, True])
def test_endless_input_is_asked_only_as_fast_as_results_are_taken(threads: bool, tidy: Path) -> None:
    asked = 0

    def source() -> Iterator[int]:
        nonlocal asked
        while True:
            asked += 1
            yield asked

    with (add_one | double).run(source(), threads=threads, ordered=True) as run:
        first = list(itertools.islice(run, 1000))
        bound = asked
        more = list(itertools.islice(run, 1000))

    assert first + more == [2 * (n + 2) for n in range(2000)]
    assert bound < 200_000


def test_results_come_while_the_source_waits_for_its_next_item(tidy: Path) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        yield from range(1000)  # a burst, so that chunks become large
        wait_until(lambda: len(taken) == 1000)
        for number in range(1000, 1010):
            yield number
            wait_until(lambda: len(taken) == taken[-1] // 2 + 1)

    taken.extend(double.run(source(), threads=True))

    assert sorted(taken) == [2 * n for n in range(1010)]


def test_error_of_the_source_comes_after_the_results_of_all_items_before_it(tidy: Path) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        yield from range(500)
        raise LookupError("the source is dry")

    with pytest.raises(LookupError, match="the source is dry"):
        taken.extend(double.run(source(), ordered=True))

    assert taken == [2 * n for n in range(500)]


def test_no_worker_gets_the_whole_burst(tidy: Path) -> None:
    tell = stage(workers=3)(tell_process.function)

    for results in (tell.run(range(60)), (double | tell).run(range(60))):
        assert len({pid for pid, _ in results}) == 3


def test_abandoned_run_leaves_nothing(tidy: Path) -> None:
    for result in tell_process.run(itertools.count()):
        pid = result[0]
        break

    gc.collect()  # no cycle holds it: this is for other interpreters' sake
    assert not is_alive(pid)
    assert not processes_of(tidy)


def test_thread_that_hangs_does_not_hold_up_the_end_of_its_run(tidy: Path) -> None:
    release = threading.Event()
    hang: Stage[int, int] = stage(threads=True, name="hang")(
        lambda number: number if number < 3 else release.wait() + 1
    )
    run = hang.run(itertools.count())
    assert next(run) == 0

    run.close()
    release.set()


def test_closed_run_is_over(tidy: Path) -> None:
    run = double.run(itertools.count())
    assert next(run) == 0
    run.close()
    run.close()

    assert list(run) == []
    assert not processes_of(tidy)


def test_failed_run_leaves_nothing_at_once(tidy: Path) -> None:
    with pytest.raises(Exception, match="no 7 today"):
        list(fail_on_sevens.run(itertools.count()))

    assert not processes_of(tidy)
    assert not list(tidy.iterdir())


def test_folder_of_the_sockets_is_private(tidy: Path) -> None:
    with double.run(itertools.count()) as run:
        next(run)
        (folder,) = tidy.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700


def test_two_runs_at_once_do_not_meet(tidy: Path) -> None:
    pipeline = keep | repeat

    pairs = list(zip(pipeline.run(range(200), ordered=True), pipeline.run(range(200), ordered=True), strict=True))

    assert all(left == right for left, right in pairs)


def test_batch_larger_than_any_window_fills(tidy: Path) -> None:
    sums = list((double | batch(5_000) | total).run(range(12_000), threads=True))

    assert len(sums) == 3
    assert sum(sums) == 2 * sum(range(12_000))


def test_batch_goes_on_in_time_while_the_source_is_open(tidy: Path) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        yield from (1, 2, 3)
        while not taken:
            yield 0

    for result in (batch(1000, within=0.05) | total).run(source(), threads=True):
        taken.append(result)

    assert sum(taken) == 6


def test_guarantee_and_progress_are_shown_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tidy: Path
) -> None:
    monkeypatch.setattr("patterns.direct.engine.COUNTS_ATTEMPTS_MAX", 10_000)  # no worker takes too long to answer
    run = (double | add_one).run(range(2000), progress=True, threads=True)
    assert len(list(run)) == 2000

    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"zq pipeline, {run.guarantee}" in shown.err
    assert re.search(r"add_one .* 2000/\?", shown.err)
    assert "2000/2000" in shown.err


def test_guarantee_can_be_kept_quiet(capsys: pytest.CaptureFixture[str], tidy: Path) -> None:
    assert list(double.run([1], quiet=True, threads=True)) == [2]

    assert capsys.readouterr().err == ""


def test_run_at_import_is_refused_with_what_to_do(tmp_path: Path, tidy: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from patterns import stage\n@stage\ndef work(x): return x\nprint(list(work.run([1])))\n")

    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)

    assert found.returncode == 1
    assert 'put the run under `if __name__ == "__main__":`' in found.stderr


MEMORY = """
import resource, sys
from tests.patterns.shop import double
if __name__ == "__main__":
    def peak():
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = double.run(range(int(sys.argv[1])), quiet=True)
    count = 0
    for result in run:
        count += 1
        if count == 100_000:
            early = peak()
    print(count, early, peak())
"""


def test_memory_of_a_long_run_is_constant(tmp_path: Path, tidy: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(MEMORY)

    found = subprocess.run(
        [sys.executable, str(script), "1000000"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path.cwd())},
    )

    count, early, late = map(int, found.stdout.split())
    assert count == 1_000_000
    assert late - early < 8 << 10  # KiB; all the results would take thirty times that
