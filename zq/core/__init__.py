"""The pure machines: coordinator, worker and client. No sockets, no clocks, no threads, no disk; those come in as arguments."""
