"""Processes: functions named so that another process finds them, children and copies, pipes, and ends.

And what stands beside a socket without being one: what wakes a thread that polls, the file that an address leaves.

May import: nothing of zq. Nothing in here knows tasks or messages, and nothing knows ZeroMQ: the coordinator, workers
and their children, and the patterns all stand on it. Of all rooms of zq this is the one that `patterns` may import,
too.
"""
