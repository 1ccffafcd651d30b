"""Task functions: declared once, submitted as they are called, typed; and the same app in memory, in virtual time.

May import: client, worker, core, store, sessions and the calendar of the server. What works without an app does not
belong here.
"""
