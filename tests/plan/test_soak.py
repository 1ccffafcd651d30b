"""What a long life looks for is found: `python -m tests.plan --rows 26` lives it."""

from __future__ import annotations

import pytest

from tests.plan.soak import Calm, Look, grown

ROUND = 60.0


def calms(memory: float = 0.0, descriptors: int = 0, file: float = 0.0) -> list[Calm]:
    """Ten rounds, after each of which there is so much more of something."""
    return [
        Calm(ROUND * n, Look(70.0 + memory * n, 20 + descriptors * n, 3), Look(30.0, 9, 3), 20.0 + file * n)
        for n in range(10)
    ]


def test_what_stays_as_it_is_does_not_grow() -> None:
    assert grown(calms(memory=0.1)) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (calms(memory=0.5), "the memory of the coordinator has grown by 3.5 MiB"),
        (calms(descriptors=1), "the descriptors of the coordinator grow"),
        (calms(file=2.0), "the data file grows"),
    ],
)
def test_what_grows_is_said(found: list[Calm], said: str) -> None:
    assert [text[: len(said)] for text in grown(found)] == [said]
