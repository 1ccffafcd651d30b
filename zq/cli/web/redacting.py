"""The function of a user through which a dashboard has payloads go, by its name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def load_redaction(spec: str) -> Callable[..., Any]:
    """Returns the function at module:function or path.py:function; raises ValueError."""
    from zq.processes.references import ModuleFailedError, load_provider, own_folder

    sys.path.insert(0, own_folder())  # as `python -m` does; a console script has its own folder there
    try:
        found: Any = load_provider(spec)
    except ModuleFailedError as error:
        raise ValueError(f"{spec}: {error}") from error
    if not callable(found):
        raise ValueError(f"expected a function at {spec}, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]
