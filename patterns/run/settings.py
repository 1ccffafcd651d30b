"""What may be said about a run, checked and complete; and what an engine is that carries one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Literal, Protocol, TypedDict

import zq
from patterns.work.ledger import Ledger
from zq.keys.own import given_key
from zq.processes.endpoints import kept_address, kept_path

OnError = Literal["raise", "skip", "collect"]


class RunOptions(TypedDict, total=False):
    """What may be said about a run.

    Keys:
        ordered: results come in the order of the input; by default as they are ready.
        on_error: what an item does that a stage fails for: "raise" (the default) ends the run with a StageError, "skip"
            counts it, "collect" keeps the StageError in `errors`.
        progress: shows a line for each stage on stderr.
        quiet: does not say on stderr which guarantee the run gives.
        threads: stages run in threads of this process; by default in child processes. A stage with a timeout calls its
            function in a child in any case.
        allow_loss: goes on when a process dies and items are lost, and says in `lost` how many; by default that ends
            the run with a LostError.
        endpoints: by stage, the endpoints (tcp://host:port) of workers that `zq pipeline serve` runs, here or on other
            machines.
        data: directory of a coordinator inside this process (embedded grade); it is made if need be, and locked while
            the run is open.
        address: of a running coordinator (shared grade).
        run_id: of a durable run; one that was begun under it goes on, with the same pipeline and the same items. By
            default made, and said with the guarantee.
        workers: False starts no workers for a durable run: others do, `zq worker kitchen:pipeline --stage bake`.
        lease: seconds of silence after which the caller of a durable run is taken for dead, and another may take over.
        host: address of this machine at which those workers reach it; by default the one that leads to the first of
            them.
        key: a `zq.Key`, or the path of its file: for the coordinator of a shared run, or for workers that
            `zq pipeline serve` runs with one. By default the path in ZQ_KEY from the environment; "" is none.
        insecure_bind: lets a direct run without a key have sockets that other machines can reach.
    """

    ordered: bool
    on_error: OnError
    progress: bool
    quiet: bool
    threads: bool
    allow_loss: bool
    endpoints: Mapping[str, Sequence[str]]
    host: str | None
    key: zq.Key | str | PathLike[str] | None
    insecure_bind: bool
    data: str | PathLike[str] | None
    address: str | None
    run_id: str | None
    workers: bool
    lease: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a run, complete; see `RunOptions`."""

    ordered: bool = False
    on_error: OnError = "raise"
    progress: bool = False
    quiet: bool = False
    threads: bool = False
    allow_loss: bool = False
    endpoints: Mapping[str, Sequence[str]] = field(default_factory=dict)
    host: str | None = None
    key: zq.Key | str | PathLike[str] | None = None
    insecure_bind: bool = False
    data: str | PathLike[str] | None = None
    address: str | None = None
    run_id: str | None = None
    workers: bool = True
    lease: float = 10.0

    @property
    def is_durable(self) -> bool:
        return self.data is not None or self.address is not None


DIRECT_ONLY = ("allow_loss", "endpoints", "host", "insecure_bind")
DURABLE_ONLY = ("run_id", "workers", "lease")
"""Options that mean nothing in other grades."""


class Engine(Protocol):
    """What carries the items of one run. It belongs to one thread, except for `close`."""

    @property
    def guarantee(self) -> str:
        """What may be lost, in a sentence."""

    @property
    def ledger(self) -> Ledger:
        """The books, in which outcomes appear."""

    @property
    def lost(self) -> dict[str, int]:
        """Source items that were lost, by the stage that lost them."""

    def start(self) -> None:
        """Starts whatever has to run."""

    def turn(self) -> bool:
        """Does what there is to do; waits for a moment if that is nothing; returns whether the run is over."""

    def close(self) -> None:
        """Ends everything; may be called at any time, and more than once."""


def _kept(settings: Settings) -> Settings:
    """Returns settings that mean the same when this program, or a stage, goes to another folder."""
    data, address = settings.data, settings.address
    return replace(
        settings,
        data=None if data is None else kept_path(data),
        address=address and kept_address(address),
        key=given_key(settings.key),
    )


def settle(options: RunOptions) -> Settings:
    """Returns the settings of a run.

    Raises:
        ValueError: an option is out of range, or means nothing in this grade.
        TypeError: an option is unknown.
    """
    unknown = options.keys() - RunOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown option {min(unknown)!r}; expected one of {', '.join(RunOptions.__annotations__)}")
    settings = _kept(Settings(**options))
    if settings.on_error not in ("raise", "skip", "collect"):
        raise ValueError(f"expected on_error as 'raise', 'skip' or 'collect', got {settings.on_error!r}")
    if settings.data is not None and settings.address is not None:
        raise ValueError("data (embedded) and address (shared) exclude each other")
    if settings.data is not None and settings.key is not None:
        raise ValueError("key means nothing in an embedded run: its coordinator is inside of this process")
    grade, useless = ("durable", DIRECT_ONLY) if settings.is_durable else ("direct", DURABLE_ONLY)
    for name in useless:
        if name in options:
            raise ValueError(f"{name} means nothing in a {grade} run; it has data or address, or neither")
    if not 0.5 <= settings.lease <= 3600.0:
        raise ValueError(f"expected lease from 0.5 to 3600 seconds, got {settings.lease}")
    return settings
