"""What is done with items, whatever carries them: the plan of a pipeline, its functions called, its books.

May import: `patterns.pipeline` and what it may. No transport, no run.
"""
