"""Pipelines as values: the pieces, how they are joined, and what is refused when they are made.

May import: `patterns.errors`, `zq`, `zq.processes`. Nothing runs here.
"""
