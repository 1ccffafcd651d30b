"""An address that is bound here: only when nobody else serves there, and for no longer than it is.

ZeroMQ itself looks after neither. Before it binds an `ipc://` address it deletes whatever has its name, the socket of a
living server as well as a letter; it leaves its own file behind; and a forked child keeps its sockets open.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import zmq

from zq.processes.endpoints import bind_error, check_port, kept_address
from zq.processes.forks import close_sockets_of, drop_in_forks

CLAIM_PATIENCE = 5.0
"""Seconds to wait for others who bind an address in the same folder, each of which takes microseconds."""


CLOSE_PATIENCE = 5.0
"""Seconds after which a socket is closed that was left: ZeroMQ does that in a thread of its own."""

FORK_PATIENCE = 5.0
"""Seconds to wait for an address that this process has left: a child that was forked before holds it until it runs for
the first time.
"""

LEFT_MAX = 8
"""Addresses that were left of which copies still close what they have."""

_left: deque[Callable[[], None]] = deque()

_left_at: deque[tuple[str, float]] = deque(maxlen=LEFT_MAX)
"""Ports and names that this process has left, and when."""


def bind(socket: zmq.Socket[bytes], address: str, prepare: Callable[[], None] | None = None) -> str:
    """Binds a socket and returns where: a port `*` is resolved. The file of an `ipc://` address is its owner's alone.

    Args:
        socket: which is to listen there.
        address: to which it is bound, as ZeroMQ writes it.
        prepare: called right before the bind, when nobody else is at that address; it may raise OSError. It sees to the
            file, which is not looked at then.

    Raises:
        ValueError: the port cannot be one.
        OSError: the address cannot be bound, as `claimed` says, or as the system does.
    """
    address = kept_address(address)
    _make_folder(address)
    with claimed(check_port(address)):
        try:
            with _private_files():
                if prepare is not None:
                    prepare()
                _bind_patiently(socket, address)
        except (zmq.ZMQError, OSError) as error:
            raise bind_error(address, error.errno or errno.EINVAL) from error
        endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        path = endpoint.removeprefix("ipc://")
        if prepare is None and path != endpoint and not path.startswith("@"):
            Path(path).chmod(0o600)
    return endpoint


def _make_folder(address: str) -> None:
    """Makes the folder of a socket's file, for its owner alone; one that is there is left as it is."""
    path = address.removeprefix("ipc://")
    if path != address and path[:1] not in "*@":
        with suppress(OSError):  # the bind says what is wrong
            Path(path).parent.mkdir(mode=0o700)


@contextmanager
def _private_files() -> Iterator[None]:
    """Lets what is made meanwhile be its owner's alone, from its first moment; the mask belongs to all threads of a
    process, so it is left alone where there are others.
    """
    if threading.active_count() > 1:
        yield
        return
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def _bind_patiently(socket: zmq.Socket[bytes], address: str) -> None:
    """Binds a socket, and waits for an address that this process has left a moment ago: a child may hold it still."""
    give_up_at = max((at for port, at in tuple(_left_at) if port == _port(address)), default=-FORK_PATIENCE)
    give_up_at += FORK_PATIENCE
    while True:
        try:
            _bind(socket, address)
        except zmq.ZMQError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > give_up_at:
                raise
            time.sleep(0.001)
        else:
            return


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _bind(socket: zmq.Socket[bytes], address: str) -> None:
    socket.ipv6 = "[" in address
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        if error.errno != errno.ENODEV or socket.ipv6:
            raise
        socket.ipv6 = True  # a name that has no number of IPv4
        socket.bind(address)


@contextmanager
def claimed(address: str) -> Iterator[None]:
    """Holds what an address is called while ZeroMQ binds it: only one of several that try at once gets it.

    Args:
        address: any of ZeroMQ; all but `ipc://PATH` and `ipc://@NAME` pass.

    Raises:
        OSError: somebody serves there, or there is a file that is no socket. The socket of a server that has died may
            be taken.
    """
    path = address.removeprefix("ipc://")
    if path == address or path.startswith("*"):
        yield
    elif path.startswith("@"):
        if os.path.lexists(path):  # ZeroMQ would delete it, though the name is not one of a file
            raise _in_the_way(address, f"a file {path} in the current folder")
        yield
    else:
        with _folder_of(path):
            _check_free(address, path)
            yield


@contextmanager
def _folder_of(path: str) -> Iterator[None]:
    """Keeps others from binding in a folder: between a look at a file and its bind there is no step for them."""
    try:
        folder = os.open(Path(path).parent, os.O_RDONLY)
    except OSError:  # it is not there, which the bind says; or it may not be read, and others may not bind there either
        yield
        return
    forget = drop_in_forks(partial(os.close, folder))
    try:
        give_up_at = time.monotonic() + CLAIM_PATIENCE
        while not _lock(folder) and time.monotonic() < give_up_at:
            time.sleep(0.01)
        yield
    finally:
        forget()
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_UN)  # closing alone would leave it to copies of this process
        os.close(folder)


def _lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def _check_free(address: str, path: str) -> None:
    """Raises OSError unless nothing has that name, or the socket of nobody."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise _in_the_way(address, f"a file {path} that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # who has a full backlog is alive
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINPROGRESS, errno.EPROTOTYPE):
                raise bind_error(address, error.errno) from error
    raise bind_error(address, errno.EADDRINUSE)


def _in_the_way(address: str, what: str) -> OSError:
    return FileExistsError(
        errno.EEXIST, f"cannot bind {address}: there is {what}; remove it, or choose another address"
    )


class BoundAddress:
    """What a bind has left in this system, so that it goes with it: the file of a socket, and no other that has taken
    its place; and the descriptors that forked children have of it.
    """

    def __init__(self, endpoint: str, is_own: Callable[[], bool] | None = None, others: Iterable[str] = ()) -> None:
        """Looks at the file of an endpoint that was just bound.

        Args:
            endpoint: as ZeroMQ tells it. Of any but `ipc://PATH` there is no file, and none is ever removed.
            is_own: tells whether the file is still that of this bind; None: when it is the one that is there now.
            others: endpoints by which what was bound, or came that way, may be called beside it; more may be added.
        """
        path = endpoint.removeprefix("ipc://")
        self._path = Path(path).absolute() if path != endpoint and not path.startswith("@") else None
        self._identity = self._identify()
        self._is_own = is_own or (lambda: self._identity is not None and self._identify() == self._identity)
        self._others = others
        self._pid = os.getpid()
        self._endpoint = endpoint
        self._left_at: float | None = None
        self._forget = drop_in_forks(self._close_in_copy)

    def leave(self) -> None:
        """Removes the file, unless another process has bound the address since; a forked child does not.

        Call it while the socket is still bound: until then its inode cannot become that of another file.
        """
        if os.getpid() != self._pid:
            return
        self._left_at = time.monotonic()
        _left_at.append((_port(self._endpoint), self._left_at))
        _left.append(self._forget)
        if len(_left) > LEFT_MAX:
            _left.popleft()()
        if self._path is not None and self._is_own():
            self._path.unlink(missing_ok=True)

    def _close_in_copy(self) -> None:
        if self._left_at is None or time.monotonic() - self._left_at < CLOSE_PATIENCE:
            for name in {self._endpoint, *self._others}:
                close_sockets_of(name)

    def _identify(self) -> tuple[int, int] | None:
        try:
            found = None if self._path is None else self._path.stat()
        except OSError:
            return None
        return None if found is None else (found.st_dev, found.st_ino)
