"""Clients that use everything at once, until they are told to stop: each deed in a thread of its own, with a client of
its own, noting what it was promised.

A call that gets no answer in time is noted as tried, and nothing is held against it; what was acknowledged is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

import zq
from tests.chaos.ledger import GroupOrder, Ledger, Taken
from tests.chaos.pipes import made_of_inputs, pipeline

TOPICS = {"news.a": ("news-1", "news-2", "news-3"), "news.b": ("news-1", "news-2"), "news.a.b": ("news-2",)}
"""What each topic reaches, by the bindings that `set_up` makes."""

SCHEDULES = {"tick-1": ("all", 1.0), "tick-2": ("one", 1.0), "tick-3": ("all", 2.0)}
"""Schedules by name: what they do about missed times, and the seconds between two."""

OPEN_MAX = 10
"""Tasks of a thread that may be open before it waits for the first of them."""

PAUSE = 0.04
"""Seconds between two deeds of a thread, at most, and half of it on the average."""


def set_up(client: zq.Client, ledger: Ledger, schedules: dict[str, tuple[str, float]]) -> None:
    """Makes what the load expects to be there."""
    client.topics.bind("news.*", "news-1")
    client.topics.bind("news.#", "news-2")
    client.topics.bind("news.a", "news-3")
    for name, (catch_up, every) in schedules.items():
        client.schedules.define(name, "ticks", name, every=every, catch_up=catch_up)  # type: ignore[arg-type] # text
        ledger.schedules[name] = (catch_up, every)


class Deed:
    """One thing that clients do, again and again."""

    def __init__(self, load: Load, name: str) -> None:
        self.load = load
        self.name = name
        self.ledger = load.ledger
        self.rng = random.Random(f"{load.seed}:{name}")
        self.client = zq.Client(load.address, timeout=load.timeout)
        self.count = 0
        self.open: deque[zq.Receipt] = deque()  # what is waited for before much more is submitted

    def new_id(self) -> str:
        """Returns an id that nobody else has."""
        self.count += 1
        return f"{self.load.prefix}{self.name}-{self.count}"

    def submit(self, queue: str, payload: Any, id: str, detail: Any = None, **options: Any) -> zq.Receipt:
        """Submits, and notes the receipt."""
        self.ledger.tried[id] = queue
        begun = time.monotonic()
        receipt = self.client.submit(queue, payload, id=id, **options)
        self.ledger.waits.append(time.monotonic() - begun)
        self.ledger.accept(receipt.id, queue, detail)
        return receipt

    def submit_many(self, queue: str, payloads: list[Any], line: list[str] | None = None, **options: Any) -> None:
        """Submits a batch, and notes the receipts, also of the part of it that was accepted."""
        try:
            receipts = list(self.client.submit_many(queue, payloads, **options))
        except zq.BusyError as error:
            receipts = list(error.accepted)
        for receipt in receipts:
            self.ledger.accept(receipt.id, queue)
        if line is not None:
            line += [receipt.id for receipt in receipts]
        self.open += receipts

    def throttle(self) -> None:
        """Waits until little of what it has submitted is left: a backlog would be all that there is to see."""
        while len(self.open) > OPEN_MAX and not self.load.stopped.is_set():
            self.see_end(self.open.popleft())

    def see_end(self, of: zq.Receipt | zq.Group) -> None:
        """Waits for the end of something, or until the load is stopped."""
        while not self.load.stopped.is_set():
            try:
                of.result(0.5)
            except zq.TaskError:
                pass  # what it had to be, the verdict knows
            except zq.TimedOutError:
                continue
            self.ledger.note("ends")
            return

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Waits for a condition, or until the load is stopped; returns what it gave."""
        while not (found := condition()) and not self.load.stopped.wait(0.01):
            pass
        return found


def seconds(rng: random.Random) -> float:
    """How long a task is worked on: mostly for hardly any time."""
    return rng.choice((0.0, 0.0, 0.001, 0.005, 0.02, 0.05))


def order(deed: Deed) -> None:
    """Plain tasks, single and in batches, with whatever may be said about them."""
    rng = deed.rng
    payload = {"seconds": seconds(rng), "fails": rng.choice((0, 0, 0, 1))}
    options: dict[str, Any] = {"priority": rng.randrange(10)}
    if rng.random() < 0.2:
        options["delay"] = rng.uniform(0.0, 0.5)
    if rng.random() < 0.2:
        options["headers"] = {"shop": "1"}
    if rng.random() < 0.2:
        options["key"] = f"customer-{rng.randrange(20)}"
    if rng.random() < 0.3:
        deed.submit_many("orders", [payload] * 10, **options)
    else:
        deed.open.append(deed.submit("orders", payload, deed.new_id(), **options))
        if rng.random() < 0.05:  # the same again is not another one
            deed.client.submit("orders", payload, id=f"{deed.load.prefix}{deed.name}-{deed.count}", **options)


def ask(deed: Deed) -> None:
    """Requests, of which the answer is waited for."""
    deed.see_end(deed.submit("orders", {"seconds": seconds(deed.rng)}, deed.new_id()))


def relay(deed: Deed) -> None:
    """Tasks whose handlers send another one."""
    deed.open.append(deed.submit("relay", {"seconds": seconds(deed.rng)}, deed.new_id()))


def line_up(deed: Deed) -> None:
    """Ordered keys; the key is this thread's alone, so it knows in which order they were accepted."""
    key = f"{deed.name}-{deed.rng.randrange(4)}"
    if deed.rng.random() < 0.2:
        deed.submit_many("lines", [{"seconds": 0.002}] * 5, deed.ledger.lines[key], key=key, ordered=True)
    else:
        id, payload = deed.new_id(), {"seconds": seconds(deed.rng)}
        deed.open.append(deed.submit("lines", payload, id, key=key, ordered=True, priority=deed.rng.randrange(10)))
        deed.ledger.lines[key].append(id)


def be_alone(deed: Deed) -> None:
    """Unique keys that several threads want, kept and replaced."""
    key = f"bread-{deed.rng.randrange(3)}"
    policy: Any = deed.rng.choice(("keep", "replace"))
    payload = {"seconds": deed.rng.choice((0.0, 0.01, 0.05))}
    id = deed.new_id()
    deed.ledger.tried[id] = "alone"
    receipt = deed.client.submit("alone", payload, id=id, unique=zq.Unique(key, policy=policy))
    deed.ledger.note("duplicates" if receipt.is_duplicate else "alone")
    with deed.ledger.lock:
        deed.ledger.alone[key].append(receipt.id)
    if not receipt.is_duplicate and receipt.id != id:
        deed.ledger.broken_promises.append(f"{id} of the unique key {key} got the receipt of {receipt.id}")


def gather(deed: Deed) -> None:
    """Groups of each policy, good and bad ones, with a callback."""
    rng = deed.rng
    policy: Any = rng.choice(("all", "any", "settled"))
    bad = {"all": 0.05, "any": 0.3, "settled": 0.2}[policy]
    parts = [(rng.randrange(1000), rng.random() < bad) for _ in range(rng.choice((1, 3, 5, 20)))]
    id = deed.new_id()
    deed.ledger.tried[id] = "boxes"
    payloads = [{"n": n, "bad": is_bad, "seconds": seconds(rng)} for n, is_bad in parts]
    group = deed.client.group(payloads, queue="parts", callback="boxes", policy=policy, id=id)
    deed.ledger.groups[id] = GroupOrder(policy, parts)
    deed.ledger.note("groups")
    if deed.rng.random() < 0.5:
        deed.see_end(group)


def grow(deed: Deed) -> None:
    """Tasks that open a group in the place of themselves."""
    n = deed.rng.randrange(1000)
    deed.open.append(deed.submit("trees", {"n": n, "seconds": seconds(deed.rng)}, deed.new_id(), n))


def publish(deed: Deed) -> None:
    """Publications to several queues."""
    topic = deed.rng.choice(sorted(TOPICS))
    id = deed.new_id()
    found = deed.client.publish(topic, {"seconds": 0.0}, id=id)
    deed.ledger.news[id], deed.ledger.topics[id] = found.queues, topic
    deed.ledger.note("publications")


def call_off(deed: Deed) -> None:
    """Tasks that are cancelled: before they are due, while they wait, while they run."""
    id = deed.new_id()
    delay = deed.rng.choice((0.0, 0.0, 3000.0))
    receipt = deed.submit("slow", {"seconds": 0.2}, id, delay=delay)
    deed.load.stopped.wait(deed.rng.choice((0.0, 0.01, 0.1, 0.25)))
    said = deed.client.cancel(receipt.id)
    deed.ledger.called_off[id] = said
    deed.ledger.note("cancels")


def break_and_mend(deed: Deed) -> None:
    """Dead letters with a notice, and their replay, singly and at a rate."""
    id = deed.new_id()
    deed.submit("brittle", None, id, on_dead="complaints")
    if not deed.wait_for(lambda: deed.client.status(id).state == "dead"):
        return
    deed.ledger.died.add(id)
    chance = deed.rng.random()
    if chance < 0.7:
        if chance < 0.4:
            deed.client.dead.replay(id)
        else:
            deed.client.dead.start_replay(1000.0, queue="brittle")
        deed.ledger.revived.add(id)
        deed.ledger.note("replays")


def ask_awaited(deed: Deed) -> None:
    """Coroutines that submit together and wait for what comes of it, until the load is stopped."""
    asyncio.run(_ask_awaited(deed))


async def _ask_awaited(deed: Deed) -> None:
    async with zq.AsyncClient(deed.load.address, timeout=deed.load.timeout) as client:
        while not deed.load.stopped.is_set():
            ids = [deed.new_id() for _ in range(deed.rng.randint(1, 5))]
            deed.ledger.tried.update(dict.fromkeys(ids, "orders"))
            payload = {"seconds": seconds(deed.rng)}
            receipts = await asyncio.gather(*(client.submit("orders", payload, id=id) for id in ids))
            for receipt in receipts:
                deed.ledger.accept(receipt.id, "orders")
            for receipt in receipts:
                while not deed.load.stopped.is_set():
                    with contextlib.suppress(zq.TimedOutError):
                        await receipt.result(0.5)
                        break
            await asyncio.sleep(deed.rng.uniform(0.0, deed.load.pause))


def move(deed: Deed) -> None:
    """Tasks that wait in a queue which nobody works for, and are moved as a whole."""
    for _ in range(3):
        deed.submit("lobby", {"seconds": 0.0}, deed.new_id())
    deed.client.queues.move("lobby", "orders")
    deed.ledger.note("moves")
    deed.load.stopped.wait(0.2)


def pipe(deed: Deed) -> None:
    """Runs of a pipeline, whose stages are threads here, over queues of the coordinator."""
    id, count = deed.new_id(), deed.rng.randint(1, 20)
    run = pipeline.run(range(count), address=deed.load.address, run_id=id, threads=True, quiet=True, lease=2.0)
    deed.ledger.pipelines[id] = (made_of_inputs(count), list(run))
    deed.ledger.note("runs of a pipeline")


def pull(deed: Deed) -> None:
    """Pulls: tasks that end here, fail, go back, are prolonged, and are dropped."""
    rng, client = deed.rng, deed.client
    asked_at = time.monotonic()
    tasks = client.pull("pulled", max_tasks=5, wait=0.2, lease=rng.choice((1.0, 5.0)))
    deed.ledger.taken.extend(Taken(task.id, task.token, asked_at) for task in tasks)
    for task in tasks:
        try:
            _end(deed, task, rng.random())
        except zq.StaleLeaseError:
            deed.ledger.note("stale pulls")


def _end(deed: Deed, task: zq.PulledTask, chance: float) -> None:
    if chance < 0.6:
        if chance < 0.2:
            task.forward("sink", {"of": task.id, "token": task.token})
        task.done(task.token)
        if chance < 0.2:
            deed.ledger.sent.add(task.id)
        deed.ledger.ended[task.id] = (task.token, time.monotonic())
        deed.ledger.note("pulled and done")
    elif chance < 0.7:
        task.fail("no dough", retry_in=0.05)
    elif chance < 0.8:
        task.release()
    elif chance < 0.9:
        task.extend(5.0)
        task.done(task.token)
        deed.ledger.ended[task.id] = (task.token, time.monotonic())
        deed.ledger.note("pulled and done")


def feed(deed: Deed) -> None:
    """Tasks for those who pull."""
    deed.open.append(deed.submit("pulled", {}, deed.new_id(), max_attempts=1000))


def hold_still(deed: Deed) -> None:
    """A queue that is paused, and knows it, and goes on."""
    deed.client.queues.pause("orders")
    deed.ledger.note("pauses")
    for _ in range(3):
        policies = deed.client.queues.show("orders").policies
        if policies is None or not policies.paused:
            deed.ledger.broken_promises.append("a queue was paused, and did not know it any more")
        deed.load.stopped.wait(0.05)
    deed.client.queues.resume("orders")
    deed.load.stopped.wait(deed.rng.uniform(0.2, 0.6))


DEEDS: dict[str, Callable[[Deed], None]] = {
    "order-a": order, "order-b": order, "ask": ask, "relay": relay, "line-a": line_up, "line-b": line_up,
    "alone-a": be_alone, "alone-b": be_alone, "group": gather, "tree": grow, "publish": publish, "cancel": call_off,
    "break": break_and_mend, "pull-a": pull, "pull-b": pull, "feed": feed, "pause": hold_still,
    "async": ask_awaited, "move": move, "pipe": pipe,
}  # fmt: skip


class Load:
    """The clients; a context manager."""

    def __init__(
        self,
        address: str,
        seed: int,
        timeout: float = 60.0,
        without: frozenset[str] = frozenset(),
        prefix: str = "",
        pause: float = PAUSE,
    ) -> None:
        self.address = address
        self.seed = seed
        self.timeout = timeout
        self.prefix = prefix  # of all ids, where several follow each other
        self.pause = pause  # in the place of PAUSE
        self.ledger = Ledger()
        self.stopped = threading.Event()
        self._names = [name for name in DEEDS if name not in without]
        self._threads = [threading.Thread(target=self._go_on, args=(name,), name=name) for name in self._names]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the clients; what they wait for they get first."""
        self.stopped.set()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join()

    def _go_on(self, name: str) -> None:
        deed = Deed(self, name)
        try:
            while not self.stopped.wait(deed.rng.uniform(0.0, self.pause)):
                try:
                    DEEDS[name](deed)
                    deed.throttle()
                except (zq.TimedOutError, zq.BusyError) as error:
                    self.ledger.note(f"{type(error).__name__} of {name}")
        except Exception:  # it is shown with the verdict
            self.ledger.errors.append(f"{name}: {traceback.format_exc()}")
        finally:
            deed.client.close()
