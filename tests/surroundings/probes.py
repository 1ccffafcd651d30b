"""What handlers and stages do in these tests, whoever runs them: `run(["name", argument, ...])`."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

log = logging.getLogger("surroundings")

PATIENCE = 30.0


def run(asked: list[Any]) -> Any:
    name, *arguments = asked
    return globals()[name](*arguments)


def ended(pid: int) -> str:
    """Waits for a child and tells how it ended; kills one that does not."""
    give_up_at = time.monotonic() + PATIENCE
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return str(os.waitstatus_to_exitcode(status))
        if time.monotonic() > give_up_at:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "did not end"
        time.sleep(0.01)


def signal_started(number: int) -> str:
    """Sends a signal to a program that was started."""
    process = subprocess.Popen(["sleep", "1000"])
    process.send_signal(number)
    return str(process.wait(PATIENCE))


def signal_forked(number: int) -> str:
    """Sends a signal to a copy of this process."""
    ready, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(write, b"!")
            time.sleep(1000)
        finally:
            os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(write)
    os.kill(pid, number)
    return ended(pid)


def own_signals() -> list[str]:
    """Which signals this process ignores or has blocked, beside those that Python ignores."""
    ignored = [one.name for one in signal.Signals if signal.getsignal(one) is signal.SIG_IGN]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return [one for one in ignored if one not in ("SIGPIPE", "SIGXFSZ")] + sorted(map(str, blocked))


def leave_pool(method: str) -> str:
    """Leaves a pool whose process is busy."""
    with multiprocessing.get_context(method).Pool(1) as pool:
        try:
            pool.apply_async(time.sleep, (1000,)).get(timeout=0.1)
        except multiprocessing.TimeoutError:
            pass
    return "left"


def read_input() -> list[str]:
    """What this process and a program read from standard input."""
    found = subprocess.run(["cat"], capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    return [sys.stdin.read(), found, os.ttyname(0) if os.isatty(0) else "no terminal"]


def environment(name: str) -> list[str | None]:
    """A variable here, and in a program."""
    program = ["sh", "-c", f"echo ${{{name}-unset}}"]
    return [os.environ.get(name), subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()]


def flags() -> list[Any]:
    """What the interpreter was told."""
    return [__debug__, sys.flags.utf8_mode, sys._xoptions.get("mine"), list(sys.warnoptions)]


def search_path() -> list[str]:
    return sys.path


def arguments() -> list[str]:
    return sys.argv


def say(level: str, text: str) -> None:
    log.log(logging.getLevelNamesMapping()[level], "%s", text)


def fork(end: str, ledger: str) -> list[Any]:
    """Makes a copy of the process; the one that was called tells how that ended."""
    pid = os.fork()
    if pid:
        return ["told", ended(pid)]
    _note(ledger, "copy")
    match end:
        case "exit":
            sys.exit(3)
        case "say":
            sys.exit("no")
        case "raise":
            raise ValueError("the copy")
        case "interrupt":
            raise KeyboardInterrupt
        case _:
            return ["copy", "0"]


def daemonize(ledger: str) -> list[Any]:
    """What daemons do: fork twice, leave the session, close everything, go on for long."""
    ready, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.dup2(write, 1)
        os.closerange(2, 1024)
        _note(ledger, "daemon")
        os.write(1, str(os.getpid()).encode())
        os.close(1)
        time.sleep(0.2)
        return ["daemon", "returned"]
    os.close(write)
    ended(pid)
    daemon = int(os.read(ready, 100))
    os.close(ready)
    return ["told", daemon]


def note(ledger: str, text: str) -> str:
    _note(ledger, text)
    return text


def _note(ledger: str, text: str) -> None:
    with Path(ledger).open("a") as file:
        file.write(f"{text}\n")


def leave(ledger: str, *how: str) -> None:
    """Starts programs, notes their process ids, and never ends; `stubborn` ones do not end by SIGTERM, `own` ones have
    a session of their own.
    """
    _note(ledger, str(os.getpid()))
    for one in how:
        _note(ledger, str(_sleeper(one).pid))
    _note(ledger, "started")
    time.sleep(1000)


def start_and_return(ledger: str, *how: str) -> None:
    """As `leave`, but ends."""
    for one in how:
        _note(ledger, str(_sleeper(one).pid))
    _note(ledger, "started")


def _sleeper(how: str) -> subprocess.Popen[bytes]:
    program = "trap '' TERM; echo; exec sleep 1000" if how == "stubborn" else "echo; exec sleep 1000"
    process = subprocess.Popen(["sh", "-c", program], stdout=subprocess.PIPE, start_new_session=how == "own")
    assert process.stdout is not None
    process.stdout.read(1)
    return process


def die(ledger: str, *how: str) -> None:
    """As `leave`, but takes the process with it."""
    start_and_return(ledger, *how)
    os._exit(7)


def die_held(ledger: str) -> None:
    """Dies while a copy that Python does not know of has everything that this process has."""
    import ctypes

    pid = ctypes.CDLL(None).fork()
    if not pid:
        time.sleep(1000)
    _note(ledger, str(pid))
    _note(ledger, "started")
    os._exit(7)


def wait_for(gate: str) -> int:
    """Notes where it runs, and waits for a file."""
    written = Path(gate).with_suffix(".tmp")
    written.write_text(str(os.getpid()))
    written.rename(Path(gate).with_suffix(".at"))
    while not Path(gate).exists():
        time.sleep(0.01)
    return os.getpid()


def inherited_files() -> list[int]:
    """The descriptors beside the first three that a program would get that is given all that it may be given."""
    return [fd for fd in range(3, 256) if _is_open(fd) and os.get_inheritable(fd)]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
