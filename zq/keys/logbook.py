"""What is written down of keys: who was refused, and who did what as an operator.

Text of peers is escaped and cut, so that a line is a line. Refusals are limited, in the log and in the audit: a peer
that is refused all the time gets a line now and then, with how many there were; every one is counted. Deeds of
administration that were carried out are never left out.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from zq.core.rights.guard import Deed, Guard
from zq.keys.audit import AuditFile, audit_log
from zq.keys.entry import time_text

log = logging.getLogger(__name__)

LINE_INTERVAL: Final = 10.0
"""Seconds between two lines about the refusals of one key."""

WARNED_MAX: Final = 1000
"""Keys about which it is remembered when there was a line."""

TEXT_MAX: Final = 200
"""Characters of a peer's text in a line."""

ARGUMENTS_MAX: Final = 32
"""Arguments of a command in a line, and parts of one."""

REFUSED_TEXT_MAX: Final = 500
"""Characters of the arguments of a command that was refused: whoever has a key may send what he pleases."""


class Logbook:
    """Of the thread of the coordinator's loop.

    Args:
        audit: path of the file to which deeds are added; None: to the logger `zq.audit`.
        name_of: tells the name of a public key; one that has none is that itself.
    """

    def __init__(self, audit: str | os.PathLike[str] | None, name_of: Callable[[str], str]) -> None:
        self._name_of = name_of
        self._file = None if audit is None else AuditFile(audit)
        self._lines = _Pace()  # of the log
        self._refused = _Pace()  # of the audit
        self._left_out = 0

    def open(self) -> None:
        """Opens the file of the audit; raises KeyFileError when it cannot be, or others can read it."""
        if self._file is not None:
            self._file.open()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def about(self) -> dict[str, Any]:
        """Returns what the query `status` tells of the audit."""
        file = self._file
        at_file = {} if file is None else {"fault": file.fault, "in_log": file.in_log}
        return {**at_file, "left_out": self._left_out}

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
        count = self._lines.step(key)
        if count is not None:
            more = f" (and {count} more since the last line)" if count else ""
            log.warning("%s%s", text, more)

    def _audit(self, deed: Deed) -> None:
        line = {
            "time": time_text(deed.time),
            "key": self._name_of(deed.key),
            "from": deed.address,
            "did" if deed.fault is None else "refused": deed.what,
            "arguments": _readable(deed.arguments),
        }
        if deed.fault is not None:
            count = self._refused.step(deed.key)
            if count is None:
                self._left_out += 1
                return
            line["arguments"] = _short(line["arguments"])
            line["why"] = deed.fault[:TEXT_MAX]
            if count:
                line["more"] = count
        text = _json(line)
        if self._file is None:
            audit_log.info("%s", text)
        else:
            self._file.add(text)


class _Pace:
    """Lets a line about somebody be said at most once in a while, and counts the others."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, int]] = {}  # who -> when there was a line, and how many were none since

    def step(self, who: str) -> int | None:
        """Returns how many lines were left out since the last one; None: this one is to be left out, too."""
        now = time.monotonic()
        told_at, count = self._told.pop(who, (-math.inf, 0))
        if now < told_at + LINE_INTERVAL:
            self._told[who] = (told_at, count + 1)
            return None
        self._told[who] = (now, 0)
        if len(self._told) > WARNED_MAX:
            del self._told[next(iter(self._told))]
        return count


def escaped(text: str) -> str:
    """Returns a peer's text so that it stays in its line, and cut."""
    short = text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}..."
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in short)


def _readable(arguments: Mapping[str, Any]) -> Any:
    """Returns the first arguments, each cut: what an honest one says is far shorter."""
    first = islice(arguments.items(), ARGUMENTS_MAX)
    return {name[:TEXT_MAX]: _cut(value) for name, value in first}


def _short(arguments: Any) -> Any:
    """Returns the arguments of a command that was refused, or the beginning of their text."""
    text = _json(arguments)
    return arguments if len(text) <= REFUSED_TEXT_MAX else f"{text[:REFUSED_TEXT_MAX]}..."


def _json(value: Any) -> str:
    return json.dumps(value, default=str)  # ASCII: what is odd in a peer's text is escaped


def _cut(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _readable(value)
    if isinstance(value, tuple | list):
        return [_cut(one) for one in value[:ARGUMENTS_MAX]]
    return value[:TEXT_MAX] if isinstance(value, str | bytes) else value
