"""A relative path means the folder in which it was given, wherever the program goes afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import zq
from zq.cli.line.settings import read_contexts
from zq.cli.starting.whereabouts import kept_for_worker
from zq.keys.audit import AuditFile
from zq.keys.own import source_of_key
from zq.processes.endpoints import FILE_PATH_BYTES_MAX, kept_address, kept_path
from zq.processes.own_folder import OwnFolder
from zq.processes.pulse import Pulse, ServiceManager
from zq.processes.references import kept_reference
from zq.wire.address import SOCKET_PATH_BYTES_MAX


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that this program is in until it goes to another one, which is beside it."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def go() -> None:
    os.chdir("../there")


def test_clients_reach_an_embedded_coordinator_at_a_relative_address(here: Path) -> None:
    with zq.Coordinator("data", bind="ipc://socket") as coordinator:
        early, app = zq.Client("ipc://socket", timeout=60), zq.App("ipc://./socket", timeout=60)
        go()
        assert coordinator.address == f"ipc://{here}/socket" == app.address
        with early, app, zq.Client(coordinator.address, timeout=60) as late:
            assert [client.submit("o", 1).id != "" for client in (early, app.client, late)] == [True] * 3
    assert not (here / "socket").exists()


def test_coordinator_is_opened_again_in_its_own_folder(here: Path) -> None:
    coordinator = zq.Coordinator("data", keys="keys", audit="audit")
    go()
    for _ in range(2):
        with coordinator:
            pass
    assert list(Path().iterdir()) == []
    assert {one.name for one in here.iterdir()} == {"data", "keys", "audit"}


def test_signs_of_life_go_to_the_file_that_is_watched(here: Path) -> None:
    pulse = Pulse(ServiceManager(None), Path("health"))
    go()
    pulse.beat(1.0, "works")
    assert json.loads((here / "health").read_text())["text"] == "works"
    pulse.close()
    assert list(here.iterdir()) == list(Path().iterdir()) == []


def test_all_else_that_is_used_later_is_kept_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("zq.toml").write_text('[contexts.one]\nkey = "mine.key"\n')
    monkeypatch.setenv("ZQ_CONFIG", "zq.toml")
    worker = zq.Worker("ipc://socket", key="mine.key")
    key, context = source_of_key("mine.key", ""), read_contexts()["one"].values["key"]
    audit, folder = AuditFile("audit"), OwnFolder(within=".")
    spec = kept_reference("shop.py:worker")
    monkeypatch.setenv("ZQ_KEY", "mine.key")
    given = kept_for_worker("shop.py:it", ["bake"], "ipc://socket", Path("health"))
    go()
    audit.open()
    audit.close()
    folder.close()

    assert worker.address == f"ipc://{here}/socket"
    assert os.environ["ZQ_KEY"] == f"{here}/mine.key"
    assert given == ("shop.py:it@bake", f"{here}/shop.py:it@bake", f"ipc://{here}/socket", here / "health")
    assert worker.key == key == here / "mine.key"
    assert context == str(here / "mine.key")
    assert spec == f"{here}/shop.py:worker"
    assert kept_reference("shop.tools:worker") == "shop.tools:worker"
    assert {one.name for one in here.iterdir()} == {"zq.toml", "audit"}


def test_addresses_that_are_no_relative_paths_stay_as_they_are(here: Path) -> None:
    assert FILE_PATH_BYTES_MAX == SOCKET_PATH_BYTES_MAX
    long = f"ipc://{'x' * FILE_PATH_BYTES_MAX}"  # which the system takes, and no longer with the folder before it
    for address in ("tcp://127.0.0.1:7700", "ipc:///tmp/socket", "ipc://@name", "ipc://*", "ipc://", long):
        assert kept_address(address) == address
    here.rmdir()
    assert kept_address("ipc://socket") == "ipc://socket"
    assert kept_path("data") == Path("data")
