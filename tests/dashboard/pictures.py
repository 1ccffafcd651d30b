"""Takes the pictures of the dashboard that the documents show: `python -m tests.dashboard.pictures`.

A coordinator, three workers and a dashboard as processes, orders for a minute, and a worker that is killed on the way;
small PNGs in docs/pictures. It needs chromium and chromedriver.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

import zq
from tests.dashboard.browser.chrome import Browser, missing
from tests.dashboard.browser.house import House, free_port

PICTURES = Path(__file__).parent.parent.parent / "docs" / "pictures"

BYTES_MAX = 120_000
"""Of a picture: all who clone the repository get it."""

SECONDS = 45
"""For which orders come in before the first picture: a chart needs something to show."""


def main() -> int:
    reason = missing()
    if reason:
        print(f"no browser: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        house = House(directory, f"tcp://127.0.0.1:{free_port()}")
        stop = threading.Event()
        try:
            house.start_dashboard()
            for worker in ("oven-1", "oven-2", "oven-3"):
                house.start_worker(worker)
            thread = threading.Thread(target=_order, args=(house.client, stop))
            thread.start()
            try:
                browser = Browser(directory)
                try:
                    _take(house, browser)
                finally:
                    browser.close()
            finally:
                stop.set()
                thread.join()
        finally:
            house.close()
    return 0


def _take(house: House, browser: Browser) -> None:
    browser.root = house.root
    browser.emulate()
    browser.resize(1280, 760)
    browser.load()
    time.sleep(SECONDS)
    _keep(browser, "dashboard")
    browser.go("flows")
    browser.wait_for(".edge.is-live")
    _keep(browser, "dashboard-flows", height=480)
    house.reassign("order-9")
    house.open_gate("order-9")
    browser.go("tasks/order-9")
    browser.wait_for(".bar.is-done")
    _keep(browser, "dashboard-task", height=660)


def _order(client: zq.Client, stop: threading.Event) -> None:
    """Submits orders in waves, some of which burn."""
    number = 0
    while not stop.is_set():
        number += 1
        client.submit_many("orders", [{"seconds": 0.004}] * (4 + number % 40 // 4))
        if number % 30 == 0:
            client.submit("bake", {"burns": True}, max_attempts=2)
        time.sleep(0.1)


def _keep(browser: Browser, name: str, height: int = 760) -> None:
    path = PICTURES / f"{name}.png"
    browser.resize(1280, height)
    time.sleep(1.0)
    browser.picture(path, is_whole=False)
    path.write_bytes(smaller(path.read_bytes()))
    size = path.stat().st_size
    print(f"{path}: {size} bytes")
    if size > BYTES_MAX:
        raise SystemExit(f"{path} is larger than {BYTES_MAX} bytes")


def smaller(png: bytes) -> bytes:
    """Packs a PNG's pixels anew, as tightly as zlib can: the browser's are packed for speed. Nothing else is kept."""
    parts, at = {}, 8
    while at < len(png):
        (length,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        parts[kind] = parts.get(kind, b"") + png[at + 8 : at + 8 + length]
        at += 12 + length
    data = zlib.compress(zlib.decompress(parts[b"IDAT"]), 9)
    chunks = [(b"IHDR", parts[b"IHDR"]), (b"IDAT", data), (b"IEND", b"")]
    return png[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


if __name__ == "__main__":
    sys.exit(main())
