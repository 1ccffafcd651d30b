"""What `zq dev` runs: a coordinator, the dashboard and a worker, each a process, in one terminal."""

from __future__ import annotations

import os
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zq.cli.output import FAILED, echo
from zq.cli.starting import member as members_module
from zq.cli.starting.places import (
    WITHOUT_DASHBOARD,
    bind_of_coordinator,
    bind_of_dashboard,
    bind_of_environment,
    has_dashboard,
    leave_key,
    option_for,
)
from zq.cli.starting.stopping import StopRequest
from zq.cli.starting.suggesting import EXAMPLE_MARK, WISHED, example_of_queue
from zq.processes.exits import describe_exit
from zq.processes.household import Household, Member

COORDINATOR_PATIENCE = 60.0
"""Seconds that the coordinator has to come up, on a slow disk with much to read."""

DASHBOARD_PATIENCE = 30.0

DEV_LOOK_INTERVAL = 0.1

DRAIN_PATIENCE = 40.0
"""Seconds that members have to end: a worker waits 30 for its handlers."""

SELF = "zq dev"

NAME_WIDTH = 11
"""Of the longest name, coordinator."""

TAKES = " takes tasks of "
"""What a worker says when it starts, before its queues."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be run.

    Attributes:
        spec: of the worker; None: there is none.
        processes: of the worker; None: as it says itself.
        log_level: of all members.
        bind: where the coordinator is to listen; None: at the usual port, or another.
        dashboard_bind: the same of the dashboard.
        journal: whether the coordinator has one, on or off; None: as it says itself.
        has_dashboard: whether the dashboard is wanted.
        opens_browser: whether it is opened.
    """

    spec: str | None
    processes: int | None
    log_level: str
    bind: str | None
    dashboard_bind: str | None
    journal: str | None
    has_dashboard: bool
    opens_browser: bool


class Development:
    """One run of `zq dev`."""

    def __init__(self, wishes: Wishes, folder: Path) -> None:
        self._wishes = wishes
        self._folder = folder
        self._household = Household(members_module.__name__, self._hear)
        self._example: str | None = None  # arguments of zq submit, as the worker has told
        self._last_word = ""  # why it has ended: what members say while they end hides the beginning of it
        self._is_broken = False  # a member has ended without which nothing goes on: there is nothing to drain for

    def run(self) -> int:
        """Runs until a signal comes, or a member ends without which nothing goes on; returns the exit code."""
        household = self._household
        with StopRequest() as request:
            try:
                return self._live(request)
            finally:
                if request.is_set:
                    tell("ending; Ctrl-C again does not wait for tasks that run")
                household.close(DRAIN_PATIENCE, lambda: request.is_hasty or self._is_broken)
                if self._last_word:
                    tell(self._last_word)

    def _live(self, request: StopRequest) -> int:
        household, wishes = self._household, self._wishes
        level = ("--log-level", wishes.log_level)
        leave_key(tell)
        bind = wishes.bind or bind_of_coordinator(bind_of_environment(tell), tell)
        options = "--data", str(self._folder / "coordinator"), "--bind", bind
        journal = () if wishes.journal is None else ("--journal", wishes.journal)
        coordinator = Member(
            "coordinator", ("coordinator", *options, *journal, *level), is_vital=True, ready=" ready on "
        )
        household.add(coordinator)
        if not household.wait_ready(coordinator, COORDINATOR_PATIENCE, lambda: request.is_set):
            return 0 if request.is_set else FAILED
        address = coordinator.place
        option = option_for(address)
        os.environ["ZQ_ADDRESS"] = address  # for all other members, and what handlers start
        os.environ[WISHED] = "1"
        page = self._open_dashboard(request)
        worker = None
        if wishes.spec is not None:
            count = () if wishes.processes is None else ("--processes", str(wishes.processes))
            arguments = "worker", wishes.spec, "--reload", *count, *level
            worker = household.add(Member("worker", arguments, ready=TAKES))
        self._tell_where(address, page)
        return self._look_after(request, worker, option)

    def _open_dashboard(self, request: StopRequest) -> str | None:
        """Starts the dashboard; returns the address of its page."""
        wishes = self._wishes
        if not wishes.has_dashboard:
            return None
        if not has_dashboard():
            tell(WITHOUT_DASHBOARD)
            return None
        arguments = "dashboard", "--bind", bind_of_dashboard(wishes.dashboard_bind, tell)
        member = Member("dashboard", arguments, ready=" ready on ")
        self._household.add(member)
        if not self._household.wait_ready(member, DASHBOARD_PATIENCE, lambda: request.is_set):
            return None
        page = member.place
        if wishes.opens_browser:
            with suppress(webbrowser.Error):
                webbrowser.open(page)
        return page

    def _tell_where(self, address: str, page: str | None) -> None:
        tell(f"coordinator  {address}, data in {self._folder}; programs find it by ZQ_ADDRESS={address}")
        if page is not None:
            tell(f"dashboard    {page}")
        if self._wishes.spec is None:
            tell("worker       none: zq dev module:app runs one, and starts it again when a file changes")
        tell("stop         Ctrl-C")

    def _look_after(self, request: StopRequest, worker: Member | None, option: str) -> int:
        while not request.wait(DEV_LOOK_INTERVAL):
            if worker is not None and worker.ready_line is not None:
                tell(f"submit       zq submit {self._example or example_of(worker.ready_line)} --wait{option}")
                worker = None  # said once
            ended = self._household.look()
            if ended is not None:
                self._is_broken = True
                self._last_word = f"ended, because the {ended.name} {describe_exit(ended.code or 0)}"
                return ended.code if ended.code is not None and ended.code > 0 else FAILED
        return 0

    def _hear(self, name: str, line: str) -> None:
        """Prints a line of a member, but for what is meant for `zq dev` itself."""
        if line.startswith(EXAMPLE_MARK):
            self._example = line.removeprefix(EXAMPLE_MARK)
        else:
            hear(name, line)


def example_of(line: str) -> str:
    """Returns arguments of `zq submit` for the first queue that a worker has named."""
    return example_of_queue(line.partition(TAKES)[2].partition(" from ")[0].split(", ")[0])


def tell(text: str) -> None:
    """Prints a line about all members."""
    hear(SELF, text)


def hear(name: str, line: str) -> None:
    """Prints a line of a member, on stderr."""
    echo(f"{name:<{NAME_WIDTH}} | {line}", err=True)
