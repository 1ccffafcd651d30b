"""The threads that wait for answers of one client, woken one after the other.

Threads that share a client mostly wait together, since what they asked has left in one message. To wake all of them at
once is dear: each goes to sleep again at the interpreter's lock, which one of them has. So the link's thread wakes the
first one only; who is awake wakes the next, before anything else. What they ask meanwhile needs no signal, and leaves
in one message: the last of them gives the signal for all.

Nothing depends on it that who was woken comes so far: the link's thread wakes the next one itself when that has not
been done for a while. The main thread is none of them, since a signal handler may hold it up at any point.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

CROWD_MIN = 8
"""Threads that wait, or ask, together, from which on they are a crowd. Fewer are woken at once: that some of them ask
while the others' message is under way is worth more than a large message.
"""


class Crowd:
    """Those who have their answers and are to be woken.

    Args:
        look: has the link's thread look at what was asked; from any thread.

    Attributes:
        is_gathering: whether the link's thread takes answers, on that thread: then who gets one is woken behind it.
        answered: the locks at which those sleep.
        asleep: the locks of those who are woken one by one, in order; None behind those who were answered together.
    """

    __slots__ = ("_look", "answered", "asleep", "is_gathering")

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self.is_gathering = False
        self.answered: list[threading.Lock] = []
        self.asleep: deque[threading.Lock | None] = deque()

    def wake(self, asking: int) -> int:
        """Wakes those who were answered since the last time, or the first of them if they are many; on the link's
        thread.

        Args:
            asking: how many others have asked something meanwhile.

        Returns:
            How many they are, if they are a crowd; else 0.
        """
        answered, self.answered = self.answered, []
        if not answered or len(answered) + len(self.asleep) + asking < CROWD_MIN:
            for lock in answered:
                lock.release()
            return 0
        self.asleep.extend(answered)
        self.asleep.append(None)
        self.wake_next()
        return len(answered)

    def wake_next(self) -> None:
        """Wakes the next one; behind the last the link's thread is told. From any thread."""
        if self.asleep:
            try:
                lock = self.asleep.popleft()
            except IndexError:  # somebody else has come first
                return
            if lock is None:
                self._look()
            else:
                lock.release()

    def wake_all(self) -> None:
        """Wakes everybody who is left."""
        while self.asleep:
            self.wake_next()
