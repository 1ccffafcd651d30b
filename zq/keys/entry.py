"""An entry in the coordinator's directory of keys: a public key, what it may do, and until when; as text for people.

It holds nothing secret. Whoever may write it decides what its key may do.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final

from zq.core.rights.rights import EVERY_QUEUE, Rights
from zq.keys.key import check_key_name, check_public_key

GOOD: Final = "good"
REVOKED: Final = "revoked"

EMBEDDED_NAME: Final = "embedded"
"""Of the key of a program that hosts its coordinator, which is in no directory: no entry may be called so."""

ENTRY_BYTES_MAX: Final = 65_536
"""Above a hundred patterns and namespaces of full length; what is larger is no entry."""

_LISTS: Final = ("queues", "submit", "work", "look", "namespaces")
_TEXTS: Final = ("name", "public", "role", "limits", "state", "previous")
_TIMES: Final = ("expires", "previous_until")

ENTRY_HEAD: Final = """\
# A public key of zq, and what it may do at this coordinator: `zq keys` writes it, and it may be edited.
# Patterns of queues: * stands for any text; submit, work and look are those of `queues` unless they are given.
"""


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One public key and its rights.

    Attributes:
        name: of the key, and of its file.
        public: 40 characters of Z85.
        role: client, worker or admin.
        queues: patterns for all that is not said apart.
        submit: patterns of queues that it may submit to; None: `queues`. So work and look.
        namespaces: in which all must be that it names; empty: no matter where.
        limits: such as `waits=100 pulls=10`, the names of `zq.core.peer_limits`.
        expires: wall time from which on it is not good any more; None: never.
        state: good or revoked.
        previous: the public key before this one, which is good until `previous_until`; None: there is none.

    Raises:
        ValueError: one of them cannot be.
    """

    name: str
    public: str
    role: str
    queues: tuple[str, ...] = EVERY_QUEUE
    submit: tuple[str, ...] | None = None
    work: tuple[str, ...] | None = None
    look: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] = ()
    limits: str = ""
    expires: float | None = None
    state: str = GOOD
    previous: str | None = None
    previous_until: float | None = None

    def __post_init__(self) -> None:
        if check_key_name(self.name) == EMBEDDED_NAME:
            raise ValueError(
                f"expected another name: {EMBEDDED_NAME} is the key of a program that hosts its coordinator"
            )
        check_public_key(self.public)
        if self.previous is not None:
            check_public_key(self.previous)
        if self.state not in (GOOD, REVOKED):
            raise ValueError(f"expected state as {GOOD} or {REVOKED}, got {self.state!r}")
        self.rights()

    def rights(self) -> Rights:
        """Returns what the key may do while it is good."""
        submit, work, look = [self.queues if one is None else one for one in (self.submit, self.work, self.look)]
        return Rights(self.name, self.role, submit, work, look, self.namespaces, _read_limits(self.limits))

    def state_at(self, wall: float) -> str:
        """Returns good, revoked or expired."""
        is_expired = self.expires is not None and self.expires <= wall
        return "expired" if self.state == GOOD and is_expired else self.state

    def publics_at(self, wall: float) -> tuple[str, ...]:
        """Returns the public keys of it that are good at a time."""
        if self.state_at(wall) != GOOD:
            return ()
        is_over = self.previous is None or self.previous_until is None or self.previous_until <= wall
        return (self.public,) if is_over else (self.public, str(self.previous))

    def next_change(self, wall: float) -> float:
        """Returns when time alone changes something next; infinity: never."""
        ends = [one for one in (self.expires, self.previous_until) if one is not None and one > wall]
        return min(ends, default=math.inf)

    def revoked(self) -> KeyEntry:
        return replace(self, state=REVOKED, previous=None, previous_until=None)

    def rotated(self, public: str, until: float) -> KeyEntry:
        """Returns it with another public key; the present one stays good until a time."""
        return replace(self, public=public, previous=self.public, previous_until=until)

    def as_map(self, wall: float) -> dict[str, Any]:
        """Returns it as `zq keys ls --json` shows it."""
        shown = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**shown, "state": self.state_at(wall)}

    def text(self) -> str:
        """Returns it as its file has it."""
        lines = [f"{name} = {json.dumps(value)}" for name, value in self._said()]
        return ENTRY_HEAD + "\n".join([*lines, ""])

    def _said(self) -> list[tuple[str, Any]]:
        """Returns what its file says; JSON of texts and lists is TOML, too."""
        said: list[tuple[str, Any]] = []
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None or (value == one.default and one.name not in ("queues", "state")):
                continue
            said.append((one.name, list(value) if isinstance(value, tuple) else value))
        return [(name, time_text(value) if name in _TIMES else value) for name, value in said]


def read_entry(content: bytes, name: str) -> KeyEntry:
    """Makes an entry of the content of its file.

    Args:
        name: of the file, without its ending.

    Raises:
        ValueError: it cannot be one; the text says why.
    """
    try:
        found = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise ValueError("expected text, got something else") from None
    unknown = sorted(found.keys() - {*_LISTS, *_TEXTS, *_TIMES})
    if unknown:
        raise ValueError(f"expected name, public, role, queues and their like, got {unknown[0]!r}")
    read: dict[str, Any] = {}
    for field, value in found.items():
        read[field] = _texts(field, value) if field in _LISTS else read_time(field, value) if field in _TIMES else value
    for field in _TEXTS:
        if not isinstance(read.get(field, ""), str):
            raise ValueError(f"expected {field} as text, got {read[field]!r}")
    missing = [field for field in ("name", "public", "role") if field not in read]
    if missing:
        raise ValueError(f"expected {', '.join(missing)} of the key, got none")
    if read["name"] != name:
        raise ValueError(f"expected the name of the file, {name}, got {read['name']!r}")
    return KeyEntry(**read)


def _texts(field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"expected {field} as a list of texts, got {value!r}")
    return tuple(value)


def read_time(field: str, value: Any) -> float:
    """Returns a wall time; one that names no zone is in UTC. Raises ValueError."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"expected {field} as a time like 2027-01-31T12:00:00+00:00, got {value!r}") from None
    if not isinstance(value, datetime):
        raise ValueError(f"expected {field} as a time like 2027-01-31T12:00:00+00:00, got {value!r}")
    return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()


def time_text(wall: float) -> str:
    """Returns a wall time as text, in UTC."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")


def _read_limits(text: str) -> tuple[tuple[str, int], ...]:
    found: dict[str, int] = {}
    for part in text.replace(",", " ").split():
        name, _, number = part.partition("=")
        if not (number.isascii() and number.isdigit()) or name in found:
            raise ValueError(f"expected limits like waits=100 pulls=10, got {part!r}")
        found[name] = int(number)
    return tuple(found.items())
