"""What all tests share: settings, and that each leaves the process as it was. Fixtures live beside their tests."""

import ast
import functools
import gc
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.guardian import start_guardian

# No deadline: how long an example takes on a busy machine says nothing about the code.
settings.register_profile("zq", deadline=None, print_blob=True)
settings.load_profile("zq")

start_guardian()

# What the shell works with that runs the tests is not what they are about.
for _name in ("ZQ_ADDRESS", "ZQ_BIND", "ZQ_KEY", "ZQ_NAMESPACE"):
    os.environ.pop(_name, None)

# A shell that starts the tests in the background has them ignore SIGINT, and so would every process that they start and
# interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

if sys.version_info < (3, 12):  # it counts the depth of syntax trees for all threads together (python/cpython#106905)
    _parse = ast.parse

    @functools.wraps(_parse)
    def _parse_beside_others(*arguments: Any, **options: Any) -> Any:
        """A test that fails is shown, although a thread makes a traceback meanwhile; pytest itself ended of it."""
        for _ in range(10):
            try:
                return _parse(*arguments, **options)
            except SystemError:
                pass
        return _parse(*arguments, **options)

    ast.parse = _parse_beside_others


def pytest_collection_finish() -> None:
    """Leaves what all tests are made of to themselves: to look through it takes a quarter of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _signals_are_left_alone() -> Iterator[None]:
    """What one test leaves is what all processes inherit that later ones fork: they would not end by SIGTERM."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == blocked


@pytest.fixture(autouse=True)
def _environment_is_left_alone() -> Iterator[None]:
    """Commands that run in this process set variables for their handlers; the programs of later tests get none."""
    before = dict(os.environ)
    yield
    for name in {name for name, _ in before.items() ^ os.environ.items()} - {"PYTEST_CURRENT_TEST"}:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
