"""What is done with items, whatever carries them: the plan of a pipeline, its functions called, its books.

May import: pipeline; of zq its public names and `zq.processes`. No transport, no run.
"""
