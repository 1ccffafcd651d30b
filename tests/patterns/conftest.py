"""Bare sockets for the tests of the patterns, and the proof that nothing is left behind."""

import threading
from collections.abc import Iterator

import pytest

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
