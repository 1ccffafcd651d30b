"""Keys: who a peer is, proved by CURVE, and what it may do.

May import: core, processes, errors. The coordinator's directory of keys, its door and every face stand on it,
`patterns` too; sockets are secured here and made elsewhere.
"""
