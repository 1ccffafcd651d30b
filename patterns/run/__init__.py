"""A run as its caller sees it: settings, input, pace, progress, results.

May import: work, errors; of zq its public names and `zq.processes`. The engines that carry it are in `patterns.direct`
and `patterns.durable`.
"""
