"""Peers that take what they can get: `python attackers.py ADDRESS NAME SECONDS` plays one of them against a coordinator
until the time is over. Each begins when a line comes on its standard input, and says so on its output.

Those that speak the protocol send the most expensive messages that it allows; the others speak only ZeroMQ's.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, islice

import zmq

from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Batch,
    Cancel,
    Command,
    Confirm,
    Done,
    Extend,
    Failed,
    Follow,
    Goodbye,
    Group,
    Heartbeat,
    Held,
    Hello,
    Message,
    Open,
    Options,
    Ping,
    Progress,
    Publish,
    Pull,
    Query,
    Release,
    Schedule,
    Settle,
    Span,
    Started,
    Submit,
    Wait,
    Withdraw,
)

BURST = 40

ONE = b"\x01\0\0\0"
"""The ends of one payload of a byte."""

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY_BODY = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
READY = b"\x04" + bytes([len(READY_BODY)]) + READY_BODY
"""ZMTP 3.1 without keys."""

_numbers = count(1)


def one_task(queue: str, id: str | None = None, options: Options = DEFAULT_OPTIONS) -> Batch:
    return Batch(id or f"x-{os.getpid()}-{next(_numbers)}", queue, options, ONE, b"\x01")


def many_tasks(queue: str, tasks: int, options: Options = DEFAULT_OPTIONS) -> Batch:
    ends = b"".join(struct.pack("<I", end) for end in range(1, tasks + 1))
    return Batch(f"x-{os.getpid()}-{next(_numbers)}", queue, options, ends, b"\x01" * tasks)


# The largest message of each kind. Names are those of the store that the benchmark fills: `big` has many tasks, c0, c1,
# ... are the queues of as many customers.


def _largest_submits() -> Iterator[Message]:
    while True:
        yield Submit(1, tuple(one_task(f"c{number}") for number in range(1000)))


def _new_queues() -> Iterator[Message]:
    for number in count():
        yield Submit(1, tuple(one_task(f"new-{number}-{one}") for one in range(1000)))


def _full_batches() -> Iterator[Message]:
    while True:
        yield Submit(1, tuple(many_tasks("filled", 1000) for _ in range(1000)))


def _groups() -> Iterator[Message]:
    """Cancels groups of 100,000 that were opened and filled."""
    for number in count():
        group = f"crowd-{os.getpid()}-{number}"
        yield Open(1, Group(group, 100_000, "all", False, None, DEFAULT_OPTIONS))
        for part in range(100):
            yield Submit(1, (many_tasks("crowds", 1000, Options(group=(group, (part * 1000,)))),))
        yield Cancel(1, group)


def _settle(*, is_whole: bool) -> Message:
    done = tuple(Done(1 + one, f"x{one}", 0, 1000, b"", b"", ()) for one in range(1000))
    return Settle(1, None, done, (), is_whole)


def _forwards() -> Message:
    batches = tuple(many_tasks("forwarded", 1, Options()) for _ in range(1000))
    return Settle(1, None, (Done(1, "x", 0, 1, b"", b"", batches),), ())


def _helds(indexes: int) -> tuple[Held, ...]:
    return tuple(Held(1 + one, tuple(range(indexes))) for one in range(20_000))


def _hellos() -> Iterator[Message]:
    for number in count():
        yield Hello(f"w{number}", f"i{number}", tuple(f"h{number}-{one}" for one in range(1000)), 10_000, 1, _helds(0))


def _operations(verb: str, **arguments: object) -> Iterator[Message]:
    for number in count():
        yield Command(1, verb, {"id": f"{verb}-{os.getpid()}-{number}", **arguments})


def _numbered(make: Callable[[int], Message]) -> Iterator[Message]:
    return map(make, count(1))


def _always(message: Message) -> Iterator[Message]:
    while True:
        yield message


def _query(what: str, **arguments: object) -> Callable[[], Iterator[Message]]:
    return lambda: _always(Query(1, what, dict(arguments)))


def _command(verb: str, **arguments: object) -> Callable[[], Iterator[Message]]:
    return lambda: _always(Command(1, verb, dict(arguments)))


MESSAGES: dict[str, Callable[[], Iterator[Message]]] = {
    "submit, 1,000 queues": _largest_submits,
    "submit, 1,000 new queues": _new_queues,
    "submit, a million tasks": _full_batches,
    "submit, 8 MiB": lambda: _numbered(
        lambda _: Submit(
            1,
            (
                one_task("large")._replace(
                    ends=struct.pack("<I", 1 << 20), blob=b"\xc6\0\x0f\xff\xfb" + bytes((1 << 20) - 5)
                ),
            ),
        )
    ),
    "pull": lambda: _numbered(lambda one: Pull(one, "till", "big", 1000, 60.0, 30.0)),
    "pull, nothing there": lambda: _numbered(lambda one: Pull(one, "till", "nothing", 1000, 60.0, 30.0)),
    "wait": lambda: _numbered(lambda one: Wait(one, "first", 0, 1)),
    "cancel a group": _groups,
    "ping": lambda: _always(Ping(1)),
    "extend": lambda: _always(Extend(1, 1, 30.0)),
    "open": lambda: _numbered(
        lambda one: Open(1, Group(f"g-{os.getpid()}-{one}", 100_000, "all", False, "joined", DEFAULT_OPTIONS))
    ),
    "publish": lambda: _numbered(
        lambda one: Publish(1, f"p-{os.getpid()}-{one}", "all.of", DEFAULT_OPTIONS, False, ONE * 1, b"\x01")
    ),
    "schedule": lambda: _numbered(
        lambda one: Schedule(1, one_task("slots", f"s-{one}"), None, "0 0 29 2 *", "Europe/Berlin", "all")
    ),
    "follow": lambda: _numbered(lambda one: Follow(one % 16, None, (), 60.0, 1 << 62)),
    "withdraw": lambda: _always(Withdraw(tuple(range(1, 1001)))),
    "confirm": lambda: _always(Confirm(tuple(range(1, 1001)))),
    "hello": _hellos,
    "heartbeat": lambda: _always(Heartbeat(1, _helds(1))),
    "settle": lambda: _always(_settle(is_whole=False)),
    "settle, whole": lambda: _always(_settle(is_whole=True)),
    "settle, forwards": lambda: _always(_forwards()),
    "settle, failures": lambda: _always(
        Settle(1, None, (), tuple(Failed(1 + one, f"x{one}", 0, "e" * 16_000, None, False) for one in range(1000)))
    ),
    "release": lambda: _always(Release(1, None, tuple(Span(1 + one, 0, 1000) for one in range(1000)))),
    "started": lambda: _always(Started(_helds(1))),
    "progress": lambda: _always(Progress(1, 0, 0.5)),
    "goodbye": lambda: _numbered(lambda one: Goodbye(f"w{one}", f"i{one}")),
    "query tasks, nothing matches": _query("tasks", state="waiting", namespace="nobody", limit=1000),
    "query tasks, all": _query("tasks", state="any", limit=1000),
    "query tasks, cancelled": _query("tasks", state="cancelled", namespace="nobody", limit=1000),
    "query tasks, of a worker": _query("tasks", state="waiting", worker="nobody", limit=1000),
    "query task": _query("task", id="first"),
    "query why": _query("why", id="first"),
    "query trace": _query("trace", id="first"),
    "query payload": _query("payload", id="large"),
    "query status": _query("status"),
    "query queues": _query("queues"),
    "query queues of a namespace": _query("queues", namespace="nobody"),
    "query workers": _query("workers"),
    "query namespaces": _query("namespaces"),
    "query schedules": _query("schedules"),
    "query groups": _query("groups"),
    "query bindings": _query("bindings"),
    "query match": _query("match", topic=".".join(["a"] * 30)),
    "query operations": _query("operations"),
    "command purge": lambda: _operations("purge", queue="big2"),
    "command move": lambda: _operations("move", queue="big", to="moved"),
    "command delete": lambda: _numbered(
        lambda one: Command(1, "delete", {"id": f"delete-{os.getpid()}-{one}", "queue": f"c{one}", "purge": True})
    ),
    "command bury": lambda: _numbered(lambda one: Command(1, "bury", {"id": f"b{one % 1000}", "reason": "r" * 16_000})),
    "command purge-dead, a reason": _command("purge-dead", reason="zzz"),
    "command replay, a reason": _command("replay", reason="zzz"),
    "command start-replay": lambda: _operations("start-replay", rate=100_000.0),
    "command set-queue": lambda: _numbered(
        lambda one: Command(1, "set-queue", {"queue": f"set-{one}", "max_tasks": 5})
    ),
    "command set-namespace": lambda: _numbered(
        lambda one: Command(1, "set-namespace", {"namespace": f"team-{one}", "max_tasks": 5})
    ),
    "command bind": lambda: _numbered(
        lambda one: Command(1, "bind", {"queue": f"c{one}", "pattern": ".".join(["*"] * 10 + ["#"] * 1)})
    ),
}
"""What is sent alone and in bursts."""


# Peers that speak ZeroMQ.


class Dealer:
    """A connection that says what it wants, without a hello."""

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = 100_000
        self.socket.connect(address)

    def send(self, message: Message) -> None:
        self.socket.send(encode(message))

    def read(self) -> None:
        """Throws away what has come."""
        while self.socket.poll(0):
            self.socket.recv()


def play_messages(address: str, name: str, until: float) -> None:
    """One alone, then forty at once, and again when the answers have come, as long as there is time."""
    dealer, messages = Dealer(address), MESSAGES[name]()
    for burst in (1, BURST):
        prepared = [encode(message) for message in islice(messages, 101 * 3 if name == "cancel a group" else burst)]
        decode_for_coordinator(prepared[0])  # it is legal
        for frame in prepared:
            dealer.socket.send(frame)
        time.sleep(0.5)
        dealer.read()
    while time.monotonic() < until:
        time.sleep(0.05)
        dealer.read()


def never_reads(address: str, until: float) -> None:
    """Asks for payloads of a megabyte, and looks at none."""
    dealer = Dealer(address)
    for _ in range(1500):
        dealer.send(Query(1, "payload", {"id": "large"}))
    _sleep(until)


def waits_for_reasons(address: str, until: float) -> None:
    """Asks again and again for a thousand long reasons."""
    dealer = Dealer(address)
    for number in range(100):
        dealer.send(Wait(number, "b0", 0, 1000))
    _sleep(until)


def lies_about_events(address: str, until: float) -> None:
    """Follows everything that happens, says that all of it was seen, and reads nothing."""
    dealer = Dealer(address)
    while time.monotonic() < until:
        for one in range(16):
            dealer.send(Follow(one, None, (), 60.0, (1 << 62)))
        time.sleep(0.02)


def waits_on_one(address: str, until: float) -> None:
    """Waits 20,000 times on one task."""
    dealer = Dealer(address)
    for number in range(20_000):
        dealer.send(Wait(number, "first", 0, 1))
    _sleep(until)


def declares_much(address: str, until: float) -> None:
    """Sends frames that are small and declare much, and large ones of nothing."""
    dealer = Dealer(address)
    for _ in range(20):
        dealer.socket.send(b"\x93\x01\x07" + b"\xdd\0\0\x4e\x20" * 1000)
        inner = b"\xdd\0\0\x4e\x20" + b"\x80" * 20_000
        dealer.socket.send(b"\x93\x01\x07\xdd" + struct.pack(">I", 700) + inner * 700)
    _sleep(until)


def floods(address: str, until: float) -> None:
    """Sends pings as fast as it can."""
    dealer, frame = Dealer(address), encode(Ping(1))
    while time.monotonic() < until:
        try:
            dealer.socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            time.sleep(0.001)
        if next(_numbers) % 1000 == 0:
            dealer.read()


def floods_tasks(address: str, until: float) -> None:
    """Submits batches of a thousand as fast as it can."""
    dealer = Dealer(address)
    while time.monotonic() < until:
        dealer.send(Submit(1, tuple(many_tasks("flooded", 1000) for _ in range(10))))
        time.sleep(0.001)
        dealer.read()


# Peers that speak less.


def raw(address: str) -> socket.socket:
    """Returns a connection after ZeroMQ's handshake."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    peer = socket.create_connection((host, int(port)))
    peer.sendall(GREETING + READY)
    return peer


def never_ends_large(address: str, until: float) -> None:
    """Sends parts of 8 MiB, and never the last one."""
    _never_ends(address, until, b"\x03" + struct.pack(">Q", 8 << 20) + bytes(8 << 20))


def never_ends_small(address: str, until: float) -> None:
    """Sends parts of one byte, and never the last one."""
    _never_ends(address, until, b"\x01\x01x" * 10_000)


def _never_ends(address: str, until: float, part: bytes) -> None:
    peer = raw(address)
    peer.settimeout(1.0)
    sent = 0
    try:
        while time.monotonic() < until and sent < 2 << 30:
            peer.sendall(part)
            sent += len(part)
    except OSError:
        pass
    print(f"sent {sent >> 20} MiB before it was cut", flush=True)
    _sleep(until)


def connects(address: str, until: float) -> None:
    """Holds as many connections as it can get, of which nothing is said."""
    peers: list[socket.socket] = []
    while time.monotonic() < until and len(peers) < 1000:
        try:
            peers.append(raw(address))
        except OSError:
            time.sleep(0.05)
    _sleep(until)


def comes_and_goes(address: str, until: float) -> None:
    """Connects and leaves as fast as it can, in four threads."""

    def run() -> None:
        while time.monotonic() < until:
            try:
                raw(address).close()
            except OSError:
                time.sleep(0.01)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _sleep(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))


PEERS: dict[str, Callable[[str, float], None]] = {
    "does not read": never_reads,
    "waits for long reasons": waits_for_reasons,
    "lies about events": lies_about_events,
    "20,000 waits on one task": waits_on_one,
    "declares much": declares_much,
    "parts without end, 8 MiB": never_ends_large,
    "parts without end, 1 byte": never_ends_small,
    "1,000 idle connections": connects,
    "connects and leaves": comes_and_goes,
    "a flood of pings": floods,
    "a flood of tasks": floods_tasks,
}


def main() -> None:
    address, name, seconds = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + float(seconds)
    if name in MESSAGES:
        play_messages(address, name, until)
    else:
        PEERS[name](address, until)


if __name__ == "__main__":
    main()
