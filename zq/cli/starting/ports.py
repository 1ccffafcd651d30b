"""Who has a port of this machine, as far as one may see that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zq.processes.birth import BOOTSTRAP
from zq.processes.shown import printable

ANOTHER = "another process"

COMMAND_CHARS = 60
"""Of a command line that is shown."""

LISTENING = "0A"
"""The state of a socket in the tables of Linux (proc(5)): it takes connections."""


def owner_of_port(port: int) -> str:
    """Returns who listens on a TCP port of this machine, as `process 12 (python -m http.server)`; without the right to
    see that, or the files of Linux, `another process`.
    """
    names = {f"socket:[{inode}]" for inode in _inodes_of(port)}
    processes = Path("/proc").iterdir() if names else iter(())
    for process in processes:
        if process.name.isdecimal() and _holds(process, names):
            command = _command_of(_text_of(process / "cmdline").split("\0"))
            return f"process {process.name} ({printable(command[:COMMAND_CHARS])})"
    return ANOTHER


def _command_of(words: list[str]) -> str:
    """Returns a command line; of a process that zq has started, what it runs, and not how that was started."""
    if BOOTSTRAP in words:
        words = ["zq", *words[words.index(BOOTSTRAP) + 4 :]]  # behind the module, the parent and the sheet
    return " ".join(words).strip()


def _inodes_of(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        for line in _text_of(Path("/proc/net") / table).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _holds(process: Path, names: set[str]) -> bool:
    try:
        return any(str(one.readlink()) in names for one in (process / "fd").iterdir())
    except OSError:  # it is somebody else's, or has ended
        return False


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
