"""The door of an `ipc://` address: who comes waits before it, and is let in by the batch, never more than there is room
for.

Theory of operation. ZeroMQ accepts in a thread of its own, and ends the process when it accepts by `ipc://` while no
descriptor is left; by TCP it waits. So nobody comes to what ZeroMQ listens on. The socket that has the path is made and
watched here. When somebody waits at it, and there is room, another one takes its place at the path, and it becomes a
*batch*: those who wait at it, at most WAITING_MAX of them and one, and nobody can join them. It is put under the number
that ZeroMQ has, and a *bell* is rung, upon which ZeroMQ accepts all of them. When none is left the bell is silenced,
and the next batch may come. However late the thread is that does this, no more than a batch comes in meanwhile.

The bell (`zq.server.bell`) listens, too, where nobody comes. ZeroMQ was given it to accept from, and waits for it; what
is put under its number later it does not wait for, and only accepts from. So while the bell rings its thread looks
again and again, as it does by TCP without descriptors.

An abstract name (`ipc://@NAME`) cannot be taken over by another socket, nor can a path beside which no socket can be
made: its name would be too long, or nothing may be made in that folder any more. There the batch is whoever comes
within half a millisecond, in which this thread does nothing else.

Invariants: the number that ZeroMQ has is ZeroMQ's to close, and is not touched any more after `close`, which leaves it
as ZeroMQ got it. Under it is always a socket that listens: from any other ZeroMQ does not accept without an end. The
bell rings only while it is another one than the bell, and nothing is put there before ZeroMQ waits for the bell.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import select
import socket
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import zmq

from zq.processes.forks import drop_in_forks
from zq.server.bell import Bell
from zq.wire.address import SOCKET_PATH_BYTES_MAX

log = logging.getLogger(__name__)

WAITING_MAX: Final = 1024
"""Who may wait to be let in; whoever comes then is refused, and tries again."""

OPEN_SECONDS: Final = 0.0005
"""For which those with an abstract name are let in: a dozen of the fastest."""

SIP_INTERVAL: Final = 0.02
"""Seconds between two batches, while there are many connections."""

AWAITED_INTERVAL: Final = 0.001
"""Seconds between two looks whether ZeroMQ has begun to wait, which it does in its own thread after a bind."""

UNTOLD_LOOKS_MAX: Final = 30
"""Such looks, after which it has begun where the system does not tell."""

NAMES_TRIED_MAX: Final = 3
"""Names that are tried for a file beside the path, each of them by chance."""

NOBODY: Final = -1
"""In the place of a descriptor: nobody is waited for now."""


class AddressGate:
    """The listening socket of one address; of the shell's one thread.

    Attributes:
        endpoints: by which those who were let in know this end, beside the address. There are more when one was found
            to be taken.
    """

    def __init__(self, name: str, waiting_max: int) -> None:
        """Makes what is not there yet: `listen` is to be called next.

        Args:
            name: path of the socket's file, or an abstract name, with an @ before it.
            waiting_max: who may wait to be let in, and so come in at once.
        """
        self._name = name
        self._path = Path(name)
        self._hidden = _hidden_beside(self._path)
        self.endpoints = [f"ipc://{self._hidden}"]
        self._is_exchanged = name[:1] != "@" and len(os.fsencode(self._hidden)) <= SOCKET_PATH_BYTES_MAX
        self._is_said = False  # that it is not, though it could be
        self._waiting_max = max(1, min(waiting_max, WAITING_MAX))
        self._bell: Bell | None = None  # None: it is not there yet, or cannot be made here, and anybody comes in
        self._door = _make_door()
        self._batch: socket.socket | None = None  # those who are let in just now
        self._given = -1
        self._is_awaited = False  # whether ZeroMQ waits for the bell by now
        self._looks = 0  # whether it does, which the system did not tell
        self._next_at = 0.0  # monotonic, when the next batch may come
        self._identity: tuple[int, int] | None = None  # of the file that has the path
        self._forget = drop_in_forks(self._close_all)

    @classmethod
    def of(cls, address: str, waiting_max: int) -> AddressGate | None:
        """Returns one for an address of this system; None for others, which need none, and where it cannot be done."""
        name = address.removeprefix("ipc://")
        # Elsewhere what waits for a descriptor forgets it when another file takes its number.
        is_ours = sys.platform == "linux" and name != address and name[:1] != "*"
        return cls(name, waiting_max) if is_ours else None

    def listen(self, server: zmq.Socket[bytes]) -> None:
        """Listens at the path, and has a socket accept there when it is bound next; what has that name is deleted.

        Raises:
            OSError: it cannot.
        """
        if self._name[:1] != "@":
            with suppress(FileNotFoundError):
                self._path.unlink()
        self._make_bell()
        self._door.bind(self._name if self._name[:1] != "@" else "\0" + self._name[1:])
        self._door.listen(self._waiting_max)
        self._identity = _identify(self._path)
        self._given = os.dup(self._door.fileno() if self._bell is None else self._bell.number)
        server.setsockopt(zmq.USE_FD, self._given)

    def _make_bell(self) -> None:
        """Makes the bell, which calls itself the address where that is a path: so ZeroMQ calls it, too."""
        with suppress(OSError):  # there is no /proc, or no folder to make it in
            if self._name[:1] != "@":
                self._bell = Bell(self._name)
            else:
                with tempfile.TemporaryDirectory(prefix="zq-bell-") as folder:
                    self._bell = Bell(f"{folder}/bell")

    @property
    def number(self) -> int:
        """A descriptor that can be read when somebody waits who may be let in, or NOBODY while there is another
        reason to call `let_in`, in SIP_INTERVAL at the latest.
        """
        return NOBODY if self.is_busy or self._bell is None else self._door.fileno()

    @property
    def is_busy(self) -> bool:
        """Whether some are being let in, or the next ones are made to wait."""
        return self._batch is not None or self._next_at > 0.0 or (self._bell is not None and self._bell.is_ringing)

    @property
    def has_somebody(self) -> bool:
        """Whether somebody waits who is not being let in."""
        return self._bell is not None and self._given >= 0 and _has_somebody(self._door)

    def let_in(self, now: float, *, is_crowded: bool) -> None:
        """Lets in those who wait, if it is time, or goes on with it.

        Args:
            now: monotonic.
            is_crowded: whether there are so many connections that others are to wait a while.
        """
        bell = self._bell
        if bell is None:
            return
        try:
            if not self._is_over(bell) or now < self._next_at:
                return
            self._next_at = 0.0
            if self._given < 0 or not _has_somebody(self._door):
                return
            if not self._is_awaited and not self._look():
                self._next_at = now + AWAITED_INTERVAL
                return
            self._next_at = now + SIP_INTERVAL if is_crowded else 0.0
            if self._is_exchanged:
                self._begin_batch(bell)
            else:
                self._let_in_for_a_moment(bell)
        except OSError:  # no descriptor is left: they wait on
            self._next_at = now + SIP_INTERVAL

    def wait(self, now: float) -> None:
        """Lets nobody in for a while: there is no room."""
        if self._bell is not None:
            with suppress(OSError):
                self._is_over(self._bell)
        self._next_at = now + SIP_INTERVAL

    def close(self) -> None:
        """Listens no more; ZeroMQ does as long as its socket is bound. Call it before that is unbound or closed."""
        bell = self._bell
        if self._given >= 0 and bell is not None:
            self._door.close()  # which makes room for what silences the bell
            self._end_batch(bell)
            os.dup2(bell.number, self._given, inheritable=False)  # by what it began with ZeroMQ ends its waiting
        self._given = -1
        self._forget()
        self._close_all()

    def has_path(self) -> bool:
        """Whether the file of the address is the one that was made here, though it may be another by each batch."""
        return self._identity is not None and self._identity == _identify(self._path)

    def _look(self) -> bool:
        """Looks whether ZeroMQ waits for the bell by now."""
        told = _is_polled(self._given)
        self._looks += told is None
        self._is_awaited = bool(told) or self._looks > UNTOLD_LOOKS_MAX
        return self._is_awaited

    # Batches.

    def _is_over(self, bell: Bell) -> bool:
        """Whether a batch has come in as a whole, or there is none; silences the bell then."""
        if self._batch is not None and _has_somebody(self._batch):
            if not bell.is_ringing:  # there was no descriptor for it
                bell.ring()
            return False
        self._end_batch(bell)
        return not bell.is_ringing

    def _begin_batch(self, bell: Bell) -> None:
        """Puts another socket at the path, and lets in those who wait at the one that was there. Where no other can be
        made, and it is not for want of a descriptor, they come in as by an abstract name.
        """
        batch = self._door
        if self.has_path():
            door = _make_door()
            try:
                self._take_path(door)
            except OSError as error:
                door.close()
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise
                self._say(error)
                self._let_in_for_a_moment(bell)
                return
            self._door = door
        else:  # it was moved, say: who finds it all the same comes in
            batch = self._door.dup()
        self._batch = batch
        self._ring(bell, batch)
        end = time.monotonic() + OPEN_SECONDS
        while not self._is_over(bell) and time.monotonic() < end:
            pass

    def _end_batch(self, bell: Bell) -> None:
        bell.silence()
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.close()

    def _let_in_for_a_moment(self, bell: Bell) -> None:
        self._ring(bell, self._door)
        end = time.monotonic() + OPEN_SECONDS
        while time.monotonic() < end:  # who sleeps may sleep too long
            pass
        bell.silence()

    def _ring(self, bell: Bell, batch: socket.socket) -> None:
        os.dup2(batch.fileno(), self._given, inheritable=False)
        bell.ring()

    def _say(self, error: OSError) -> None:
        if not self._is_said:
            self._is_said = True
            text = "no other socket can take the place of %s (%s): who connects comes in by time, not by number"
            log.warning(text, self._name, error.strerror)

    def _take_path(self, door: socket.socket) -> None:
        """Listens under a hidden name, and renames that to the path: nobody who comes finds nothing, and who may is who
        was allowed to before; raises OSError where that cannot be.
        """
        place = self._bind_beside(door)
        identity = _identify(place)
        try:
            door.listen(self._waiting_max)
            _copy_rights(self._path, place)
            place.rename(self._path)
        except OSError:
            if _identify(place) == identity:
                with suppress(OSError):
                    place.unlink()
            raise
        self._identity = identity

    def _bind_beside(self, door: socket.socket) -> Path:
        """Binds a socket to a name that nothing has, and deletes nothing for that."""
        for left in reversed(range(NAMES_TRIED_MAX)):
            try:
                door.bind(self._hidden)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not left:
                    raise
                self._hidden = _hidden_beside(self._path)
                self.endpoints.append(f"ipc://{self._hidden}")
        return Path(self._hidden)

    def _close_all(self) -> None:
        for one in (self._bell, self._door, self._batch):
            if one is not None:
                with suppress(OSError):  # in a copy it may have been closed by its number
                    one.close()


def _make_door() -> socket.socket:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(door.fileno(), 0o600)  # the file is of others, too, for a moment, if its mode is set when it is there
    door.setblocking(False)
    return door


def _hidden_beside(path: Path) -> str:
    """Returns a name in the same folder for what takes the place of a path, which nobody can have taken on purpose."""
    return str(path.parent / f".zq-{secrets.token_hex(4)}")


def _copy_rights(old: Path, new: Path) -> None:
    """Gives one socket's file the owner, group and mode of another, whoever has changed them."""
    wanted, made = old.lstat(), new.lstat()
    if (wanted.st_uid, wanted.st_gid) != (made.st_uid, made.st_gid):  # before the mode, which is meant for these
        os.chown(new, wanted.st_uid, wanted.st_gid, follow_symlinks=False)
    if wanted.st_mode != made.st_mode:
        place = os.open(new, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            Path(f"/proc/self/fd/{place}").chmod(stat.S_IMODE(wanted.st_mode))  # never of what a link leads to
        finally:
            os.close(place)


def _has_somebody(door: socket.socket) -> bool:
    """Whether somebody waits; by poll, for which no descriptor is too high."""
    poll = select.poll()
    poll.register(door, select.POLLIN)
    return bool(poll.poll(0))


def _is_polled(number: int) -> bool | None:
    """Whether this process waits for a descriptor by epoll, as libzmq does; None where the system does not tell."""
    entry = f"tfd:{number:9d} "
    told = None
    with suppress(OSError):
        for place in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # it was closed just now, say
                if str(place.readlink()) == "anon_inode:[eventpoll]":
                    text = Path(f"/proc/self/fdinfo/{place.name}").read_text()
                    if entry in text:
                        return True
                    told = False if "tfd:" in text else told
    return told


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
