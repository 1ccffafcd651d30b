"""Commands that tell workers what to do, and what is said while a task is waited for."""
