"""The coordinator as a pure machine. No sockets, no clocks, no threads, no disk; those come in as arguments.

May import: task, wire, errors. Inside, each floor may import those below it: the ground (`options`, `peer_limits`,
`accounts`, `storage`, `sums`, `tables`, `counters`, `arguments`, `pages`, `bindings`, `ring` and `unhurried`, which
know nothing of the rest), then `state` and `recounted`, `tasks`, `admin` and `clocks`, `insight`, `rights` and
`remains`, and the roof on top: `coordinator`, `opening`, `recount` and `upkeep`.
"""
