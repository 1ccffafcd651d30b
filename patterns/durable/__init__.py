"""The embedded and the shared grade: a pipeline over the queues of a coordinator."""
