"""Sockets: the thread that owns the socket of a client or worker, and the file of an `ipc://` address.

May import: sessions, wire, errors. What is said is decided by the session; here it is only carried.
"""
