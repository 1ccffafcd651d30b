"""Commands around the dashboard, which is a process of its own."""
