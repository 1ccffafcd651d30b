"""Frames that nobody honest sends: random, mutated, written from the tables of messages, and found by coverage; in
process and over sockets. `python -m tests.fuzz --help` runs more of them.
"""
