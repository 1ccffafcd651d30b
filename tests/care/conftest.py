"""The kitchen of a test: it is closed, with everything in it, when the test ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.kitchen import Kitchen


@pytest.fixture
def kitchen(tmp_path: Path) -> Iterator[Kitchen]:
    kitchen = Kitchen(tmp_path)
    yield kitchen
    kitchen.close()
