"""What the coordinator counts beside its books: how long tasks wait and run, what has failed, and how that was before.

May import: what the floor below may, and the state; the times of a queue, which know nothing, are imported by it.
Counting is done for a lease or a message at a time, and all of it is bounded, however many queues there are.
"""
