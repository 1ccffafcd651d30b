"""How the tasks of batches ended, as far as a client knows, and the waits by which it asks.

A batch is asked for as a whole, once, whoever of its receipts asks first; the answers come as its tasks end. A wait
whose watchers got what they wanted stays, so that the next receipt of the batch finds its end at hand, but does not
outlive the receipts, nor the connection. A wait whose watchers have all given up is forgotten on both sides.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol
from weakref import ref

from zq.sessions.refusals import remote_error
from zq.wire.messages import Ended, Outcome, Wait

FOREVER = float("inf")

ALL_TASKS = -1
"""The place of who watches a whole batch: each news is the list of what has ended since the last."""

UNWATCHED_MAX = 10_000
"""Waits that are kept though nobody watches, while their receipts are; beyond it the oldest is forgotten, and would be
asked again.
"""


class Reply(Protocol):
    """Where the end of one request goes; `resolve` or `reject` is called once, on the link's thread, and must not
    raise.
    """

    def resolve(self, value: Any) -> None: ...

    def reject(self, error: Exception) -> None: ...


class Watcher(NamedTuple):
    """Someone waits for the end of one task, or for news of its progress."""

    place: int  # the task's index, or ALL_TASKS of an outcome that is followed
    deadline: float  # monotonic seconds
    asked_at: float
    reply: Reply
    seen: float | None = None  # a fraction other than this is news, too; None: only the end is


class BatchOutcome:
    """The ends of the tasks first, first + 1, ... of a batch; shared by all receipts of the batch.

    Written on the link's thread, or by a caller who has taken the answer, while any thread may call `get` and `forget`:
    a slot changes in one assignment.

    Args:
        size: tasks in the batch; 1 when that is not known.
        first: index of the first task of interest.
        count: how many tasks are of interest.
    """

    __slots__ = (
        "__weakref__",
        "asked_at",
        "count",
        "first",
        "id",
        "is_confirmed",
        "is_outdated",
        "news",
        "ping",
        "progress",
        "size",
        "slots",
        "wait",
        "watchers",
    )

    def __init__(self, id: str, size: int, first: int, count: int) -> None:
        self.id = id
        self.size = size
        self.first = first
        self.count = count
        self.slots: list[Ended | None] = []  # one per task once someone asked; before, a receipt shall cost little
        self.watchers: list[Watcher] = []
        self.wait: int | None = None  # number of the wait that is under way
        self.asked_at = 0.0  # when the wait was sent first
        self.is_confirmed = False  # whether the wait had an answer on this connection
        self.is_outdated = False  # whether an end that the wait has told was forgotten
        self.progress: dict[int, float] = {}  # what handlers have reported, by index
        self.ping = 0  # the last ping before the wait was sent
        self.news: list[Ended] | None = None  # what nobody was told yet; None: nobody follows the whole batch

    def get(self, index: int) -> Ended | None:
        """Returns how the task ended, or None when that is not known (yet)."""
        slots = self.slots
        return slots[index - self.first] if slots else None

    def forget(self, index: int) -> None:
        """Forgets the end of a task, so that who asks next gets the present one: a dead letter can come back to its
        queue.
        """
        if self.slots:
            self.slots[index - self.first] = None
            self.is_outdated = True

    def missing(self) -> tuple[int, int]:
        """Returns the smallest range lo, hi of indexes that holds all tasks whose end is not known; (0, 0) when there
        is none.
        """
        if not self.slots:
            self.slots = [None] * self.count
        slots = self.slots
        if None not in slots:
            return (0, 0)
        last = self.count - 1
        while slots[last] is not None:
            last -= 1
        return (self.first + slots.index(None), self.first + last + 1)

    def note(self, ended: Ended) -> None:
        """Notes how some tasks ended; what is said of tasks without interest is ignored."""
        lo = max(ended.lo, self.first)
        hi = min(ended.hi, self.first + self.count)
        if hi > lo and self.slots:
            self.slots[lo - self.first : hi - self.first] = [ended] * (hi - lo)
            if self.news is not None:
                self.news.append(ended)

    def news_for(self, watcher: Watcher) -> Ended | float | list[Ended] | None:
        """Returns how the task ended, or how far it is if that is asked for, or None; of all tasks, what is new."""
        if watcher.place == ALL_TASKS:
            news, self.news = self.news, []
            return news or None
        ended = self.get(watcher.place)
        if ended is not None or watcher.seen is None:
            return ended
        fraction = self.progress.get(watcher.place)
        return None if fraction == watcher.seen else fraction

    def resolve_watchers(self) -> int:
        """Answers those for whom there is news; returns how many."""
        left = []
        for watcher in self.watchers:
            news = self.news_for(watcher)
            if news is None:
                left.append(watcher)
            else:
                watcher.reply.resolve(news)
        resolved = len(self.watchers) - len(left)
        self.watchers = left
        return resolved


class Watches:
    """The waits of a client that are under way.

    A wait is *watched* while anybody waits for news of it. One whose last watcher got what it wanted is kept, for the
    next receipt of its batch, as long as there may be one: as long as anybody has its outcome. One that was given up is
    forgotten, and the coordinator is told so.

    Invariant: a wait is either watched or unwatched, and its outcome has its number.
    """

    def __init__(self, make_number: Callable[[], int]) -> None:
        self.watchers = 0  # in all; while there are none, nobody needs to know whether the coordinator lives
        self._make_number = make_number
        self._watched: dict[int, BatchOutcome] = {}
        self._unwatched: dict[int, ref[BatchOutcome]] = {}  # the oldest first
        self._lost: deque[int] = deque()  # of the unwatched, those whose outcome nobody has; any thread adds to it
        self._forgotten: list[int] = []  # of which the coordinator is to be told

    def add(self, now: float, outcome: BatchOutcome, watcher: Watcher, ping: int) -> list[Wait]:
        """Answers at once when the end is known, else notes the watcher; returns what to send."""
        news = outcome.news_for(watcher)
        if news is not None:
            watcher.reply.resolve(news)
            return []
        outcome.watchers.append(watcher)
        self.watchers += 1
        is_new = outcome.wait is None
        if outcome.wait is None:
            outcome.wait = self._make_number()
            outcome.asked_at = now
        self._unwatched.pop(outcome.wait, None)
        self._watched[outcome.wait] = outcome
        return [self._ask(outcome.wait, outcome, ping)] if is_new or outcome.is_outdated else []

    def adopt(
        self, number: int, outcome: BatchOutcome, watcher: Watcher, ping: int, *, is_heard: bool, is_sent: bool
    ) -> list[Wait]:
        """Notes a watcher who has a number of its own, and may have asked under it; returns what to send."""
        if outcome.wait is None and outcome.news_for(watcher) is None:
            outcome.missing()  # makes its slots
            outcome.wait = number
            outcome.ping = ping
            outcome.asked_at = watcher.asked_at
            outcome.is_confirmed = is_heard
            outcome.is_outdated = not is_sent
        return self.add(watcher.asked_at, outcome, watcher, ping)

    def leave(self, outcome: BatchOutcome, reply: Reply) -> None:
        """Somebody who watched has given up."""
        left = [watcher for watcher in outcome.watchers if watcher.reply is not reply]
        if len(left) < len(outcome.watchers):
            self.watchers -= len(outcome.watchers) - len(left)
            outcome.watchers = left
            self._forget_unless_watched(outcome)

    def drop(self, reply: Reply) -> None:
        """Nobody watches with this reply any more, whatever it was for."""
        for outcome in list(self._watched.values()):
            self.leave(outcome, reply)

    def take_forgotten(self) -> list[int]:
        """Returns the waits that the coordinator may forget, too."""
        while self._lost:
            number = self._lost.popleft()
            if self._unwatched.pop(number, None) is not None:
                self._forgotten.append(number)
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def numbers(self) -> list[int]:
        """Returns the numbers of all waits."""
        return [*self._watched, *self._unwatched]

    def receive(self, message: Outcome) -> None:
        """Notes what ended, and answers who watched it."""
        outcome = self._find(message.request)
        if outcome is None:
            return
        outcome.is_confirmed = True
        for ended in message.ended:
            outcome.note(ended)
        outcome.progress.update(message.progress)
        self.watchers -= outcome.resolve_watchers()
        if message.is_last:
            self._remove(message.request, outcome)
            self._reject(outcome, "malformed", "the last outcome of a wait came without the end of its tasks")
        elif not outcome.watchers:
            self._keep_unwatched(message.request, outcome)

    def reject(self, request: int, code: str, text: str) -> bool:
        """The coordinator refused a wait; returns whether it was one of these."""
        outcome = self._find(request)
        if outcome is None:
            return False
        self._remove(request, outcome)
        self._reject(outcome, code, text)
        return True

    def connected(self, ping: int) -> list[Wait]:
        """Forgets the waits that nobody watches; returns the others, to be asked again."""
        for number in list(self._unwatched):
            self._remove(number, self._find(number))
        self._lost.clear()
        self._forgotten.clear()
        return [self._ask(number, outcome, ping) for number, outcome in self._watched.items()]

    def unanswered(self, pong: int, ping: int, *, is_other_epoch: bool) -> list[Wait]:
        """Returns the waits to be asked again: they were sent before a ping that is answered, and are not, or died
        with an epoch.
        """
        lost = [
            (number, outcome)
            for number, outcome in self._watched.items()
            if is_other_epoch or (not outcome.is_confirmed and outcome.ping < pong)
        ]
        if is_other_epoch:
            for number in list(self._unwatched):
                self._remove(number, self._find(number))
        return [self._ask(number, outcome, ping) for number, outcome in lost]

    def take_expired(self, now: float) -> list[tuple[Reply, float, str | None]]:
        """Returns, and forgets, who watched past a deadline, each with when it asked or its wait went out, whichever
        was earlier; see `zq.sessions.waiters.Expired`.
        """
        expired: list[tuple[Reply, float, str | None]] = []
        for outcome in list(self._watched.values()):
            if any(watcher.deadline <= now for watcher in outcome.watchers):
                late = [watcher for watcher in outcome.watchers if watcher.deadline <= now]
                outcome.watchers = [watcher for watcher in outcome.watchers if watcher.deadline > now]
                self.watchers -= len(late)
                expired += [(watcher.reply, min(watcher.asked_at, outcome.asked_at), None) for watcher in late]
                self._forget_unless_watched(outcome)
        return expired

    def deadline(self) -> float:
        """Returns the first deadline of all watchers."""
        return min((one.deadline for outcome in self._watched.values() for one in outcome.watchers), default=FOREVER)

    def take_all(self) -> list[Reply]:
        """Forgets everything; returns who watched."""
        replies = [watcher.reply for outcome in self._watched.values() for watcher in outcome.watchers]
        for number in self.numbers():
            outcome = self._find(number)
            if outcome is not None:
                outcome.watchers = []
            self._remove(number, outcome)
        self.watchers = 0
        return replies

    def _find(self, number: int) -> BatchOutcome | None:
        outcome = self._watched.get(number)
        if outcome is None and number in self._unwatched:
            outcome = self._unwatched[number]()
        return outcome

    def _ask(self, number: int, outcome: BatchOutcome, ping: int) -> Wait:
        outcome.is_confirmed = outcome.is_outdated = False
        outcome.ping = ping
        lo, hi = outcome.missing()
        return Wait(number, outcome.id, lo, hi)

    def _reject(self, outcome: BatchOutcome, code: str, text: str) -> None:
        watchers, outcome.watchers = outcome.watchers, []
        self.watchers -= len(watchers)
        for watcher in watchers:
            watcher.reply.reject(remote_error(code, text))

    def _remove(self, number: int, outcome: BatchOutcome | None) -> None:
        self._watched.pop(number, None)
        self._unwatched.pop(number, None)
        if outcome is not None:
            outcome.wait = None

    def _forget_unless_watched(self, outcome: BatchOutcome) -> None:
        """Forgets a wait whose last watcher has given up."""
        if not outcome.watchers and outcome.wait is not None:
            self._forgotten.append(outcome.wait)
            self._remove(outcome.wait, outcome)

    def _keep_unwatched(self, number: int, outcome: BatchOutcome) -> None:
        """Keeps a wait as long as anybody has its outcome, who may ask for more of it."""
        if self._watched.pop(number, None) is None:
            return
        lost = self._lost  # and not self: whoever has the last reference may be any thread
        self._unwatched[number] = ref(outcome, lambda _: lost.append(number))
        if len(self._unwatched) > UNWATCHED_MAX:
            oldest = next(iter(self._unwatched))
            self._forgotten.append(oldest)
            self._remove(oldest, self._find(oldest))
