"""Commands that start something: a program for each task, all that development needs, the demonstration; and the one
that asks whether what was started is well.
"""
