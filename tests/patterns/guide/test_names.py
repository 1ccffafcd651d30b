"""What `patterns.guide` offers, and `patterns` does not."""

from __future__ import annotations

from importlib import import_module

import pytest

import patterns
from patterns import guide


def test_every_name_of_the_guide_is_that_of_its_module() -> None:
    assert dir(guide) == sorted(guide.__all__) == sorted(guide._MODULES)
    for name, module in guide._MODULES.items():
        assert getattr(guide, name) is getattr(import_module(module), name)


def test_what_the_guide_does_not_have_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'patterns.guide' has no attribute 'Pizza'"):
        guide.Pizza  # type: ignore[attr-defined] # noqa: B018 - it raises


def test_names_of_the_guide_are_not_among_those_of_pipelines() -> None:
    assert not {*patterns.__all__} & {*guide.__all__}
