"""The direct grade: a pipeline over PUSH and PULL sockets, with no third process.

May import: `patterns.run` and what it may. Nothing in here knows a coordinator; what both grades do with items is in
`patterns.work`.
"""
