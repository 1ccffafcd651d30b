"""Customers and workers of the simulation: they keep to the protocol, except where a fault makes them crash, hang, stop
or lie.
"""

from __future__ import annotations

from array import array
from math import inf
from typing import Any

from tests.simulation.fates import FINAL
from tests.simulation.ledger import Ledger
from tests.simulation.lineage import COMPLAINTS, JOINED, check_joined, fork, member_batch, nest, result_of
from tests.simulation.publisher import TOPICS, Publications, bind_commands
from tests.simulation.shares import LIMITS, NAMESPACE, QUEUES
from tests.simulation.world import PAUSES, Connection, World
from zq.task import task_id
from zq.wire.batch import iterate_payloads, slice_tasks
from zq.wire.messages import (
    Answer,
    Assign,
    Assignment,
    Batch,
    Beat,
    Cancel,
    Cancelled,
    Command,
    Done,
    Error,
    Failed,
    Goodbye,
    Group,
    Heartbeat,
    Held,
    Hello,
    Open,
    Options,
    Outcome,
    Progress,
    Publish,
    Published,
    Pull,
    Receipt,
    Release,
    Schedule,
    Settle,
    Settled,
    Span,
    Started,
    Submit,
    Tasks,
    Wait,
    Welcome,
)
from zq.wire.proofs import proof_of
from zq.wire.retry import RetryPolicy
from zq.wire.steering import About
from zq.wire.unique import Unique

POLICIES: tuple[dict[str, Any], ...] = (
    {"fair": True},
    {"fair": False},
    {"assign": "hash"},
    {"assign": "least-loaded"},
    {"fair": True, "assign": "hash", "max_tasks": None},
    {"max_tasks": 4},
    {"paused": True},
    {"draining": True},
    {"paused": False, "draining": False, "concurrency": None, "key_concurrency": None, "rate": None, "key_rate": None},
    {"concurrency": 1},
    {"ageing": 0.5},
    {"ageing": None, "max_tasks": 10, "overflow": "dead-oldest"},
    {"max_bytes": 200, "overflow": "dead-oldest", "max_tasks": None},
    {"overflow": None, "max_bytes": None, "max_tasks": None},
    {"concurrency": 5, "fair": True},
    {"key_concurrency": 1},
    {"key_concurrency": 2, "assign": "hash"},
    {"rate": 0.5, "burst": 2},
    {"rate": 1.0, "burst": 3, "concurrency": 4},
    {"key_rate": 0.5, "key_burst": 2, "fair": True},
    {"rate": 20.0, "burst": 2, "key_concurrency": 3},
)
"""What customers set while everything runs."""

RESEND_AFTER = 2.0
HEARTBEAT = 1.0
NAME_RETRY = 0.5


def pack(payloads: list[bytes]) -> tuple[bytes, bytes]:
    ends = array("I")
    at = 0
    for payload in payloads:
        at += len(payload)
        ends.append(at)
    return ends.tobytes(), b"".join(payloads)


def is_neighbour(last: Done, one: Done) -> bool:
    """Whether two ends of members, which both have results and hand on nothing, are reported as one range."""
    is_plain = not (last.forwards or last.groups or one.forwards or one.groups)
    return is_plain and (last.token, last.hi) == (one.token, one.lo)


class Customer:
    """Submits orders until each has a receipt or a refusal, then waits for how they end; some are cancelled, some
    pulled.
    """

    def __init__(self, world: World, ledger: Ledger, name: str) -> None:
        self.world = world
        self.ledger = ledger
        self.name = name
        self.secret = f"secret-of-{name}"
        self.request = 0
        self.made = 0
        self.unanswered: dict[int, tuple[Any, float]] = {}  # request -> message, when to send it again
        self.submitted: dict[str, int] = {}  # accepted batches whose outcome is unknown -> size
        self.waits: dict[int, str] = {}
        self.pulled: dict[str, tuple[Assignment, int]] = {}
        self.confirming: dict[int, list[tuple[str, int]]] = {}
        self.missing: dict[str, set[int]] = {}
        self.gives_new_id = False  # planted fault
        self.takes_silence_for_refusal = False  # planted fault
        self.publications = Publications(ledger)
        self.published: list[Publish] = []  # that were accepted
        self.resultless: set[str] = set()  # groups without a callback, whose results those who wait are told
        self.cancels: dict[int, list[str]] = {}  # by request: the tasks that are cancelled by it
        self.operations: list[str] = []  # that were begun on whole queues
        self.resent: set[int] = set()  # requests that were sent more than once
        self.connection = world.connect(self)
        for command in bind_commands(self.number):
            self.ask(command)

    def number(self) -> int:
        self.request += 1
        return self.request

    def ask(self, message: Any) -> None:
        number = message.number if isinstance(message, Settle | Release) else message.request
        self.unanswered[number] = (message, self.world.now + RESEND_AFTER)
        self.connection.send_up(message)

    # What it does.

    def order(self) -> None:
        """Submits a batch of orders."""
        rng = self.world.rng
        size = rng.choice((1, 1, 1, 3, 8))
        self.made += 1
        options = Options(
            priority=rng.choice((0, 4, 4, 9)),
            **self.times(),
            on_lost=rng.choice(("reassign", "reassign", "cancel", "dead")),
            key=rng.choice((None, "a", "b", "c")),
            max_attempts=rng.choice((None, 1, 2)),
            retry=rng.choice((None, RetryPolicy.constant(0.7))),
            timeout=rng.choice((None, None, 5.0)),
            on_dead=None if self.world.has_replays else rng.choice((None, COMPLAINTS)),
        )
        if options.key is not None and rng.random() < 0.5 and not self.world.has_replays:
            options = options._replace(ordered=True)
        if self.world.has_runs:
            size = rng.choice((1, 3, 8, 8))
            options = options._replace(ordered=True, key=rng.choice("abc"), ttl=None)
        if size == 1 and rng.random() < 0.3:
            unique = Unique(
                rng.choice("xy"), rng.choice(("ended", "ended", "started")), rng.choice(("keep", "replace"))
            )
            options = options._replace(unique=unique)
        self.submit(f"{self.name}-{self.made:04d}", self.made, size, options)

    def times(self) -> dict[str, Any]:
        """When a batch may start, and until when."""
        rng = self.world.rng
        ttl = rng.choice((None, None, 0.5, 3.0))
        match rng.randrange(8):
            case 0:
                return {"at": max(0.0, self.world.clocks().wall + rng.choice((-5.0, 1.5))), "ttl": ttl}
            case 1:
                return {"delay": 1.5, "ttl": ttl}
        return {"ttl": ttl}

    def submit(self, id: str, order: int, size: int, options: Options) -> None:
        orders = [f"{self.name}/{order}/{i}" for i in range(size)]
        for i, text in enumerate(orders):
            self.ledger.attempt(task_id(id, size, i), text)
            self.ledger.entries[task_id(id, size, i)].wants_notice = options.on_dead is not None
        ends, blob = pack([text.encode() for text in orders])
        names = ("pizza",) if options.unique is not None else ("pizza", "pasta", "pizza", "pasta", *QUEUES)
        queue = self.world.rng.choice(names)  # fewer queues, so that unique keys meet
        self.ask(Submit(self.number(), (Batch(id, queue, options, ends, blob),)))

    def open_group(self) -> None:
        """Opens a group; its members are submitted when it is open."""
        rng = self.world.rng
        self.made += 1
        id = f"{self.name}-group-{self.made:04d}"
        policy = rng.choice(("all", "all", "any", "settled"))
        options = Options(on_dead=rng.choice((None, COMPLAINTS)), max_attempts=100)
        group = Group(id, rng.choice((0, 1, 2, 5)), policy, False, rng.choice((None, JOINED, JOINED)), options)
        self.ledger.attempt(id, id)
        entry = self.ledger.entries[id]
        entry.policy = policy if group.size else "settled"  # nothing is missing when there was nothing
        entry.wants_notice = options.on_dead is not None and group.queue is not None
        if group.queue is None:
            self.resultless.add(id)
        self.ask(Open(self.number(), group))

    def submit_members(self, group: Group) -> None:
        """Submits the members of a group in one or two batches."""
        cut = self.world.rng.randrange(group.size + 1)
        whole = member_batch("", "", group.id, (0,), [], group.size)
        for number, (lo, hi) in enumerate(((0, cut), (cut, group.size))):
            if lo < hi:
                id = f"{group.id}.{number}"
                for i in range(hi - lo):
                    self.ledger.attempt(task_id(id, hi - lo, i), f"{group.id}/{lo + i}")
                options = Options(group=(group.id, (lo,)))
                queue = self.world.rng.choice(("pizza", "pasta"))
                part = Batch(id, queue, options, *slice_tasks(whole.ends, whole.blob, lo, hi))
                self.ask(Submit(self.number(), (part,)))

    def publish(self) -> None:
        """Publishes something, or again what was published before."""
        rng = self.world.rng
        if any(isinstance(message, Command) and message.verb == "bind" for message, _ in self.unanswered.values()):
            return
        if self.published and rng.random() < 0.3:
            self.ask(rng.choice(self.published)._replace(request=self.number()))
            return
        self.made += 1
        headers = rng.choice((None, {"city": "rome"}, {"city": "bari"}))
        options = Options(priority=rng.choice((4, 9)), delay=rng.choice((0.0, 0.0, 1.5)), headers=headers)
        payloads = pack([b"news"] * rng.choice((1, 1, 3)))
        id = f"{self.name}-news-{self.made:04d}"
        message = Publish(self.number(), id, rng.choice(TOPICS), options, rng.random() < 0.7, *payloads)
        self.publications.attempt(message)
        self.ask(message)

    def operate(self) -> None:
        """Purges, moves or deletes a whole queue."""
        rng = self.world.rng
        self.made += 1
        queue, to = rng.choice((("pizza", "pasta"), ("pasta", "pizza")))
        states = rng.choice((None, ("waiting",), ("scheduled",), ("waiting", "scheduled", "dead")))
        arguments: dict[str, Any] = {"id": f"{self.name}-operation-{self.made}", "queue": queue}
        verb = rng.choice(("purge", "move", "move", "move", "delete"))
        if verb == "delete":
            arguments |= {"queue": JOINED, "purge": rng.random() < 0.5}  # the others are bound to topics
        else:
            arguments["states"] = states
        if verb == "move":
            arguments["to"] = to
        self.ask(Command(self.number(), verb, arguments))

    def cancel_something(self) -> None:
        if self.submitted:
            id = self.world.rng.choice(sorted(self.submitted))
            size = self.submitted[id]
            index = self.world.rng.randrange(size)
            is_one = self.world.rng.random() < 0.7
            self.cancel(task_id(id, size, index) if is_one else id, [index] if is_one else list(range(size)))

    def cancel(self, id: str, indexes: list[int]) -> None:
        """Cancels tasks of a batch, or a group, and notes of which it is known that they are there."""
        base, _, _ = id.partition("#")
        tasks = [task_id(base, self.submitted.get(base, 1), index) for index in indexes]
        request = self.number()
        entries = self.ledger.entries
        if base in entries and entries[base].policy != "any":  # such a one may be done, and members go on
            tasks += [other for other in entries if other.startswith((f"{base}.0", f"{base}.1"))]
        self.cancels[request] = [one for one in tasks if one in entries and entries[one].is_accepted]
        self.ask(Cancel(request, id))

    def schedule(self) -> None:
        """Makes its one schedule, or makes it again."""
        every, catch_up = self.world.rng.choice(((2.0, "one"), (2.0, "skip"), (900.0, "all")))
        ends, blob = pack([b"again"])
        batch = Batch(f"{self.name}-beat", self.world.rng.choice(("pizza", "boxes")), Options(), ends, blob)
        self.ask(Schedule(self.number(), batch, every, None, "UTC", catch_up))

    def forget_schedule(self) -> None:
        self.ask(Command(self.number(), "delete-schedule", {"name": f"{self.name}-beat"}))

    def bury_something(self) -> None:
        if self.submitted:
            id = self.world.rng.choice(sorted(self.submitted))
            self.ask(Command(self.number(), "bury", {"id": id, "reason": f"buried {FINAL}"}))

    def wake_the_dead(self) -> None:
        """Has dead letters brought back or given up, in the seeds in which that may be."""
        rng = self.world.rng
        to = rng.choice((None, None, "pizza", "boxes"))
        match rng.randrange(3):
            case 0:
                self.ask(Command(self.number(), "replay", {"limit": 2, "to": to}))
            case 1:
                number = self.number()
                self.ask(Command(number, "start-replay", {"id": f"{self.name}/{number}", "rate": 2.0, "to": to}))
            case 2:
                self.ask(Command(self.number(), "purge-dead", {"limit": 1}))

    def pull(self) -> None:
        queue = self.world.rng.choice(("pizza", "pasta"))
        most = self.world.rng.choice((1, 4))
        self.ask(Pull(self.number(), self.name, queue, most, 1.0, 6.0, secret=self.secret))  # it confirms nothing

    def set_a_queue(self) -> None:
        """Changes how a queue behaves."""
        rng = self.world.rng
        self.set_queue(rng.choice(("pizza", "pasta")), rng.choice(POLICIES))
        self.ask(Command(self.number(), "set-namespace", {"name": NAMESPACE, "max_tasks": rng.choice(LIMITS)}))

    def set_queue(self, queue: str, policies: dict[str, Any]) -> None:
        self.ask(Command(self.number(), "set-queue", {"queue": queue, **policies}))

    def wait_for_outcomes(self) -> None:
        """Asks how everything ends that is not known yet."""
        for id in sorted(self.submitted):
            if id not in self.waits.values():
                request = self.number()
                self.waits[request] = id
                self.missing.setdefault(id, set(range(self.submitted[id])))
                self.connection.send_up(Wait(request, id, 0, self.submitted[id]))

    def act(self) -> None:
        """A step of its own: what has had no answer is sent again, on a new connection when it seems dead."""
        now = self.world.now
        if not self.connection.is_open or (self.unanswered and self.world.rng.random() < 0.05):
            self.world.cut(self.connection)
            self.connection = self.world.connect(self)
            self.waits.clear()
        for request, (message, due) in list(self.unanswered.items()):
            if due <= now:
                self.unanswered[request] = (message, now + RESEND_AFTER)
                self.send_again(message)
        if self.world.rng.random() < 0.1:
            self.waits.clear()
        self.wait_for_outcomes()

    def is_sure(self, request: int) -> bool:
        """Whether a refusal is the whole truth: of a request that arrived twice, the other copy may have found room."""
        return request not in self.resent and not self.world.faults.duplicate

    def send_again(self, message: Any) -> None:
        if isinstance(message, Submit) and self.takes_silence_for_refusal:
            del self.unanswered[message.request]
            for batch in message.batches:
                for i in range(len(batch.ends) >> 2):
                    self.ledger.refuse(task_id(batch.id, len(batch.ends) >> 2, i))
            return
        if isinstance(message, Submit) and self.gives_new_id and message.batches[0].options.group is None:
            del self.unanswered[message.request]
            for batch in message.batches:
                _, number, _ = batch.blob.decode().split("/")[:3]
                self.submit(f"{batch.id}x", int(number), len(batch.ends) >> 2, batch.options)
            return
        self.resent.add(message.number if isinstance(message, Settle | Release) else message.request)
        self.connection.send_up(message)

    # What it hears.

    def receive(self, message: Any) -> None:
        match message:
            case Receipt():
                self.note_receipt(message)
            case Outcome():
                self.note_outcome(message)
            case Tasks(request, assignments):
                if self.unanswered.pop(request, None) is not None:
                    for assignment in assignments:
                        self.work(assignment)
            case Settled(number, stale):
                self.unanswered.pop(number, None)
                for id, token in self.confirming.pop(number, []):
                    if not any(span.token == token for span in stale):
                        self.ledger.complete(id, token)
            case Answer(request, {"kind": _, "id": id}) if request in self.unanswered:
                del self.unanswered[request]
                self.operations.append(id)
            case Answer(request, value) if request in self.cancels and request in self.unanswered:
                del self.unanswered[request]
                if value:
                    self.ledger.note_cancelled(self.cancels[request])
            case Published(request):
                asked = self.unanswered.pop(request, None)
                if asked is not None:
                    self.note_published(asked[0], message)
            case Error(request=None):
                pass
            case Error(request, "busy") if request in self.unanswered and self.is_due(request):
                pass  # it is said again
            case Cancelled():
                pass
            case _:
                self.unanswered.pop(message.request, None)

    def is_due(self, request: int) -> bool:
        """Whether something must come through, however often it is refused: others wait for it."""
        match self.unanswered[request][0]:
            case Command(verb=verb):
                return verb == "bind"
            case Submit(batches=batches):
                return batches[0].options.group is not None
            case Cancel() | Settle() | Release():
                return True
        return False

    def note_receipt(self, message: Receipt) -> None:
        asked = self.unanswered.pop(message.request, None)
        if asked is None:
            return
        if isinstance(asked[0], Open):
            if message.refused and not self.is_sure(message.request):  # whether it is open is to be heard
                self.unanswered[message.request] = asked
            else:
                self.note_opened(asked[0].group, message)
            return
        sizes = {batch.id: len(batch.ends) >> 2 for batch in asked[0].batches}
        for accepted in message.accepted:
            if accepted.duplicate_of is not None:
                self.ledger.note_duplicate(accepted.id, accepted.duplicate_of)
                continue
            size = sizes[accepted.id]
            self.submitted[accepted.id] = size
            for i in range(size):
                self.ledger.accept(task_id(accepted.id, size, i))
        for refused in message.refused:
            for i in range(sizes[refused.id] if self.is_sure(message.request) else 0):
                self.ledger.refuse(task_id(refused.id, sizes[refused.id], i))
            group = asked[0].batches[0].options.group
            if group is not None:  # it will never be complete
                self.cancel(group[0], [0])

    def note_published(self, asked: Publish, message: Published) -> None:
        self.submitted |= self.publications.note(asked, message)
        if message.refused is None:
            self.published.append(asked)
        elif message.refused.code == "busy":
            self.world.after(1.0, lambda: self.ask(asked._replace(request=self.number())))

    def note_opened(self, group: Group, message: Receipt) -> None:
        for _ in message.refused:
            self.ledger.refuse(group.id)
        for _ in message.accepted:
            self.ledger.accept(group.id)
            self.submitted[group.id] = 1
            self.submit_members(group)

    def note_outcome(self, message: Outcome) -> None:
        id = self.waits.get(message.request)
        if id is None or id not in self.submitted:
            return
        size = self.submitted[id]
        missing = self.missing[id]
        policy = self.ledger.entries[id].policy if id in self.ledger.entries else None
        for ended in message.ended:
            if policy is not None and ended.outcome == "done" and id in self.resultless:
                check_joined(id, ended.blob, policy)
                self.ledger.join(id, ended.blob)
            for index in range(ended.lo, min(ended.hi, size)):
                self.ledger.end(task_id(id, size, index), ended.outcome)
                missing.discard(index)
        if not missing:
            del self.submitted[id]
            self.waits.pop(message.request, None)

    def work(self, assignment: Assignment) -> None:
        """Does pulled tasks after a while, perhaps too late."""
        seconds = self.world.rng.choice((0.1, 3.0, 9.0))
        self.world.after(seconds, lambda: self.settle(assignment))

    def settle(self, assignment: Assignment) -> None:
        count = len(assignment.ends) >> 2
        number = self.number()
        proofs = (proof_of(self.secret, assignment.token),)
        kind = self.world.rng.random()
        if kind < 0.2:
            spans = (Span(assignment.token, assignment.lo, assignment.lo + count),)
            self.ask(Release(number, None, spans, proofs))
            return
        if kind < 0.4:
            failed = Failed(assignment.token, assignment.id, assignment.lo, "burnt", None, False)
            self.ask(Settle(number, None, (), (failed,), False, proofs))
            return
        done = []
        for index in range(assignment.lo, assignment.lo + count):
            id = task_id(assignment.id, assignment.size, index)
            done.append(Done(assignment.token, assignment.id, index, index + 1, *result_of(assignment, index), ()))
            self.confirming.setdefault(number, []).append((id, assignment.token))
        self.confirming[number] = self.confirming[number][:1]
        self.ask(Settle(number, None, tuple(done[:1]), (), False, proofs))


class Worker:
    """Runs what it is assigned, in order, `concurrency` at once, and settles it; each crash makes a new incarnation."""

    def __init__(self, world: World, ledger: Ledger, name: str, queues: tuple[str, ...]) -> None:
        self.world = world
        self.ledger = ledger
        self.name = name
        self.queues = queues
        self.concurrency = world.rng.choice((1, 2))
        self.credit = 24 if world.has_runs else world.rng.choice((1, 3, 8))
        self.takes_runs = self.credit > 3
        self.life = 0
        self.forwarded = 0
        self.start()

    def start(self) -> None:
        """Begins a life: memory is empty."""
        self.life += 1
        self.incarnation = f"{self.name}-{self.life}"
        self.paused_until = 0.0
        self.dead_until: float | None = None
        self.inbox: list[Any] = []
        self.backlog: list[tuple[Assignment, int]] = []
        self.running: dict[tuple[int, int], float] = {}  # (token, index) -> until
        self.assignments: dict[int, Assignment] = {}
        self.open_tasks: dict[int, set[int]] = {}  # token -> indexes neither finished nor settled
        self.unsettled: dict[int, Settle] = {}
        self.unreported: tuple[list[Done], list[Failed]] = ([], [])  # ends that wait for others, where runs are many
        self.number = 0
        self.is_welcome = False
        self.heard_at = self.world.now
        self.beat_at = 0.0
        self.connect()

    def connect(self) -> None:
        old: Connection | None = getattr(self, "connection", None)
        if old is not None:
            self.world.cut(old)
        self.connection = self.world.connect(self)
        self.is_welcome = False
        self.heard_at = self.world.now
        self.say_hello()

    def say_hello(self) -> None:
        self.hello_at = inf
        self.send(Hello(self.name, self.incarnation, self.queues, self.credit, self.concurrency, self.held()))

    def held(self) -> tuple[Held, ...]:
        started: dict[int, list[int]] = {}
        for token, index in self.running:
            started.setdefault(token, []).append(index)
        return tuple(Held(token, tuple(started.get(token, ()))) for token, left in self.open_tasks.items() if left)

    def send(self, message: Any) -> None:
        self.connection.send_up(message)

    def at_work(self) -> list[tuple[int, int]]:
        return list(self.running)

    def listed(self) -> list[int]:
        return [token for token, left in self.open_tasks.items() if left]

    # What it hears.

    def receive(self, message: Any) -> None:
        if self.world.now < self.paused_until:
            self.inbox.append(message)
        elif self.dead_until is None:
            self.handle(message)

    def handle(self, message: Any) -> None:
        self.heard_at = self.world.now
        match message:
            case Welcome():
                self.is_welcome = True
                if self.takes_runs:
                    self.send(About(self.name, self.life, 0, self.concurrency, False, None, takes_runs=True))
                self.forget(message.refused)
                for settle in list(self.unsettled.values()):
                    self.send(settle)
            case Assign(assignments):
                for assignment in assignments:
                    self.take(assignment)
            case Settled(number, stale):
                self.note_settled(number, stale)
            case Beat(_, _, refused):
                self.forget(refused)
            case Cancelled(spans):
                for token, lo, hi in spans:
                    for index in range(lo, hi):
                        self.give_up(token, index)
            case Error(_, "say-hello", _):
                self.connect()
            case Error(_, "name-taken", _) if not self.is_welcome:
                self.hello_at = self.world.now + NAME_RETRY
            case Error(_, "fenced", _):
                self.start()

    def take(self, assignment: Assignment) -> None:
        if assignment.token in self.assignments:
            return
        count = len(assignment.ends) >> 2
        indexes = range(assignment.lo, assignment.lo + count)
        self.assignments[assignment.token] = assignment
        self.open_tasks[assignment.token] = set(indexes)
        self.backlog += [(assignment, index) for index in indexes]

    def forget(self, tokens: tuple[int, ...]) -> None:
        for token in tokens:
            for index in sorted(self.open_tasks.get(token, ())):
                self.give_up(token, index)

    def give_up(self, token: int, index: int) -> None:
        self.backlog = [(one, i) for one, i in self.backlog if (one.token, i) != (token, index)]
        self.running.pop((token, index), None)
        self.open_tasks.get(token, set()).discard(index)

    def note_settled(self, number: int, stale: tuple[Span, ...]) -> None:
        settle = self.unsettled.pop(number, None)
        if settle is None:
            return
        refused = {(span.token, index) for span in stale for index in range(span.lo, span.hi)}
        for done in settle.done:
            for index in range(done.lo, done.hi):
                self.open_tasks.get(done.token, set()).discard(index)
                assignment = self.assignments.get(done.token)
                if (done.token, index) not in refused and assignment is not None:
                    self.ledger.complete(task_id(done.id, assignment.size, index), done.token)
        for failed in settle.failed:
            self.open_tasks.get(failed.token, set()).discard(failed.index)

    # What it does.

    def act(self) -> None:
        """A step of its own: faults, heartbeats, starting and finishing tasks."""
        world = self.world
        if world.now < self.paused_until:
            return
        if world.strikes("kill"):
            self.world.cut(self.connection)
            self.dead_until = world.now + world.rng.choice((0.0, 25.0))
        if self.dead_until is not None:
            if world.now >= self.dead_until or world.is_healed:
                self.start()
            return
        if world.strikes("pause"):
            self.paused_until = world.now + world.rng.choice(PAUSES)
            return
        inbox, self.inbox = self.inbox, []
        for message in inbox:
            self.handle(message)
        if (not self.connection.is_open and world.now - self.heard_at > 2.0) or world.now - self.heard_at > 10.0:
            self.connect()
        if world.now >= self.hello_at:
            self.say_hello()
        if world.now >= self.beat_at:
            self.beat_at = world.now + HEARTBEAT
            self.number += 1
            self.send(Heartbeat(self.number, self.held()))
            if self.unsettled and world.rng.random() < 0.5:
                for settle in list(self.unsettled.values()):
                    self.send(settle)
        self.finish_due()
        self.start_next()
        if world.strikes("lie"):
            self.lie()

    def start_next(self) -> None:
        rng = self.world.rng
        started = []
        while len(self.running) < self.concurrency and (task := self.next_task()) is not None:
            self.backlog.remove(task)
            assignment, index = task
            if self.world.strikes("wedge"):
                if rng.random() < 0.3:
                    self.lose_lease(assignment.token)
                continue
            seconds = 10_000.0 if self.world.strikes("hang") else rng.choice((0.0, 0.2, 1.0))
            self.running[assignment.token, index] = self.world.now + seconds
            started.append(Held(assignment.token, (index,)))
        if started and rng.random() < 0.7:
            self.send(Started(tuple(started)))

    def next_task(self) -> tuple[Assignment, int] | None:
        """Returns what is to be started next: of a run nothing while another of it runs."""
        at_work = {token for token, _ in self.running}
        return next((one for one in self.backlog if not (one[0].options.ordered and one[0].token in at_work)), None)

    def lose_lease(self, token: int) -> None:
        """Forgets a lease altogether, which its heartbeats do not list any more."""
        self.backlog = [(one, i) for one, i in self.backlog if one.token != token]
        self.open_tasks.pop(token, None)

    def finish_due(self) -> None:
        done, failed = self.unreported
        for (token, index), until in list(self.running.items()):
            is_hung = until > self.world.now + 5000 and self.world.is_healed
            if until <= self.world.now or is_hung:
                del self.running[token, index]
                if self.world.strikes("wedge"):
                    continue
                self.report(token, index, done, failed)
        if (done or failed) and not (self.world.has_runs and self.backlog and self.world.rng.random() < 0.8):
            self.number += 1
            settle = Settle(self.number, self.credit, tuple(done), tuple(failed))
            self.unreported = ([], [])
            self.unsettled[self.number] = settle
            self.send(settle)

    def report(self, token: int, index: int, done: list[Done], failed: list[Failed]) -> None:
        assignment = self.assignments[token]
        if self.world.strikes("fail"):
            if assignment.options.ordered:  # what is behind it in its run is not its own any more
                for behind in range(index + 1, assignment.hi):
                    self.give_up(token, behind)
            is_final = self.world.rng.random() < 0.2
            failed.append(
                Failed(token, assignment.id, index, f"it burnt {FINAL}" if is_final else "it burnt", None, is_final)
            )
            return
        if assignment.options.group is not None:
            one = self.report_member(assignment, index)
            last = done[-1] if done else None
            if last is not None and is_neighbour(last, one):
                payloads = [*iterate_payloads(last.ends, last.blob), *iterate_payloads(one.ends, one.blob)]
                done[-1] = Done(token, last.id, last.lo, one.hi, *pack(payloads), ())
            else:
                done.append(one)
            return
        forwards: tuple[Batch, ...] = ()
        if self.world.rng.random() < 0.1 and assignment.id.count(">") == 0:
            self.forwarded += 1
            id = f"{self.incarnation}>{self.forwarded:04d}"
            self.ledger.attempt(id, f"{assignment.id}/{index}/forwarded by {token}")
            ends, blob = pack([b"box"])
            forwards = (Batch(id, "boxes", Options(), ends, blob),)
        ends, blob = pack([b"result"]) if self.world.rng.random() < 0.3 else (b"", b"")
        if done and done[-1].token == token and done[-1].hi == index and not (blob or done[-1].blob or forwards):
            done[-1] = done[-1]._replace(hi=index + 1)
        else:
            done.append(Done(token, assignment.id, index, index + 1, ends, blob, forwards))

    def report_member(self, assignment: Assignment, index: int) -> Done:
        """Completes a member: it ends, or hands its membership on."""
        rng = self.world.rng
        place = (assignment.token, assignment.id, index, index + 1)
        assert assignment.options.group is not None
        if rng.random() < 0.6 or self.world.is_healed or len(assignment.options.group[1]) > 3:
            return Done(*place, *result_of(assignment, index), ())
        self.forwarded += 1
        self.ledger.moved.add(task_id(assignment.id, assignment.size, index))
        id = f"{self.incarnation}>{self.forwarded:04d}"
        count = rng.choice((1, 2, 3))
        for i in range(count):
            self.ledger.attempt(task_id(id, count, i), f"{assignment.id}/{index}/{i} forwarded by {assignment.token}")
        if rng.random() < 0.6:
            return Done(*place, b"", b"", (fork(assignment, index, id, count),))
        group, members = nest(assignment, index, id, count)
        self.ledger.attempt(group.id, f"{assignment.id}/{index} joined by {assignment.token}")
        self.ledger.entries[group.id].policy = "all"
        return Done(*place, b"", b"", (members,), (group,))

    def lie(self) -> None:
        """Says things that are not so: the coordinator must refuse them and keep its books right."""
        rng = self.world.rng
        tokens = sorted(self.assignments)
        token = rng.choice(tokens) + rng.choice((0, -1, 1)) if tokens else rng.randrange(1 << 45)
        assignment = self.assignments.get(token)
        id = assignment.id if assignment is not None else "nobody"
        lo = rng.randrange(6)
        match rng.randrange(5):
            case 0:
                self.send(Release(10_000 + rng.randrange(99), self.credit, (Span(token, lo, lo + 2),)))
                self.forget((token,))
            case 1:
                self.send(Started((Held(token, (lo, 99)),)))
            case 2:
                self.send(Progress(token, lo, 0.5))
            case 3:
                if assignment is None or not self.open_tasks.get(token):
                    self.send(Settle(20_000, self.credit, (), (Failed(token + 7, id, lo, "lie", None, False),)))
            case 4:
                self.send(Goodbye(self.name, self.incarnation))
                self.forget(tuple(tokens))
