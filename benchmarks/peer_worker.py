"""The worker process of a peer: `python peer_worker.py redis PORT` or `python peer_worker.py postgres ADDRESS`. It says
`ready`, and gives each task a result until it is ended.
"""

from __future__ import annotations

import importlib
import sys

RESULT = b"done"

TAKE = (
    "delete from work where id = (select id from work order by id for update skip locked limit 1) returning id, payload"
)
STORE = "with stored as (insert into results values (%s, %s) returning id) select pg_notify('done', '') from stored"


def serve_redis(port: int) -> None:
    redis = importlib.import_module("redis")

    client = redis.Redis(port=port)
    client.xgroup_create("work", "workers", mkstream=True)
    print("ready", flush=True)
    while True:
        for _, entries in client.xreadgroup("workers", "one", {"work": ">"}, count=100, block=1000) or ():
            for id, _ in entries:
                pipeline = client.pipeline(transaction=True)
                pipeline.xack("work", "workers", id)
                pipeline.xdel("work", id)
                pipeline.rpush(f"result:{id.decode()}", RESULT)
                pipeline.execute()


def serve_postgres(address: str) -> None:
    psycopg = importlib.import_module("psycopg")

    connection = psycopg.connect(address, autocommit=True)
    connection.execute("listen work")
    print("ready", flush=True)
    while True:
        with connection.transaction():
            row = connection.execute(TAKE, prepare=True).fetchone()
            if row is not None:
                connection.execute(STORE, (row[0], RESULT), prepare=True)
        if row is None:
            for _ in connection.notifies(timeout=1.0, stop_after=1):
                pass


if __name__ == "__main__":
    if sys.argv[1] == "redis":
        serve_redis(int(sys.argv[2]))
    else:
        serve_postgres(sys.argv[2])
