"""The turns of the real shell over the simulated process: what it does with a turn that fails is its own code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tests.simulation.world import Connection
from zq.core.coordinator import Machine
from zq.processes.pulse import NO_PULSE
from zq.server import loop
from zq.server.loop import Server
from zq.wire.messages import Error

if TYPE_CHECKING:
    from tests.simulation.kitchen import Kitchen

STEP_SECONDS = 0.0001
"""That a turn with one message takes, after one that has failed: no two turns are at the same time."""


class ProgramFaultError(LookupError):
    """A mistake of this program, in the midst of a turn."""


class _Broken(BaseException):
    """What the shell would take for a fault that it has to live with, and is none that was planted."""


class Came(NamedTuple):
    """A message in the inbox of the process, as a turn takes it."""

    connection: Connection
    message: Any

    @property
    def peer(self) -> bytes:
        return self.connection.peer


class Told:
    """A log, of which the lines on damage are kept."""

    def __init__(self) -> None:
        self.damages: list[str] = []

    def error(self, text: str, *details: Any) -> None:
        if text.startswith("%s is damaged"):
            self.damages.append(text % details)

    def exception(self, *_: Any) -> None:
        """Says nothing of a fault that was planted."""

    warning = info = debug = exception


class _Clock:
    """The module `time`, as far as a turn needs it."""

    def __init__(self, kitchen: Kitchen) -> None:
        self._kitchen = kitchen

    def monotonic(self) -> float:
        return self._kitchen.world.now

    def sleep(self, seconds: float) -> None:
        """Lets time pass in which nobody else acts, but whoever fills the disk."""
        self._kitchen.world.now += seconds
        self._kitchen.world.note("wait for room")
        self._kitchen.disk.space.act()


class _Sender:
    def __init__(self, kitchen: Kitchen) -> None:
        self._kitchen = kitchen

    def forget(self) -> None:
        """Does nothing: nothing is remembered."""

    def send(self, outbox: list[tuple[bytes, Any]]) -> list[bytes]:
        """Sends what no turn has made: that a message did not fit."""
        for _, message in outbox:
            self._kitchen.note_unfit(message)
        self._kitchen.send(outbox)
        return []


class _Chronicle:
    def tell_unfit(self, text: str) -> None:
        """Says nothing."""


class _Inbox:
    received: list[Came]


class Shell(Server):
    """See `zq.server.loop.Server`, of which only what takes turns and reads the books is used."""

    def __init__(self, kitchen: Kitchen) -> None:  # nothing of a server is made
        self._kitchen = kitchen
        self.path = Path("/simulated")
        self.pulse = NO_PULSE
        self.told = Told()
        self._is_stopping = False
        self._unreachable = []
        self._reception = cast("Any", _Inbox())
        self._sender = cast("Any", _Sender(kitchen))
        self._chronicle = cast("Any", _Chronicle())
        self._clock = _Clock(kitchen)
        self.begin_life()

    def begin_life(self) -> None:
        self.commits = self._faults = 0
        self._is_serving = False

    @contextmanager
    def _in_world(self) -> Iterator[None]:
        """Has the shell look at the clocks of the world, and say what it says here."""
        module: Any = loop
        before = module.log, module.time, module.read, module._now
        module.log, module.time = self.told, self._clock
        module.read, module._now = lambda came: came.message, self._kitchen.world.clocks
        try:
            yield
        finally:
            module.log, module.time, module.read, module._now = before

    def open_books(self) -> None:
        """Reads the books of a process that starts."""
        self.begin_life()
        self._store = cast("Any", self._kitchen.disk.store)
        with self._in_world():
            self._read_books()
        self._is_serving = True

    def turn(self, received: list[Came]) -> None:
        """Takes a turn, and whatever it takes when it fails."""
        self._reception.received = cast("Any", received)
        with self._in_world():
            try:
                self._turn()
            except _Broken as broken:
                assert broken.__cause__ is not None
                raise broken.__cause__ from None

    def _step(self, messages: Iterable[tuple[Any, Any]] | None = None) -> None:
        received, kitchen = cast("list[Came]", self._reception.received), self._kitchen
        try:
            if messages is None:
                kitchen.step(received, is_alone=False)
            else:
                kitchen.world.now += STEP_SECONDS
                places = {one.peer: one.connection for one in received}
                kitchen.step([Came(places[peer], message) for peer, message in messages], is_alone=True)
        except ProgramFaultError:
            raise
        except loop.FAULTS as error:
            raise _Broken from error
        self.commits += 1

    def _make_machine(self, before: Machine | None) -> None:
        self._machine = self._kitchen.make_machine(before)


def is_refusal(message: Any) -> bool:
    """Whether a message says that there is no room."""
    return isinstance(message, Error) and message.code == "busy"
