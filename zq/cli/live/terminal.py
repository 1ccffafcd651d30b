"""A terminal that belongs to a view for a while: its alternate screen, its keys one by one, and its size.

Whatever happens, it is left as it was: cursor, screen, and how it reads lines.
"""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.text import Text

from zq.cli.live.columns import Line

STYLES = {
    "": "",
    "title": "bold",
    "head": "bold dim",
    "active": "bold underline",
    "chosen": "reverse",
    "alert": "red",
    "ask": "bold yellow",
    "dim": "dim",
}
"""Looks that need no colour to be told apart where it matters: NO_COLOR takes the red and the yellow away."""

_SEQUENCES = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "Z": "backtab",
    "1~": "home",
    "4~": "end",
    "5~": "pageup",
    "6~": "pagedown",
    "7~": "home",
    "8~": "end",
}
"""What terminals send behind ESC [ or ESC O."""

CHARACTERS = {"\t": "tab", "\r": "enter", "\n": "enter", "\x1b": "escape", "\x7f": "backspace", "\x08": "backspace"}


def keys_in(text: str) -> Iterator[str]:
    """Yields the keys of what a terminal has sent: characters, and names of others; unknown ones are left out."""
    at = 0
    while at < len(text):
        sequence = _sequence_at(text, at)
        if sequence:
            key = _SEQUENCES.get(sequence)
            at += 2 + len(sequence)
        else:
            key = CHARACTERS.get(text[at]) or (text[at] if text[at].isprintable() else None)
            at += 1
        if key is not None:
            yield key


def _sequence_at(text: str, at: int) -> str:
    """Returns what stands behind ESC [ or ESC O, up to its last letter; nothing when there is none."""
    if text[at : at + 2] not in ("\x1b[", "\x1bO"):
        return ""
    for end in range(at + 2, len(text)):
        if text[end].isalpha() or text[end] == "~":
            return text[at + 2 : end + 1]
    return ""


class Terminal:
    """What a view is shown on."""

    def __init__(self, console: Console, descriptor: int) -> None:
        self._console = console
        self.descriptor = descriptor

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now, whatever COLUMNS and LINES of the environment say."""
        found = os.get_terminal_size(self.descriptor)
        self._console.size = (found.columns or 80, found.lines or 24)
        return self._console.size.width, self._console.size.height

    def read(self) -> list[str]:
        """Returns the keys that were pressed; call it when there is something to read. Raises EOFError."""
        data = os.read(self.descriptor, 1024)
        if not data:
            raise EOFError("the terminal is gone")
        return list(keys_in(data.decode(errors="ignore")))

    def show(self, lines: Iterable[Line]) -> None:
        """Shows lines that are as wide as the screen."""
        texts = [Text(line.text, STYLES[line.style], no_wrap=True, overflow="crop", end="") for line in lines]
        self._console.update_screen(Group(*(Text.assemble(text, "\n", end="") for text in texts)))


@contextmanager
def taken() -> Iterator[Terminal]:
    """Takes the terminal of standard input and output, and gives it back as it was."""
    descriptor = sys.stdin.fileno()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that knows no blocks shows ?
    console = Console(highlight=False)
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        after = termios.tcgetattr(descriptor)
        after[6][termios.VSUSP] = b"\0"  # suspended, it would leave the shell with a screen that is not its own
        termios.tcsetattr(descriptor, termios.TCSADRAIN, after)
        console.set_alt_screen(True)
        console.show_cursor(False)
        yield Terminal(console, descriptor)
    finally:
        try:
            console.show_cursor(True)
            console.set_alt_screen(False)
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def is_there() -> bool:
    """Whether standard input and output are a terminal that can do more than lines."""
    has_both = sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()
    return has_both and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
