"""What a handler or a stage starts, and in what it runs, in every kind of worker."""
