"""How fast an evening goes: slow enough to watch it, or as fast as a test wants it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EveningPace:
    """Times of an evening, all in seconds.

    Attributes:
        pause: mean between two customers: a little less than the shops need, so that some are told to come back later.
        bake_min: for an ordinary order.
        bake_max: for an ordinary order.
        party: for the order that is in the oven of a shop that explodes.
        crash_first: from the opening to the first crash.
        crash_every: between two crashes.
        warning: that the order can be watched before the shop explodes.
        reopen: until the shop opens again.
        heartbeat: between two pings of a shop.
        gone_after: of silence, after which a shop's orders go to others.
    """

    pause: float
    bake_min: float
    bake_max: float
    party: float
    crash_first: float
    crash_every: float
    warning: float
    reopen: float
    heartbeat: float
    gone_after: float

    def coordinator_options(self) -> tuple[str, ...]:
        """Returns the options of a coordinator that is as quick as that."""
        return (
            "--heartbeat-interval", f"{self.heartbeat}", "--suspect-after", f"{3 * self.heartbeat}",
            "--gone-after", f"{self.gone_after}",
        )  # fmt: skip


TO_WATCH = EveningPace(0.4, 2.0, 5.0, 12.0, 6.0, 30.0, 5.0, 12.0, 0.5, 5.0)

IN_HASTE = EveningPace(0.06, 0.5, 1.1, 3.0, 0.5, 1000.0, 0.3, 3.0, 0.2, 1.0)
"""An evening of 160 orders in a quarter of a minute, with one crash."""
