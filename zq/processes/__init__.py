"""Processes: functions named so that another process finds them, children, what goes between them, how they ended.

May import: errors. Nothing in here knows tasks: a worker's children and a pipeline's stages both stand on it.
"""
