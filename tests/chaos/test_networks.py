"""The networks of a run are in nobody's way, and go with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.house import House
from tests.chaos.machines import in_two_networks
from tests.chaos.networks import NEAR_HOST, links, no_networks
from tests.process.kitchen import wait_until

pytestmark = pytest.mark.skipif(no_networks() is not None, reason=no_networks() or "")


def test_links_of_the_machine_are_the_same_before_and_during_a_run_in_two_networks_and_after_it(tmp_path: Path) -> None:
    before = links()
    with in_two_networks(House(tmp_path)) as networks:
        during = links()
        _, far = networks
        reached = subprocess.run(
            [*far.inside, "ip", "route", "get", NEAR_HOST], capture_output=True, text=True, check=True
        )

    assert " dev zq-far src 10.213.0.2" in reached.stdout
    assert (during, links()) == (before, before)


def test_network_of_a_run_that_was_killed_goes_with_it() -> None:
    program = (
        "from tests.chaos.networks import Network; import time; print(Network().pid, flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = Path(f"/proc/{int(run.stdout.readline())}")
        assert first.exists()
        run.send_signal(signal.SIGKILL)

    wait_until(lambda: not first.exists(), "the network to be gone")
