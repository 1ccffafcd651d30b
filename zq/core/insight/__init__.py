"""What can be asked: status, tasks, traces, reasons. Nothing in here changes anything.

May import: everything else of the core but its roof.
"""
