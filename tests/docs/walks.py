"""Runs a page that teaches from its first snippet to its last, as a reader would, in one folder.

- Code after a line with "in `shop.py`" and a colon at its end is that file.
- Code after "With Celery:" (or another system) is the reader's old program, which is only parsed.
- Other Python runs here, with the names of the snippets before it; `# -> value` as in `tests.docs.snippets`.
- Commands of the shell run with what comments below them say is printed; what serves until it is stopped runs on to
  the end of the page.
- The languages in `SHOWN` are shown and not run.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import zq
from tests.cli.conftest import run_command
from tests.docs.pages import FENCE, ROOT, Fence
from tests.docs.snippets import run_python, run_shell

THEIRS = re.compile(r"With (?:Celery|RQ|boto3|pika|pyzmq)\b.*:")
FILE = re.compile(r"\b[Ii]n `([\w./-]+)`[^`]*:$")
SHOWN = {"text", "toml", "ini", "mermaid", ""}

SERVERS = (("zq", "coordinator"), ("zq", "worker"), ("zq", "dev"), ("zq", "demo"), ("zq", "dashboard"))
"""Commands that run until they are stopped."""

PATIENCE = 60.0


class Step(NamedTuple):
    """A fence, and what the text before it says that it is."""

    fence: Fence
    file: str | None
    is_theirs: bool


def read_steps(path: Path) -> list[Step]:
    """Returns the snippets of a page in their order."""
    steps: list[Step] = []
    said, opened, language, start = "", "", "", 0
    text: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if opened:
            if line == opened:
                found = FILE.search(said)
                fence = Fence(language, "\n".join(text), start)
                steps.append(Step(fence, found[1] if found else None, THEIRS.search(said) is not None))
                opened, said = "", ""
            else:
                text.append(line)
        elif line.startswith(FENCE):
            opened, language, start, text = FENCE, line.removeprefix(FENCE), number + 1, []
        elif line.strip():
            assert not line.lstrip().startswith(FENCE), f"{path.name}:{number}: a snippet in a list would not be run"
            said = line
    return steps


class Walk:
    """The folder of a reader, what he has started, and the addresses of his coordinator."""

    def __init__(self, folder: Path, page: Path, address: str | None = None) -> None:
        """Takes the address of a coordinator that is there, or None where the page starts one."""
        self.folder = folder
        self.page = page
        self.names: dict[str, Any] = {}
        endpoint = address or free_endpoint()
        self.environment = {"ZQ_ADDRESS": endpoint, "ZQ_BIND": endpoint, "ZQ_NAMESPACE": "", "ZQ_KEY": ""}
        self._servers: list[subprocess.Popen[bytes]] = []

    def run(self, steps: list[Step]) -> None:
        """Runs the snippets of a page; what one of them wrote and started is there for the next."""
        for fence, file, is_theirs in steps:
            if file is not None:
                path = self.folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(fence.text + "\n", encoding="utf-8")
            if fence.language == "python" and (file is not None or is_theirs):
                ast.parse(fence.text)
            elif fence.language == "python":
                run_python(fence, self.names, f"<{self.page.name}>")
            elif fence.language == "sh":
                run_shell(fence, self._command, f"<{self.page.name}>")
            else:
                assert file is not None or fence.language in SHOWN, f"{self.page.name}:{fence.line}: what is it?"

    def _command(self, words: list[str]) -> str:
        if tuple(words[:2]) in SERVERS and "--burst" not in words and "--help" not in words:
            self._serve(words)
            return ""
        if words[0] == "zq" and words[1] != "worker":
            words = [self.names.get("handle", "") if word == "$HANDLE" else word for word in words]
            result: Any = run_command(tuple(words[1:]), None, self.environment)
            assert result.exit_code == 0, f"{words}: {result.output}{self._logs()}"
            text: str = result.stdout
            if text.startswith('{"handle": '):
                self.names["handle"] = json.loads(text)["handle"]
            return text
        ended = subprocess.run(
            self._whole(words),
            check=False,
            cwd=self.folder,
            env=self._variables(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ended.returncode == 0, f"{words}: {ended.stdout}{ended.stderr}{self._logs()}"
        return ended.stdout

    def _serve(self, words: list[str]) -> None:
        if words[1] == "dev":  # the usual ports may be another program's
            words = [*words, "--bind", self.environment["ZQ_BIND"], "--no-dashboard"]
        log = (self.folder / f"log-{len(self._servers)}.txt").open("ab")
        with log:
            self._servers.append(
                subprocess.Popen(self._whole(words), cwd=self.folder, env=self._variables(), stdout=log, stderr=log)
            )
        if words[1] in (
            "coordinator",
            "dev",
        ):  # a command that finds none gives up sooner than a busy machine starts one
            with zq.Client(self.environment["ZQ_ADDRESS"], timeout=PATIENCE) as client:
                client.ping()

    def _logs(self) -> str:
        """Returns what those that serve have said."""
        return "".join(f"\n{path.name}: {path.read_text()}" for path in sorted(self.folder.glob("log-*.txt")))

    def _whole(self, words: list[str]) -> list[str]:
        """Returns a command with the interpreter that runs the tests."""
        match words:
            case ["zq", *rest]:
                return [sys.executable, "-m", "zq.cli", *rest]
            case ["python", *rest]:
                return [sys.executable, *rest]
            case ["pytest", *rest]:
                return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *rest]
            case _:
                return words

    def _variables(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder), str(ROOT)])
        return {**os.environ, **self.environment, "PYTHONPATH": path, "COLUMNS": "200"}

    def close(self) -> None:
        """Stops what runs, the last first, and closes what the snippets and their modules left open."""
        for process in reversed(self._servers):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        ours = [one for one in sys.modules.values() if str(getattr(one, "__file__", "")).startswith(str(self.folder))]
        for value in (*self.names.values(), *(value for one in ours for value in vars(one).values())):
            if isinstance(value, zq.Client | zq.App | sqlite3.Connection):
                value.close()


def free_endpoint() -> str:
    """Returns an address of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{found.getsockname()[1]}"


def starts_coordinator(steps: list[Step]) -> bool:
    """Whether a page starts its own coordinator, so that there must be no other."""
    return any(re.search(r"^zq (coordinator|dev)\b", one.fence.text, re.MULTILINE) for one in steps)


def files_of(steps: list[Step]) -> Iterator[str]:
    """Yields the modules that a page writes."""
    yield from (
        one.file.removesuffix(".py").replace("/", ".") for one in steps if one.file and one.file.endswith(".py")
    )
