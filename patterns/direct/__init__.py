"""The direct grade: a pipeline over PUSH and PULL sockets, with no third process.

May import: run, work, pipeline, sockets, errors; of zq its public names and `zq.processes`. Nothing in here knows a
coordinator; what both grades do with items is in `patterns.work`.
"""
