"""The patterns of the ZeroMQ guide, each in a file of its own; docs/patterns.md has their guarantees and weaknesses.

May import: `patterns.sockets`, `patterns.errors`, `zq`. Neither pipelines nor their runs.
"""
