"""Cron expressions and time zones, for the coordinator: what the core is given as its calendar.

The library cronsim does what Debian's cron does when clocks are changed: a time that a day does not have comes at the
end of the gap, one that it has twice comes once. It belongs to the extra `cron`, and is loaded when the first cron
expression comes.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from zq.core.options import Calendar

if TYPE_CHECKING:
    from cronsim import CronSim


def next_after(expression: str, zone: str, time: float) -> float:
    """Returns the first time of a cron expression after one, in seconds since 1970.

    Args:
        expression: five fields, minute to day of week, or six with the seconds in front.
        zone: name of the time zone in which it is meant, such as Europe/Berlin.
        time: seconds since 1970.

    Raises:
        ValueError: the expression or the zone cannot be, it has no time within fifty years, or the extra is missing.
    """
    for at in _iterate(expression, zone, time, is_reverse=False):
        if at.timestamp() > time:
            return at.timestamp()
    raise ValueError(f"cron expression {expression!r} never comes")


def last_until(expression: str, zone: str, time: float) -> float:
    """Returns the last time of a cron expression that is not after one; as `next_after`."""
    for at in _iterate(expression, zone, time + 1.0, is_reverse=True):
        if at.timestamp() <= time:
            return at.timestamp()
    raise ValueError(f"cron expression {expression!r} never came")


def _iterate(expression: str, zone: str, time: float, *, is_reverse: bool) -> CronSim:
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise ValueError(
            "cron needs the library cronsim: pip install 'zqkit[cron]' where the coordinator runs"
        ) from None
    try:
        at = datetime.fromtimestamp(time, ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected a time zone such as UTC or Europe/Berlin, got {zone!r}") from None
    try:
        return CronSim(expression, at, reverse=is_reverse)
    except CronSimError as error:
        raise ValueError(
            f"expected a cron expression such as '30 2 * * MON-FRI', got {expression!r}: {error}"
        ) from None


CALENDAR = Calendar(next_after, last_until)
