"""Beats of workers that have nothing in hand: most of what an idle coordinator hears, and nothing that a turn is for.

A heartbeat of a worker that holds no lease changes when that worker was heard, and is answered by its number: nothing
is stored, nothing falls due. So such beats are answered as they are taken from the socket, without a transaction and
without being decoded, up to the first message that is for a turn.

What is left is that somebody wakes up for each of them. With hundreds of workers, and when nothing but beats has come
for a while, they are let gather for a few milliseconds: the only thing that may wait for that is the first message
after a silence.
"""

from __future__ import annotations

import time
from typing import Final

from zq.core.coordinator import Machine
from zq.core.state.holder import Peer
from zq.server.reception import Reception
from zq.server.sender import Sender
from zq.wire.codec import encode
from zq.wire.messages import Beat, Heartbeat

GATHER_SECONDS = 0.01
"""For which beats gather: a hundredth of the time after which anybody wonders about a worker, and what a first message
may be late.
"""

BEATS_QUIET_SECONDS = 0.2
"""Since anything but a beat has come, after which they may."""

GATHER_LOOK_SECONDS = 0.1
"""After which the loop looks at everything else meanwhile: connections that end, a stop, signs of life."""

GATHERED_MIN = 2
"""Beats that are to be expected in that time, for it to be worth anything."""

BEATS_MAX = 1000
"""Beats that are answered before there may be a turn."""

_QUESTION: Final = encode(Heartbeat(0, ()))
_HEAD, _TAIL = _QUESTION[:-2], _QUESTION[-1:]
"""What stands before and behind the number of a heartbeat that lists nothing; a small number is one byte."""

_NUMBER_BYTES: Final = {0xCC: 2, 0xCD: 3, 0xCE: 5}
"""Of a number by its first byte, in msgpack; larger ones are left to the decoder."""


def number_in(frame: bytes) -> bytes | None:
    """Returns the number of a heartbeat that lists nothing, as it travels; None of any other message."""
    if frame[: len(_HEAD)] != _HEAD or frame[-1:] != _TAIL:
        return None
    number = frame[len(_HEAD) : -1]
    size = len(number)
    is_number = (size and (number[0] < 0x80 and size == 1)) or (size and size == _NUMBER_BYTES.get(number[0]))
    return number if is_number else None


class Beats:
    """Answers them. Of the shell's one thread.

    Attributes:
        failed: connections that took no answer; whoever takes them out has them found gone.
    """

    def __init__(self, reception: Reception, sender: Sender) -> None:
        self.failed: list[Peer] = []
        self._reception = reception
        self._sender = sender
        self._other_at = 0.0  # when something else was heard last

    def take(self, machine: Machine, now: float) -> bool:
        """Answers the beats that have come, if there are many workers; returns whether nothing else has come.

        Args:
            machine: whose workers they are of.
            now: monotonic.
        """
        if not _are_many(machine):
            return False
        reception, say = self._reception, self._sender.say_frame
        head, tail = _answer_parts(machine.books.epoch)
        for _ in range(BEATS_MAX):
            one = reception.take(now)
            if one is None:
                return not self.failed
            number = number_in(one.frame)
            if number is None or not reception.is_free(one) or not machine.note_beat(now, one.peer):
                reception.put_back(one)
                break
            reception.note_taken(one, now)
            if not say(one.peer, head + number + tail):
                self.failed.append(one.peer)
        self._other_at = now
        return False

    def gather(self, machine: Machine, until: float) -> bool:
        """Answers beats together while nothing else comes, until a time (monotonic); returns whether they may gather at
        all.
        """
        if not _are_many(machine):
            return False
        now = time.monotonic()
        until = min(until, now + GATHER_LOOK_SECONDS)
        if now < self._other_at + BEATS_QUIET_SECONDS or now >= until:
            return False
        is_quiet = True
        while is_quiet and now < until:
            time.sleep(min(GATHER_SECONDS, until - now))
            now = time.monotonic()
            is_quiet = self.take(machine, now)
        return True


def _are_many(machine: Machine) -> bool:
    """Whether there are so many workers that several beats gather."""
    return len(machine.books.peers) * GATHER_SECONDS >= GATHERED_MIN * machine.options.heartbeat_interval


def _answer_parts(epoch: int) -> tuple[bytes, bytes]:
    """Returns what stands before and behind the number of a heartbeat in the answer to it."""
    answer = encode(Beat(0, epoch, ()))
    return answer[:3], answer[4:]
