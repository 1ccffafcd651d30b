"""A real browser: Debian's chromium and its driver, without a screen."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = "/usr/bin/chromium"
CHROMEDRIVER = "/usr/bin/chromedriver"

FLAGS = (
    "--headless",
    "--no-sandbox",  # root has none, as in containers
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--hide-scrollbars",
)

PATIENCE = float(os.environ.get("ZQ_TEST_PATIENCE", "60"))
"""Seconds that a condition may take; nothing is slow when all is well."""

LOOK_SECONDS = 0.05
"""Between two looks at the page."""


def missing() -> str | None:
    """Returns why there is no browser; None when there is."""
    for path in (CHROMIUM, CHROMEDRIVER):
        if not os.access(path, os.X_OK):
            return f"{path} is not there: apt-get install chromium chromium-driver"
    return None


class Browser:
    """One browser with one tab, and what it has asked for and complained of."""

    def __init__(self, directory: Path) -> None:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        options = ChromeOptions()
        options.binary_location = CHROMIUM
        self._profile = directory / "profile"
        for flag in (*FLAGS, f"--user-data-dir={self._profile}", "--window-size=1280,900"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = Chrome(options=options, service=Service(CHROMEDRIVER))
        self.driver.set_script_timeout(PATIENCE)
        self.root = ""
        self.requested: list[str] = []
        self.complaints: list[str] = []

    def close(self) -> None:
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    # Going somewhere, and looking.

    def go(self, route: str = "overview") -> None:
        """Goes to a page of the dashboard, as a click on a link does."""
        url = f"{self.root}#/{route}"
        if self.driver.current_url.partition("#")[0] == self.root:
            self.run("location.hash = arguments[0]", f"#/{route}")
        else:
            self.driver.get(url)
        self.wait_for("main h1")

    def load(self, route: str = "overview") -> None:
        """Loads the whole page anew."""
        self.driver.get("about:blank")
        self.go(route)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def run_async(self, script: str, *arguments: Any) -> Any:
        """Runs a script that calls its last argument with what it returns."""
        return self.driver.execute_async_script(script, *arguments)

    def text(self, css: str = "main") -> str:
        """Returns what is shown of the first element, or nothing."""
        script = "const one = document.querySelector(arguments[0]); return one?.innerText ?? one?.textContent ?? ''"
        return str(self.run(script, css))

    def count(self, css: str) -> int:
        return int(self.run("return document.querySelectorAll(arguments[0]).length", css))

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Waits for a condition and returns its value; fails when it does not come."""
        give_up_at = time.monotonic() + PATIENCE
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < give_up_at, (
                f"waited {PATIENCE:.0f} s for {what}; the page says:\n{self.text('body')}"
            )
            time.sleep(LOOK_SECONDS)

    def wait_for(self, css: str) -> None:
        self.wait(lambda: self.count(css), css)

    def wait_text(self, text: str, css: str = "main") -> str:
        """Waits until an element shows a text; returns all that it shows."""
        return str(self.wait(lambda: (found := self.text(css)) and text in found and found, f"{text!r} in {css}"))

    # Doing something.

    def click(self, css: str) -> None:
        """Clicks as a person does: the element must be there, shown and not covered."""
        from selenium.common.exceptions import WebDriverException

        def is_clicked() -> bool:
            with suppress(WebDriverException):  # drawn again in between, or not there yet
                self.driver.find_element("css selector", css).click()
                return True
            return False

        self.wait(is_clicked, f"a click on {css}")

    def button(self, text: str, within: str = "main") -> None:
        """Clicks the first button or link with a text."""
        script = """
            const found = [...document.querySelectorAll(`${arguments[0]} :is(button, a)`)];
            const one = found.find((each) => each.innerText.trim() === arguments[1] && !each.disabled);
            one?.scrollIntoView({block: "center"});
            one?.click();
            return Boolean(one);"""
        self.wait(lambda: self.run(script, within, text), f"a button {text!r}")

    def keys(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def fill(self, css: str, text: str) -> None:
        field = self.driver.find_element("css selector", css)
        field.clear()
        field.send_keys(text)

    # How it looks.

    def resize(self, width: int, height: int = 900) -> None:
        """Makes the page so wide: by emulation, because a window has a least width."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def emulate(self, *, scheme: str = "light", motion: str = "no-preference") -> None:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def picture(self, path: Path, *, is_whole: bool = True) -> None:
        """Writes the page as a PNG, all of its height or what is in sight."""
        import base64

        path.parent.mkdir(parents=True, exist_ok=True)
        found = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": is_whole}
        )
        path.write_bytes(base64.b64decode(found["data"]))

    # What it has done behind the page.

    def read_logs(self) -> None:
        """Takes in what was asked for and complained of since the last reading."""
        for entry in self._log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                parameters = message["params"]
                self.requested.append(parameters.get("request", parameters)["url"])
        self.complaints += [f"{entry['level']}: {entry['message']}" for entry in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return found

    def strangers(self) -> list[str]:
        """Returns the addresses that were asked for and are not on this machine."""
        self.read_logs()
        local = {"127.0.0.1", "localhost"}
        return [
            url for url in self.requested
            if urlsplit(url).scheme in ("http", "https", "ws", "wss", "ftp") and urlsplit(url).hostname not in local
        ]  # fmt: skip

    def offences(self, *rules: str) -> list[str]:
        """Returns what axe-core finds that is serious or critical, a line for each element; by all rules or some."""
        import axe_core_python

        source = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
        if not self.run("return Boolean(window.axe)"):
            self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": source})
        script = """
            const [rules, done] = arguments;
            const only = rules.length ? {runOnly: {type: "rule", values: rules}} : {};
            axe.run(document, {resultTypes: ["violations"], ...only}).then(
              ({violations}) => done(violations.filter(({impact}) => impact === "serious" || impact === "critical")
                .flatMap(({id, nodes}) => nodes.map(({html, failureSummary}) => `${id}: ${html.slice(0, 160)} ${failureSummary.slice(0, 200)}`))),
              (error) => done([String(error)]));"""
        found: list[str] = self.run_async(script, list(rules))
        return found
