"""The dashboard beside a coordinator: `zq coordinator --dashboard`, as the processes that they are."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke, run_command
from zq.cli.web import child

pytest.importorskip("uvicorn", reason="the extra dashboard is not installed")


@pytest.fixture
def invoke_alone() -> Invoke:
    return lambda *arguments, stdin=None: run_command(arguments, stdin, {})


PAGE = re.compile(r"zq dashboard ready on (http://\S+)/")


@contextmanager
def coordinator(tmp_path: Path, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "zq.cli", "coordinator", "--data", str(tmp_path / "d.zq")]
    process = subprocess.Popen(
        [*command, "--bind", f"ipc://{tmp_path}/socket", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        assert process.stderr is not None
        process.stderr.close()


def wait_for_page(process: subprocess.Popen[str]) -> str:
    """Reads what the coordinator and its child say, until there is a page; returns its address."""
    assert process.stderr is not None
    for line in process.stderr:
        found = PAGE.search(line)
        if found is not None:
            return found[1]
    raise AssertionError("the coordinator ended without a dashboard")


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def child_of(process: subprocess.Popen[str]) -> int:
    (found,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split() or [
        task
        for thread in Path(f"/proc/{process.pid}/task").iterdir()
        for task in (thread / "children").read_text().split()
    ]
    return int(found)


def wait_until_gone(pid: int) -> None:
    """Returns when a process that is no child of ours has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 60)[0], "it has not ended"
    finally:
        os.close(descriptor)


linux = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the system tells nothing of other processes' ends")


@linux
def test_dashboard_ends_with_its_coordinator(tmp_path: Path) -> None:
    with coordinator(tmp_path, "--dashboard", "127.0.0.1:0") as process:
        page = wait_for_page(process)
        pid = child_of(process)

        assert read(f"{page}/readyz") == "ok\n"
        assert f'"address":"ipc://{tmp_path}/socket"' in read(f"{page}/api/v1/session")

    wait_until_gone(pid)
    assert process.returncode == 0


def test_environment_reaches_the_dashboard_beside_a_coordinator(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks.py"
    hooks.write_text("def hide(value, about):\n    return '[hidden]'\n")
    variables = {"REDACT": f"{hooks}:hide", "READ_ONLY": "Y", "HOST": "a.example zq.example.org"}
    environment = {f"ZQ_DASHBOARD_{name}": value for name, value in variables.items()}
    with coordinator(tmp_path, "--dashboard", "127.0.0.1:0", **environment) as process:
        page = wait_for_page(process)
        request = urllib.request.Request(f"{page}/api/v1/session", headers={"host": "zq.example.org"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            session = json.loads(answer.read())

    assert (session["redacts"], session["is_read_only"]) == (True, True)


def test_variable_that_is_neither_true_nor_false_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZQ_DASHBOARD_READ_ONLY", "yess")

    with pytest.raises(ValueError, match="expected ZQ_DASHBOARD_READ_ONLY as true or false, got 'yess'"):
        child.DashboardChild("127.0.0.1:0", None)


def test_place_that_is_taken_is_told_in_a_line_and_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with coordinator(tmp_path, "--dashboard", place) as process:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if "started again" in line:
                    break

    assert said[1:-1] == [f"zq: {place}: Address already in use\n"]
    assert "ended with exit code 1; it is started again in 5 s" in said[-1]


@linux
def test_dashboard_ends_with_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    with coordinator(tmp_path, "--dashboard", "127.0.0.1:0") as process:
        wait_for_page(process)
        pid = child_of(process)
        process.kill()

        wait_until_gone(pid)


@linux
def test_dashboard_that_dies_is_started_again(tmp_path: Path) -> None:
    with coordinator(tmp_path, "--dashboard", "127.0.0.1:0") as process:
        wait_for_page(process)
        first = child_of(process)
        os.kill(first, signal.SIGKILL)

        assert read(f"{wait_for_page(process)}/readyz") == "ok\n"
        assert child_of(process) != first


def test_dashboard_that_others_reach_is_refused_before_anything_starts(invoke_alone: Invoke, tmp_path: Path) -> None:
    result = invoke_alone("coordinator", "--data", str(tmp_path / "d.zq"), "--dashboard", "0.0.0.0:7780")

    assert result.exit_code == 2
    assert "can be reached by other machines" in result.stderr
    assert not (tmp_path / "d.zq").exists()


def test_dashboard_of_a_coordinator_with_keys_needs_one(invoke_alone: Invoke, tmp_path: Path) -> None:
    options = ("--keys", str(tmp_path / "keys"), "--dashboard", "127.0.0.1:0")
    result = invoke_alone("coordinator", "--data", str(tmp_path / "d.zq"), *options)

    assert result.exit_code == 2
    assert "--dashboard-key FILE" in result.stderr


def test_dashboard_without_its_packages_is_refused_in_words(
    invoke_alone: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "find_spec", lambda name: None)
    result = invoke_alone("coordinator", "--data", str(tmp_path / "d.zq"), "--dashboard", "127.0.0.1:0")

    assert result.exit_code == 2
    assert "pip install 'zqkit[dashboard]'" in result.stderr


def test_coordinator_without_dashboard_imports_nothing_of_it() -> None:
    code = "import sys, zq.cli.app, zq.cli.serving, zq.server.loop; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not [name for name in modules if name.split(".")[0] in ("starlette", "uvicorn", "anyio", "asyncio")]
    assert not [name for name in modules if name.startswith(("zq.dashboard", "zq.cli.web.child"))]
