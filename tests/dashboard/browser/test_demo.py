"""From the first command to a task that is reassigned in the browser: `zq demo`, and the address that it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.starting.watching import watched
from tests.dashboard.browser.chrome import Browser, missing

pytest.importorskip("starlette", reason="the extra dashboard is not installed")
pytest.importorskip("selenium", reason="the extra test is not installed")
if reason := missing():
    pytest.skip(f"no browser: {reason}", allow_module_level=True)


def test_reassignment_is_seen_live_at_the_address_that_the_demo_prints(tmp_path: Path) -> None:
    browser = Browser(tmp_path / "browser")
    try:
        with watched(tmp_path, "demo", "--bind", "tcp://127.0.0.1:*", "--dashboard-bind", "127.0.0.1:0") as command:
            browser.root = command.line("the dashboard is at ")
            browser.load()
            command.line("party-1 is in an oven of ", ", which will explode in a moment")

            command.line("http://127.0.0.1:", "/#/tasks/party-1")
            browser.go("tasks/party-1")
            browser.run("window.isSamePage = true")
            browser.wait_text("Lost, reassigned to ", ".handover")
            browser.wait_for(".happening.good")

            assert browser.run("return window.isSamePage") is True
            assert browser.text(".head .badge.bad") == "lost a worker"
            assert browser.count(".bar.is-lost") == 1
            assert "has exploded (SIGKILL while baking): party-1 goes to another shop" in command.text
            assert browser.strangers() == []
            assert browser.complaints == []
    finally:
        browser.close()
