"""What a client, a worker and a coordinator of each version said to each other, frame by frame; see `__main__`."""
