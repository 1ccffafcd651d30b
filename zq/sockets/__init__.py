"""Sockets: the thread that owns the socket of a client or worker.

May import: sessions, processes, wire, errors. What is said is decided by the session; here it is only carried.
"""
