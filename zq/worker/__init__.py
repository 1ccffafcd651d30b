"""Workers: what holds tasks in hand, and what runs handlers, in threads, event loops and child processes.

May import: sessions, sockets, keys, processes, handling, task, submit_options, wire, errors. What a handler sees of its
task is `zq.task`; how a child process is started and ended, `zq.processes`.
"""
