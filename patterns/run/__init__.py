"""A run as its caller sees it: settings, input, pace, progress, results.

May import: `patterns.work` and what it may. The engines that carry it are in `patterns.direct` and `patterns.durable`.
"""
