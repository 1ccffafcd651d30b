"""A worker whose handler stops it, imported by child processes."""

import zq

worker = zq.Worker("tcp://127.0.0.1:7700", processes=1)


@worker.task("stop")
def stop(task: zq.Task) -> None:
    worker.stop()
