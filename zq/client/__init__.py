"""What programs call to submit, ask and pull: the client in its two faces, and what it hands out.

May import: sessions, sockets, keys, handling, task, submit_options, wire, errors. Neither the core nor a worker: a
client knows the protocol only.
"""
