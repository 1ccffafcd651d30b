"""What a process may use of its machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from zq.processes import machine
from zq.server.host import HostOptions, busy_poll_seconds


@pytest.mark.parametrize(
    ("text", "share"), [("50000 100000", 0.5), ("max 100000", None), ("150000 100000", 1.5), ("", None), ("0 0", None)]
)
def test_share_of_the_processors_that_a_container_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, share: float | None
) -> None:
    monkeypatch.setattr(machine, "_QUOTAS", ((tmp_path / "cpu.max",), (tmp_path / "none", tmp_path / "none")))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.processors() == 8
    (tmp_path / "cpu.max").write_text(text)
    assert machine.processors() == (share or 8)
    assert bool(busy_poll_seconds()) is (share is None)


def test_share_as_systems_before_told_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = tmp_path / "quota", tmp_path / "period"
    monkeypatch.setattr(machine, "_QUOTAS", ((tmp_path / "none",), paths))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    paths[1].write_text("100000\n")
    for text, expected in (("25000\n", 0.25), ("-1\n", 2)):
        paths[0].write_text(text)
        assert machine.processors() == expected


@pytest.mark.parametrize("seconds", [-0.1, 0.02, float("nan")])
def test_looks_without_end_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="busy_poll as seconds from 0"):
        HostOptions(busy_poll=seconds)
