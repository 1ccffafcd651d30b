"""Sockets: the connection of a client or worker, what drives it, and how it gets in.

May import: sessions, keys, processes, wire, errors. What is said is decided by the session; here it is only carried.
"""
