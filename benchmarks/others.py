"""One at a time, durable, one worker process: zq beside Celery, RQ and Dramatiq over Redis, in the same run.

`python benchmarks/others.py [--tasks 1000] [--repeat 3]`, with `redis-server` on the path and celery, rq and dramatiq
installed beside zq; what is missing is left out and named. Redis appends to its log and flushes it for each command
(`appendfsync always`), since a receipt of zq means that the task is on disk. Celery acknowledges late, as zq does.

Each system accepts tasks with 200 bytes from one thread while no worker runs; then a worker is started, and what it has
done is counted by the bytes that the tasks append to a file. The order of the systems changes from round to round.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASKS = {
    "zq": """
import os, zq
app = zq.App()
@app.task(queue="work")
def work(text: str) -> None:
    FILE
submit = work.submit
""",
    "Celery": """
import os
from celery import Celery
app = Celery(broker=os.environ["REDIS"])
app.conf.update(task_acks_late=True, task_ignore_result=True, worker_hijack_root_logger=False)
@app.task
def work(text):
    FILE
submit = work.delay
""",
    "RQ": """
import os
from redis import Redis
from rq import Queue
def work(text):
    FILE
def submit(text, queue=Queue(connection=Redis.from_url(os.environ["REDIS"]))):
    queue.enqueue(work, text)
""",
    "Dramatiq": """
import os, dramatiq
from dramatiq.brokers.redis import RedisBroker
dramatiq.set_broker(RedisBroker(url=os.environ["REDIS"]))
@dramatiq.actor
def work(text):
    FILE
submit = work.send
""",
}

COUNT = 'fd = os.open(os.environ["DONE"], os.O_WRONLY | os.O_APPEND); os.write(fd, b"."); os.close(fd)'

SUBMIT = """
import sys, time, tasks
tasks.submit("x" * 200)
started = time.perf_counter()
for _ in range(int(sys.argv[1]) - 1):
    tasks.submit("x" * 200)
print((int(sys.argv[1]) - 1) / (time.perf_counter() - started))
"""

WORKERS = {
    "zq": ("-m", "zq.cli", "worker", "tasks:app", "--processes", "1"),
    "Celery": ("-m", "celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "ERROR"),
    "RQ": ("-m", "rq.cli", "worker", "--url", "REDIS", "--quiet"),
    "Dramatiq": ("-m", "dramatiq", "tasks", "--processes", "1", "--threads", "1"),
}

PATIENCE = 300.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def measure(system: str, tasks: int) -> tuple[float, float]:
    """Returns tasks accepted a second, and tasks done a second."""
    with tempfile.TemporaryDirectory(prefix="others-") as name:
        folder, port = Path(name), free_port()
        (folder / "tasks.py").write_text(TASKS[system].replace("FILE", COUNT))
        (folder / "done").touch()
        environment = {
            **os.environ,
            "REDIS": f"redis://127.0.0.1:{port}",
            "ZQ_ADDRESS": f"tcp://127.0.0.1:{port}",
            "ZQ_BIND": f"tcp://127.0.0.1:{port}",
            "DONE": str(folder / "done"),
            "PYTHONPATH": name,
        }

        def start(*command: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )

        broker = (sys.executable, "-m", "zq.cli", "coordinator", "--data", "store") if system == "zq" else (
            "redis-server", "--port", str(port), "--appendonly", "yes", "--appendfsync", "always", "--save", ""
        )  # fmt: skip
        running = [start(*broker)]
        try:
            wait_for_port(port)
            said = subprocess.run(
                [sys.executable, "-c", SUBMIT, str(tasks)],
                cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, timeout=PATIENCE,
            )  # fmt: skip
            words = (environment["REDIS"] if word == "REDIS" else word for word in WORKERS[system])
            running.append(start(sys.executable, *words))
            return float(said.stdout), rate_of(folder / "done", tasks)
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
            for process in running:
                try:
                    process.wait(10.0)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait_for_port(port: int) -> None:
    give_up_at = time.monotonic() + 20.0
    while time.monotonic() < give_up_at:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def rate_of(file: Path, tasks: int) -> float:
    """Returns tasks a second from the first that is seen to be done to the last."""
    first: tuple[int, float] | None = None
    give_up_at = time.monotonic() + PATIENCE
    while time.monotonic() < give_up_at:
        done, now = file.stat().st_size, time.perf_counter()
        if done and first is None:
            first = done, now
        if first is not None and done >= tasks:
            return (done - first[0]) / (now - first[1]) if now > first[1] else float("inf")
        time.sleep(0.001)
    raise RuntimeError(f"{file.stat().st_size} of {tasks} tasks were done")


def missing(system: str) -> str | None:
    """Returns what a system needs that is not here."""
    if system == "zq":
        return None
    if shutil.which("redis-server") is None:
        return "redis-server"
    return None if importlib.util.find_spec(system.lower()) else system.lower()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    there = []
    for system in TASKS:
        lacking = missing(system)
        if lacking is None:
            there.append(system)
        else:
            print(f"{system}: not measured, {lacking} is missing", file=sys.stderr)
    found: dict[str, list[tuple[float, float]]] = {system: [] for system in there}
    for turn in range(arguments.repeat):
        for system in there[turn % len(there) :] + there[: turn % len(there)]:
            found[system].append(measure(system, arguments.tasks))
            print(system, *(f"{one:.0f}" for one in found[system][-1]), file=sys.stderr)
    print("| system | accepted a second, one at a time | done a second, one worker process |")
    print("| --- | --- | --- |")
    for system, rates in found.items():
        accepted, done = (statistics.median(column) for column in zip(*rates, strict=True))
        print(f"| {system} | {accepted:,.0f} | {done:,.0f} |")


if __name__ == "__main__":
    main()
