"""The pizza town that `zq demo` runs: what tasks, workers and a crash look like, with books that must add up.

Customers submit, shops are workers, each a process, and every so often one of them is killed with SIGKILL while it
bakes. It uses zq as any program does; the processes are those of the command that runs it.

May import: processes.
"""
