"""An evening at the pizza shops: `python examples/pizza [--orders 160 --shops 3 --no-crash --seed 1 --json]`.

A coordinator and the shops run as separate processes. While orders come in, one shop is killed with SIGKILL as it
bakes: its takeaway orders are cancelled and the customers told, its delivery orders go to other shops. At the end the
books must add up, or the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from customers import Street, take_payments
from ledger import Ledger
from screen import Screen
from town import Town

import zq

PAUSE = 0.06
"""Mean seconds between two customers: a little more than the shops can bake, so that some are told to come back
later.
"""

PICTURE_AFTER = 0.66
"""Seconds from the crash to the picture: the shop is suspect by then (`town.QUICK`), and still on the screen."""


def evening(arguments: argparse.Namespace) -> Ledger:
    """Runs an evening and returns its books."""
    ledger = Ledger()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="pizza-") as directory:
        town = Town(Path(directory))
        try:
            town.open_shops(arguments.shops)
            with zq.Client(town.address) as client, Screen(ledger, is_silent=arguments.json) as screen:
                town.wait_until_open(client)
                street = Street(client, ledger, rng, screen.say)
                cashier = threading.Thread(target=take_payments, args=(client, ledger, street.is_over))
                cashier.start()
                crowd = threading.Thread(target=street.open, args=(arguments.orders, PAUSE))
                crowd.start()
                watch(town, client, screen, crowd, with_crash=arguments.crash, picture=arguments.picture)
                cashier.join()
                ledger.close(client.query("status"))
        finally:
            town.close()
    if not arguments.json:
        screen.print_ledger()
    return ledger


def watch(
    town: Town, client: zq.Client, screen: Screen, crowd: threading.Thread, *, with_crash: bool, picture: Path | None
) -> None:
    """Draws until the crowd has gone home, and lets one shop crash on the way."""
    crash_at = time.monotonic() + 1.5
    picture_at = crash_at + PICTURE_AFTER
    while crowd.is_alive():
        screen.show(client.workers.list(), client.queues.list())
        if with_crash and time.monotonic() > crash_at:
            name = town.kill_a_busy_shop(client)
            if name is not None:
                with_crash = False
                screen.say(f"[bold red]{name} has exploded (SIGKILL while baking)")
                picture_at = time.monotonic() + PICTURE_AFTER
        if picture is not None and time.monotonic() > picture_at:
            screen.save_picture(picture)
            picture = None
        crowd.join(0.05)


def main() -> int:
    """Parses the command line, runs the evening and checks its books."""
    parser = argparse.ArgumentParser(prog="python examples/pizza", description="An evening at the pizza shops.")
    parser.add_argument("--orders", type=int, default=160, help="customers who come [default: 160]")
    parser.add_argument("--shops", type=int, default=3, help="shops, each a process with three ovens [default: 3]")
    parser.add_argument("--no-crash", action="store_false", dest="crash", help="let no shop crash")
    parser.add_argument("--seed", type=int, default=1, help="of the customers' wishes [default: 1]")
    parser.add_argument("--json", action="store_true", help="print the closing ledger as JSON and nothing else")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the screen after the crash as an SVG")
    arguments = parser.parse_args()
    if arguments.orders < 1 or arguments.shops < (2 if arguments.crash else 1):
        parser.error("expected at least 1 order, and 2 shops so that one can crash")
    ledger = evening(arguments)
    faults = ledger.faults(with_crash=arguments.crash)
    if arguments.json:
        print(json.dumps({**ledger.as_dict(), "faults": faults}))
    elif not faults:
        print("The books add up: nothing lost, nothing completed twice.")
    for fault in faults:
        print(f"the books do not add up: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
