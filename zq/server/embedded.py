"""The coordinator inside of a program: the server in a thread of its own."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from functools import partial
from pathlib import Path
from types import TracebackType

from zq.core.options import CoordinatorOptions
from zq.keys.directory import KeyDirectory
from zq.keys.entry import EMBEDDED_NAME
from zq.keys.key import Key
from zq.keys.own import OWN_KEYS
from zq.processes.descriptors import take_standard
from zq.processes.endpoints import kept_address, kept_path
from zq.processes.green import refuse_green_threads
from zq.processes.references import refuse_while_loading
from zq.server.host import HostOptions
from zq.server.loop import Server
from zq.store import LmdbOptions
from zq.wire.address import check_bind_address

log = logging.getLogger(__name__)


class Coordinator:
    """A coordinator inside this program: `with Coordinator("./orders.zq") as c: Client(c.address)`.

    It runs in a thread of its own. The directory is locked while it is open; what was accepted is there at the next
    start.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        bind: str = "tcp://127.0.0.1:*",
        options: CoordinatorOptions | None = None,
        store_options: LmdbOptions | None = None,
        host_options: HostOptions | None = None,
        keys: str | Path | None = None,
        audit: str | Path | None = None,
    ) -> None:
        """Takes what `Server` takes; by default it binds a free port of this machine, each time another, and there is
        no limit of memory: it is the program's, which would not want to lose its coordinator for its own data. Give
        `host_options` one if it should end: its clients then wait, and `close` raises `MemoryLimitError`.

        With `keys` this program has a key of its own, new each time that it is opened, and may do everything; clients
        and workers inside of it show that by themselves (`key`). A directory of keys that is not there yet is made:
        nobody else comes in before `zq keys new` or `zq keys allow`.

        Raises:
            ValueError: the address cannot be one.
            GreenThreadsError: threads are green ones in this process.
        """
        refuse_green_threads()
        take_standard()  # before anything is opened
        # It may be opened when this program is in another folder.
        self._keys = None if keys is None else kept_path(keys)
        self._address = kept_address(check_bind_address(bind))
        self._make_server = partial(
            Server,
            kept_path(path),
            bind=self._address,
            options=options,
            store_options=store_options,
            host_options=host_options,
            keys=self._keys,
            audit=None if audit is None else kept_path(audit),
        )
        self._lock = threading.Lock()  # guards _service: `open` and `close` may be called from any thread
        self._service: _Service | None = None

    @property
    def address(self) -> str:
        """Where clients and workers connect, known once it is open."""
        return self._address

    def open(self) -> Coordinator:
        """Opens the directory and serves; again, too, after it was closed. Raises as `Server.open`.

        Raises:
            RuntimeError: it is open already.
        """
        with self._lock:
            if self._service is not None and self._service.is_running:
                raise RuntimeError(f"this coordinator is open already, at {self.address}; close it first")
            service = _Service(self._make_server(own=self._own_key()))
            try:
                service.open()
            except Exception as error:
                # A child process that imports the script of the coordinator cannot open its directory or address again.
                refuse_while_loading("the coordinator cannot be opened: that is done", error)
                raise
            self._service = service
            self._address = service.server.address
            OWN_KEYS[self._address] = service.own_key
        return self

    def _own_key(self) -> Key | None:
        """Returns a new key for this program, and makes the directory of all others, if there are keys."""
        if self._keys is None:
            return None
        KeyDirectory(self._keys).make()
        return Key.new(EMBEDDED_NAME, "admin")

    @property
    def key(self) -> Key | None:
        """The key of this program, for what does not find it by itself, such as a child process; None without keys, or
        while it is closed.
        """
        service = self._service
        return None if service is None else service.own_key()

    def close(self) -> None:
        """Stops it after the current turn; raises what ended it before, if something did. In a process that was forked
        from the one that opened it, it does nothing.
        """
        service = self._service
        if service is None or service.pid != os.getpid():
            return
        with self._lock:
            service, self._service = self._service, None
        if service is not None:
            OWN_KEYS.pop(service.server.address, None)
            service.close()

    def __del__(self) -> None:
        """Whoever forgets a coordinator ends it: its thread knows only the service. What was accepted is on disk."""
        service = self.__dict__.get("_service")  # None: its making has failed
        if service is not None and not sys.is_finalizing() and service.drop():
            OWN_KEYS.pop(service.server.address, None)
            text = (
                f"unclosed coordinator of {service.server.path}: close it with close(), or use it in a with statement"
            )
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    def __enter__(self) -> Coordinator:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Service:
    """A server in its thread, from one `open` to its `close`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pid = os.getpid()
        self._opened = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="zq-coordinator", daemon=True)

    @property
    def is_running(self) -> bool:
        """False also in a process that was forked from the one that runs it."""
        return self._thread.is_alive()

    def own_key(self) -> Key | None:
        """Returns the key of this program, with the coordinator's own of now; None without keys."""
        return self.server.own_key

    def open(self) -> None:
        """Returns when it serves; raises as `Server.open`."""
        self._thread.start()
        self._opened.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def close(self) -> None:
        """Returns when it has ended; raises what ended it before."""
        self.server.stop()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def drop(self) -> bool:
        """Ends it soon, without waiting; False when it has ended, or this process is not its own."""
        if self.pid != os.getpid() or not self._thread.is_alive():
            return False
        self.server.stop()
        return True

    def _serve(self) -> None:
        # Everything happens in this thread: an LMDB write transaction belongs to the thread that began it.
        try:
            self.server.open()
            self._opened.set()
            self.server.run()
        except BaseException as error:
            self._failure = error
            if self._opened.is_set():
                log.exception("the coordinator has failed and is closed")
        finally:
            self.server.close()
            self._opened.set()
