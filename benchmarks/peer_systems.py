"""The systems of `peers`: how each is started, spoken to, and worked for, as its users would do it."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from others import free_port
from rig import Process, Rig, spawn

import zq

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds for a server to start."""

WORKER_SCRIPT = Path(__file__).with_name("peer_worker.py")


class Caller(Protocol):
    """Who submits; of one thread, or of many where its own client may be shared."""

    def submit(self, payload: bytes) -> Any:
        """Returns when the task is on disk."""

    def submit_many(self, payloads: list[bytes], batch: int) -> None: ...

    def request(self, payload: bytes) -> Any:
        """Returns the result of a task."""

    def close(self) -> None: ...


class Meter:
    """What a stretch of time took, of each process."""

    def __init__(self, server: Callable[[], tuple[float, int]], worker: Callable[[], float]) -> None:
        self._server = server
        self._worker = worker

    def __enter__(self) -> Self:
        self._before = self._look()
        return self

    def __exit__(self, *_: object) -> None:
        self._after = self._look()

    def _look(self) -> tuple[float, float, float, float, int]:
        cpu, written = self._server()
        return time.perf_counter(), time.process_time(), cpu, self._worker(), written

    def figure(self, make: Callable[..., T], tasks: int, taken: list[float]) -> T:
        seconds, client, server, worker, written = (
            late - early for early, late in zip(self._before, self._after, strict=True)
        )
        return make(tasks, seconds, taken, client, server, worker, int(written))


class Meanwhile(Protocol):
    """A system that runs."""

    def caller(self) -> Caller: ...

    def callers(self, count: int) -> list[Caller]:
        """Returns one for each of so many threads; the same one where that is how it is used."""

    def async_callers(self, count: int) -> Any:
        """Returns an asynchronous context with functions to await, one for each of so many coroutines."""

    def add_worker(self) -> None: ...

    def measure(self) -> Meter: ...


class System(Protocol):
    name: str

    def missing(self) -> str | None:
        """Returns what it needs that is not here."""

    def start(self) -> Any:
        """Returns a context with a `Meanwhile` of an empty store."""


# zq.


class ZqCaller:
    def __init__(self, client: zq.Client) -> None:
        self._client = client

    def submit(self, payload: bytes) -> Any:
        return self._client.submit("work", payload)

    def submit_many(self, payloads: list[bytes], batch: int) -> None:
        self._client.submit_many("work", payloads, batch_size=batch)

    def request(self, payload: bytes) -> Any:
        return self._client.request("work", payload, 30.0)

    def close(self) -> None:
        self._client.close()


class ZqRunning:
    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def caller(self) -> Caller:
        return ZqCaller(zq.Client(self._rig.address))

    def callers(self, count: int) -> list[Caller]:
        return [self.caller()] * count  # a client is for any number of threads

    @asynccontextmanager
    async def async_callers(self, count: int) -> AsyncIterator[list[Callable[[bytes], Awaitable[Any]]]]:
        async with zq.AsyncClient(self._rig.address) as client:
            yield [partial(client.submit, "work")] * count

    def add_worker(self) -> None:
        self._rig.add_worker("nothing", "work")

    def measure(self) -> Meter:
        return Meter(lambda: _usage_of(self._rig.pid), self._rig.worker_cpu)


class Zq:
    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self._options = options

    def missing(self) -> str | None:
        return None

    @contextmanager
    def start(self) -> Iterator[ZqRunning]:
        with Rig(*self._options) as rig:
            yield ZqRunning(rig)


# Redis.


class RedisCaller:
    def __init__(self, port: int) -> None:
        redis = importlib.import_module("redis")

        self._redis = redis.Redis(port=port)

    def submit(self, payload: bytes) -> Any:
        return self._redis.xadd("work", {"p": payload})

    def submit_many(self, payloads: list[bytes], batch: int) -> None:
        for start in range(0, len(payloads), batch):
            pipeline = self._redis.pipeline(transaction=False)
            for payload in payloads[start : start + batch]:
                pipeline.xadd("work", {"p": payload})
            pipeline.execute()

    def request(self, payload: bytes) -> Any:
        id = self._redis.xadd("work", {"p": payload})
        return self._redis.blpop(f"result:{id.decode()}", timeout=30)

    def close(self) -> None:
        self._redis.close()


class RedisRunning:
    def __init__(self, port: int, server: Process, opened: ExitStack) -> None:
        self._port = port
        self._server = server
        self._opened = opened
        self._worker: Process | None = None

    def caller(self) -> Caller:
        return RedisCaller(self._port)

    def callers(self, count: int) -> list[Caller]:
        return [self.caller() for _ in range(count)]

    @asynccontextmanager
    async def async_callers(self, count: int) -> AsyncIterator[list[Callable[[bytes], Awaitable[Any]]]]:
        redis_asyncio = importlib.import_module("redis.asyncio")

        client = redis_asyncio.Redis(port=self._port)

        async def submit(payload: bytes) -> Any:
            return await client.xadd("work", {"p": payload})

        try:
            yield [submit] * count
        finally:
            await client.aclose()

    def add_worker(self) -> None:
        self._worker = _start_worker(self._opened, "redis", str(self._port))

    def measure(self) -> Meter:
        worker = self._worker
        return Meter(lambda: _usage_of(self._server.popen.pid), lambda: worker.cpu() if worker else 0.0)


class Redis:
    name = "Redis streams"

    def missing(self) -> str | None:
        if shutil.which("redis-server") is None:
            return "redis-server (Debian's package)"
        return None if importlib.util.find_spec("redis") else "the Python package redis"

    @contextmanager
    def start(self) -> Iterator[RedisRunning]:
        with ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="zq-peer-"))
            port = free_port()
            options = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1")
            server = spawn(["redis-server", "--port", str(port), "--dir", folder, *options])
            opened.callback(server.end)
            _wait_for_port(port, server)
            yield RedisRunning(port, server, opened)


# PostgreSQL.

SCHEMA = """
create table work (id bigserial primary key, payload bytea not null);
create table results (id bigint primary key, result bytea not null);
"""

INSERT = "insert into work (payload) values (%s) returning id"
INSERT_MANY = "insert into work (payload) select unnest(%s::bytea[])"
INSERT_AND_TELL = (
    "with stored as (insert into work (payload) values (%s) returning id) select id, pg_notify('work', '') from stored"
)
TAKE_RESULT = "delete from results where id = %s returning result"


class PostgresCaller:
    def __init__(self, address: str) -> None:
        psycopg = importlib.import_module("psycopg")

        self._connection = psycopg.connect(address, autocommit=True)
        self._listens = False

    def submit(self, payload: bytes) -> Any:
        return self._connection.execute(INSERT, (payload,), prepare=True).fetchone()

    def submit_many(self, payloads: list[bytes], batch: int) -> None:
        for start in range(0, len(payloads), batch):
            self._connection.execute(INSERT_MANY, (payloads[start : start + batch],), prepare=True)

    def request(self, payload: bytes) -> Any:
        connection = self._connection
        if not self._listens:
            connection.execute("listen done")
            self._listens = True
        row = connection.execute(INSERT_AND_TELL, (payload,), prepare=True).fetchone()
        while True:
            for _ in connection.notifies(timeout=30.0, stop_after=1):
                pass
            found = connection.execute(TAKE_RESULT, (row[0],), prepare=True).fetchone()
            if found is not None:
                return found[0]

    def close(self) -> None:
        self._connection.close()


class PostgresRunning:
    def __init__(self, address: str, server: Process, opened: ExitStack) -> None:
        self._address = address
        self._server = server
        self._opened = opened
        self._worker: Process | None = None

    def caller(self) -> Caller:
        return PostgresCaller(self._address)

    def callers(self, count: int) -> list[Caller]:
        return [self.caller() for _ in range(count)]

    @asynccontextmanager
    async def async_callers(self, count: int) -> AsyncIterator[list[Callable[[bytes], Awaitable[Any]]]]:
        psycopg = importlib.import_module("psycopg")

        connections = [await psycopg.AsyncConnection.connect(self._address, autocommit=True) for _ in range(count)]

        async def submit(connection: Any, payload: bytes) -> Any:
            return await (await connection.execute(INSERT, (payload,), prepare=True)).fetchone()

        try:
            yield [partial(submit, connection) for connection in connections]
        finally:
            await asyncio.gather(*(connection.close() for connection in connections))

    def add_worker(self) -> None:
        self._worker = _start_worker(self._opened, "postgres", self._address)

    def measure(self) -> Meter:
        worker = self._worker
        return Meter(lambda: _usage_of(self._server.popen.pid), lambda: worker.cpu() if worker else 0.0)


class Postgres:
    name = "PostgreSQL"

    def missing(self) -> str | None:
        if _postgres_program("postgres") is None:
            return "postgresql (Debian's package)"
        return None if importlib.util.find_spec("psycopg") else "the Python package psycopg[binary]"

    @contextmanager
    def start(self) -> Iterator[PostgresRunning]:
        psycopg = importlib.import_module("psycopg")

        with ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="zq-peer-"))
            user = _unprivileged_user()
            if user is not None:  # PostgreSQL refuses to run as root
                os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
            data, port = f"{folder}/data", free_port()
            initdb = [str(_postgres_program("initdb")), "-D", data, "-U", "zq", "-A", "trust"]
            subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=folder)
            server = spawn(
                [str(_postgres_program("postgres")), "-D", data, "-p", str(port), "-k", folder, "-c", "max_connections=200",
                 "-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB", "-c", "listen_addresses=127.0.0.1"],
                user=user, cwd=folder,
            )  # fmt: skip
            opened.callback(server.end)
            _wait_for_port(port, server)
            address = f"host=127.0.0.1 port={port} user=zq dbname=postgres"
            with _connect_at_last(partial(psycopg.connect, address, autocommit=True), server) as connection:
                connection.execute(SCHEMA)
            yield PostgresRunning(address, server, opened)


SYSTEMS: tuple[System, ...] = (Zq("zq"), Zq("zq, journal off", "--journal", "off"), Redis(), Postgres())


def _postgres_program(name: str) -> Path | None:
    """Returns a program of PostgreSQL, which Debian keeps off the path; of several versions the newest."""
    found = shutil.which(name)
    there = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda one: float(one.parts[4]))
    return there[-1] if there else Path(found) if found else None


def _unprivileged_user() -> str | None:
    return "postgres" if os.geteuid() == 0 else None


def _start_worker(opened: ExitStack, kind: str, address: str) -> Process:
    worker = spawn([sys.executable, str(WORKER_SCRIPT), kind, address])
    opened.callback(worker.end)
    give_up_at = time.monotonic() + PATIENCE
    while b"ready" not in os.pread(worker.log.fileno(), 1000, 0):
        worker.check()
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"the worker of {kind} did not start within {PATIENCE:.0f} s")
        time.sleep(0.01)
    return worker


def _wait_for_port(port: int, server: Process) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while time.monotonic() < give_up_at:
        server.check()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


def _connect_at_last(connect: Callable[[], T], server: Process) -> T:
    """Connects to a server that listens before it serves."""
    give_up_at = time.monotonic() + PATIENCE
    while True:
        server.check()
        try:
            return connect()
        except Exception:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def _usage_of(pid: int) -> tuple[float, int]:
    """Returns the seconds of CPU that a server and its children have used, and the bytes that they caused to be written
    to disk.
    """
    cpu, written = 0.0, 0
    for one in _family_of(pid):
        try:
            tasks = list(Path(f"/proc/{one}/task").iterdir())
            cpu += sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
            fields = dict(line.split(": ") for line in Path(f"/proc/{one}/io").read_text().splitlines())
            written += int(fields["write_bytes"])
        except OSError:  # it has ended
            continue
    return cpu, written


def _family_of(pid: int) -> list[int]:
    found, new = [pid], [pid]
    while new:
        children = []
        for one in new:
            for task in Path(f"/proc/{one}/task").glob("*/children"):
                children += [int(word) for word in task.read_text().split()]
        found += children
        new = children
    return found
