"""The log of a process of the command line, and of the children that run the user's functions for it.

A program that configures its log itself has children whose modules configure theirs, as with multiprocessing.
"""

from __future__ import annotations

import logging
import sys

from zq.processes.shown import in_a_record

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LineFormatter(logging.Formatter):
    """Writes records whose text others may have made: escaped, and no line of it looks like another record."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns a record as text."""
        return in_a_record(super().format(record))


_level: str | None = None
"""What the command line was told, in this process or in the one that started it."""


def configure_log(level: str) -> None:
    """Has this process log to stderr, and the children that it starts; what has configured its log before keeps that.

    Args:
        level: name of the lowest level that is logged.
    """
    take_log(level)
    configure_log_as_parent()


def log_level() -> str | None:
    """Returns what `configure_log` was told; None when nobody did."""
    return _level


def take_log(level: str | None) -> None:
    """Notes what the parent's `log_level` is, for `configure_log_as_parent`."""
    global _level  # noqa: PLW0603 - a process has one log
    _level = level


def configure_log_as_parent() -> None:
    """Does what `configure_log` did in the parent, if it did; call it behind the import of the user's modules, which
    may have their own idea of logs.
    """
    if _level is not None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LineFormatter(FORMAT))
        logging.basicConfig(level=_level.upper(), handlers=[handler])
