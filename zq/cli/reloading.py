"""`zq worker --reload`: a worker that is started again when a file changes that it has loaded, for development.

The command that was typed becomes a supervisor, which runs the same command without `--reload` as a process, so that
what runs after a change is all new. The worker tells over a pipe which files it has loaded from the user's folders, and
the supervisor looks at them; nothing else of the worker is different.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from zq.cli.output import echo

PIPE = "ZQ_RELOAD_PIPE"
"""The environment variable that tells a worker the descriptor on which it is to tell its files."""

FILES_LOOK_INTERVAL = 0.5
"""Seconds between two looks at the files, and between two looks of the worker at what it has loaded."""

Files = dict[str, int]
"""When files were changed, in nanoseconds."""


# In the supervisor.


class Supervisor:
    """Runs a worker again and again."""

    def __init__(self) -> None:
        self._files: Files = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._told = b""
        self._is_stopped = False  # by a signal
        self._shares_terminal = sys.stdin is not None and sys.stdin.isatty()

    def run(self) -> int:
        """Returns the exit code of the worker when it has ended by itself or by a signal to this process."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            return self._run_until_it_ends()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run_until_it_ends(self) -> int:
        while True:
            code = self._run_once()
            if self._is_stopped or (code == 0 and not self._is_changed) or not self._files:
                return code if code >= 0 else 128 - code
            if not self._is_changed:
                echo(f"zq: the worker ended with exit code {code}; it is started again when a file changes", err=True)
                if not self._wait_for_change():
                    return code if code >= 0 else 128 - code

    # It has the signature of signal handlers.
    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._is_stopped = True
        has_it = self._shares_terminal and number == signal.SIGINT  # from the terminal, which sends it to both
        if self._process is not None and self._process.poll() is None and not has_it:
            self._process.send_signal(number)

    def _run_once(self) -> int:
        """Runs the worker until it ends; `_is_changed` says whether that was because of a change."""
        self._is_changed = False
        self._files = {file: changed_at for file in self._files if (changed_at := changed_time(file))}
        self._pipe, end = os.pipe()
        os.set_blocking(self._pipe, False)
        self._told = b""
        command = [sys.executable, *(one for one in sys.orig_argv[1:] if one != "--reload")]
        # At a terminal it must stay in the group that may read from it, or a debugger in a handler would stop it.
        self._process = process = subprocess.Popen(
            command,
            pass_fds=(end,),
            env={**os.environ, PIPE: str(end)},
            process_group=None if self._shares_terminal else 0,
        )
        os.close(end)
        if self._is_stopped:  # by a signal that came before there was a process to pass it on to
            process.send_signal(signal.SIGTERM)
        try:
            while (code := self._wait(process)) is None:
                self._read_files()
                if not self._is_changed and self._is_edited():
                    self._is_changed = True
                    process.send_signal(signal.SIGTERM)
            self._read_files()
            return code
        finally:
            os.close(self._pipe)

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        try:
            return process.wait(FILES_LOOK_INTERVAL)
        except subprocess.TimeoutExpired:
            return None

    def _wait_for_change(self) -> bool:
        while not self._is_stopped:
            if self._is_edited():
                return True
            time.sleep(FILES_LOOK_INTERVAL)
        return False

    def _read_files(self) -> None:
        try:
            while part := os.read(self._pipe, 1 << 16):
                self._told += part
        except BlockingIOError:
            pass
        *lines, self._told = self._told.split(b"\n")
        for line in lines:
            self._files.update(json.loads(line))

    def _is_edited(self) -> bool:
        """Whether files have changed since they were loaded, and are Python; says so. A file that is not there is
        waited for: an editor may be writing it.
        """
        changed = [(file, now) for file, before in self._files.items() if (now := changed_time(file)) and now != before]
        for file, now in changed:
            self._files[file] = now
            try:
                compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
            except (SyntaxError, ValueError) as error:
                echo(
                    f"zq: {file} line {getattr(error, 'lineno', 0)} is not Python: {error}; waiting for the next edit",
                    err=True,
                )
                return False
            except OSError:
                return False
        if changed:
            names = ", ".join(Path(file).name for file, _ in changed)
            echo(f"zq: {names} changed; the worker ends what runs and is started again", err=True)
        return bool(changed)


def changed_time(file: str) -> int:
    """Returns when a file was changed, in nanoseconds; 0 when it is not there."""
    try:
        return Path(file).stat().st_mtime_ns
    except OSError:
        return 0


# In the worker.


class Reporter:
    """Tells the supervisor which files this process has loaded."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._parent = os.getppid()
        self._known: set[str] = set()
        self._folders = _foreign_folders()

    def start(self) -> None:
        """Tells what is loaded now, and, from a thread, what is loaded later; a worker without its supervisor
        drains.
        """
        self.tell()
        threading.Thread(target=self._run, name="zq-reload", daemon=True).start()

    def tell(self, more: Iterable[str] = ()) -> None:
        """Tells what is loaded now, and some files more."""
        loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        found: Files = {}
        for file in (*loaded, *more):
            if isinstance(file, str) and file not in self._known and self._is_users(file):
                self._known.add(file)
                found[str(Path(file).resolve())] = changed_time(file)
        if found:
            with suppress(OSError):  # the supervisor has gone, as `_run` will see
                os.write(self._pipe, json.dumps(found).encode() + b"\n")

    def _is_users(self, file: str) -> bool:
        path = str(Path(file).resolve())
        return path.endswith(".py") and Path(path).is_file() and not path.startswith(self._folders)

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(FILES_LOOK_INTERVAL):
            if os.getppid() != self._parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self.tell()


def take_reporter() -> Reporter | None:
    """Returns the reporter of a worker that has a supervisor; what it starts itself has none."""
    pipe = os.environ.pop(PIPE, None)
    if pipe is None:
        return None
    os.set_inheritable(int(pipe), False)
    return Reporter(int(pipe))


def _foreign_folders() -> tuple[str, ...]:
    """Returns the folders of Python, of what is installed, and of zq, of which no file is the user's."""
    paths = sysconfig.get_paths()
    found = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    here = Path(__file__).resolve().parents[2]
    return tuple(f"{Path(one).resolve()}/" for one in (*found, f"{here}/zq", f"{here}/patterns"))
