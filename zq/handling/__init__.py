"""Calling code that is anybody's: in which context each call runs, and what is said of what it raised.

May import: nothing of zq. All that calls handlers, functions of stages or calls of an executor stands on it; what is
done with the words does not belong here.
"""
