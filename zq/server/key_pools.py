"""With keys, what all connections of a key may say together, and what each of them may cost.

A key's connections say so many messages and tasks a second between them; bytes that wait are of each one. ZeroMQ tells
whose a connection is with its first message: until then it may what every one may. What a key may is looked at again
when the keys change, also for connections that are there.

Invariant: a connection that is in a pool has its limits and its rates.
"""

from __future__ import annotations

from collections.abc import Mapping

import zmq

from zq.core.peer_limits import PeerLimits
from zq.core.rights.rights import Rights
from zq.core.rights.usage import NO_TRAFFIC, KeyTraffic
from zq.core.state.holder import Peer
from zq.keys.door import Door
from zq.server.accounts import Rate
from zq.server.connections import Connections
from zq.server.peer_connection import KeyPool, PeerConnection

OUTBOX_BYTES_LEAST = 1 << 20
"""Of a turn, however little a key may have: else it would make the turns of all of them small."""


class KeyPools:
    """The pools of all keys that have said anything while they had rights. Of the shell's one thread."""

    def __init__(self, door: Door, connections: Connections) -> None:
        self._door = door
        self._connections = connections
        self._pools: dict[str, KeyPool] = {}
        self._rights: Mapping[str, Rights] = door.guard.rights_by_name
        door.guard.traffic_of = self.traffic_of

    def greet(self, peer: Peer, frame: zmq.Frame, connection: PeerConnection) -> None:
        """Tells whose a message is, and puts a connection into the pool of its key with its first."""
        if self._door.greet(peer, frame) or connection.pool is None:
            self._join(peer, connection)

    def traffic_of(self, name: str) -> KeyTraffic:
        """Returns what is known of a key."""
        pool = self._pools.get(name)
        return NO_TRAFFIC if pool is None else KeyTraffic(len(pool.members), pool.refused)

    def renew(self) -> None:
        """Has the limits of keys hold that have changed; before a turn."""
        rights = self._door.guard.rights_by_name
        if rights is self._rights:
            return
        self._rights = rights
        for name, pool in list(self._pools.items()):
            if name in rights:
                pool.take_limits(self._limits_of(rights[name]), self._connections.clock())
            elif not pool.members:
                del self._pools[name]
        self._note_least()

    def _join(self, peer: Peer, connection: PeerConnection) -> None:
        rights = self._door.guard.rights_of(peer)
        if rights is None:
            return
        pool = self._pools.get(rights.name)
        if pool is None:
            limits = self._limits_of(rights)
            now = self._connections.clock()
            rates = Rate(limits.messages_per_second, now), Rate(limits.tasks_per_second, now)
            pool = self._pools[rights.name] = KeyPool(rights.name, limits, *rates)
            self._note_least()
        connection.join(pool)

    def _limits_of(self, rights: Rights) -> PeerLimits:
        return rights.limits_from(self._connections.limits)

    def _note_least(self) -> None:
        """Notes what the answers of one turn may be, all of which may be for a connection that may have the least."""
        most = self._connections.limits.bytes_out
        least = min((pool.limits.bytes_out for pool in self._pools.values()), default=most)
        self._connections.bytes_out_least = min(most, max(least, 4 * OUTBOX_BYTES_LEAST))
