"""What can be asked: status, tasks, traces, reasons, and how tasks end. Nothing in here changes what is stored.

May import: everything else of the core but its roof.
"""
