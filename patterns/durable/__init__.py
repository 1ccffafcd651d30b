"""The embedded and the shared grade: a pipeline over the queues of a coordinator.

May import: `patterns.run` and what it may. Of zq it sees the public names only.
"""
