"""A crash at each effect of a short script; see `tests.simulation.effects`, which takes pairs, too."""

from __future__ import annotations

from tests.simulation.effects import crash_at


def test_every_promise_is_kept_whatever_effect_the_process_ends_at() -> None:
    count, _ = crash_at(())

    assert count > 30
    for number in range(count):
        assert crash_at((number,))[1] == 1, f"effect {number} has not happened"
