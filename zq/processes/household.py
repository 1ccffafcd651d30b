"""Processes of one program that run beside each other: started, listened to, started again, and ended together.

Each member is a child of `zq.processes.children`, with a process group of its own: a terminal's Ctrl-C reaches its
parent alone, which ends the members in an order that makes sense, and none of them outlives the parent, however that
ends.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from zq.processes.children import kill_group, restart_pause, start_program, wait_or_kill
from zq.processes.exits import UNABLE, describe_exit

LINE_BYTES_MAX = 1 << 16
"""Of what a member prints: what is longer is shown in parts."""

LAST_WORDS_PATIENCE = 1.0
"""Seconds that are waited for the last lines of a member: what it started may hold its pipe for longer."""

SETTLED_AFTER = 5.0
"""Seconds that a member must have run for its end not to count as another failure in a row."""

MEMBER_LOOK_INTERVAL = 0.05
"""Seconds between two looks at members that are to end."""

Hear = Callable[[str, str], None]


@dataclass(eq=False)
class Member:
    """One process of a household.

    Attributes:
        name: as it is called in front of its lines.
        arguments: that its module gets.
        is_vital: nothing goes on without it; another one is started again.
        ready: what is in the line with which it says that it works; empty: it does not say it.
        rest: seconds, at least, before it is started again.
        final_codes: exit codes after which it is not started again, and ends all.
        ready_line: the line that said that it works; None: not yet.
        code: how it has ended, when it is not started again.
    """

    name: str
    arguments: tuple[str, ...]
    is_vital: bool = False
    ready: str = ""
    rest: float = 0.0
    final_codes: tuple[int, ...] = (2, UNABLE)
    ready_line: str | None = None
    code: int | None = None
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_at: float = 0.0
    start_again_at: float | None = None
    reader: threading.Thread | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """What follows in the line with which it said that it works: where it listens, say."""
        words = (self.ready_line or "").partition(self.ready)[2].split()
        return words[0].rstrip(",;") if words else ""


class Household:
    """Members, which one thread starts and looks after; what they print is heard in threads of their own."""

    def __init__(self, module: str, hear: Hear) -> None:
        """Makes a household without members.

        Args:
            module: what members run; its `main` begins with `become_child`.
            hear: called with a member's name and a line that it has printed, or that is about it; by any thread.
        """
        self._module = module
        self._hear = hear
        self.members: list[Member] = []

    def add(self, member: Member) -> Member:
        """Starts a member, and returns it."""
        self.members.append(member)
        self._start(member)
        return member

    def look(self) -> Member | None:
        """Starts again whoever has ended, in time; returns a member that has ended and without which nothing goes
        on.
        """
        now = time.monotonic()
        for member in self.members:
            if member.start_again_at is not None:
                if now >= member.start_again_at:
                    self._start(member)
                continue
            code = None if member.process is None else member.process.poll()
            if code is not None and self._note_end(member, code, now):
                return member
        return None

    def wait_ready(self, member: Member, patience: float, is_given_up: Callable[[], bool]) -> bool:
        """Waits until a member says that it works; returns whether it did."""
        give_up_at = time.monotonic() + patience
        while member.ready_line is None:
            if self.look() is not None or is_given_up() or time.monotonic() >= give_up_at:
                return False
            time.sleep(MEMBER_LOOK_INTERVAL)
        return True

    def close(self, patience: float, is_hasty: Callable[[], bool]) -> None:
        """Ends all members: the others first, and then those that are vital.

        Args:
            patience: seconds that each has to end what it does.
            is_hasty: asked again and again whether that is to be cut short.
        """
        for is_vital in (False, True):
            members = [one for one in self.members if one.is_vital is is_vital and one.process is not None]
            self._end(members, patience, is_hasty)

    def _start(self, member: Member) -> None:
        member.start_again_at, member.ready_line = None, None
        member.started_at = time.monotonic()
        member.process = start_program(
            self._module, *member.arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert member.process.stdout is not None
        name = f"zq-lines-{member.name}"
        member.reader = threading.Thread(
            target=self._read, args=(member, member.process.stdout), name=name, daemon=True
        )
        member.reader.start()

    def _read(self, member: Member, source: BinaryIO) -> None:
        with source:
            while line := source.readline(LINE_BYTES_MAX):
                text = line.decode(errors="replace").rstrip("\r\n")
                if member.ready and member.ready in text:
                    member.ready_line = text
                self._hear(member.name, text)

    def _note_end(self, member: Member, code: int, now: float) -> bool:
        """Notes that a member has ended; returns whether all must end with it."""
        self._hear_last_words(member)
        if member.process is not None:
            wait_or_kill(member.process, 0.0)  # what it has started
        if member.is_vital or code in member.final_codes:
            member.code, member.process = code, None
            self._hear(member.name, f"{describe_exit(code)}; all else ends, too")
            return True
        member.failures = 1 if now - member.started_at > SETTLED_AFTER else member.failures + 1
        pause = max(member.rest, restart_pause(member.failures))
        member.start_again_at, member.process = now + pause, None
        self._hear(member.name, f"{describe_exit(code)}; it is started again in {pause:.1f} s")
        return False

    def _hear_last_words(self, member: Member) -> None:
        if member.reader is not None:
            member.reader.join(LAST_WORDS_PATIENCE)

    def _end(self, members: list[Member], patience: float, is_hasty: Callable[[], bool]) -> None:
        processes = [one.process for one in members if one.process is not None]
        for process in processes:
            process.terminate()
        give_up_at = time.monotonic() + patience
        was_hasty = False
        while time.monotonic() < give_up_at and any(process.poll() is None for process in processes):
            time.sleep(MEMBER_LOOK_INTERVAL)  # two signals at once would be one
            if is_hasty() and not was_hasty:
                was_hasty = True
                give_up_at = min(give_up_at, time.monotonic() + SETTLED_AFTER)
                for process in processes:
                    process.terminate()  # the second ends it at once
        for member, process in zip(members, processes, strict=True):
            if process.poll() is None:
                kill_group(process)
            wait_or_kill(process, 0.0)
            member.code, member.process = process.returncode, None
            self._hear_last_words(member)
