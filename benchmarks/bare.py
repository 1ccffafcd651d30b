"""The floor for batched work: three processes with the same steps as zq's and none of its semantics.

The client packs each payload, cuts batches and waits for receipts. The store writes each batch to LMDB with sync on,
commits what has gathered at once, and only then sends the receipts and hands the batches on. The worker unpacks each
payload and calls a function for each. What it reports as done is deleted with the next commit. No ids, leases, tokens,
checksums, liveness, limits, restarts: whatever zq adds to this is the price of its promises.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from array import array
from itertools import accumulate
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import zmq

WINDOW_TASKS = 50_000
"""Tasks submitted and not done: about what zq's own windows and credit come to."""

DRAIN_MAX = 1000
"""Messages in one commit."""

Socket = zmq.Socket[bytes]


def nothing(payload: Any) -> None:
    """The handler."""


class Client:
    """Submits and waits; binds what the other two connect to."""

    def __init__(self, payload: Any, batch: int) -> None:
        self._payload = payload
        self._batch = batch
        self._context: zmq.Context[Socket] = zmq.Context()
        self._submit, self.submit_address = bound_socket(self._context, zmq.PUSH)
        self._receipt, self.receipt_address = bound_socket(self._context, zmq.PULL)
        self._sent = self._done = 0

    def run(self, tasks: int) -> float:
        """Submits tasks and returns the seconds until they are done."""
        pack, payload = msgpack.Packer().pack, self._payload
        started = time.perf_counter()
        until = self._sent + tasks
        while self._done < until:
            while self._sent < until and self._sent - self._done < WINDOW_TASKS:
                parts = [pack(payload) for _ in range(min(self._batch, until - self._sent))]
                ends = array("I", accumulate(map(len, parts))).tobytes()
                self._submit.send(pack([self._sent, ends, b"".join(parts)]))
                self._sent += len(parts)
            self._done = msgpack.unpackb(self._receipt.recv())[1]
        return time.perf_counter() - started

    def close(self) -> None:
        self._context.destroy(linger=0)


def run_store(directory: str, submit_address: str, receipt_address: str) -> None:
    context: zmq.Context[Socket] = zmq.Context()
    submit = connected_socket(context, zmq.PULL, submit_address)
    receipt = connected_socket(context, zmq.PUSH, receipt_address)
    assign, assign_address = bound_socket(context, zmq.PUSH)
    done, done_address = bound_socket(context, zmq.PULL)
    print(assign_address, done_address, flush=True)
    env = lmdb.open(f"{directory}/data", map_size=16 << 30)
    poller = zmq.Poller()
    poller.register(submit, zmq.POLLIN)
    poller.register(done, zmq.POLLIN)
    unpack, pack = msgpack.unpackb, msgpack.Packer().pack
    accepted = finished = 0
    while True:
        poller.poll()
        batches = [unpack(frame) for frame in drain(submit)]
        ended = [entry for frame in drain(done) for entry in unpack(frame)]
        with env.begin(write=True) as txn:
            txn.cursor().putmulti([(number.to_bytes(8, "big"), pack([ends, blob])) for number, ends, blob in batches])
            for number, count in ended:
                txn.delete(number.to_bytes(8, "big"))
                finished += count
        accepted += sum(len(ends) >> 2 for _, ends, _ in batches)
        receipt.send(pack([accepted, finished]))
        if batches:
            assign.send(pack(batches))


def run_worker(assign_address: str, done_address: str) -> None:
    context: zmq.Context[Socket] = zmq.Context()
    assign = connected_socket(context, zmq.PULL, assign_address)
    done = connected_socket(context, zmq.PUSH, done_address)
    unpack, pack = msgpack.unpackb, msgpack.Packer().pack
    while True:
        ended = []
        for number, ends, blob in unpack(assign.recv()):
            start = 0
            offsets = array("I", ends)
            for end in offsets:
                nothing(unpack(blob[start:end]))
                start = end
            ended.append((number, len(offsets)))
        done.send(pack(ended))


# Sockets.


def bound_socket(context: zmq.Context[Socket], kind: int) -> tuple[Socket, str]:
    socket = context.socket(kind)
    socket.set_hwm(0)
    socket.bind("tcp://127.0.0.1:*")
    return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)


def connected_socket(context: zmq.Context[Socket], kind: int, address: str) -> Socket:
    socket = context.socket(kind)
    socket.set_hwm(0)
    socket.connect(address)
    return socket


def drain(socket: Socket) -> list[bytes]:
    frames: list[bytes] = []
    try:
        while len(frames) < DRAIN_MAX:
            frames.append(socket.recv(zmq.NOBLOCK))
    except zmq.Again:
        pass
    return frames


# In the benchmark.


def measure_pipeline(payload: Any, tasks: int, batch: int) -> float:
    """Returns the tasks a second that the three processes carry from end to end."""
    command = [sys.executable, str(Path(__file__).resolve())]
    client = Client(payload, batch)
    with tempfile.TemporaryDirectory(prefix="zq-bare-") as directory:
        store = subprocess.Popen(
            [*command, "store", directory, client.submit_address, client.receipt_address], stdout=subprocess.PIPE
        )
        assert store.stdout is not None
        worker = subprocess.Popen([*command, "worker", *store.stdout.readline().decode().split()])
        try:
            client.run(max(batch, tasks // 10))  # warms up: processes, pages, file
            return tasks / client.run(tasks)
        finally:
            client.close()
            for process in (store, worker):
                process.kill()
                process.wait()
            store.stdout.close()


if __name__ == "__main__":
    if sys.argv[1] == "store":
        run_store(*sys.argv[2:])
    else:
        run_worker(*sys.argv[2:])
