"""The file of an `ipc://` address that was bound here, which ZeroMQ leaves behind."""

from __future__ import annotations

from pathlib import Path


class SocketFile:
    """Remembers which file a bind made, so that this one can be removed, and no other that has taken its place."""

    def __init__(self, endpoint: str) -> None:
        """Looks at the file of an endpoint that was just bound.

        Args:
            endpoint: as ZeroMQ tells it. Of any but `ipc://PATH` there is no file, and nothing is ever removed.
        """
        path = endpoint.removeprefix("ipc://")
        self._path = Path(path) if path != endpoint and not path.startswith("@") else None
        self._identity = self._identify()

    def remove(self) -> None:
        """Removes the file, unless another process has bound the address since.

        Call it while the socket is still bound: until then its inode cannot become that of another file.
        """
        if self._path is not None and self._identity is not None and self._identify() == self._identity:
            self._path.unlink(missing_ok=True)

    def _identify(self) -> tuple[int, int] | None:
        try:
            found = None if self._path is None else self._path.stat()
        except OSError:
            return None
        return None if found is None else (found.st_dev, found.st_ino)
