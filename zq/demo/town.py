"""The processes of the evening: a coordinator, the dashboard and the shops, each on its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import zq
from zq.demo import shop
from zq.demo.pace import EveningPace
from zq.processes.household import Household, Member

SHOP_NAMES = ("Napoli", "Roma", "Milano", "Torino", "Palermo", "Genova", "Bari", "Verona", "Trieste", "Lecce")

SEATS = 40
"""Orders that the shops take on together; who comes when they are taken is told to come back later."""

SAYS_READY = " ready on "
"""What stands before their places, where they say that they work."""

TOWN_PATIENCE = 60.0
END_PATIENCE_OF_SHOPS = 10.0

LOG_CHARS = 2000
"""Of the end of what the processes have printed, when they do not work."""


class TownError(Exception):
    """The processes of the town do not work; the text says what they have printed."""


class Town:
    """Starts processes, and ends those that are left.

    Attributes:
        address: of the coordinator, once it is open.
        page: address of the dashboard; None: there is none.
    """

    def __init__(self, module: str, folder: Path, is_given_up: Callable[[], bool]) -> None:
        """Makes a town without anybody in it.

        Args:
            module: what runs a command of zq as a member of a household.
            folder: for data and log.
            is_given_up: asked while something is waited for.
        """
        self.address = ""
        self.page: str | None = None
        self._folder = folder
        self._is_given_up = is_given_up
        self._log = (folder / "log.txt").open("a", encoding="utf-8")
        self._household = Household(module, self._note)
        self._shops: dict[str, Member] = {}

    def open(self, pace: EveningPace, bind: str, dashboard: str | None) -> None:
        """Starts coordinator and dashboard.

        Args:
            pace: from which the coordinator's times are taken.
            bind: where the coordinator is to listen; port * takes a free one.
            dashboard: HOST:PORT for it; None: there is none.

        Raises:
            TownError: they do not start.
        """
        data = str(self._folder / "orders")
        options = "--assign", "hash", "--queue-tasks-max", str(SEATS), *pace.coordinator_options()
        arguments = "coordinator", "--data", data, "--bind", bind, *options
        self.address = self._start(Member("coordinator", arguments, is_vital=True, ready=SAYS_READY))
        if dashboard is not None:
            arguments = "dashboard", "--bind", dashboard, "--address", self.address
            self.page = self._start(Member("dashboard", arguments, ready=SAYS_READY))

    def open_shops(self, count: int, pace: EveningPace, client: zq.Client) -> None:
        """Starts shops, and waits until all are there; one that ends is started again later."""
        for number in range(count):
            name = SHOP_NAMES[number] if number < len(SHOP_NAMES) else f"Shop-{number + 1}"
            spec = f"{shop.__name__}:worker"
            arguments = "worker", spec, "--name", name, "--processes", "0", "--address", self.address
            self._shops[name] = self._household.add(Member(name, arguments, rest=pace.reopen, final_codes=()))
        give_up_at = time.monotonic() + TOWN_PATIENCE
        while len(client.workers.list()) < count:
            self.look()
            if time.monotonic() > give_up_at:
                raise TownError(f"the shops did not open within {TOWN_PATIENCE:.0f} s:\n{self._last_words()}")
            if self._is_given_up():
                return
            time.sleep(0.05)

    def look(self) -> None:
        """Starts again the shops whose time has come; raises TownError when nothing can go on."""
        ended = self._household.look()
        if ended is not None:
            raise TownError(f"the {ended.name} has ended:\n{self._last_words()}")

    def kill(self, name: str) -> bool:
        """Ends a shop with SIGKILL; returns whether it was open."""
        member = self._shops.get(name)
        if member is None or member.process is None:
            return False
        member.process.kill()
        return True

    def close(self, is_hasty: Callable[[], bool]) -> None:
        """Closes shops, dashboard and coordinator."""
        self._household.close(END_PATIENCE_OF_SHOPS, is_hasty)
        self._log.close()

    def _start(self, member: Member) -> str:
        """Starts somebody, and returns where it listens, as it says."""
        self._household.add(member)
        is_ready = self._household.wait_ready(member, TOWN_PATIENCE, self._is_given_up)
        if not is_ready and not self._is_given_up():
            raise TownError(f"the {member.name} did not start:\n{self._last_words()}")
        return member.place

    def _note(self, name: str, line: str) -> None:
        try:
            self._log.write(f"{name}: {line}\n")
            self._log.flush()
        except ValueError:
            pass  # it is closed: what somebody says at the very end is of no interest

    def _last_words(self) -> str:
        return (self._folder / "log.txt").read_text(encoding="utf-8")[-LOG_CHARS:]
