"""Makes the sockets of the patterns, each with finite limits, and reads what several patterns read alike."""

from __future__ import annotations

import zmq

from zq.processes.endpoints import check_port, needs_ipv6
from zq.processes.green import refuse_green_threads

Socket = zmq.Socket[bytes]
Frames = list[bytes]

HIGH_WATER_MARK = 1000
"""Messages that may wait for one peer in each direction: enough for bursts, and a bound on what a silent peer costs."""

LINGER = 0.5
"""Seconds for which a closing socket may still send: a last reply leaves, and no exit hangs."""

MESSAGE_BYTES_MAX = 16 << 20
"""One frame; ZeroMQ cuts a peer that sends a larger one. The same as zq's own messages."""

HANDSHAKE_TIMEOUT = 3.0
"""Seconds after which a connection is closed that has not said what it is."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 10, 5, 3
"""Seconds and probes of TCP's keep-alive, which closes connections whose other end is gone after about 25 s.

ZeroMQ's own heartbeats would be quicker, but the REQ sockets of libzmq 4.2 hang up at the first one (libzmq issue
3060), and peers of any age and language are meant to join.
"""


def make_socket(
    context: zmq.Context[Socket], kind: int, *, high_water_mark: int = HIGH_WATER_MARK, linger: float = LINGER
) -> Socket:
    """Returns a socket with every limit set; it belongs to the thread that asked.

    Args:
        context: in which it lives.
        kind: zmq.ROUTER and its like.
        high_water_mark: messages for one peer, in each direction; at least 1, since 0 has no limit in ZeroMQ.
        linger: seconds for which closing may take.

    Raises:
        ValueError: the high-water mark is below 1.
        GreenThreadsError: threads are green ones in this process.
    """
    refuse_green_threads()
    if high_water_mark < 1:
        raise ValueError(f"expected a high-water mark of at least 1, got {high_water_mark}")
    socket = context.socket(kind)
    for option, value in (
        (zmq.LINGER, int(linger * 1000)),
        (zmq.SNDHWM, high_water_mark),
        (zmq.RCVHWM, high_water_mark),
        (zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX),
        (zmq.HANDSHAKE_IVL, int(HANDSHAKE_TIMEOUT * 1000)),
        (zmq.TCP_KEEPALIVE, 1),
        (zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE),
        (zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_INTERVAL),
        (zmq.TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT),
    ):
        socket.setsockopt(option, value)
    if kind == zmq.ROUTER:
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a peer that is gone is an error, not silence
    return socket


def connect(socket: Socket, address: str) -> None:
    """Connects a socket; whether anyone is there shows later.

    Raises:
        ValueError: it cannot be an address.
    """
    socket.ipv6 = needs_ipv6(check_port(address))
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise ValueError(
            f"expected an address like tcp://host:5555, got {address!r}: {zmq.strerror(error.errno or 0)}"
        ) from error


def send_now(socket: Socket, frames: Frames) -> bool:
    """Sends without ever waiting; returns False when the peer is gone, or takes nothing more."""
    try:
        socket.send_multipart(frames, zmq.NOBLOCK)
    except zmq.ZMQError as error:
        if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
            raise
        return False
    return True


def pack_number(number: int) -> bytes:
    """Returns a number as 8 bytes, big-endian."""
    return number.to_bytes(8, "big")


def unpack_number(frame: bytes) -> int:
    """Returns the number that 8 bytes stand for.

    Raises:
        ValueError: they are not 8.
    """
    if len(frame) != 8:
        raise ValueError(f"expected a number of 8 bytes, got {frame[:16].hex() or 'nothing'}")
    return int.from_bytes(frame, "big")


def split_envelope(frames: Frames) -> tuple[Frames, Frames]:
    """Returns an address stack with its empty delimiter, and the content behind it.

    Raises:
        ValueError: there is no delimiter, or nothing behind it.
    """
    try:
        at = frames.index(b"") + 1
    except ValueError:
        raise ValueError(f"expected an address stack that ends in an empty frame, got {len(frames)} frames") from None
    if at == len(frames):
        raise ValueError("expected content behind the empty frame, got nothing")
    return frames[:at], frames[at:]
