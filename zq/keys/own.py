"""Which key is shown where, when nothing is said of it: to a coordinator inside of this process its own one, to all
others that of the environment.

A program that hosts a coordinator with keys speaks to it like anybody else, and need not be told which key is its own;
and one without keys is not shown what the environment has for another coordinator.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from zq.processes.endpoints import kept_path

if TYPE_CHECKING:  # loaded when there is a key: most programs have none
    from zq.keys.key import Key

KeySource: TypeAlias = Union["Key", str, os.PathLike[str]]
"""A key, or the path of its file."""

OWN_KEYS: dict[str, Callable[[], Key | None]] = {}
"""By address of the coordinator, what returns the key: None for one without keys. Each coordinator of this process adds
its own when it opens, and takes it back.
"""


def source_of_key(key: KeySource | None, address: str) -> Key | Path | None:
    """Returns the given key or path; else this process' own key, if any, when the coordinator is inside of it; else the
    path in ZQ_KEY in the environment; else None. Empty text is none.

    Raises:
        TypeError: it is neither a key nor a path.
    """
    if key is None:
        key = (OWN_KEYS[address]() if address in OWN_KEYS else os.environ.get("ZQ_KEY")) or ""
    if isinstance(key, str | os.PathLike):
        return kept_path(Path(key).expanduser()) if key != "" else None
    from zq.keys.key import Key

    if not isinstance(key, Key):
        raise TypeError(f"expected a zq.Key or the path of its file, got {type(key).__name__}")
    return key


def given_key(key: KeySource | None) -> KeySource | None:
    """Returns a key as it was given, but a relative path as one that means the same when this program has gone to
    another folder.
    """
    if not isinstance(key, str | os.PathLike) or key == "" or (path := Path(key).expanduser()).is_absolute():
        return key
    return kept_path(path)


def kept_key(key: KeySource | None, address: str) -> KeySource | None:
    """Returns what finds this key again in another folder: for a link, which looks again when it is refused."""
    if key is not None or address in OWN_KEYS:
        return given_key(key)
    named = os.environ.get("ZQ_KEY")
    kept = given_key(named)
    return None if kept is named else kept


def find_key(key: KeySource | None, address: str) -> Key | None:
    """Returns the key that `source_of_key` finds, read if it is in a file; raises TypeError and KeyFileError."""
    source = source_of_key(key, address)
    if not isinstance(source, Path):
        return source
    from zq.keys.key import Key

    return Key.read(source)


def resolve_key(key: KeySource | None, address: str) -> Key | None:
    """Returns the key to show to the coordinator at an address, as `source_of_key` finds it.

    Raises:
        TypeError: it is neither a key nor a path.
        KeyFileError: the file cannot be read, or is no key.
        ValueError: the key knows no coordinator's key, so that it could not tell whom it talks to.
    """
    found = find_key(key, address)
    if found is not None and not found.servers:
        raise ValueError(found.why_useless())
    return found
