"""Mistakes that a coordinator's way to the disk could have; the images must show each, or their green means nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lmdb


def _tables_not_flushed() -> None:
    _open_lmdb_with(sync=False)


def _meta_not_flushed() -> None:
    _open_lmdb_with(metasync=False)


def _open_lmdb_with(**changed: Any) -> None:
    real = lmdb.open

    def open_with(*arguments: Any, **options: Any) -> Any:
        return real(*arguments, **{**options, **changed})

    setattr(lmdb, "open", open_with)  # noqa: B010 - mypy forbids to assign to a function


MISTAKES: dict[str, Callable[[], None]] = {
    "tables not flushed": _tables_not_flushed,
    "page that makes a commit current not flushed": _meta_not_flushed,
}


def make_mistake(name: str) -> None:
    """Changes this process, for good."""
    MISTAKES[name]()
