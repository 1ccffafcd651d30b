"""What is known of the tree is forgotten with the last of these tests: it is much, and waste is looked for in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.architecture import tree


@pytest.fixture(scope="package", autouse=True)
def _tree_is_forgotten() -> Iterator[None]:
    yield
    tree.parsed.cache_clear()
