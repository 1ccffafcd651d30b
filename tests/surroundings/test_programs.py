"""What the processes of a program's workers and stages have of the program: its flags, its arguments, its log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.process.kitchen import PATIENCE, Kitchen, wait_until
from tests.surroundings.conftest import CHILDREN

SCRIPT = """\
import multiprocessing
import sys

import zq
from patterns import stage

worker = zq.Worker(name="squares", processes=1)


def square(number):
    return number * number


def squares(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.map(square, [1, 2, 3])


@worker.task("child")
def child(task):
    return squares(task.payload)


@worker.task("coroutine-child")
async def coroutine(task):
    return squares(task.payload)


@stage
def direct(method):
    return squares(method)


@stage(timeout=60.0)
def direct_timed(method):
    return squares(method)


def main(kind, method, place):
    if kind == "executor":
        with zq.Executor(max_workers=1) as executor:
            return executor.submit(squares, method).result()
    if kind.startswith("direct"):
        return next((direct_timed if kind == "direct timed" else direct).run([method], quiet=True))
    if kind.startswith("durable"):
        return next((direct_timed if kind == "durable timed" else direct).run([method], quiet=True, data=place))
    with zq.Coordinator(place) as coordinator, zq.Client(coordinator.address) as client:
        worker.address = coordinator.address
        with worker:
            return client.submit(kind.replace(" ", "-"), method, max_attempts=1).result()


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
"""


def program(kind: str, *asked: Any, flags: tuple[str, ...] = (), **environment: str) -> Any:
    command = [sys.executable, *flags, "-m", "tests.surroundings.program", kind, json.dumps(asked), "--seen"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", CHILDREN)
def test_flags_of_the_interpreter_are_passed_on(kind: str) -> None:
    flags = ("-O", "-X", "utf8", "-X", "mine=5", "-W", "ignore::ResourceWarning")

    assert program(kind, "flags", flags=flags) == [False, 1, "5", ["ignore::ResourceWarning"]]


@pytest.mark.parametrize("kind", CHILDREN)
def test_arguments_are_those_of_the_program(kind: str) -> None:
    found = program(kind, "arguments")

    assert Path(found[0]).name == "program.py"
    assert found[1:] == [kind, '["arguments"]', "--seen"]


@pytest.mark.parametrize("kind", CHILDREN)
def test_python_path_is_passed_on_as_it_was(kind: str) -> None:
    assert program(kind, "environment", "PYTHONPATH", PYTHONPATH="/nowhere") == ["/nowhere", "/nowhere"]


@pytest.mark.parametrize("kind", CHILDREN)
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pool_gets_functions_of_a_script_that_imports_multiprocessing(kind: str, method: str, tmp_path: Path) -> None:
    script = tmp_path / "squares.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, kind, method, tmp_path / "data"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 4, 9]\n"


@pytest.mark.parametrize("options", [("--concurrency", "1"), ("--processes", "1")])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pool_gets_functions_of_a_script_that_the_command_line_runs(
    kitchen: Kitchen, options: tuple[str, ...], method: str, tmp_path: Path
) -> None:
    script = tmp_path / "squares.py"
    script.write_text(SCRIPT)
    place = f"script-{tmp_path.name[-20:]}"
    kitchen.start("--namespace", place, "worker", f"{script}:worker", *options)
    with zq.Client(kitchen.address, namespace=place, timeout=PATIENCE) as client:
        assert client.submit("child", method, max_attempts=1).result(PATIENCE) == [1, 4, 9]


@pytest.mark.parametrize("options", [("--concurrency", "1"), ("--processes", "1")])
@pytest.mark.parametrize("queue", ["plain", "coroutine"])
def test_level_and_format_of_the_log_are_passed_on(
    kitchen: Kitchen, options: tuple[str, ...], queue: str, tmp_path: Path
) -> None:
    place = f"log-{tmp_path.name[-20:]}"
    kitchen.start("--namespace", place, "worker", "tests.surroundings.shop:worker", "--log-level", "warning", *options)
    with zq.Client(kitchen.address, namespace=place, timeout=PATIENCE) as client:
        client.submit(queue, ["say", "INFO", f"{place} is quiet"]).result(PATIENCE)
        client.submit(queue, ["say", "WARNING", f"{place} is loud"]).result(PATIENCE)
    said = wait_until(lambda: re.search(rf"(?m)^.*{place} is loud$", _log(kitchen)), "the line in the log")

    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ WARNING surroundings: ", said[0])
    assert f"{place} is quiet" not in _log(kitchen)


@pytest.mark.parametrize("grade", ["direct", "durable"])
@pytest.mark.parametrize("stage", ["staged", "timed"])
def test_log_level_of_a_pipeline_reaches_its_stages(grade: str, stage: str, tmp_path: Path) -> None:
    options = [] if grade == "direct" else ["--data", str(tmp_path / "data")]
    done = subprocess.run(
        [sys.executable, "-m", "zq.cli", "pipeline", "run", f"tests.surroundings.shop:{stage}", "--log-level", "info", *options],
        input='["say", "INFO", "done"]\n["say", "DEBUG", "quiet"]\n',
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert re.search(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ INFO surroundings: done$", done.stderr), done.stderr
    assert "quiet" not in done.stderr


def test_modules_beside_a_script_that_are_named_like_standard_ones_harm_no_child(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    for name in ("mmap", "subprocess", "queue", "json", "select", "tempfile"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong one')\n")
    (tmp_path / "besides.py").write_text(
        "import zq\nworker = zq.Worker(name='besides')\n@worker.task('besides')\ndef run(task):\n    return 'fine'\n"
    )
    kitchen.start_in(tmp_path, "worker", "besides:worker", "--processes", "1", flags=("-P",))
    with kitchen.client() as client:
        assert client.submit("besides", None, max_attempts=1).result(PATIENCE) == "fine"


@pytest.mark.parametrize("kind", ["memory", "memory coroutine"])
@pytest.mark.parametrize(("end", "code"), [("return", "0"), ("exit", "3"), ("raise", "1")])
def test_copy_of_a_program_with_an_app_in_memory_ends_for_itself(
    kind: str, end: str, code: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"

    assert program(kind, "fork", end, str(ledger)) == ["told", code]
    assert ledger.read_text() == "copy\n"


def _log(kitchen: Kitchen) -> str:
    return Path(kitchen.log.name).read_text(encoding="utf-8")
