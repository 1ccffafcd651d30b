"""What clients talk to, and the proof that they leave nothing behind."""

from tests.client.conftest import coordinator, every_thread_ends

__all__ = ["coordinator", "every_thread_ends"]
