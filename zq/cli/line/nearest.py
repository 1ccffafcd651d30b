"""What somebody may have meant: the nearest of the names that there are."""

from __future__ import annotations

from collections.abc import Iterable

NAMES_MAX = 3
"""Names that are offered."""


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """Returns a question about the names nearest to what was typed, such as "; did you mean 'orders'?", or nothing."""
    from difflib import get_close_matches

    names = list(dict.fromkeys(known))
    lower = {name.lower(): name for name in names}
    found = [lower[one] for one in get_close_matches(typed.lower(), lower, NAMES_MAX, cutoff=0.6)]
    found += [one for one in names if one not in found and typed and _begins(one, typed)][: NAMES_MAX - len(found)]
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def _begins(name: str, typed: str) -> bool:
    return len(typed) > 1 and name.lower().startswith(typed.lower())
