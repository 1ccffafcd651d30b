"""An evening in the pizza town: customers come, shops bake, one of them explodes now and then, and the books are
closed.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zq
from zq.demo.customers import Street, take_payments
from zq.demo.ledger import PizzaLedger
from zq.demo.pace import EveningPace
from zq.demo.screen import Screen
from zq.demo.town import Town

SCREEN_INTERVAL = 0.2


class EveningEnd(Protocol):
    """Who ends an evening before its time."""

    @property
    def is_set(self) -> bool:
        """Whether no more customers are to come."""

    @property
    def is_hasty(self) -> bool:
        """Whether nothing is waited for."""

    def wait(self, seconds: float) -> bool:
        """Waits for the end; returns whether it is there."""


@dataclass(frozen=True, slots=True)
class Evening:
    """What an evening is to be.

    Attributes:
        pace: how fast it goes.
        shops: how many there are.
        orders_max: customers who come; None: they come until the evening is ended.
        seconds: how long they come; None: as long as there are any.
        has_crashes: whether shops explode.
        seed: of the customers' wishes.
        picture: file for the screen as it is when the first killed shop is missed; None: there is no picture.
    """

    pace: EveningPace
    shops: int
    orders_max: int | None
    seconds: float | None
    has_crashes: bool
    seed: int
    picture: Path | None = None

    def run(self, town: Town, client: zq.Client, screen: Screen, ledger: PizzaLedger, ending: EveningEnd) -> bool:
        """Runs the evening in a town that is open; returns whether it came to its end, so that the books are closed.

        Raises:
            TownError: a process without which nothing goes on has ended.
            ZqError: something went wrong that is no part of an evening.
        """
        street = Street(client, ledger, self.pace, random.Random(self.seed), screen.say)
        crowd = threading.Thread(target=street.open, args=(self.orders_max,), name="street", daemon=True)
        cashier = threading.Thread(target=take_payments, args=(client, ledger, street), name="cashier", daemon=True)
        for one in (crowd, cashier):
            one.start()
        crashes = Crashes(self.pace, town, client, street, screen) if self.has_crashes else None
        close_at = None if self.seconds is None else time.monotonic() + self.seconds
        is_closed, picture = False, self.picture
        while crowd.is_alive() or cashier.is_alive():
            town.look()
            workers = client.workers.list()
            screen.show(workers, client.queues.list())
            if picture is not None and any(one.state == "suspect" for one in workers):
                screen.save_picture(picture)
                picture = None
            if not is_closed and (ending.is_set or (close_at is not None and time.monotonic() >= close_at)):
                is_closed = True
                street.close()
                screen.announce("the shops close: who is there gets a pizza; Ctrl-C leaves at once")
            if ending.is_hasty:
                return False
            if crashes is not None and not street.is_over.is_set():
                crashes.look(is_closed=is_closed)
            _pause(ending, is_closed=is_closed)
        if street.fault is not None:
            raise street.fault
        ledger.close(client.query("status"), crashes=0 if crashes is None else crashes.count)
        return True


def _pause(ending: EveningEnd, *, is_closed: bool) -> None:
    if is_closed:
        time.sleep(SCREEN_INTERVAL)
    else:
        ending.wait(SCREEN_INTERVAL)


class Crashes:
    """Has shops explode: each time an order that takes long is put into an oven, can be watched there for a while, and
    then its shop is killed.

    Attributes:
        count: shops that were killed.
    """

    def __init__(self, pace: EveningPace, town: Town, client: zq.Client, street: Street, screen: Screen) -> None:
        self.count = 0
        self._pace = pace
        self._town = town
        self._client = client
        self._street = street
        self._screen = screen
        self._next_at = time.monotonic() + pace.crash_first
        self._parties = 0
        self._order: str | None = None  # that waits for its oven
        self._doomed: str | None = None  # the shop that has it

    def look(self, *, is_closed: bool) -> None:
        """Does what is due; when the shops are closed, it begins nothing new."""
        now = time.monotonic()
        if self._order is not None and self._doomed is None:
            self._look_for_oven(self._order, now)
        elif now < self._next_at:
            return
        elif self._order is None and not is_closed:
            self._parties += 1
            self._order = self._street.order_for_party(self._parties)
        elif self._order is not None and self._doomed is not None:
            self._explode(self._order, self._doomed, now)

    def _look_for_oven(self, order: str, now: float) -> None:
        try:
            task = self._client.status(order)
        except zq.TaskUnknownError:
            return  # it is not ordered yet
        if task.finished_time is not None:
            self._order = None  # it was ready before anybody looked: another one is ordered
        elif task.state == "leased" and task.worker is not None:
            self._doomed = task.worker
            self._next_at = now + self._pace.warning
            self._screen.point_at(order, f"{order} is in an oven of {task.worker}, which will explode in a moment")

    def _explode(self, order: str, shop: str, now: float) -> None:
        self._order = self._doomed = None
        self._next_at = now + self._pace.crash_every
        if self._town.kill(shop):
            self.count += 1
            self._screen.point_at(order, f"{shop} has exploded (SIGKILL while baking): {order} goes to another shop")
