"""The dashboard of `zq coordinator --dashboard`: a child process, which ends with the coordinator whatever happens.

The coordinator's process imports nothing of the dashboard: it starts this module, looks now and then whether it still
runs, and starts it again when it has died. Nothing the dashboard does can hold the coordinator up.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import typer

from zq.cli.output import echo, exit_codes
from zq.keys.own import given_key
from zq.processes.birth import become_child
from zq.processes.children import start_program, wait_or_kill
from zq.processes.exits import describe_exit
from zq.processes.logs import configure_log, in_form_of_log, log_settings

if TYPE_CHECKING:
    from zq.dashboard.options import DashboardOptions

log = logging.getLogger(__name__)

RESTART_PAUSE: Final = 5.0
"""Seconds from the end of one to the start of the next: one that cannot run must not use up the machine."""

LOOK_PAUSE: Final = 0.5
"""Seconds between two looks whether it runs."""

CHILD_END_PATIENCE: Final = 3.0
"""Seconds that it has to end by itself."""


class DashboardChild:
    """Keeps a dashboard running beside a coordinator, from `start` to `stop`.

    Its token, names, function that redacts, and whether it only shows, are in the environment, as for `zq dashboard`.

    Args:
        bind: HOST:PORT to listen on.
        key: file of the key that it shows to the coordinator; None: there are no keys.

    Raises:
        ValueError: it cannot be there: its packages are missing, or others could reach it and there is no token.
    """

    def __init__(self, bind: str, key: str | None) -> None:
        missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
        if missing:
            raise ValueError(f"the dashboard needs {' and '.join(missing)}: pip install 'zqkit[dashboard]'")
        options_of({"bind": bind, "key": key})
        self._settings = {"bind": bind, "key": key and str(given_key(key))}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, address: str) -> None:
        """Starts it, for the coordinator that listens on an address."""
        self._settings["address"] = address
        self._thread = threading.Thread(target=self._keep, name="zq-dashboard", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it and waits for that."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _keep(self) -> None:
        while not self._stopped.is_set():
            try:
                process = start_program(
                    __name__, json.dumps(self._settings), (log_settings() or {}).get("form", "text")
                )
            except OSError as error:
                log.warning("the dashboard cannot be started (%s); it is tried again in %g s", error, RESTART_PAUSE)
            else:
                self._stay_with(process)
            self._stopped.wait(RESTART_PAUSE)

    def _stay_with(self, process: subprocess.Popen[bytes]) -> None:
        """Returns when it has ended, by itself or because this is to stop."""
        while not self._stopped.wait(LOOK_PAUSE):
            code = process.poll()
            if code is not None:
                wait_or_kill(process, 0.0)
                log.warning("the dashboard %s; it is started again in %g s", describe_exit(code), RESTART_PAUSE)
                return
        process.terminate()
        wait_or_kill(process, CHILD_END_PATIENCE)


def options_of(settings: dict[str, Any]) -> DashboardOptions:
    """Returns the options of the child, but for the function that redacts, which it loads itself; raises ValueError."""
    from zq.dashboard.options import DashboardOptions

    return DashboardOptions(
        **settings,
        namespace=os.environ.get("ZQ_NAMESPACE") or None,
        token=os.environ.get("ZQ_DASHBOARD_TOKEN") or None,
        hosts=tuple(os.environ.get("ZQ_DASHBOARD_HOST", "").split()),
        is_read_only=_read_truth("ZQ_DASHBOARD_READ_ONLY"),
    )


def _read_truth(name: str) -> bool:
    """Returns a variable that is yes or no, as `zq dashboard` reads it; raises ValueError: a guess could let in."""
    text = os.environ.get(name, "").strip().lower()
    if text in ("1", "true", "t", "yes", "y", "on"):
        return True
    if text in ("", "0", "false", "f", "no", "n", "off"):
        return False
    raise ValueError(f"expected {name} as true or false, got {text[:60]!r}")


def main() -> None:
    """Serves until the coordinator ends it, or has ended itself."""
    text, form = become_child()
    from zq.dashboard.serving import serve

    configure_log("warning", form)
    try:
        with exit_codes():
            options = options_of(json.loads(text))
            if redaction := os.environ.get("ZQ_DASHBOARD_REDACT"):
                from zq.cli.web.redacting import load_redaction

                options = replace(options, redact=load_redaction(redaction))
            serve(options, on_ready=lambda page: echo(in_form_of_log(f"zq dashboard ready on {page}"), err=True))
    except typer.Exit as error:  # what is wrong has been said; no command is around this
        raise SystemExit(error.exit_code) from None
