"""The commands `zq pipeline ...`, which the entry point `zq.commands` adds to the command line of zq. Loads nothing
that `--help` does not need.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from zq.processes.shown import json_text, shown

if TYPE_CHECKING:
    from patterns.run.running import Run

FAILED = 1
USAGE = 2
ACCESS_DENIED = 77
INTERRUPTED = 130

app = typer.Typer(
    name="pipeline",
    help="Run pipelines that are composed in code.",
    no_args_is_help=True,
    add_completion=False,  # zq has one for all of its commands
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 an item failed or was lost, 2 usage, 77 access denied, 130 interrupted.",
)

LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    typer.Option(envvar="ZQ_LOG_LEVEL", help="What is logged, on stderr, by stages too."),
]

KeyFile = Annotated[
    str | None,
    typer.Option(
        "--key", envvar="ZQ_KEY", help="File of a key: for the coordinator, or for the other machines of a direct run."
    ),
]

Spec = Annotated[str, typer.Argument(help="The pipeline, as module:attribute or path.py:attribute.")]


@app.command()
def draw(
    spec: Spec,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As the text of a Mermaid flowchart.")] = False,
    as_json: Annotated[bool, typer.Option("--json", "-j", help="Print JSON, one object a line.")] = False,
) -> None:
    """Print a pipeline as text.

    Examples:
        zq pipeline draw kitchen:pipeline
        zq pipeline draw kitchen.py:pipeline --mermaid
    """
    with _exit_codes():
        from patterns.pipeline.pipeline import load_pipeline

        _find_modules_here()
        pipeline = load_pipeline(spec)
        diagram = pipeline.diagram()  # also looks whether it is complete
        if as_json:
            _echo(json_text({"text": str(pipeline), "mermaid": diagram}))
        else:
            _echo(diagram.rstrip() if mermaid else str(pipeline))


@app.command()
def run(
    spec: Spec,
    ordered: Annotated[bool, typer.Option("--ordered", help="Print results in the order of the input.")] = False,
    on_error: Annotated[
        Literal["raise", "skip", "collect"],
        typer.Option(help="What an item does that a stage fails for: end the run, be counted, or be told at the end."),
    ] = "raise",
    allow_loss: Annotated[
        bool, typer.Option("--allow-loss", help="Go on when a process dies and items are lost.")
    ] = False,
    threads: Annotated[
        bool, typer.Option("--threads", help="Run stages in threads instead of child processes.")
    ] = False,
    progress: Annotated[bool, typer.Option("--progress", help="Show a line for each stage.")] = False,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(help="STAGE=tcp://host:port of a worker that `zq pipeline serve` runs; may be repeated."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address of this machine at which those workers reach it.")] = None,
    key: KeyFile = None,
    insecure_bind: Annotated[
        bool, typer.Option("--insecure-bind", help="Let other machines reach the sockets of a run without a key.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Run durable, with a coordinator in this process that keeps this directory.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Run durable, over the coordinator at this address.")] = None,
    run_id: Annotated[
        str | None, typer.Option(help="Go on with the durable run of this id, or begin it.", show_default="made")
    ] = None,
    workers: Annotated[
        bool, typer.Option("--workers/--no-workers", help="Start workers for a durable run, or leave that to others.")
    ] = True,
    log_level: LogLevel = "warning",
) -> None:
    """Read items as JSON lines on stdin, and print results as JSON lines on stdout.

    Examples:
        zq pipeline run kitchen:pipeline < items.jsonl
        zq pipeline run kitchen:pipeline --data ./run.zq --run-id monday < items.jsonl
        zq pipeline run kitchen:pipeline --address tcp://127.0.0.1:7700 --no-workers
    """
    with _exit_codes():
        from patterns.pipeline.pipeline import load_pipeline
        from patterns.run.settings import RunOptions
        from zq.processes.logs import configure_log

        _find_modules_here()
        pipeline = load_pipeline(spec)
        configure_log(log_level)  # after its module, which may have its own idea of logs
        given: dict[str, Any] = {
            "allow_loss": allow_loss or None,
            "endpoints": _by_stage(endpoint or []) or None,
            "host": host,
            "key": key,
            "insecure_bind": insecure_bind or None,
            "data": data,
            "address": address,
            "run_id": run_id,
            "workers": None if workers else False,
        }
        options: RunOptions = {"ordered": ordered, "on_error": on_error, "threads": threads, "progress": progress}
        # They have the names of its keys.
        options.update({name: value for name, value in given.items() if value is not None})  # type: ignore[typeddict-item]
        _print_results(pipeline.run(_read_items(), **options))


@app.command()
def serve(
    spec: Spec,
    stage: Annotated[str, typer.Option(help="Name of the stage to run here.")],
    bind: Annotated[
        list[str],
        typer.Option(help="tcp://host:port at which a worker waits to be called; repeat it for more workers."),
    ],
    key: KeyFile = None,
    insecure_bind: Annotated[
        bool, typer.Option("--insecure-bind", help="Allow an address that other machines can reach without a key.")
    ] = False,
    log_level: LogLevel = "warning",
) -> None:
    """Run workers of a stage for direct pipelines that are run elsewhere, until SIGTERM or Ctrl-C.

    Examples:
        zq pipeline serve kitchen:pipeline --stage bake --bind tcp://127.0.0.1:7801
    """
    with _exit_codes():
        from patterns.direct.places import is_local
        from patterns.direct.serving import StageServer
        from zq.keys.own import find_key
        from zq.processes.logs import configure_log

        _find_modules_here()
        found = find_key(key, bind[0])
        server = StageServer(spec, stage, bind, found)
        configure_log(log_level)
        for endpoint in bind:
            if found is None and not insecure_bind and not is_local(endpoint):
                raise ValueError(
                    f"{endpoint} can be reached by other machines, and whoever reaches it can give items to the stage: "
                    "give it a key (--key, ZQ_KEY), bind tcp://127.0.0.1:PORT, or give --insecure-bind on a network that "
                    "you trust"
                )
        server.run()


def _print_results(run: Run[Any]) -> None:
    """Prints the results of a run as they come, and ends the command when items failed or were lost."""
    with run as results:
        for result in results:
            _echo(json_text(result))
    for error in results.errors:
        _echo(f"zq: {error}", err=True)
    lost = sum(results.lost.values())
    if results.failed or lost:
        _fail(f"{results.failed} of {results.sent} items failed, {lost} were lost")


def _find_modules_here() -> None:
    from zq.processes.references import lend_main, own_folder

    sys.path.insert(0, own_folder())  # as `python -m` does; a console script has its own folder there
    lend_main()


def _read_items() -> Iterator[Any]:
    if sys.stdin is None:
        raise ValueError("expected items as lines on standard input, which is closed")
    for number, line in enumerate(sys.stdin, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} of the input is not JSON: {error}") from error
            except RecursionError:
                raise ValueError(f"line {number} of the input is nested too deeply") from None


def _by_stage(endpoints: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in endpoints:
        stage, separator, endpoint = one.partition("=")
        if not separator:
            raise ValueError(f"expected --endpoint STAGE=tcp://host:port, got {one!r}")
        found.setdefault(stage, []).append(endpoint)
    return found


def _echo(text: str, *, err: bool = False) -> None:
    """Prints lines, with all escaped that could drive a terminal; what stderr does not take is lost."""
    if sys.stdout is None and not err:
        raise OSError(errno.EBADF, "standard output is closed")
    try:
        typer.echo(shown(text), err=err)
    except OSError:
        if not err:
            raise


def _fail(text: str, code: int = FAILED) -> NoReturn:
    _echo(f"zq: {text}", err=True)
    raise typer.Exit(code)


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Turns errors into messages and exit codes, as all commands of zq do."""
    from zq import AccessDeniedError, KeyFileError, ZqError
    from zq.processes.references import StartedOnImportError

    try:
        yield
    except AccessDeniedError as error:
        _fail(str(error), ACCESS_DENIED)
    except KeyFileError as error:
        _fail(str(error), USAGE)
    except ZqError as error:
        _fail(str(error))
    except (ValueError, TypeError, StartedOnImportError) as error:
        _fail(str(error), USAGE)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
