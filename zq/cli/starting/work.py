"""`zq work`: a worker whose handler is a program."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zq.cli.arguments import Address
from zq.cli.output import exit_codes
from zq.cli.serving import LogFormat, LogLevel, work_watched
from zq.processes.logs import configure_log

if TYPE_CHECKING:
    from zq.cli.starting.programs import ProgramSettings

EX_DATAERR = 65
"""Of sysexits.h: the input was wrong, and will be."""

EX_TEMPFAIL = 75
"""Of sysexits.h: a failure for now; the user is invited to try again."""


OutputMax = Annotated[
    int, typer.Option(min=1, max=1 << 20, help="Bytes of standard output above which it is ended and fails.")
]


def work(
    queue: Annotated[str, typer.Argument(help="The queue whose tasks are done.")],
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="-- COMMAND [ARGUMENT]...",
            help="The program for each task. {} in an argument is the payload, {pizza} or {order.pizzas.0} a value in it.",
        ),
    ],
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, max=1000, help="Programs at once.")] = 1,
    input: Annotated[
        Literal["json", "text", "none"] | None,
        typer.Option(help="How the payload comes to its standard input.", show_default="json; none with placeholders"),
    ] = None,
    result: Annotated[
        Literal["text", "json", "none"], typer.Option(help="What its standard output is, as the result of the task.")
    ] = "text",
    bury_code: Annotated[
        list[int] | None,
        typer.Option(min=1, max=255, help="Exit code that makes a dead letter at once.", show_default=str(EX_DATAERR)),
    ] = None,
    retry_code: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=255, help="Exit code that asks for another attempt later.", show_default=str(EX_TEMPFAIL)
        ),
    ] = None,
    retry_in: Annotated[float, typer.Option(min=0.0, help="Seconds until that attempt.")] = 30.0,
    output_max: OutputMax = 1 << 20,
    kill_after: Annotated[
        float, typer.Option(min=0.0, help="Seconds between SIGTERM and SIGKILL for a program that is to end.")
    ] = 5.0,
    name: Annotated[str | None, typer.Option(help="Name of the worker.", show_default="made up")] = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when nothing has come for half a second.")] = False,
    address: Address = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Run a program for each task of a queue, until SIGTERM or Ctrl-C: the first waits for what runs, the second ends
    it at once.

    Exit code 0 is done, and standard output the result. 65 makes a dead letter at once, 75 asks for another attempt
    later, every other code and every signal is a failure, with the end of standard error as its reason.

    Examples:
        zq work thumbnails --concurrency 4 -- convert {file} -resize 200 {file}.small.jpg
        zq work orders --result json -- ./bake.sh
    """
    with exit_codes():
        from zq.cli.starting.placeholders import check_no_code, has_places, read_argument
        from zq.cli.starting.programs import ProgramSettings

        arguments = [read_argument(one) for one in command]
        check_no_code(arguments)
        _check_program(command[0])
        source = input or ("none" if has_places(arguments) else "json")
        codes = frozenset(bury_code or [EX_DATAERR]), frozenset(retry_code or [EX_TEMPFAIL])
        settings = ProgramSettings(arguments, source, result, output_max, *codes, retry_in, kill_after)
        configure_log(log_level, log_format, name)
        _run(queue, command, settings, address=address, name=name, concurrency=concurrency, burst=burst)


def _check_program(program: str) -> None:
    """Raises ValueError when there is no such program: no task is taken for nothing."""
    if "{" not in program and shutil.which(program) is None:
        raise ValueError(f"there is no program {program} that can be run; no task was taken")


def _run(
    queue: str,
    command: list[str],
    settings: ProgramSettings,
    *,
    address: str | None,
    name: str | None,
    concurrency: int,
    burst: bool,
) -> None:
    import os

    from zq.cli.starting.programs import Programs
    from zq.cli.starting.suggesting import quoted
    from zq.worker.worker import Worker

    programs = Programs(settings)
    worker = Worker(address, name=name, concurrency=concurrency)
    worker.task(queue)(programs.run)
    os.environ["ZQ_ADDRESS"] = worker.address  # where programs submit
    shown = " ".join(map(quoted, command))
    try:
        says = f"zq work {worker.name} runs {shown} for tasks of {queue} from {worker.address}"
        work_watched(worker, burst=burst, says=says)
    finally:
        programs.kill_all()
