"""The direct grade: items go through PUSH and PULL sockets from worker to worker, with no third process; the caller is
source and sink.

Each worker binds a PULL socket, and whoever gives it items connects a PUSH socket to it. The caller takes from the
iterable only as fast as results come back, so all memory is bounded (patterns/run/feeder.py reads it,
patterns/run/pace.py says how far ahead). Nothing is stored: what a process held when it died is lost. The caller knows
the numbers of all items under way, so it can say exactly how many: after a death it sends nothing more, lets everything
come to rest (patterns/direct/quiescence.py), and what has not come back then is lost: `sent == completed + failed +
lost`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import zmq

from patterns.direct.control import CALLER, Counts
from patterns.direct.crew import Crew
from patterns.direct.hiring import Hired
from patterns.direct.links import Intake, Links
from patterns.direct.places import Places, own_host, refuse_open
from patterns.direct.quiescence import Quiescence
from patterns.direct.security import RunKeys, make_run_keys
from patterns.errors import LostError, PipelineError
from patterns.run.feeder import Feeder, unsendable_input
from patterns.run.pace import Pace
from patterns.run.progress import StageProgress
from patterns.run.settings import Settings
from patterns.sockets import Socket
from patterns.work.execution import Spreader
from patterns.work.items import UNSENDABLE, Plain, decode, size_of
from patterns.work.ledger import Ledger
from patterns.work.plan import SINK, Plan
from zq.keys.own import find_key
from zq.processes.bound_address import bind
from zq.processes.green import refuse_green_threads

GUARANTEE = (
    "direct: items pass through memory and sockets only; those that a process holds when it dies are lost, counted and reported, "
    "and nothing is delivered twice"
)

FRAMES_PER_TURN = 100
"""Messages taken from the sink before their results are handed out: bounds what waits in the caller."""

FILL_MILLISECONDS = 1
"""Milliseconds that items wait for others to fill their chunk."""

COUNTS_ATTEMPTS_MAX = 4
"""Looks for the last counts of the workers, before the progress is shown without them."""

HELD_WINDOWS_MAX = 8
"""Windows of results that may wait for an earlier item in an ordered run before the source is left alone."""

TURN_MILLISECONDS = 250
"""Milliseconds that the caller waits for something to happen before it looks at progress again."""


class DirectEngine:
    """One direct run. It belongs to the thread that iterates; see `patterns.run.settings.Engine` for what it is to a
    run.
    """

    guarantee = GUARANTEE

    def __init__(self, plan: Plan, items: Iterator[Any], settings: Settings) -> None:
        """Makes an engine; nothing is started yet."""
        self.ledger = Ledger(ordered=settings.ordered)
        self.lost: dict[str, int] = {}
        self._plan = plan
        self._items = items
        self._settings = settings
        self._is_hasty = False  # whether an unfinished chunk has waited long enough
        self._dead: list[Hired] = []
        self._is_learning = True
        self._loss: LostError | None = None
        self._rest: Quiescence | None = None  # while everything is to come to rest
        self._crew: Crew | None = None
        self._keys: RunKeys | None = None
        self._spreader = Spreader(plan)
        self._has_batches = any(node.kind == "batch" for node in plan.nodes)
        self._progress: StageProgress | None = None

    # What a run asks for.

    def start(self) -> None:
        """Starts the workers and connects everything.

        Raises:
            StartError: a worker cannot be started.
            ValueError: an endpoint cannot be one, or is of no stage.
            GreenThreadsError: threads are green ones in this process.
        """
        refuse_green_threads()
        plan, settings = self._plan, self._settings
        for name in settings.endpoints:
            plan.node_named(name)
        host = own_host(endpoint for endpoints in settings.endpoints.values() for endpoint in endpoints)
        is_threaded = all(settings.threads or node.options.threads for node in plan.working)
        host = settings.host or host
        key = None if host is None else find_key(settings.key, host)
        refuse_open(host, key, is_allowed=settings.insecure_bind)
        self._places = Places(host=host, is_threaded=is_threaded)
        self._context: zmq.Context[Socket] = zmq.Context()
        self._sink = Intake(self._context)
        keys = self._keys = None if key is None else make_run_keys(self._context, key)
        security = None if keys is None else keys.security
        if security is not None:
            security.guard(self._sink.socket)
        endpoint = self._endpoint = bind(self._sink.socket, self._places.place("sink"))
        crew = self._crew = Crew(self._context, plan, self._places, settings.endpoints, keys, threads=settings.threads)
        self._sink.tag = crew.tag
        self._links = Links(self._context, CALLER, crew.tag, plan, security)
        self._poller = zmq.Poller()
        self._poller.register(self._sink.socket, zmq.POLLIN)
        self._poller.register(crew.wake, zmq.POLLIN)
        crew.start()
        crew.wire(endpoint)
        for target in crew.entries():
            self._links.connect(target)
        self._wait_opened()
        if {target.worker for target in crew.entries()} == crew.exits():
            self._links.track_load()  # what comes back says who has worked it off
        self._pace = Pace(len(crew.workers), plan.held_max)
        self._feeder = Feeder(self._items, crew.wake.ring)
        if settings.progress:
            self._progress = StageProgress(plan, self._items)
            self._progress.start()
        self._feeder.start()
        crew.hurry(is_hurried=True)  # until it is known what items cost

    def turn(self) -> bool:
        """Does what there is to do, and waits for a moment if that is nothing; returns whether the run is over.

        Raises:
            LostError: items were lost, all results that came have been taken, and losses are not allowed.
            PipelineError: a worker cannot go on.
        """
        crew = self._crew
        assert crew is not None
        if self._loss is not None:
            raise self._loss
        if self._is_feeding:
            self._feed()
        is_sent = self._links.pump()
        if self._is_over():
            if self._feeder.error is not None:
                raise self._feeder.error
            if self._progress is not None:
                self._wait_for_counts(crew)
            return True
        self._wait(is_sent)
        self._receive()
        self._note_deaths(crew)
        if self._is_learning:
            self._learn(crew)
        if self._rest is not None:
            self._look_for_rest(crew, self._rest)
        elif self._feeder.is_exhausted and self._has_batches and self.ledger.in_flight:
            self._seek_rest(crew)
        if self._progress is not None:
            self._progress.update(self._worked(crew), self.ledger)
        return False

    def close(self) -> None:
        """Ends all workers, and removes every socket. When it is interrupted, the next call goes on with it."""
        crew = self._crew
        if crew is not None:
            if self._progress is not None:
                self._progress.close(self._worked(crew), self.ledger)
            self._links.close()
            crew.close()
            self._crew = None
        if hasattr(self, "_feeder"):
            self._feeder.close()
        if hasattr(self, "_sink"):
            if self._keys is not None:
                self._keys.security.close()
            self._context.destroy(linger=0)
            self._places.close()

    @staticmethod
    def _worked(crew: Crew) -> Counter[int]:
        """Returns the items that each node has worked on, from what its workers have counted."""
        found: Counter[int] = Counter()
        for worker in crew.workers.values():
            if worker.counts is not None:
                found[worker.node.number] += worker.counts.items
        return found

    # Items out.

    def _feed(self) -> None:
        """Sends items on, as many as may be under way."""
        while self._has_room() and self._links.pump():
            values = self._feeder.take(self._pace.chunk, is_hasty=self._is_hasty)
            self._is_hasty = False
            if not values:
                return
            self._send(values)

    def _has_room(self) -> bool:
        pace, ledger = self._pace, self.ledger
        return pace.window - ledger.in_flight >= pace.chunk and ledger.held <= HELD_WINDOWS_MAX * pace.window

    def _send(self, values: list[Any]) -> None:
        first = self.ledger.send(len(values))
        chunk = Plain(first, values)
        sent = self._spreader.spread(0, chunk)
        own = [one for number, one in sent if number == SINK]  # items that fit no branch at all
        sent = [one for one in sent if one[0] != SINK]
        for one in own:
            self.ledger.receive(one)
        try:
            kept = self._links.put(sent, 0.0, len(values))
        except UNSENDABLE as error:
            raise unsendable_input(first, len(values), error) from error
        self._pace.note_bytes(kept, len(values))

    # Items in.

    def _wait(self, is_sent: bool) -> None:
        """Waits until there is something to do, for a moment at most."""
        if self.ledger.take():
            return  # there is something to hand out
        patience = TURN_MILLISECONDS
        is_hungry = self._is_feeding and is_sent and not self._feeder.is_exhausted and self._has_room()
        if is_hungry and self._feeder.ask():
            patience = FILL_MILLISECONDS  # for a chunk to become full
            self._is_hasty = True
        blocked = [] if is_sent else self._links.blocked()
        for socket in blocked:
            self._poller.register(socket, zmq.POLLOUT)
        try:
            self._poller.poll(patience)
        finally:
            for socket in blocked:
                self._poller.unregister(socket)
        assert self._crew is not None
        self._crew.wake.clear()

    @property
    def _is_feeding(self) -> bool:
        return not self._dead and self._rest is None

    def _receive(self) -> None:
        for _ in range(FRAMES_PER_TURN):
            message = self._sink.take()
            if message is None:
                return
            sender, frame = message
            if not frame:
                continue
            _, chunk, cost = decode(frame)
            self.ledger.receive(chunk)
            self._links.note_return(sender)
            if size_of(chunk):
                self._pace.note_cost(cost)

    def _wait_opened(self, fresh: list[Hired] | None = None) -> None:
        """Waits until everybody is wired, and has opened its link to here.

        Args:
            fresh: those that have just been started, or None for all. The others may die meanwhile, which is looked
                into later.
        """
        crew = self._crew
        assert crew is not None

        def pump() -> None:
            self._links.pump()
            self._receive()

        crew.wait_wired(pump, fresh)
        while not crew.exits() <= self._sink.opened:  # they are under way: a worker is wired when it has opened its own
            self._poller.poll(TURN_MILLISECONDS)
            crew.wake.clear()
            self._receive()

    def _learn(self, crew: Crew) -> None:
        """Learns what items cost from the workers' counts, while no result says so: a large batch may be the first to
        come.
        """
        costs = [one.seconds / one.items for one in crew.round[1].values() if one.items]
        if self._pace.is_blind and costs:
            self._pace.note_cost(max(costs))
        if not self._pace.is_blind:
            self._is_learning = False
            crew.hurry(is_hurried=False)

    def _wait_for_counts(self, crew: Crew) -> None:
        """Has the last line of each stage say what it has done, unless a worker takes long to answer."""
        last = crew.hurry(is_hurried=True)
        for _ in range(COUNTS_ATTEMPTS_MAX):
            if crew.round[0] > last:
                return
            self._poller.poll(TURN_MILLISECONDS)
            crew.wake.clear()

    # Deaths, and the end.

    def _is_over(self) -> bool:
        return self._feeder.is_exhausted and not self.ledger.in_flight and not self._links.has_unsent and not self._dead

    def _note_deaths(self, crew: Crew) -> None:
        failure = crew.failure()
        if failure is not None:
            raise PipelineError(failure)
        dead = crew.take_dead()
        if dead:
            for worker in dead:
                self._links.drop(worker.number)
            self._dead += dead
            self._seek_rest(crew)

    def _seek_rest(self, crew: Crew) -> None:
        self._rest = Quiescence(crew.hurry(is_hurried=True))

    def _look_for_rest(self, crew: Crew, rest: Quiescence) -> None:
        """Finds out whether everything has come to rest, and goes on from there."""
        number, counts = crew.round
        living = {number for number, worker in crew.workers.items() if not worker.is_dead}
        if counts.keys() != living and living:
            return
        if self._links.has_unsent:
            return  # it is sent, or dropped if it is for the dead, in the next turns
        if living and not rest.observe(number, counts, self._links.sent, self._sink.received):
            return
        holding = self._first_batch(crew, counts)
        if holding is not None:
            crew.flush(holding)
            self._seek_rest(crew)
            return
        self._rest = None
        crew.hurry(is_hurried=False)
        if self._dead:
            self._settle_deaths(crew)

    def _first_batch(self, crew: Crew, counts: dict[int, Counts]) -> Hired | None:
        """Returns the worker of the first batch that holds items; those after it may get more from it."""
        holding = (crew.workers[number] for number, one in counts.items() if one.is_holding)
        batches = (worker for worker in holding if worker.node.kind == "batch")
        return min(batches, key=lambda worker: worker.node.number, default=None)

    def _settle_deaths(self, crew: Crew) -> None:
        """Declares lost what has not come back, and replaces the dead if the run may go on."""
        dead, self._dead = self._dead, []
        count = self.ledger.declare_lost()
        for stage, share in self._attribute(dead, count).items():
            self.lost[stage] = self.lost.get(stage, 0) + share
        if not self._settings.allow_loss and count:
            self._loss = LostError(self.lost)  # raised in the next turn: what came back is handed out first
            return
        if self._feeder.is_exhausted:
            return
        crew.forget()
        fresh = crew.replace(dead, self._endpoint)
        for target in crew.entries():
            if target.worker in {worker.number for worker in fresh}:
                self._links.connect(target)
        self._wait_opened(fresh)

    @staticmethod
    def _attribute(dead: list[Hired], count: int) -> dict[str, int]:
        """Returns how many of the lost items were lost with which stage.

        With deaths in one stage that is exact. With deaths in several, what each had taken and not given when it was
        last asked decides, as far as it goes.
        """
        stages = list(dict.fromkeys(worker.node.name for worker in dead))
        shares = dict.fromkeys(stages, 0)
        left = count
        for worker in dead[:-1] if len(stages) > 1 else []:
            counts = worker.counts
            held = 0 if counts is None else max(sum(counts.received.values()) - sum(counts.sent.values()), 1)
            taken = min(left, held)
            shares[worker.node.name] += taken
            left -= taken
        shares[stages[-1]] += left
        return {stage: share for stage, share in shares.items() if share}
