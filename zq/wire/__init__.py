"""The protocol: messages as values, their bytes, and the limits of both; docs/protocol.md is the specification.

May import: errors. What a message means to a coordinator, a client or a worker does not belong here, only what is
valid.
"""
