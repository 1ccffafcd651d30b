"""Beats of workers that have nothing in hand: most of what an idle coordinator hears, and nothing that a turn is for.

A heartbeat of a worker that holds no lease changes when that worker was heard, and is answered by its number: nothing
is stored, nothing falls due. So such beats are answered as they are taken from the socket, without a transaction and
without being decoded, up to the first message that is for a turn. Those of many workers come less often, and most of
them ask for no answer (protocol 3.6).

What is left is that somebody wakes up for each of them. With hundreds of workers, and when nothing but beats has come
for a while, they are let gather for a few milliseconds: the only thing that may wait for that is the first message
after a silence.
"""

from __future__ import annotations

import time
from typing import Final

from zq.core.coordinator import Machine
from zq.core.state.holder import Peer
from zq.core.state.leases import Holder
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

NO_NUMBER: Final = b"\x00"
"""Of a beat that is not answered, if its worker takes intervals (protocol 3.6)."""

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
        self._answers = _Answers(0, 0.0)
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
        answers = self._answers_of(machine)
        for _ in range(BEATS_MAX):
            one = reception.take(now)
            if one is None:
                return not self.failed
            number = number_in(one.frame)
            worker = machine.note_beat(now, one.peer) if number is not None and reception.is_free(one) else None
            if number is None or worker is None:
                reception.put_back(one)
                break
            reception.note_taken(one, now)
            if number == NO_NUMBER and worker.takes_intervals:
                continue
            if not say(one.peer, answers.to(worker, number)):
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

    def _answers_of(self, machine: Machine) -> _Answers:
        epoch, idle_interval = machine.books.epoch, machine.idle_interval
        if self._answers.epoch != epoch or self._answers.idle_interval != idle_interval:
            self._answers = _Answers(epoch, idle_interval)
        return self._answers


class _Answers:
    """Answers to beats, encoded but for their numbers: to make them anew for each turn costs as much as a beat."""

    __slots__ = ("_parts", "_slow_parts", "epoch", "idle_interval")

    def __init__(self, epoch: int, idle_interval: float) -> None:
        self.epoch = epoch
        self.idle_interval = idle_interval
        self._parts = _parts_of(Beat(0, epoch, ()))
        self._slow_parts = _parts_of(Beat(0, epoch, (), idle_interval))

    def to(self, worker: Holder, number: bytes) -> bytes:
        head, tail = self._slow_parts if worker.takes_intervals else self._parts
        return head + number + tail


def _parts_of(answer: Beat) -> tuple[bytes, bytes]:
    """Returns what stands before and behind the number in an answer, whose own is 0."""
    frame = encode(answer)
    return frame[:3], frame[4:]


def _are_many(machine: Machine) -> bool:
    """Whether there are so many workers that several beats gather."""
    return len(machine.books.peers) * GATHER_SECONDS >= GATHERED_MIN * machine.options.heartbeat_interval
