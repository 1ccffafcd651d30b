"""`zq.Executor` with the constructor that CPython's tests use."""

import zq


class LocalExecutor(zq.Executor):
    """An executor with processes of its own."""

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__(max_workers=max_workers)
