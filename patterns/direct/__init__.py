"""The direct grade: a pipeline over PUSH and PULL sockets, with no third process."""
