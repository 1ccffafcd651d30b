"""The files in docs/deployment: units that systemd takes, and commands that there are."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

FOLDER = ROOT / "docs" / "deployment"
UNITS = sorted(FOLDER.glob("*.service"))
PROGRAM = "/opt/zq/bin/zq"


def commands() -> Iterator[list[str]]:
    """Yields the arguments of every zq that the files start."""
    for unit in UNITS:
        for line in unit.read_text().splitlines():
            if line.startswith("ExecStart="):
                yield shlex.split(line.removeprefix("ExecStart="))[1:]
    for file in (FOLDER / "Containerfile", FOLDER / "compose.yaml"):
        for line in file.read_text().splitlines():
            if "[" in line and '"' in line and not line.lstrip().startswith(("#", "volumes", "ports", "ENTRYPOINT")):
                arguments = json.loads(line[line.index("[") : line.rindex("]") + 1])
                yield arguments[arguments.index(PROGRAM) + 1 :] if PROGRAM in arguments else arguments


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda one: one.name)
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name.replace("@", "@1")
    copy.write_text(unit.read_text().replace(PROGRAM, sys.executable))  # which is there, as the other would be

    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_and_option_in_the_files_is_there() -> None:
    found = list(commands())
    assert {arguments[0] for arguments in found} == {"coordinator", "worker", "dashboard", "health"}
    for name in {arguments[0] for arguments in found}:
        options = {one for arguments in found if arguments[0] == name for one in arguments if one.startswith("--")}
        shown = subprocess.run(
            [sys.executable, "-m", "zq.cli", name, "--help"], capture_output=True, text=True, check=True
        )
        assert options <= set(shown.stdout.split())


def test_container_runs_as_nobody_special_and_without_a_shell() -> None:
    lines = (FOLDER / "Containerfile").read_text().splitlines()

    assert "USER zq" in lines
    assert [line for line in lines if line.startswith(("CMD", "ENTRYPOINT")) and "[" not in line] == []
    assert any(line.startswith("HEALTHCHECK") and "CMD [" in line for line in lines)
