"""Gates: what holds the tasks of a queue back although workers have room: a pause, limits on how many run at once, and
rates; of the queue and by key.

Theory of operation. A queue has a gate while one of these policies is set. Assignment asks it for room before each
lease, and tells it of each lease and of each end. What is closed opens again by one of three events, and each of them
stirs the queue: the end of a lease, the time at which a token comes, a change of policies. A batch whose *key* is
closed is set aside (`held`, see `zq.core.state.lane`), so that nobody waits behind it.

A rate is a token bucket (Turner, 1986): a lease takes a token for each of its tasks, `rate` tokens come a second, at
most `burst` are saved. So in any window of T seconds at most burst + rate * T tasks are leased. Time is monotonic, and
buckets are empty after a restart, so that this holds over restarts, too.

Invariant: a key in `held` has a lease, or is in `_armed` or opened, or has a batch in its lane, whose lease or end will
open it.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf
from typing import Final, NamedTuple

from zq.core.state.lane import SetAside
from zq.wire.policies import QueuePolicies

BUCKETS_SWEEP_MIN: Final = 1024
"""Buckets of keys from which on those that are full again are looked for: a full one is as good as none."""

WAKE_SECONDS: Final = 0.01
"""A queue's rate lets so much time pass between two looks, if its burst allows: a rate of 10,000 a second is no reason
to turn as often.
"""

ALMOST: Final = 1e-9
"""Of a token, or of a second, forgiven: sums of floats must not make a token late."""


class Limit(NamedTuple):
    """One reason for which tasks may not be leased; closed while `room` is 0 or less."""

    code: str
    room: int
    most: float | None  # the limit itself
    opens_at: float  # monotonic; infinity when that is not known


class Bucket:
    """Tokens, as they were at a time."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at

    def fill(self, rate: float, burst: float, now: float) -> float:
        """Returns the tokens at a time."""
        self.tokens = min(burst, self.tokens + (now - self.at) * rate)
        self.at = now
        return self.tokens


class Gate:
    """The gate of one queue."""

    __slots__ = (
        "_alarms", "_armed", "_bucket", "_buckets", "_empty_at", "_sweep_at", "held", "leased", "opens_at", "policies",
    )  # fmt: skip

    def __init__(self, policies: QueuePolicies, now: float, *, is_restart: bool) -> None:
        """Makes a gate.

        Args:
            now: monotonic.
            is_restart: whether buckets may have been emptied by an earlier life: then they start empty, else full.
        """
        self.policies = policies
        self.leased: dict[str, int] = {}  # by key
        self.held = SetAside()  # by key: batches for which it has no room
        self.opens_at = inf  # when the queue's own rate has tokens again, if that is what is waited for
        self._empty_at = now if is_restart else -inf  # when a bucket that is not there was empty
        self._bucket = Bucket(0.0, self._empty_at)
        self._buckets: dict[str, Bucket] = {}
        self._alarms: list[tuple[float, str]] = []  # heap: when a key's rate has a token again
        self._armed: dict[str, float] = {}
        self._sweep_at = BUCKETS_SWEEP_MIN

    def change(self, policies: QueuePolicies) -> None:
        """Takes other policies; tokens that were saved are kept, as far as the new burst goes."""
        before, self.policies = self.policies, policies
        self.opens_at = inf
        if key_limits_of(before) == key_limits_of(policies):
            return
        self._alarms.clear()
        self._armed.clear()
        self.held.open_all()

    # What is closed.

    def limits(self, leased: int, now: float) -> Iterator[Limit]:
        """Yields the limits of the queue.

        Args:
            leased: tasks of the queue that are leased.
            now: monotonic.
        """
        policies = self.policies
        if policies.paused:
            yield Limit("paused", 0, None, inf)
        if policies.concurrency is not None:
            yield Limit("concurrency", policies.concurrency - leased, policies.concurrency, inf)
        if policies.rate is not None:
            yield self._rate_limit("rate", self._bucket, policies.rate, queue_burst(policies), now)

    def key_limits(self, key: str | None, now: float) -> Iterator[Limit]:
        """Yields the limits of a key."""
        policies = self.policies
        if key is None:
            return
        if policies.key_concurrency is not None:
            room = policies.key_concurrency - self.leased.get(key, 0)
            yield Limit("key-concurrency", room, policies.key_concurrency, inf)
        if policies.key_rate is not None:
            bucket = self._buckets.get(key) or Bucket(0.0, self._empty_at)
            yield self._rate_limit("key-rate", bucket, policies.key_rate, key_burst(policies), now)

    def _rate_limit(self, code: str, bucket: Bucket, rate: float, burst: int, now: float) -> Limit:
        tokens = bucket.fill(rate, burst, now)
        opens_at = now if tokens >= 1.0 else now + (1.0 - tokens) / rate
        return Limit(code, int(tokens + ALMOST), rate, opens_at)

    def room(self, leased: int, most: int, now: float) -> int:
        """Returns how many tasks of the queue may be leased, and notes when to look again when that is none.

        What was noted before stays when there is room: whoever was refused then is still to be looked at.
        """
        for limit in self.limits(leased, now):
            most = min(most, limit.room)
        policies = self.policies
        if most <= 0 and policies.rate is not None:
            wanted = min(queue_burst(policies), max(1.0, policies.rate * WAKE_SECONDS))
            missing = wanted - self._bucket.fill(policies.rate, queue_burst(policies), now)
            self.opens_at = now + missing / policies.rate if missing > 0 else inf
        return most

    def key_room(self, key: str | None, most: int, now: float) -> int:
        """Returns how many tasks of a key may be leased."""
        for limit in self.key_limits(key, now):
            most = min(most, limit.room)
        return most

    # What passes.

    def count(self, key: str | None, count: int) -> None:
        """Counts leases of a key that were granted, in this life or before."""
        if key is not None and self.policies.key_concurrency is not None:
            self.leased[key] = self.leased.get(key, 0) + count

    def spend(self, key: str | None, count: int, now: float) -> None:
        """Takes the tokens of a lease that is granted."""
        policies = self.policies
        if policies.rate is not None:
            self._bucket.fill(policies.rate, queue_burst(policies), now)
            self._bucket.tokens -= count
        if policies.key_rate is not None and key is not None:
            bucket = self._buckets.get(key)
            if bucket is None:
                self._sweep(now)
                bucket = self._buckets[key] = Bucket(0.0, self._empty_at)
            bucket.fill(policies.key_rate, key_burst(policies), now)
            bucket.tokens -= count
            self.arm(key, now)

    def give_back(self, key: str | None, count: int) -> None:
        """Notes that leases of a key have ended."""
        if key is not None and key in self.leased:
            self.leased[key] -= count
            if self.leased[key] <= 0:
                del self.leased[key]
        self.touch(key)

    def touch(self, key: str | None) -> bool:
        """Notes that something of a key ended, so that what is held of it may have room; returns whether anything is
        held.
        """
        return key is not None and self.held.open(key)

    # What waits.

    def arm(self, key: str, now: float) -> None:
        """Sees to it that a held key is looked at when its rate has a token, if that is what it waits for."""
        if key in self.held and key not in self._armed:
            for limit in self.key_limits(key, now):
                if now < limit.opens_at < inf:
                    self._armed[key] = limit.opens_at
                    heappush(self._alarms, (limit.opens_at, key))

    def ring(self, now: float) -> bool:
        """Notes whose time has come; returns whether there is anything."""
        now += ALMOST
        while self._alarms and self._alarms[0][0] <= now:
            _, key = heappop(self._alarms)
            del self._armed[key]
            self.touch(key)
        is_open = self.opens_at <= now
        if is_open:
            self.opens_at = inf
        return is_open or self.held.has_opened

    def wake_at(self) -> float:
        """Returns when `ring` has something to do (monotonic), or infinity."""
        return min(self.opens_at, self._alarms[0][0] if self._alarms else inf)

    def _sweep(self, now: float) -> None:
        """Forgets the buckets that are full."""
        rate, burst = self.policies.key_rate, key_burst(self.policies)
        if rate is None or len(self._buckets) < self._sweep_at:
            return
        if self._empty_at + burst / rate > now:
            return  # one that is not there is not full yet
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.fill(rate, burst, now) < burst}
        self._sweep_at = max(BUCKETS_SWEEP_MIN, 2 * len(self._buckets))


def needs_gate(policies: QueuePolicies) -> bool:
    limits = (policies.concurrency, policies.rate, policies.key_concurrency, policies.key_rate)
    return policies.paused or any(one is not None for one in limits)


def key_limits_of(policies: QueuePolicies) -> tuple[float | None, ...]:
    """Returns what limits each key."""
    return policies.key_concurrency, policies.key_rate, policies.key_burst


def queue_burst(policies: QueuePolicies) -> int:
    """Returns how many tokens the queue saves: a second's worth, and at least one, unless it was set."""
    return policies.burst or max(1, int(policies.rate or 1.0))


def key_burst(policies: QueuePolicies) -> int:
    """Returns how many tokens each key saves."""
    return policies.key_burst or max(1, int(policies.key_rate or 1.0))
