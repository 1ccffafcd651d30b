"""Temporary folders that go with their process, whatever ends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zq.processes.own_folder import HELD_FILE, OwnFolder, own_folder

PATIENCE = 60.0

MAKING = """
import sys
from zq.processes.own_folder import OwnFolder
folder = OwnFolder("kitchen", sys.argv[1])
print(folder.path, flush=True)
sys.stdin.read()
"""

EXECUTING = """
import sys, time, zq
with zq.Executor(max_workers=1) as executor:
    executor.submit(time.sleep, 0.0).result()
    print("works", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def started(program: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Starts a program; returns it, and the line that it says."""
    command = [sys.executable, "-c", program, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=PATIENCE)


def test_folder_is_private_and_goes_at_the_end(place: Path) -> None:
    with own_folder("kitchen") as path:
        assert Path(path).parent == place
        assert Path(path).stat().st_mode & 0o777 == 0o700
    assert list(place.iterdir()) == []


def test_folder_of_a_killed_process_is_removed_by_the_next_and_that_of_a_living_one_is_not(place: Path) -> None:
    victim, left = started(MAKING, str(place))
    living, kept = started(MAKING, str(place))
    try:
        killed(victim)
        Path(left, "data").write_text("much")
        with own_folder("kitchen"):
            assert not Path(left).exists()
            assert Path(kept).exists()
    finally:
        killed(living)
    with own_folder("kitchen"):
        assert not Path(kept).exists()


def test_nothing_else_is_removed(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (place / "zq-mine").mkdir()  # what somebody else has named so
    (place / "zq-file").write_text("")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / HELD_FILE).write_text("")
    (place / "zq-link").symlink_to(elsewhere)
    (place / "other").mkdir()
    (place / "other" / HELD_FILE).write_text("")
    before = sorted(place.iterdir())
    OwnFolder("kitchen").close()

    assert sorted(place.iterdir()) == before
    assert (elsewhere / HELD_FILE).exists()


def test_executor_removes_what_one_that_was_killed_has_left(place: Path) -> None:
    victim, said = started(EXECUTING)
    assert said == "works"
    (left,) = place.glob("zq-executor-*")
    killed(victim)
    assert left.exists()
    followed, said = started(EXECUTING)
    killed(followed)

    assert said == "works"
    assert not left.exists()
