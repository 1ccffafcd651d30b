"""Commands whose input is too deep, whose descriptors are closed or full, or whose folder is gone, say so in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import zq

ZQ = f"{sys.executable} -m zq.cli"


def run(coordinator: zq.Coordinator, command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command in a shell; `zq` in it is ours."""
    environment = {**os.environ, "ZQ_ADDRESS": coordinator.address}
    return subprocess.run(
        ["sh", "-c", command.replace("zq ", f"{ZQ} ")],
        env=environment,
        cwd=cwd,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )


def is_in_words(result: subprocess.CompletedProcess[str], *words: str) -> bool:
    print(result)
    said = result.stdout + result.stderr
    return all(one in said for one in words) and "Traceback" not in said and "NoneType" not in said


@pytest.mark.parametrize("how", ["as an argument", "on standard input"])
def test_json_that_is_too_deep_is_refused(coordinator: zq.Coordinator, tmp_path: Path, how: str) -> None:
    (tmp_path / "deep").write_text("[" * 50_000 + "]" * 50_000)
    command = 'zq submit o "$(cat deep)"' if how == "as an argument" else "zq submit o - < deep"
    result = run(coordinator, command, tmp_path)

    assert is_in_words(result, "zq: ", "nested too deeply")
    assert result.returncode == (2 if how == "as an argument" else 1)


def test_payload_that_is_too_deep_to_be_shown_is_told(coordinator: zq.Coordinator) -> None:
    deep: list[object] = []
    for _ in range(995):
        deep = [deep]
    with zq.Client(coordinator.address) as client:
        client.submit("o", deep, id="deep")

    assert is_in_words(run(coordinator, "zq tasks show deep --payload --json"))
    assert is_in_words(run(coordinator, "zq tasks show deep --payload"))
    assert is_in_words(run(coordinator, "zq pull o"))


@pytest.mark.parametrize("command", ["zq submit o - <&-", "zq publish o - <&-"])
def test_closed_standard_input_is_told(coordinator: zq.Coordinator, command: str) -> None:
    result = run(coordinator, command)

    assert is_in_words(result, "expected lines on standard input, which is closed")
    assert result.returncode == 2


@pytest.mark.parametrize("command", ["queues ls", "status", "tasks ls --json", "submit o 1", "why x", "pull o"])
def test_closed_standard_output_is_told(coordinator: zq.Coordinator, command: str) -> None:
    with zq.Client(coordinator.address) as client:
        client.submit("o", 1)
    result = run(coordinator, f"zq {command} >&-")

    assert is_in_words(result, "standard output is closed")
    assert result.returncode == 1


@pytest.mark.parametrize("end", ["> /dev/full", ">&-"])
@pytest.mark.parametrize("command", ["submit o 1 --id it", "submit o 1 --id it --json", "publish t 1 --id it"])
def test_id_that_cannot_be_printed_is_told_on_stderr(coordinator: zq.Coordinator, command: str, end: str) -> None:
    with zq.Client(coordinator.address) as client:
        client.topics.bind("t", "o")
        result = run(coordinator, f"zq {command} {end}")

        assert is_in_words(result, "zq: stored, and not printed: it")
        assert result.returncode == 1
        assert len(client.pull("o", max_tasks=5)) == 1


def test_all_ids_that_cannot_be_printed_are_told(coordinator: zq.Coordinator) -> None:
    result = run(coordinator, "printf '1\n2\n3\n' | zq submit o - > /dev/full")

    assert is_in_words(result)
    assert result.stderr.count("zq: stored, and not printed: ") == 3


def test_pulled_task_whose_handle_cannot_be_printed_goes_back(coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as client:
        client.submit("o", 1)
        assert is_in_words(run(coordinator, "zq pull o > /dev/full"), "No space left on device")
        assert len(client.pull("o", wait=20)) == 1


@pytest.mark.parametrize(
    "command", ["zq worker shop:worker", "zq pipeline run shop:pipeline", "zq pipeline draw shop:p"]
)
def test_folder_that_is_gone_is_told(coordinator: zq.Coordinator, tmp_path: Path, command: str) -> None:
    (tmp_path / "gone").mkdir()
    result = run(coordinator, f"cd gone && rmdir ../gone && {command}", tmp_path)

    assert is_in_words(result, "the folder that this was started in is not there any more")
    assert result.returncode == 2


def test_command_that_waits_says_that_nothing_is_heard(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zq.cli", "status", "--address", f"ipc://{tmp_path}/nobody", "--timeout", "8"]
    result = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)

    assert f"no answer yet from ipc://{tmp_path}/nobody; trying on" in result.stderr
    assert result.returncode == 69


@pytest.mark.parametrize("end", ["a reader that has gone", "a full disk"])
def test_coordinator_serves_whether_or_not_its_words_can_be_written(tmp_path: Path, end: str) -> None:
    if end == "a full disk":
        unwritable = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, unwritable = os.pipe()
        os.close(reading)
    address = f"ipc://{tmp_path}/socket"
    command = [sys.executable, "-m", "zq.cli", "coordinator", "--data", str(tmp_path / "d"), "--bind", address]
    process = subprocess.Popen(command, stdout=unwritable, stderr=unwritable)
    try:
        with pytest.raises(OSError), os.fdopen(unwritable, "wb", buffering=0) as same:
            same.write(b"ready")
        with zq.Client(address, timeout=30) as client:
            assert client.submit("o", 1).id
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
