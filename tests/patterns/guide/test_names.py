"""The names of `patterns.guide`."""

from __future__ import annotations

import patterns
from patterns import guide


def test_names_of_the_guide_are_not_among_those_of_pipelines() -> None:
    assert not {*dir(patterns)} & {*dir(guide)}
