"""Numbers with the units that people read: durations, sizes, counts and moments."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
"""In seconds."""

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
"""Of thousands, as short as a column wants them."""


def duration(seconds: float) -> str:
    """Returns a duration by its two largest units: `12 ms`, `3.4 s`, `5 min 2 s`, `3 h 4 min`, `2 d 3 h`."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if not math.isfinite(seconds):
        return "∞" if seconds > 0 else "-"
    if 0 < seconds < 0.0095:
        return f"{_digits(seconds * 1000, 1)} ms" if seconds >= 0.00005 else "<0.1 ms"
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{_digits(seconds, 1)} s"
    whole = round(seconds)
    if whole < _HOUR:
        return _pair(whole // _MINUTE, "min", whole % _MINUTE, "s")
    minutes = round(seconds / _MINUTE)
    if minutes < _DAY // _MINUTE:
        return _pair(minutes // 60, "h", minutes % 60, "min")
    hours = round(seconds / _HOUR)
    return _pair(hours // 24, "d", hours % 24, "h")


def size(size_bytes: float) -> str:
    """Returns a number of bytes by powers of 1,024: `512 B`, `1.2 MiB`."""
    if size_bytes < 0:
        return f"-{size(-size_bytes)}"
    unit = 0
    while unit < len(_PREFIXES) - 1 and size_bytes >= (1023.95 if unit else 1024):
        size_bytes, unit = size_bytes / 1024, unit + 1
    return f"{_digits(size_bytes, 1)} {_PREFIXES[unit].upper()}iB" if unit else f"{size_bytes:.0f} B"


def count(number: float) -> str:
    """Returns a number, or a rate, with three digits at most: `7`, `0.25`, `999`, `12.3k`, `4.56M`."""
    if number < 0:
        return f"-{count(-number)}"
    if not math.isfinite(number):
        return "∞" if number > 0 else "-"
    unit = 0
    while unit < len(_PREFIXES) - 1 and number >= 999.5:
        number, unit = number / 1000, unit + 1
    places = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{_digits(number, places)}{_PREFIXES[unit]}"


def moment(wall: float, zone: tzinfo | None = None) -> str:
    """Returns a moment of the calendar with its zone: `2026-11-29 03:04:05+00:00`.

    Args:
        wall: seconds since 1970, UTC; one that no calendar has is returned as it is.
        zone: None is the zone of this machine.
    """
    try:
        found = datetime.fromtimestamp(wall, zone) if zone else datetime.fromtimestamp(wall).astimezone()
        return found.isoformat(" ", "seconds")
    except (OverflowError, ValueError, TypeError, OSError):
        return str(wall)


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def _digits(number: float, places: int) -> str:
    text = f"{number:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
