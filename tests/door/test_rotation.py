"""The coordinator's own key is rotated under a live client and a live worker that know both."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import zq
from tests.door.shop import Shop
from zq.keys.directory import ROTATION_FILE
from zq.keys.entry import time_text
from zq.keys.key import write_private


def test_who_knows_both_keys_goes_on_when_the_next_one_holds(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    fresh = shop.keys.rotate_server(time.time(), 3600.0)
    till, oven = shop.key("till"), shop.key("oven", "worker")
    assert till.servers == oven.servers == (shop.server, fresh.public)
    with shop.coordinator:
        worker = zq.Worker(shop.address, name="oven", key=oven)

        @worker.task("orders")
        def bake(task: zq.Task) -> str:
            return f"baked {task.payload}"

        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            with zq.Client(shop.address, key=till, timeout=60.0) as client:
                assert client.submit("orders", "funghi").result(timeout=60.0) == "baked funghi"

                write_private(shop.keys.path / ROTATION_FILE, f"at = {time_text(time.time() - 2)}\n", is_replacing=True)
                stranger = zq.Key.new("stranger", "client", [fresh.public])
                shop.allow(stranger)  # who knows the next key only comes in as soon as it holds
                with zq.Client(shop.address, key=stranger, timeout=60.0) as other:
                    while not is_in(other):
                        pass

                assert client.submit("orders", "diavola").result(timeout=60.0) == "baked diavola"
        finally:
            worker.stop()
            thread.join()


def is_in(client: zq.Client) -> bool:
    try:
        client.ping()
    except zq.AccessDeniedError:
        return False
    return True
