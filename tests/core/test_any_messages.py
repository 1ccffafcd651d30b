"""Messages in no sensible order, from the decoder into the core (see `any_messages`).

After each turn: nothing has escaped but a StoreError, the books and the store agree (the invariants of the simulation),
every answer can be encoded, and when time stands still the coordinator comes to an end of what it has to do. A failing
seed is named with the command that replays it, and the last rounds.
"""

from __future__ import annotations

import pytest

from tests.core.any_messages import play
from tests.simulation.ledger import Violation
from tests.simulation.plants import planted

SEEDS = 200
PARTS = 8
"""Tests that the seeds are dealt to, so that two may run at once."""


@pytest.mark.parametrize("part", range(PARTS))
def test_no_order_of_messages_breaks_the_books_or_the_coordinator(part: int) -> None:
    received = [play(seed) for seed in range(part, SEEDS, PARTS)]

    assert min(received) > 100


def test_failing_seed_is_named_with_the_command_that_replays_it() -> None:
    with planted("credit not returned"), pytest.raises(Violation) as caught:
        for seed in range(SEEDS):
            play(seed)

    assert "python -m tests.core.any_messages --from" in caught.value.__notes__[0]


def test_same_seed_plays_the_same_messages() -> None:
    assert play(7) == play(7)
