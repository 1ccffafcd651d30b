"""The file of the audit, which is added to line by line, and that may fail: a full disk must not end the coordinator.

A line that cannot be written goes to the log. What is left of one that was written in part stays: the next line begins
a fresh one.
"""

from __future__ import annotations

import logging
import os

from zq.errors import KeyFileError
from zq.processes.endpoints import kept_path

log = logging.getLogger(__name__)
audit_log = logging.getLogger("zq.audit")


class AuditFile:
    """Of the thread of the coordinator's loop; `open` before the first line.

    Attributes:
        fault: why the last line could not be written; None: it was.
        in_log: lines that went to the log instead.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.fault: str | None = None
        self.in_log = 0
        self._path = kept_path(path)
        self._file: int | None = None
        self._is_torn = False  # the end of the file is not that of a line

    def open(self) -> None:
        """Opens the file; raises KeyFileError when it cannot be, or others can read it."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._file = os.open(self._path, flags, 0o600)
            mode = os.fstat(self._file).st_mode
        except OSError as error:
            raise KeyFileError(f"cannot write the audit to {self._path}: {error.strerror}") from error
        if mode & 0o077:
            self.close()
            raise KeyFileError(f"expected the audit to be its owner's alone: run `chmod 600 {self._path}`")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def add(self, line: str) -> None:
        """Adds a line of ASCII, or logs it when that fails."""
        try:
            self._write(b"\n" * self._is_torn + line.encode() + b"\n")
        except OSError as error:
            if self.fault is None:
                log.error(
                    "cannot write the audit to %s: %s; its lines are logged until it can be written again",
                    self._path, error.strerror,
                )  # fmt: skip
            self.fault = str(error.strerror)
            self.in_log += 1
            audit_log.warning("%s", line)
            return
        if self.fault is not None:
            log.warning("the audit is written to %s again; %d lines of it were logged so far", self._path, self.in_log)
            self.fault = None

    def _write(self, content: bytes) -> None:
        assert self._file is not None
        while content:
            written = os.write(self._file, content)  # less than all of it when the disk becomes full
            if written:
                self._is_torn = content[written - 1 : written] != b"\n"
            content = content[written:]
