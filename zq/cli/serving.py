"""Commands that run for long: coordinator, worker, bench."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from zq.cli.arguments import TIMEOUT, Address, Json
from zq.cli.output import echo, exit_codes, fail, print_json
from zq.core.options import CoordinatorOptions
from zq.core.peer_limits import PeerLimits
from zq.processes.logs import configure_log, in_form_of_log
from zq.wire.address import ABSTRACT, check_bind_address, is_local
from zq.wire.retry import RetryPolicy

if TYPE_CHECKING:
    from zq.cli.web.child import DashboardChild
    from zq.server.host import HostOptions
    from zq.server.loop import Server
    from zq.worker.worker import Worker

DEFAULTS = CoordinatorOptions()
MIB = 1 << 20

LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"], typer.Option(envvar="ZQ_LOG_LEVEL", help="What is logged, on stderr.")
]

LogFormat = Annotated[
    Literal["text", "json"],
    typer.Option(envvar="ZQ_LOG_FORMAT", help="How it is logged; json is an object a line, with the task it is about."),
]

TasksPerChild = Annotated[
    int | None,
    typer.Option(
        min=1, help="Tasks after which a child process is replaced.", show_default="the worker's own, or no limit"
    ),
]

ChildMemoryMax = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="MiB of memory above which a child process is replaced, between two tasks.",
        show_default="the worker's own, or no limit",
    ),
]

Stages = Annotated[
    list[str] | None, typer.Option(help="A stage of a pipeline to work for; repeatable.", show_default="all of them")
]

HealthFile = Annotated[
    Path | None,
    typer.Option(envvar="ZQ_HEALTH_FILE", help="File for signs of life, every 2 s, which zq health --file looks at."),
]

Reload = Annotated[
    bool,
    typer.Option("--reload", help="Start the worker again when a file that it has loaded changes; for development."),
]


def _option(name: str, text: str) -> typer.models.OptionInfo:
    return typer.Option(f"--{name}", envvar=f"ZQ_{name.upper().replace('-', '_')}", help=text, show_default=True)  # type: ignore[no-any-return]


def coordinator(
    data: Annotated[Path, _option("data", "Directory of the LMDB store; it is made if need be, and locked.")] = Path("orders.zq"),
    bind: Annotated[str | None, typer.Option("--bind", envvar="ZQ_BIND", help="ZeroMQ address to listen on; port * takes a free one. [default: that of ZQ_ADDRESS, else tcp://127.0.0.1:7700]", show_default=False)] = None,
    heartbeat_interval: Annotated[float, _option("heartbeat-interval", "Seconds between the pings of a worker.")] = DEFAULTS.heartbeat_interval,
    suspect_after: Annotated[float, _option("suspect-after", "Seconds of silence after which a worker gets no new tasks.")] = DEFAULTS.suspect_after,
    gone_after: Annotated[float, _option("gone-after", "Seconds of silence after which its tasks are lost; also the grace after a restart.")] = DEFAULTS.gone_after,
    idle_beats_max: Annotated[int, _option("idle-beats-max", "Pings a second of all workers together, from which on those that are idle ping less often.")] = DEFAULTS.idle_beats_max,
    max_attempts: Annotated[int, _option("max-attempts", "Starts that may fail before a task is a dead letter.")] = DEFAULTS.max_attempts,
    retry: Annotated[str, _option("retry", "Delay before a failed task is tried again, in seconds: none, constant:S, linear:FIRST:MAX, exponential:FIRST:FACTOR:MAX or full-jitter:FIRST:FACTOR:MAX.")] = DEFAULTS.retry.text(),
    queue_tasks_max: Annotated[int, _option("queue-tasks-max", "Unfinished tasks in a queue above which submits are refused as busy.")] = DEFAULTS.queue_tasks_max,
    payload_bytes_max: Annotated[int, _option("payload-bytes-max", "Largest payload, in bytes.")] = DEFAULTS.payload_bytes_max,
    keep_seconds: Annotated[float, _option("keep-seconds", "Seconds for which outcomes, results and ids of ended tasks are kept.")] = DEFAULTS.keep_seconds,
    keep_count: Annotated[int, _option("keep-count", "Ended batches kept at most, beyond those kept by --keep-seconds-min.")] = DEFAULTS.keep_count,
    keep_seconds_min: Annotated[float, _option("keep-seconds-min", "Seconds for which an ended batch is kept in any case.")] = DEFAULTS.keep_seconds_min,
    assign: Annotated[Literal["least-loaded", "hash"], _option("assign", "How workers are chosen; hash keeps a key with its worker.")] = DEFAULTS.assign,
    queues_max: Annotated[int, _option("queues-max", "Queues that there may be.")] = DEFAULTS.queues_max,
    bindings_max: Annotated[int, _option("bindings-max", "Bindings that there may be.")] = DEFAULTS.bindings_max,
    schedules_max: Annotated[int, _option("schedules-max", "Schedules that there may be.")] = DEFAULTS.schedules_max,
    peer_limits: Annotated[str, _option("peer-limits", "What one peer may have, where it is not the default: waits=5000,leases=100. `zq status` shows all.")] = "default",
    connections_max: Annotated[int | None, _option("connections-max", "Connections at a time; without it, what the descriptors of the process allow.")] = None,
    memory_max_mib: Annotated[int | None, _option("memory-max-mib", "MiB of memory above which it ends, with everything on disk; 0: no limit; without it, half of the machine's.")] = None,
    busy_poll: Annotated[float | None, _option("busy-poll", "Seconds for which it looks for the next message before it sleeps, while they come that soon; 0: never. Without it, 0.0005 where it may use two processors.")] = None,
    map_mib: Annotated[int, _option("map-mib", "Largest size of the store, in MiB; the file is sparse.")] = 64 << 10,
    disk_free_mib: Annotated[int, _option("disk-free-mib", "Free MiB of the disk below which nothing new is accepted.")] = 256,
    journal: Annotated[Literal["on", "off"], _option("journal", "Whether small writes are flushed in a journal first, once; off: each commits the store.")] = "on",
    keys: Annotated[Path | None, _option("keys", "Directory of the keys that are let in (zq keys); without it everybody is.")] = None,
    audit: Annotated[Path | None, _option("audit", "File for a line about each deed of administration; without it they are logged. It needs --keys.")] = None,
    insecure_bind: Annotated[bool, _option("insecure-bind", "Allow an address that other machines can reach without --keys, that is without authentication.")] = False,
    dashboard: Annotated[str | None, _option("dashboard", "HOST:PORT of a dashboard in a process beside it, such as 127.0.0.1:7780 (the extra dashboard).")] = None,
    dashboard_key: Annotated[str | None, _option("dashboard-key", "File of the key that the dashboard shows; with --keys it needs one of an admin.")] = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:  # fmt: skip
    """Run a coordinator until SIGTERM or Ctrl-C. What it accepted is on disk.

    Examples:
        zq coordinator
        zq coordinator --data ./orders.zq --bind tcp://127.0.0.1:7700
        zq coordinator --bind tcp://0.0.0.0:7700 --keys ./keys
    """
    from zq.server.loop import Server
    from zq.store import LmdbOptions

    with exit_codes():
        options = CoordinatorOptions(
            heartbeat_interval=heartbeat_interval,
            suspect_after=suspect_after,
            gone_after=gone_after,
            max_attempts=max_attempts,
            retry=RetryPolicy.parse(retry),
            queue_tasks_max=queue_tasks_max,
            payload_bytes_max=payload_bytes_max,
            keep_seconds=keep_seconds,
            keep_count=keep_count,
            keep_seconds_min=keep_seconds_min,
            assign=assign,
            idle_beats_max=idle_beats_max,
            queues_max=queues_max,
            bindings_max=bindings_max,
            schedules_max=schedules_max,
            peer_limits=PeerLimits.parse(peer_limits),
        )
        bind = bind or _address_to_bind()
        _check_reach(bind, keys, insecure_bind=insecure_bind)
        store = LmdbOptions(map_bytes=map_mib * MIB, free_bytes_min=disk_free_mib * MIB, journal=journal == "on")
        host, beside = (
            _prepare_host(connections_max, memory_max_mib, busy_poll),
            _prepare_dashboard(dashboard, dashboard_key, keys),
        )
        server = Server(
            data, bind=bind, options=options, keys=keys, audit=audit, store_options=store, host_options=host
        )
        configure_log(log_level, log_format)
        _serve(server, beside)


def _address_to_bind() -> str:
    """Returns the address at which clients and workers of this environment look for a coordinator."""
    from zq.wire.address import DEFAULT_ADDRESS

    address = os.environ.get("ZQ_ADDRESS")
    if not address:
        return DEFAULT_ADDRESS
    echo(f"zq coordinator listens on {address}, which ZQ_ADDRESS says; --bind or ZQ_BIND names another", err=True)
    return address


def _check_reach(bind: str, keys: Path | None, *, insecure_bind: bool) -> None:
    """Raises ValueError for an address that cannot be one, or that strangers reach."""
    check_bind_address(bind)
    if keys is None and not insecure_bind and not is_local(bind):
        others = "every user of this machine" if bind.startswith(ABSTRACT) else "other machines"
        raise ValueError(
            f"{bind} can be reached by {others}, and whoever reaches it can submit and take tasks: "
            "give --keys, bind tcp://127.0.0.1:PORT or ipc://PATH, or give --insecure-bind on a network that you trust"
        )


def _prepare_host(connections_max: int | None, memory_max_mib: int | None, busy_poll: float | None) -> HostOptions:
    """Raises what the system limits, and returns what this process may use."""
    from zq.processes.descriptors import raise_limit
    from zq.server.host import HostOptions, busy_poll_seconds, half_of_memory

    raise_limit()
    memory_max = half_of_memory() if memory_max_mib is None else memory_max_mib * MIB or None
    return HostOptions(
        connections_max=connections_max,
        memory_max=memory_max,
        busy_poll=busy_poll_seconds() if busy_poll is None else busy_poll,
    )


def _prepare_dashboard(bind: str | None, key: str | None, keys: Path | None) -> DashboardChild | None:
    """Returns the dashboard that goes with a coordinator, if any; raises ValueError for one that cannot be."""
    if bind is None:
        return None
    from zq.cli.web.child import DashboardChild

    if keys is not None and key is None:
        raise ValueError(
            "with --keys a dashboard needs a key, too: give --dashboard-key FILE; "
            f"zq keys new dashboard --role admin --keys {keys} makes one and lets it in"
        )
    return DashboardChild(bind, key)


def _serve(server: Server, dashboard: DashboardChild | None) -> None:
    """Runs until a signal comes; a second one does what it does to any program."""

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of signal handlers
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_DFL)
        server.pulse.stopping()
        server.stop()

    from zq.cli.starting.searches import ShortSearches
    from zq.processes.pulse import Pulse, ServiceManager

    server.pulse = Pulse(ServiceManager.take())
    before = {one: signal.signal(one, on_signal) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.open()
        ShortSearches()  # for as long as this process lives
        _announce(
            f"zq coordinator ready on {server.address}, data in {server.path}, guarantee: a receipt means on disk; "
            "a task is completed at most once and executed at least once"
        )
        if dashboard is not None:
            dashboard.start(server.address)
        server.run()
    finally:
        if dashboard is not None:
            dashboard.stop()
        server.close()
        for one, handler in before.items():
            signal.signal(one, handler)


def _announce(text: str) -> None:
    """Says on stderr that something has begun, whatever is logged; in the form of the log."""
    echo(in_form_of_log(text), err=True)


def worker(
    spec: Annotated[
        str, typer.Argument(help="The worker, app or pipeline to run, as module:attribute or path.py:attribute.")
    ],
    stage: Stages = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1000,
            envvar="ZQ_PROCESSES",
            help="Child processes that run plain functions, one task each at a time (coroutines share one); 0 runs all in this process.",
            show_default="the concurrency of the worker",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Threads that run plain functions, and coroutines at once, instead of child processes.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the worker.", show_default="the worker's own")] = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when nothing has come for half a second.")] = False,
    tasks_per_child: TasksPerChild = None,
    child_memory_max: ChildMemoryMax = None,
    reload: Reload = False,
    health_file: HealthFile = None,
    address: Address = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Run a worker until SIGTERM or Ctrl-C: the first drains it, the second ends it at once.

    Examples:
        zq worker shop:worker
        zq worker shop:worker --concurrency 8 --burst
        zq worker shop:worker --reload
    """
    if processes and concurrency:
        raise typer.BadParameter(
            "--processes and --concurrency exclude each other: handlers run in children or in threads"
        )
    if reload:
        _supervise()
    with exit_codes():
        from zq.cli.starting.whereabouts import kept_for_worker

        spec, place, address, health_file = kept_for_worker(spec, stage, address, health_file)
        found = _load_worker(spec)
        if address:
            os.environ["ZQ_ADDRESS"] = address  # where handlers submit, also those in child processes
        # After its module, which may have its own idea of logs.
        configure_log(log_level, log_format, name or found.name)
        limits = tasks_per_child, child_memory_max
        _equip(found, address=address, name=name, processes=processes, concurrency=concurrency, limits=limits)
        found.spec = place
        work_watched(found, burst=burst, health_file=health_file)


def _equip(
    found: Worker,
    *,
    address: str | None,
    name: str | None,
    processes: int | None,
    concurrency: int | None,
    limits: tuple[int | None, int | None],
) -> None:
    """Gives a worker the settings of the command line; None keeps its own."""
    from zq.worker.worker import Worker

    tasks_per_child, child_memory_max = limits
    found.adopt(
        Worker(
            address or found.address,
            key=os.environ.get("ZQ_KEY") or found.key,
            name=name or found.name,
            concurrency=concurrency or found.coroutines,
            processes=(0 if concurrency else found.concurrency) if processes is None else processes,
            tasks_per_child=tasks_per_child or found.tasks_per_child,
            child_memory_max=child_memory_max or found.child_memory_max,
        )
    )


def _supervise() -> NoReturn:
    from zq.cli.reloading import Supervisor

    raise typer.Exit(Supervisor().run())


def ready_for_burst(runner: Worker) -> None:
    """Raises UnreachableError when there is no coordinator: a worker waits for it for ever, one that is to end must
    not.
    """
    from zq.client.client import Client

    with Client(runner.address, timeout=TIMEOUT, key=runner.key) as client:
        client.ping()


def work_watched(runner: Worker, *, burst: bool, health_file: Path | None = None, says: str | None = None) -> None:
    """Runs a worker until it is stopped, with signs of life for the service manager and in a file; says what it does
    when it is connected.
    """
    from zq.processes.pulse import Pulse, ServiceManager

    if burst:
        ready_for_burst(runner)
    if not runner.handlers:
        raise ValueError(f"worker {runner.name} has no handler; register one with @worker.task(queue)")
    runner.pulse = Pulse(ServiceManager.take(), health_file)
    takes = says or f"zq worker {runner.name} takes tasks of {', '.join(runner.handlers)} from {runner.address}"
    runner.on_connected = lambda: _announce(takes)  # what is not let in must not look as if it were
    try:
        runner.run(burst=burst)
    finally:
        runner.pulse.close()


def _load_worker(spec: str) -> Worker:
    from zq.app.app import App
    from zq.cli.reloading import take_reporter
    from zq.cli.starting.suggesting import tell_example
    from zq.processes.import_errors import files_of
    from zq.processes.references import ModuleFailedError, StartedOnImportError, lend_main, load_provider, own_folder
    from zq.worker.worker import Worker

    sys.path.insert(0, own_folder())  # as `python -m` does; a console script has its own folder there
    lend_main()
    reporter = take_reporter()
    try:
        found: Any = load_provider(spec)
    except (StartedOnImportError, ModuleFailedError) as error:
        if reporter is not None:
            reporter.tell(getattr(error, "files", None) or files_of(error))
        if isinstance(error, ModuleFailedError):
            raise
        raise ValueError(f"{spec}: {error}") from error
    if reporter is not None:
        reporter.start()
    if isinstance(found, App):
        tell_example(found)
        found = found.worker()
    if not isinstance(found, Worker):
        raise ValueError(f"expected a zq.Worker, a zq.App or a pipeline at {spec}, got {type(found).__name__}")
    return found


def bench(
    tasks: Annotated[int, typer.Option(min=1, help="Tasks in the batched part.")] = 500_000,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Tasks in a batch.")] = 100,
    size: Annotated[int, typer.Option(min=1, max=MIB, help="Bytes of a payload.")] = 200,
    single: Annotated[
        int, typer.Option(min=0, help="Tasks submitted one at a time, each after the receipt of the one before.")
    ] = 2000,
    processes: Annotated[
        int, typer.Option(min=0, max=64, help="Child processes of the worker; 0 runs the handler in its own thread.")
    ] = 0,
    # Not from ZQ_ADDRESS: nobody means to load the coordinator that a shell happens to work with.
    address: Annotated[
        str | None, typer.Option("--address", "-a", help="Measure this coordinator, not one that is made for it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure durable end to end: public Client and Worker, a worker process, every task on disk and acknowledged.

    Examples:
        zq bench
        zq bench --tasks 100000 --batch 10 --json
    """
    from zq.cli.benching import BenchPlan, measure, text
    from zq.cli.live.progress import progress

    configure_log("warning")
    with exit_codes():
        with progress("measuring"):
            figures = measure(BenchPlan(tasks, batch, size, single, processes, address))
        if as_json:
            print_json(figures)
        else:
            echo(text(figures))
        if figures["done"] != tasks + single:
            fail(f"{tasks + single} tasks were submitted and {figures['done']} were done")
