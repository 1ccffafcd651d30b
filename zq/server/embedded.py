"""The coordinator inside of a program: the server in a thread of its own."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import TracebackType

from zq.core.options import CoordinatorOptions
from zq.processes.references import refuse_while_loading
from zq.server.loop import Server
from zq.store import LmdbOptions

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
    ) -> None:
        """Takes what `Server` takes; by default it binds a free port of this machine."""
        self._server = Server(path, bind=bind, options=options, store_options=store_options)
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """Where clients and workers connect, known once it is open."""
        return self._server.address

    def open(self) -> Coordinator:
        """Opens the directory and serves; raises as `Server.open`."""
        opened = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(opened,), name="zq-coordinator", daemon=True)
        self._thread.start()
        opened.wait()
        if self._failure is not None:
            # A child process that imports the script of the coordinator cannot open its directory or address again.
            refuse_while_loading("the coordinator cannot be opened: that is done", self._failure)
            raise self._failure
        return self

    def _serve(self, opened: threading.Event) -> None:
        # Everything happens in this thread: an LMDB write transaction belongs to the thread that began it.
        try:
            self._server.open()
            opened.set()
            self._server.run()
        except BaseException as error:
            self._failure = error
            if opened.is_set():
                log.exception("the coordinator has failed and is closed")
        finally:
            self._server.close()
            opened.set()

    def close(self) -> None:
        """Stops it after the current turn; raises what ended it before, if something did."""
        if self._thread is None:
            return
        self._server.stop()
        self._thread.join()
        self._thread = None
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Coordinator:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
