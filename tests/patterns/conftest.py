"""Bare sockets for the tests of the patterns, and the proof that nothing is left behind."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patterns.leftovers import processes_of
from tests.patterns.raw_peers import RawPeers, wait_until


@pytest.fixture(autouse=True)
def every_thread_ends() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    wait_until(lambda: not [one for one in threading.enumerate() if one not in before and one.name.startswith("zq-")])


@pytest.fixture
def peers() -> Iterator[RawPeers]:
    made = RawPeers()
    yield made
    made.close()


@pytest.fixture
def tidy(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The place of all socket files of a test; at its end there must be none, and no worker process."""
    tmp_path_factory.getbasetemp()  # not in there
    place = Path(tempfile.mkdtemp(prefix="zqt-", dir="/tmp"))  # paths of sockets must be short
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    wait_until(lambda: not processes_of(place) and not list(place.iterdir()))
    place.rmdir()
