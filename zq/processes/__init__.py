"""Other processes: what everybody who starts one needs, be it a worker or a pipeline.

It imports nothing of zq but errors. What a process *does* is not in here: that is with whoever starts it. `patterns`
may import this room, too.
"""
