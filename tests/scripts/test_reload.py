"""`zq worker --reload`: what is edited is what runs, as soon as what ran has ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.scripts.folder import PATIENCE, Folder, wait_for

KINDS = [["--processes", "1"], ["--concurrency", "1"]]

SHOP = """
    import os, time, zq
    from kitchen import version
    worker = zq.Worker(name="shop")
    @worker.task("q")
    def bake(task):
        open("baking", "w").close()
        while task.payload and not os.path.exists(task.payload):
            time.sleep(0.02)
        return version
"""


def start(folder: Folder, *options: str) -> subprocess.Popen[str]:
    folder.write("shop.py", SHOP)
    write_version(folder, 1)
    return folder.start("-m", "zq.cli", "worker", "shop:worker", "--reload", *options)


def write_version(folder: Folder, version: Any) -> None:
    folder.write("kitchen.py", f"version = {version}\n")


def wait_for_words(folder: Folder, process: subprocess.Popen[str], words: str) -> None:
    wait_for(lambda: words in folder.said_by(process), words)


def baked(client: zq.Client) -> Any:
    return client.submit("q", None).result(timeout=PATIENCE)


@pytest.mark.parametrize("kind", KINDS, ids=["children", "threads"])
def test_edited_module_runs_after_what_ran_has_ended(folder: Folder, client: zq.Client, kind: list[str]) -> None:
    process = start(folder, *kind)
    running = client.submit("q", "gate")
    wait_for(lambda: (folder.path / "baking").exists(), "the first task")
    write_version(folder, 2)
    wait_for_words(folder, process, "kitchen.py changed; the worker ends what runs and is started again")
    folder.write("gate", "")

    assert running.result(timeout=PATIENCE) == 1
    assert client.status(running.id).attempts == 0
    assert baked(client) == 2
    write_version(folder, 3)
    wait_for(lambda: baked(client) == 3, "the third version")


@pytest.mark.parametrize("kind", KINDS, ids=["children", "threads"])
def test_edit_that_is_not_python_is_told_and_the_next_one_waited_for(
    folder: Folder, client: zq.Client, kind: list[str]
) -> None:
    process = start(folder, *kind)
    assert baked(client) == 1
    write_version(folder, "= nothing")
    wait_for_words(folder, process, "kitchen.py line 1 is not Python: invalid syntax")
    assert baked(client) == 1  # the worker goes on meanwhile
    write_version(folder, 2)

    wait_for(lambda: baked(client) == 2, "the second version")


@pytest.mark.parametrize("kind", KINDS, ids=["children", "threads"])
def test_edit_that_cannot_be_imported_is_told_and_the_next_one_waited_for(
    folder: Folder, client: zq.Client, kind: list[str]
) -> None:
    process = start(folder, *kind)
    assert baked(client) == 1
    write_version(folder, "nobody")
    wait_for_words(folder, process, "the worker ended with exit code 2; it is started again when a file changes")
    assert "NameError: name 'nobody' is not defined" in folder.said_by(process)
    write_version(folder, 2)

    assert baked(client) == 2


def test_first_start_that_fails_waits_for_an_edit_too(folder: Folder, client: zq.Client) -> None:
    folder.write("shop.py", SHOP)
    folder.write("kitchen.py", "this is no Python")
    process = folder.start("-m", "zq.cli", "worker", "shop:worker", "--reload", "--concurrency", "1")
    wait_for_words(folder, process, "is started again when a file changes")
    write_version(folder, 1)

    assert baked(client) == 1


def test_module_that_is_not_there_ends_the_supervisor(folder: Folder) -> None:
    done = folder.run("-m", "zq.cli", "worker", "no_such_shop:worker", "--reload")

    assert done.returncode == 2
    assert done.stderr == "zq: there is no module no_such_shop: No module named 'no_such_shop'\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", KINDS, ids=["children", "threads"])
def test_signal_drains_the_worker_and_ends_both(
    folder: Folder, client: zq.Client, number: signal.Signals, kind: list[str]
) -> None:
    process = start(folder, *kind)
    running = client.submit("q", "gate")
    wait_for(lambda: (folder.path / "baking").exists(), "the first task")
    process.send_signal(number)
    folder.write("gate", "")

    assert process.wait(PATIENCE) == 0
    assert running.result(timeout=PATIENCE) == 1
    assert client.query("workers") == []


def test_worker_ends_when_its_supervisor_was_killed(folder: Folder, client: zq.Client) -> None:
    process = start(folder, "--concurrency", "1")
    assert baked(client) == 1
    (worker,) = children_of(process.pid)
    process.kill()

    wait_for(lambda: client.query("workers") == [], "the end of the worker")
    wait_for(lambda: not Path(f"/proc/{worker}/exe").exists(), "the end of its process")


def test_burst_ends_the_supervisor_with_the_worker(folder: Folder, client: zq.Client) -> None:
    receipt = client.submit("q", None)
    process = start(folder, "--concurrency", "1", "--burst")

    assert process.wait(PATIENCE) == 0
    assert receipt.result(timeout=PATIENCE) == 1


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists():
        pytest.skip("this system does not tell the children of a process")
    return [int(one) for one in found.read_text().split()]


def test_worker_under_a_supervisor_tells_it_nothing_of_installed_files(folder: Folder, client: zq.Client) -> None:
    from zq.cli.reloading import Reporter

    reader, writer = os.pipe()
    try:
        Reporter(writer).tell([str(folder.write("shop.py", SHOP))])
        files = os.read(reader, 1 << 20).decode()
    finally:
        os.close(reader)
        os.close(writer)

    assert str(folder.path / "shop.py") in files
    assert "site-packages" not in files
    assert zq.__file__ not in files
    assert str(Path(os.__file__)) not in files
