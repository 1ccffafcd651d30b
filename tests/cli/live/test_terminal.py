"""The live view in a real terminal, that of tmux, and how keys are read."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import zq
from zq.cli.live.terminal import keys_in

PATIENCE = 60.0
"""Seconds for something to be on the screen; on a machine with nothing to do it is there in one."""

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux, the terminal of this test, is missing")


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("jk", ["j", "k"]),
        ("\x1b[A\x1b[B\x1bOC", ["up", "down", "right"]),
        ("\x1b", ["escape"]),
        ("\x1b[5~\x1b[6~", ["pageup", "pagedown"]),
        ("\t\x1b[Z\r\x7f", ["tab", "backtab", "enter", "backspace"]),
        ("\x1b[200~p", ["p"]),
        ("\x00é", ["é"]),
        ("\x1b[", ["escape", "["]),
    ],
)
def test_what_a_terminal_sends_is_read_as_keys(sent: str, keys: list[str]) -> None:
    assert list(keys_in(sent)) == keys


class Tmux:
    """A terminal in which something runs, behind which a shell tells how it ended and what it left."""

    def __init__(self, place: Path, columns: int, lines: int) -> None:
        self._start = ["tmux", "-S", str(place / "tmux"), "-f", "/dev/null"]
        self._size = ["-x", str(columns), "-y", str(lines)]

    def run(self, command: str, **environment: str) -> None:
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        left = "echo ended $?; stty -a | tr ' ;' '\\n\\n' | grep -x -e '-*icanon' -e '-*echo' | tr '\\n' ' '; exec cat"
        self._tmux("new-session", "-d", *self._size, f"env {given} {command}; {left}")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def wait(self, is_there: Callable[[str], bool], what: str) -> str:
        """Returns the screen once it shows something."""
        deadline = time.monotonic() + PATIENCE
        while not is_there(text := self.screen()):
            assert time.monotonic() < deadline, f"never seen: {what}\n{text}"
            time.sleep(0.05)
        return text

    def wait_for(self, *texts: str) -> str:
        return self.wait(lambda screen: all(text in screen for text in texts), ", ".join(texts))

    def end(self) -> None:
        subprocess.run([*self._start, "kill-server"], check=False, capture_output=True)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run([*self._start, *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout


@contextmanager
def terminal(place: Path, columns: int, lines: int) -> Iterator[Tmux]:
    found = Tmux(place, columns, lines)
    try:
        yield found
    finally:
        found.end()


@contextmanager
def shop(address: str) -> Iterator[threading.Event]:
    """Runs a worker that bakes when it may, and burns every order that asks for it."""
    worker, may_bake = zq.Worker(address, name="shop-1", processes=0), threading.Event()

    @worker.task("orders")
    def bake(task: zq.Task) -> None:
        if task.payload == "burn":
            raise ValueError("burnt black")
        may_bake.wait(PATIENCE)

    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield may_bake
    finally:
        may_bake.set()
        worker.stop()
        thread.join()


def line_of(screen: str, start: str) -> list[str]:
    return next((line.split() for line in screen.split("\n") if line.startswith(start)), [])


TOP = f"{shlex.quote(sys.executable)} -m zq.cli top --interval 0.2"


@needs_tmux
@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (160, 50)])
def test_a_view_lives_takes_keys_and_leaves_the_terminal_as_it_was(
    coordinator: zq.Coordinator, tmp_path: Path, columns: int, lines: int
) -> None:
    with terminal(tmp_path, columns, lines) as screen, zq.Client(coordinator.address) as client:
        client.submit("delivery", {})
        screen.run(TOP, ZQ_ADDRESS=coordinator.address, NO_COLOR="1" if columns == 80 else "")
        screen.wait_for("QUEUES", "delivery", "no worker", "nothing has failed")

        with shop(coordinator.address) as may_bake:
            client.submit("orders", "burn", id="burnt-order")
            screen.wait_for("shop-1", "orders", "burnt black")
            client.submit_many("orders", [{}] * 5)
            screen.wait(lambda text: "waiting 1 " not in text, "orders wait, or are baked")
            may_bake.set()
            screen.wait(lambda text: line_of(text, "orders")[1:2] != [] and "waiting 1 " in text, "all are baked")

            screen.press("j", "p")
            screen.wait(lambda text: line_of(text, "orders")[1:2] == ["paused"], "orders is paused")
            assert client.queues.show("orders").policies.paused  # type: ignore[union-attr]  # of one queue it is there
            screen.press("r")
            screen.wait(lambda text: line_of(text, "orders")[1:2] not in (["paused"], []), "orders goes on")

        screen.press("Tab", "Tab", "Enter")
        screen.wait_for("task burnt-order", "ValueError: burnt black", "dead", "esc back")
        screen.press("Escape")
        screen.wait_for("QUEUES")

        screen.resize(240 - columns, 74 - lines)
        screen.wait(lambda text: max(map(len, text.split("\n"))) > 80 or columns == 160, "the other width")
        screen.wait_for("QUEUES", "q quit")

        screen.press("q")
        text = screen.wait_for("ended 0", "icanon")
        assert text.split()[-2:] == ["icanon", "echo"]
        assert "QUEUES" not in text


@needs_tmux
def test_a_view_says_when_the_coordinator_is_away_and_when_it_is_back(tmp_path: Path) -> None:
    bind = f"ipc://{tmp_path}/socket"
    with terminal(tmp_path, 80, 24) as screen:
        with zq.Coordinator(tmp_path / "orders.zq", bind=bind), zq.Client(bind) as client:
            client.submit("orders", {})
            screen.run(TOP, ZQ_ADDRESS=bind)
            screen.wait_for("orders")
        screen.wait_for("trying on", "orders")

        with zq.Coordinator(tmp_path / "orders.zq", bind=bind):
            screen.wait_for("answers again")
            screen.press("C-c")
            assert screen.wait_for("ended 130", "icanon").split()[-2:] == ["icanon", "echo"]


@needs_tmux
def test_a_view_that_fails_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    program = tmp_path / "failing.py"
    program.write_text(
        "from zq.cli.live.terminal import taken\nwith taken() as terminal:\n    raise RuntimeError('a fault')\n"
    )
    with terminal(tmp_path, 80, 24) as screen:
        screen.run(f"{shlex.quote(sys.executable)} {program}", PYTHONPATH=str(Path.cwd()))

        assert screen.wait_for("RuntimeError: a fault", "ended 1", "icanon").split()[-2:] == ["icanon", "echo"]
