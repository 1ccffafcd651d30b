"""A run of the recorded coordinator under strace, over several lives, and what was acknowledged when."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any

import msgpack

from tests.images.disk import Disk
from tests.images.recorded import BEGUN, COMMITTED, OPENED, SENT
from tests.images.shop import Shop
from tests.images.trace import CALLS, STRING_BYTES, Call, Mark, Player, read_calls
from zq.wire.codec import decode_from_coordinator
from zq.wire.messages import Ended, Outcome, Receipt

ROOT = Path(__file__).parents[2]


def missing() -> str | None:
    """Returns in words why nothing can be recorded here, or None."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return "no strace here: install it to rebuild what a power cut would leave (apt install strace)"
    found = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return None if found.returncode == 0 else f"strace may not watch processes here: {found.stderr.strip()}"


@dataclass
class Recording:
    """What strace saw, a file for each life of the coordinator."""

    directory: Path
    marks: Path
    traces: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, place: Path) -> Recording:
        """Finds the recording that `record` has made in a folder."""
        return cls(place / "store.zq", place / "marks", sorted(place.glob("trace-*")))

    @cached_property
    def lives(self) -> list[list[Call]]:
        """The calls of each life."""
        found = []
        for path in self.traces:
            with path.open(encoding="ascii") as lines:
                found.append(list(read_calls(lines)))
        return found

    def play(self) -> Iterator[tuple[Disk, Account]]:
        """Yields the disk and what was acknowledged after each call that had to do with it; always the same two."""
        player, account = Player(self.directory, self.marks), Account()
        for calls in self.lives:
            account.is_open = False
            for found in player.play(calls):
                if isinstance(found, Mark):
                    account.note(found.data)
                yield player.disk, account


class Account:
    """What the coordinator has promised so far.

    Attributes:
        committed: the sum of the store, as the last commit that has returned left it; None: there was none.
        begun: sums of commits that may have happened since, or not.
        accepted: ids of batches for which a receipt was sent.
        is_open: the store has been opened, and serves.
        ended: by batch id, spans of tasks of which somebody was told how they ended.
    """

    def __init__(self) -> None:
        self.committed: int | None = None
        self.is_open = False
        self.begun: list[int] = []
        self.accepted: dict[str, None] = {}
        self.ended: dict[str, dict[int, Ended]] = {}

    @property
    def allowed(self) -> set[int]:
        """Sums that the store may have after a power cut at this moment."""
        return {self.committed or 0, *self.begun}

    def note(self, data: bytes) -> None:
        kind, *rest = msgpack.unpackb(data, use_list=False)
        match kind:
            case _ if kind == BEGUN:
                self.begun.append(rest[0])
            case _ if kind == COMMITTED:
                self.committed, self.begun = self.begun[-1], []
            case _ if kind == OPENED:
                self._open(rest[0])
            case _ if kind == SENT:
                for id, frame in rest[0]:
                    self._note_sent(id, decode_from_coordinator(frame))

    def _open(self, found: int) -> None:
        self.is_open = True
        if found not in self.allowed:
            raise AssertionError(f"the store was opened with a sum of {found}, and may have {self.allowed}")
        if found != (self.committed or 0):  # it may still be that it is lost, until the next commit is flushed
            self.begun = [found]

    def _note_sent(self, id: str, message: Any) -> None:
        match message:
            case Receipt(accepted=accepted):
                self.accepted.update(dict.fromkeys(one.id for one in accepted if one.duplicate_of is None))
            case Outcome(ended=ended):
                for span in ended:
                    self.ended.setdefault(id, {})[span.lo] = span


def record(
    place: Path, seed: int, size: int = 1, mistakes: Sequence[str] = (), lives: Sequence[Life] | None = None
) -> Recording:
    """Records lives of a coordinator in a directory, which is made.

    Args:
        size: how much happens in each.
        mistakes: see `tests.images.mistakes`.
        lives: what happens in each; None: all that is known.
    """
    recording = Recording(place / "store.zq", place / "marks")
    shop = Shop(f"ipc://{place}/socket", seed, size)
    waiting = None
    with shop.open():
        for life, happen in enumerate(lives or LIVES, start=1):
            recording.traces.append(place / f"trace-{life}")
            journal = _JOURNALS.get(happen, "on")
            with _coordinator(recording, shop.address, str(life), journal, *mistakes) as process:
                if waiting is not None:
                    waiting.join()
                waiting = happen(shop, life)
                if waiting is None:
                    os.kill(process, signal.SIGTERM)
    return recording


def short_life(shop: Shop, life: int) -> Thread | None:
    """Enough for a mistake to show itself."""
    shop.singles()
    shop.rest()
    shop.orders()
    return None


def _first_life(shop: Shop, life: int) -> Thread | None:
    shop.everything()
    shop.bulk()
    return shop.fatal(life, "after")


def _second_life(shop: Shop, life: int) -> Thread | None:
    shop.poison()
    shop.everything()
    return shop.fatal(life, "before")


def _long_life(shop: Shop, life: int) -> Thread | None:
    """The journal grows."""
    shop.stream(80, 16_000)
    shop.everything()
    return shop.fatal(life, "after")


def _without_journal(shop: Shop, life: int) -> Thread | None:
    """The one life in which there is none: what the one before left has to be in the tables first."""
    shop.singles()
    return None


def _last_life(shop: Shop, life: int) -> Thread | None:
    shop.orders()
    return None


Life = Callable[[Shop, int], Thread | None]
_JOURNALS: dict[Life, str] = {_long_life: "long", _without_journal: "off"}
LIVES: tuple[Life, ...] = (_first_life, _second_life, _long_life, _without_journal, _last_life)
"""What happens in each; what is returned waits for the next, since the coordinator dies of it."""


@contextmanager
def _coordinator(recording: Recording, address: str, *arguments: str) -> Iterator[int]:
    """Starts a coordinator that is recorded, yields its process, and waits until it has ended."""
    strace = ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", str(STRING_BYTES), "-e", f"trace={CALLS}"]
    program = [sys.executable, "-m", "tests.images.recorded", str(recording.directory), address, str(recording.marks)]
    command = [*strace, "-o", str(recording.traces[-1]), *program, *arguments]
    with (
        (recording.marks.parent / "log").open("ab") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        try:
            yield pid
            ended = process.wait(60.0)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
    if ended not in (0, -signal.SIGKILL):
        raise AssertionError(f"the recorded coordinator ended with {ended}")
