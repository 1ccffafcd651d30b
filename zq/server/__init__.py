"""The coordinator as a process sees it: its loop over socket and store, the embedded one, its calendar.

May import: core, keys, store, processes, wire, errors. What the coordinator decides is in `zq.core`.
"""
