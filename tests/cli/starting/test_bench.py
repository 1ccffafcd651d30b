"""`zq bench`, when it is ended: nothing of it is left."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.starting.watching import needs_proc, wait_for, watched
from zq.processes.own_folder import OwnFolder


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_bench_leaves_no_process_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with watched(tmp_path, "bench") as command:
        wait_for(lambda: sum("worker" in line for line in command.processes().values()) == 1)
        assert len(command.processes()) == 3
        assert len(list(tmp_path.glob("zq-bench-*"))) == 1
        command.process.send_signal(number)
        code = command.end()

        assert code in ((130, -signal.SIGINT) if number == signal.SIGTERM else (-number,))  # the same to a shell
        wait_for(lambda: not command.processes())
    if number == signal.SIGKILL:
        OwnFolder(within=str(tmp_path)).close()  # as whoever starts next
    assert list(tmp_path.glob("zq-bench-*")) == []
