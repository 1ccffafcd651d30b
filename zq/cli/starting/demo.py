"""`zq demo`: the pizza town."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zq.cli.output import INTERRUPTED, echo, exit_codes, fail, print_json

if TYPE_CHECKING:
    from zq.cli.starting.stopping import StopRequest
    from zq.demo.evening import Evening
    from zq.demo.ledger import PizzaLedger
    from zq.demo.town import Town


def demo(
    orders: Annotated[
        int | None, typer.Option(min=1, help="Customers who come.", show_default="without end; 160 with --once")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds that customers come.", show_default="until Ctrl-C")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="A quick evening with one crash.")] = False,
    shops: Annotated[int, typer.Option(min=1, max=50, help="Shops, each a process with three ovens.")] = 3,
    crash: Annotated[bool, typer.Option("--crash/--no-crash", help="Let shops explode.")] = True,
    seed: Annotated[int, typer.Option(help="Of the customers' wishes.")] = 1,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard", help="Start the dashboard.")] = True,
    picture: Annotated[
        Path | None, typer.Option(help="Write the screen after the first crash to this file, as an SVG.")
    ] = None,
    bind: Annotated[
        str | None,
        typer.Option(help="Address of the coordinator.", show_default="tcp://127.0.0.1:7700, or a free port"),
    ] = None,
    dashboard_bind: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of the dashboard.", show_default="127.0.0.1:7780, or a free port"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", "-j", help="Print JSON, one object a line.")] = False,
) -> None:
    """Run a town of pizza shops, of which one explodes now and then, and watch its orders go to another one.

    A coordinator, the dashboard and the shops are processes. Every half a minute a shop is killed with SIGKILL while it
    bakes; what to look at is said before. Nothing is kept. At the end the books must add up, or the exit code is 1.

    Examples:
        zq demo
        zq demo --once --no-crash --json
    """
    with exit_codes():
        from zq.cli.starting.stopping import StopRequest
        from zq.demo.evening import Evening
        from zq.demo.pace import IN_HASTE, TO_WATCH

        if crash and shops < 2:
            raise ValueError("expected 2 shops or more, so that one can explode, or --no-crash")
        orders_max = orders or (160 if once else None)
        evening = Evening(IN_HASTE if once else TO_WATCH, shops, orders_max, duration, crash, seed, picture)
        with StopRequest() as request:
            ledger = _run(evening, request, bind, (dashboard_bind, dashboard), as_json=as_json)
    if ledger is None:
        raise typer.Exit(INTERRUPTED)
    _close_books(ledger, as_json=as_json)


def _close_books(ledger: PizzaLedger, *, as_json: bool) -> None:
    faults = ledger.faults()
    if as_json:
        print_json({**ledger.as_dict(), "faults": faults})
    elif not faults:
        echo("The books add up: nothing lost, nothing completed twice.")
    if faults:
        fail("the books do not add up: " + "; ".join(faults))


def _run(
    evening: Evening, request: StopRequest, bind: str | None, dashboard: tuple[str | None, bool], *, as_json: bool
) -> PizzaLedger | None:
    """Runs an evening; returns its books, or None when it was left before its end.

    Args:
        evening: as it is to be.
        request: for its end.
        bind: where the coordinator is to listen; None: at the usual port, or another.
        dashboard: the same of the dashboard, and whether it is wanted.
        as_json: whether nothing is shown.
    """

    from zq.cli.starting import member
    from zq.cli.starting.places import (
        WITHOUT_DASHBOARD,
        bind_of_coordinator,
        bind_of_dashboard,
        has_dashboard,
        leave_key,
    )
    from zq.demo.town import Town, TownError
    from zq.processes.own_folder import own_folder

    def say(text: str) -> None:
        if not as_json:
            echo(text, err=True)

    leave_key(say)
    dashboard_bind, is_wanted = dashboard
    if is_wanted and not has_dashboard():
        say(WITHOUT_DASHBOARD)
        is_wanted = False
    with own_folder("demo") as folder:
        town = Town(member.__name__, Path(folder), lambda: request.is_set)
        try:
            place = bind_of_dashboard(dashboard_bind, say) if is_wanted else None
            town.open(evening.pace, bind_of_coordinator(bind, say), place)
            return _spend(evening, town, request, as_json=as_json)
        except TownError as error:
            fail(str(error))
        finally:
            town.close(lambda: request.is_hasty)


def _spend(evening: Evening, town: Town, request: StopRequest, *, as_json: bool) -> PizzaLedger | None:
    import zq
    from zq.cli.starting.places import option_for
    from zq.demo.ledger import PizzaLedger
    from zq.demo.screen import Screen

    if request.is_set:
        return None
    ledger = PizzaLedger()
    screen = Screen(ledger, town.page, option_for(town.address), is_silent=as_json)
    with zq.Client(town.address) as client:
        town.open_shops(evening.shops, evening.pace, client)
        if town.page is not None:
            screen.say(f"the dashboard is at {town.page}")
        with screen:
            is_closed = evening.run(town, client, screen, ledger, request)
        if not is_closed:
            return None
    screen.print_ledger()
    return ledger
