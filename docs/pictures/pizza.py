"""Draws the screen of `zq demo` as a terminal shows it while a shop has just been killed.

`python docs/pictures/pizza.py` runs it in tmux and writes pizza.svg beside this file; it takes half a minute.
"""

import io
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 92, 26
SESSION = "zq-picture"
PATIENCE = 90.0

PIZZA, PIZZA_DRAWN = "\N{SLICE OF PIZZA}", "● "
"""What takes two cells in a terminal is one character in a picture, and few fonts have it."""

FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="zq demo">
<style>.{unique_id}-matrix {{ font: {char_height}px monospace; line-height: {line_height}px; white-space: pre }}
.{unique_id}-title {{ font: bold 18px sans-serif }}
{styles}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""
"""How rich draws a screen, but for its font, which it would fetch from elsewhere."""


def tmux(*words: str) -> str:
    return subprocess.run(["tmux", "-u", "-L", SESSION, *words], check=True, capture_output=True, text=True).stdout


def screen() -> str:
    """Runs the demonstration until a shop is suspect, and returns what the terminal shows, with its colours."""
    size = "-x", str(COLUMNS), "-y", str(ROWS)
    tmux("-f", "/dev/null", "new-session", "-d", *size, f"{sys.executable} -m zq.cli demo")
    try:
        give_up_at = time.monotonic() + PATIENCE
        while time.monotonic() < give_up_at:
            shown = tmux("capture-pane", "-p", "-e")
            if "suspect" in shown and "exploded" in shown:
                return shown.replace(PIZZA, PIZZA_DRAWN)
            time.sleep(0.1)
        raise SystemExit(f"no shop exploded within {PATIENCE:g} s:\n{shown}")
    finally:
        tmux("send-keys", "C-c")
        time.sleep(1.0)
        tmux("send-keys", "C-c")
        time.sleep(3.0)
        tmux("kill-server")


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(screen().rstrip()), soft_wrap=True)
    text = console.export_svg(title="zq demo", code_format=FRAME, unique_id="pizza")
    Path(__file__).with_suffix(".svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
