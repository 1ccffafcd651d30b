"""Pipelines as values: the pieces, how they are joined, and what is refused when they are made.

May import: nothing of patterns; of zq its public names and `zq.processes`. Nothing runs here.
"""
