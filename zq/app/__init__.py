"""Task functions: declared once, submitted as they are called, typed; and the same app in memory, in virtual time.

May import: client, worker, server.calendar, core, store, sessions, sockets, keys, processes, handling, task,
submit_options, wire, errors. What works without an app does not belong here.
"""
