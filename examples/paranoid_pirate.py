"""A paranoid pirate queue with two workers, of which the first dies while it bakes: the order goes to the other.

python examples/paranoid_pirate.py
"""

import signal
import subprocess
import sys
from collections import Counter

from patterns.guide import LazyPirateClient, ParanoidPirateQueue, ParanoidPirateWorker

ORDERS = 6
HEARTBEAT_INTERVAL = 0.5


def shop(address: str, name: str, dies: bool) -> None:
    """A worker in a process of its own."""

    def bake(content: list[bytes]) -> list[bytes]:
        if dies and content[0] == b"pizza 2":
            print(f"{name}: started pizza 2 and dies", flush=True)
            signal.raise_signal(signal.SIGKILL)
        return [content[0], name.encode()]

    worker = ParanoidPirateWorker(address, bake, heartbeat_interval=HEARTBEAT_INTERVAL)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()


def open_shop(queue: ParanoidPirateQueue, name: str, dies: bool = False) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, queue.backend, name, str(int(dies))])


def main() -> None:
    queue = ParanoidPirateQueue(
        frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*", heartbeat_interval=HEARTBEAT_INTERVAL
    )
    baked: Counter[str] = Counter()
    with queue, LazyPirateClient(queue.frontend, timeout=10, retries=2) as customer:
        shops = [open_shop(queue, "fragile", dies=True)]
        try:
            for number in range(ORDERS):
                pizza, shop_name = customer.request(b"pizza %d" % (number + 1))
                baked[shop_name.decode()] += 1
                print(f"{pizza.decode()} from {shop_name.decode()}", flush=True)
                if number == 0:
                    shops.append(open_shop(queue, "sturdy"))
        finally:
            for one in shops:
                one.terminate()
                one.wait()
    print(f"{ORDERS} orders, {sum(baked.values())} pizzas, {queue.reassigned} given to another shop")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        shop(sys.argv[1], sys.argv[2], dies=sys.argv[3] == "1")
    else:
        main()
