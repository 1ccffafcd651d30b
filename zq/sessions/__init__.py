"""The other ends of the protocol: clients and workers as pure machines, without a socket or a clock.

May import: wire, task, errors. A session is told the time and what has come, and returns what to say and when it is due
next; `zq.sockets` drives it in a thread, `zq.app.memory` in virtual time, the simulation in its own. What a caller sees
(`zq.client.client`, `zq.worker.worker`) does not belong here.
"""
