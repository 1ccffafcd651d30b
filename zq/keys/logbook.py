"""What is written down of keys: who was refused, and who did what as an operator.

Text of peers is escaped and cut, so that a line is a line. Refusals are limited: a peer that is refused all the time
gets a line now and then, with how many there were; every one is counted. Deeds of administration are never left out.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from zq.core.rights.guard import Deed, Guard
from zq.errors import KeyFileError
from zq.keys.entry import time_text

log = logging.getLogger(__name__)
audit_log = logging.getLogger("zq.audit")

LINE_INTERVAL: Final = 10.0
"""Seconds between two lines about the refusals of one key."""

WARNED_MAX: Final = 1000
"""Keys about which it is remembered when there was a line."""

TEXT_MAX: Final = 200
"""Characters of a peer's text in a line."""

ARGUMENTS_MAX: Final = 32
"""Arguments of a command in a line, and parts of one."""


class Logbook:
    """Of the thread of the coordinator's loop.

    Args:
        audit: path of the file to which deeds are added; None: to the logger `zq.audit`.
        name_of: tells the name of a public key; one that has none is that itself.
    """

    def __init__(self, audit: str | os.PathLike[str] | None, name_of: Callable[[str], str]) -> None:
        self._name_of = name_of
        self._path = None if audit is None else Path(audit)
        self._file: int | None = None
        self._told: dict[str, tuple[float, int]] = {}  # key -> when there was a line, refusals since

    def open(self) -> None:
        """Opens the file; raises KeyFileError when it cannot be, or others can read it."""
        if self._path is None:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._file = os.open(self._path, flags, 0o600)
            mode = os.fstat(self._file).st_mode
        except OSError as error:
            raise KeyFileError(f"cannot write the audit to {self._path}: {error.strerror}") from error
        if mode & 0o077:
            self.close()
            raise KeyFileError(f"expected the audit to be its owner's alone: run `chmod 600 {self._path}`")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def write(self, guard: Guard) -> None:
        """Writes down what a guard has noted, and takes it away."""
        while guard.audits:
            self._audit(guard.audits.popleft())
        while guard.refusals:
            one = guard.refusals.popleft()
            self._refuse(self._name_of(one.key), one.address, f"{one.what}: {one.fault}")

    def refuse_connection(self, public: str, address: bytes, fault: str) -> None:
        """Writes down that a connection was not let in."""
        name = self._name_of(public)
        # Of those without a name all together get a line now and then: a new public key costs a stranger nothing.
        who = None if name == public else name
        self._refuse(who or "unknown", address.decode(errors="replace"), f"connection: {fault}")

    def _refuse(self, key: str, address: str, what: str) -> None:
        self.warn(key, f"refused key {escaped(key)} from {escaped(address) or 'this machine'}: {escaped(what)}")

    def warn(self, key: str, text: str) -> None:
        """Logs a warning about something, at most one in a while."""
        now = time.monotonic()
        told_at, count = self._told.pop(key, (-LINE_INTERVAL, 0))
        if now < told_at + LINE_INTERVAL:
            self._told[key] = (told_at, count + 1)
            return
        self._told[key] = (now, 0)
        if len(self._told) > WARNED_MAX:
            del self._told[next(iter(self._told))]
        more = f" (and {count} more since the last line)" if count else ""
        log.warning("%s%s", text, more)

    def _audit(self, deed: Deed) -> None:
        line = {
            "time": time_text(deed.time),
            "key": self._name_of(deed.key),
            "from": deed.address,
            "did" if deed.fault is None else "refused": deed.what,
            "arguments": _readable(deed.arguments),
            **({} if deed.fault is None else {"why": deed.fault[:TEXT_MAX]}),
        }
        text = json.dumps(line, default=str)  # ASCII: what is odd in a peer's text is escaped
        if self._file is None:
            audit_log.info("%s", text)
        else:
            os.write(self._file, text.encode() + b"\n")


def escaped(text: str) -> str:
    """Returns a peer's text so that it stays in its line, and cut."""
    short = text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}..."
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in short)


def _readable(arguments: Mapping[str, Any]) -> Any:
    """Returns the first arguments, each cut: what an honest one says is far shorter."""
    first = islice(arguments.items(), ARGUMENTS_MAX)
    return {name[:TEXT_MAX]: _cut(value) for name, value in first}


def _cut(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_cut(one) for one in value[:ARGUMENTS_MAX]]
    return value[:TEXT_MAX] if isinstance(value, str | bytes) else value
