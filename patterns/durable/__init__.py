"""The embedded and the shared grade: a pipeline over the queues of a coordinator.

May import: run, work, pipeline, errors; of zq its public names and `zq.processes`.
"""
