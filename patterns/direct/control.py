"""What the caller of a direct pipeline and its workers say to each other beside the items: a msgpack array `[kind,
field ...]` each.

A worker says hello, is told what it is to do, and says when it is ready; is told whom to give to and who gives to it,
and says when it is wired: every link has carried a first message, so nothing can be lost, or pile up at one worker,
because another is slow to join. Then it answers probes, which are heartbeats too, until it is told to stop.

Numbers of workers start at 1 and are not used again in a run; the caller is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

CALLER = 0
"""The number of the caller, as one who gives items and as one who takes results."""


class Become(NamedTuple):
    """Caller to worker: what to be."""

    node: int
    plan: bytes
    tag: bytes
    endpoint: str


class Target(NamedTuple):
    """A worker (or the caller) that items go to; `place` is its index among the workers of its node, `public` the key
    with which its endpoint is bound, empty for that of the run.
    """

    worker: int
    node: int
    place: int
    endpoint: str
    public: str = ""


class Wire(NamedTuple):
    """Caller to worker: whom to give to, in addition to those before, and who will give."""

    senders: list[int]
    targets: list[Target]


class Gone(NamedTuple):
    """Caller to worker: another worker is dead."""

    worker: int


class Probe(NamedTuple):
    """Caller to worker: say what you have counted."""

    number: int


class Flush(NamedTuple):
    """Caller to worker: nothing more can come; give what is held back."""


class Forget(NamedTuple):
    """Caller to worker: the rest of what is held back is lost; drop it."""


class Stop(NamedTuple):
    """Caller to worker: the run is over."""


class Arrived(NamedTuple):
    """Worker to caller, first of all. `secret` is what the caller gave to it."""

    worker: int
    secret: str


class Ready(NamedTuple):
    """Worker to caller: items can be sent to `endpoint`; `public` as of a target."""

    endpoint: str
    public: str = ""


class Wired(NamedTuple):
    """Worker to caller: a first message has come from everyone who will give."""


class Unable(NamedTuple):
    """Worker to caller: it cannot work, and why."""

    text: str


class Counts(NamedTuple):
    """Worker to caller: the answer to a probe.

    Fields:
        number: of the probe.
        is_idle: it waits, and has nothing left to send.
        is_holding: it holds items back for want of more.
        received: messages, by who sent them.
        sent: messages, by who they went to.
        items: that its function was called for.
        seconds: that took.
    """

    number: int
    is_idle: bool
    is_holding: bool
    received: dict[int, int]
    sent: dict[int, int]
    items: int
    seconds: float


ControlMessage = Become | Wire | Gone | Probe | Flush | Forget | Stop | Arrived | Ready | Wired | Unable | Counts

_KINDS: tuple[type[ControlMessage], ...] = (
    *(Become, Wire, Gone, Probe, Flush, Forget, Stop),
    *(Arrived, Ready, Wired, Unable, Counts),
)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}


def pack(message: ControlMessage) -> bytes:
    """Returns a message as bytes."""
    return msgpack.packb([_NUMBERS[type(message)], *message])


def unpack(frame: bytes) -> ControlMessage:
    """Returns the message that bytes stand for.

    Raises:
        ValueError: they stand for none.
    """
    try:
        number, *fields = msgpack.unpackb(frame, strict_map_key=False)
        kind: Any = _KINDS[number]
        message: ControlMessage = kind(*fields)
        if isinstance(message, Wire):
            return Wire(message.senders, [Target(*target) for target in message.targets])
        if isinstance(message, Arrived) and not (isinstance(message.worker, int) and isinstance(message.secret, str)):
            raise TypeError(f"{message} has fields of other types")  # the only message that anybody may send
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise ValueError(f"expected a control message, got {frame[:32]!r} ...: {error}") from error
    return message
