"""Workers: who they are, whether they live, and what becomes of the leases of one that does not (protocol 3).

Theory of operation. A worker is named by itself and lives in incarnations: a second process of the same name is another
incarnation. A name belongs to who has it while that one lives: another incarnation is refused, and told to try again,
until the holder's connection is gone, or it has not been heard for a while; then it is fenced. So whoever has only seen
a name takes it from nobody, and a worker that was killed gets its own back at once.

Silence is measured on the monotonic clock from the last message of any kind. Two thresholds: *suspect* gets no new
tasks, *gone* loses its leases. The coordinator's own stall is not the workers' silence: `excuse_stall` moves what was
last heard by it.
"""

from collections import deque
from itertools import islice, takewhile
from math import inf

from zq.core.state.books import Books
from zq.core.state.holder import Life, Peer
from zq.core.state.leases import Departure, Holder, Lease
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.tasks import settling
from zq.wire.limits import BATCH_TASKS_MAX
from zq.wire.messages import Beat, Cancelled, Error, Goodbye, Heartbeat, Held, Hello, Span, Welcome
from zq.wire.steering import About

IDLE_MIN = 10.0
"""Seconds that a worker may hold tasks without working on them in any case: its children may have to start first."""

IDLE_REST_MAX = 8
"""Longest rest, in times that period, of a worker that holds tasks without working on them."""

GAPS_MAX = 4
"""Times that a worker may have been away, since it last settled a task, without that what it holds counts as held all
the while: its first hello is one.
"""

FENCED_MAX = 8
"""Fenced incarnations remembered for each name: a late message of one of them must not fence its successor."""

FENCED_NAMES_MAX = 10_000
"""Names of which they are remembered, the last ones: far more than are taken over while a message is on its way."""


def hello(books: Books, step: Step, peer: Peer, message: Hello) -> None:
    """Begins or resumes a session: fences an older incarnation that is not there any more, takes up claimed leases,
    gives back unclaimed ones.
    """
    worker = books.workers.get(message.name)
    if message.incarnation in books.fenced.get(message.name, ()):
        step.send(peer, Error(None, "fenced", f"another worker took the name {message.name}"))
        books.count("error fenced")
        return
    if worker is None or worker.name not in books.accounts.account_of(peer).holders:
        books.ceilings.check_peer(step, "workers")
    books.ceilings.check_queues(step, message.queues)
    if worker is not None and worker.incarnation != message.incarnation:
        if _keeps_name(books, step, worker):
            _refuse_name(books, step, peer, worker)
            return
        _fence(books, step, worker)
        worker = None
    if worker is None:
        worker = books.workers[message.name] = Holder(message.name, message.incarnation, is_puller=False)
        worker.owner = step.owner
        _note(books, worker, "hello")
    refused = _claim(books, step, worker, message.held)
    _attach(books, step, worker, peer, message)
    options = books.options
    welcome = Welcome(books.epoch, options.heartbeat_interval, options.suspect_after, options.gone_after, refused)
    step.send(peer, welcome)


def _keeps_name(books: Books, step: Step, worker: Holder) -> bool:
    """Whether a name stays with the worker that has it, when another incarnation wants it."""
    if worker.owner is not None and worker.owner == step.owner:
        return False  # whoever it belongs to may replace it
    if worker.life is Life.ABSENT:  # it has the time to come back after a restart that another has until it is suspect
        return step.now < worker.heard_at + books.options.suspect_after
    return worker.life is Life.LIVE and worker.peer is not None


def _refuse_name(books: Books, step: Step, peer: Peer, worker: Holder) -> None:
    """Refuses a name that belongs to another worker, and asks that one for a sign of life: when its process has ended,
    the message cannot be sent, and the name is free in the next step.
    """
    books.count("error name-taken")
    silence = books.options.suspect_after
    text = (
        f"the name {worker.name} belongs to another worker, which is there; it is free when that one has not been heard "
        f"for {silence:g} s, or its connection is gone: try again soon"
    )
    step.send(peer, Error(None, "name-taken", text, 2 * silence))
    if step.now >= worker.called_at + books.options.heartbeat_interval:  # who asks often does not make it hear often
        worker.called_at = step.now
        step.send(worker.peer, Cancelled(()))


def _attach(books: Books, step: Step, worker: Holder, peer: Peer, message: Hello) -> None:
    """Ties the worker to its connection and its queues."""
    if worker.peer is not None:
        books.peers.pop(worker.peer, None)
    earlier = books.peers.get(peer)
    if earlier is not None and earlier is not worker:
        earlier.peer = None
        suspect(books, step.wall, earlier)
    books.peers[peer] = worker
    worker.peer = peer
    books.entrust(worker, peer)
    worker.life = Life.LIVE
    worker.heard_at = worker.connected_at = worker.beat_at = step.now
    _excuse_gap(worker, step.now)
    books.deadlines.silence.bring_forward(step.now + books.options.suspect_after)
    worker.credit = message.credit
    worker.concurrency = message.concurrency
    _leave_queues(books, worker)
    worker.queues = tuple(message.queues)
    for queue in [books.queue_for(step, name) for name in worker.queues]:
        queue.workers[worker.name] = worker
        queue.ring = None
        books.stirred[queue] = None


def _excuse_gap(worker: Holder, now: float) -> None:
    """Lets a worker that was away begin anew with what it holds; not for ever, when nothing of that is settled."""
    worker.gaps += 1
    if worker.gaps <= GAPS_MAX:
        worker.steady_since = now


def _leave_queues(books: Books, worker: Holder) -> None:
    for queue in _queues_of(books, worker):
        books.stirred[queue] = None  # keys that it owned have another worker now
        if queue.workers.get(worker.name) is worker:
            del queue.workers[worker.name]
        queue.ring = None
        books.forget_unused(queue)
    worker.queues = ()


def _queues_of(books: Books, worker: Holder) -> list[Queue]:
    return [books.queues[name] for name in worker.queues]


def _claim(books: Books, step: Step, worker: Holder, held: tuple[Held, ...]) -> tuple[int, ...]:
    """Matches what the worker says it holds with the leases; what it does not list never reached it and goes back."""
    tokens = {one.token for one in held}
    unlisted = [lease for token, lease in worker.leases.items() if token not in tokens]
    _take_back(books, step, worker, unlisted, "its worker came back without it")
    return note_held(books, step, worker, held)


def note_held(books: Books, step: Step, worker: Holder, held: tuple[Held, ...]) -> tuple[int, ...]:
    """Notes what runs at a worker; returns the tokens that are no longer its own."""
    refused = []
    for token, started in held:
        lease = worker.leases.get(token)
        if lease is None:
            refused.append(token)
        elif started:
            settling.note_started(books, step, lease, started)
    return tuple(refused)


def heartbeat(books: Books, step: Step, worker: Holder, message: Heartbeat) -> None:
    """Answers a ping. A lease that the worker has not listed for so long that its assignment must be lost goes back."""
    worker.beat_at = step.now
    if len(message.held) < len(worker.leases):
        tokens = {one.token for one in message.held}
        overdue = step.now - books.options.gone_after
        unlisted = [one for token, one in worker.leases.items() if token not in tokens and one.granted_at < overdue]
        if unlisted:
            books.count("never arrived", len(unlisted))
            _take_back(books, step, worker, unlisted, "it never reached its worker")
    refused = note_held(books, step, worker, message.held)
    for token, running in message.held:
        held = worker.leases.get(token)
        if held is not None and held.started:
            held.note_listed(running, step.now)
    _look_for_idle(books, step, worker, message.held)
    if message.number or not worker.takes_intervals:
        idle_interval = books.options.idle_interval(len(books.peers)) if worker.takes_intervals else 0.0
        step.send(worker.peer, Beat(message.number, books.epoch, refused, idle_interval))


def _look_for_idle(books: Books, step: Step, worker: Holder, held: tuple[Held, ...]) -> None:
    """Takes back what a live worker holds without working on it (protocol 3.3): whatever happens in a worker, no task
    stays with it for ever.

    The first time it gets one task at a time from then on, until it has settled one; each further time nothing at all
    for a while, which doubles.
    """
    if worker.is_resting and step.now >= worker.rests_until:
        worker.is_resting = False
        books.stir_for(worker)
    period = _idle_period(books)
    since = step.now - period
    if worker.steady_since > since:
        return
    # They are in the order in which they were granted.
    old = list(takewhile(lambda lease: lease.granted_at <= since, worker.leases.values()))
    listed = {one.token for one in held} if old else ()
    taken = sum(settling.take_back_idle(books, step, lease, since) for lease in old if lease.token in listed)
    if taken:
        _note(books, worker, f"stuck: held {taken} tasks for {period:g} s without working on them")
        worker.idle_finds += 1
        rest = min((1 << (worker.idle_finds - 1)) - 1, IDLE_REST_MAX) * period
        worker.rests_until, worker.is_resting = step.now + rest, rest > 0


def note_about(books: Books, worker: Holder, message: About) -> None:
    """Keeps what a worker says of itself, and tells those who watch what has changed."""
    known, worker.about, worker.concurrency = worker.about or message, message, message.concurrency
    if known.is_draining != message.is_draining:
        _note(books, worker, "draining" if message.is_draining else "resumed")
    if message.trouble is not None and (known is message or known.trouble != message.trouble):
        _note(books, worker, f"trouble: {message.trouble}")


def goodbye(books: Books, step: Step, worker: Holder, message: Goodbye) -> None:
    """Ends a session in peace: what the worker still holds goes back uncharged."""
    if message.incarnation == worker.incarnation:
        _depart(books, step, Departure(worker, "its worker said goodbye", is_lost=False))
        _note(books, worker, "goodbye" if message.reason is None else f"goodbye: {message.reason}")
        _remove(books, worker)


def goodbye_of_the_gone(books: Books, step: Step, message: Goodbye) -> bool:
    """Ends the session of a worker whose connection is known to be closed: its last word was read after an answer to it
    could not be sent. Returns whether there is such a session; who knows its incarnation may speak for it.
    """
    worker = books.workers.get(message.name)
    if worker is None or worker.peer is not None or worker.incarnation != message.incarnation:
        return False
    goodbye(books, step, worker, message)
    return True


def note_life(books: Books, step: Step, worker: Holder) -> None:
    """Any message counts as life."""
    worker.heard_at = step.now
    if worker.life is Life.SUSPECT:
        worker.life = Life.LIVE
        _excuse_gap(worker, step.now)
        _note(books, worker, "heard again")
        books.deadlines.silence.bring_forward(step.now + books.options.suspect_after)
        for queue in _queues_of(books, worker):
            books.stirred[queue] = None


def _note(books: Books, worker: Holder, text: str) -> None:
    """Tells those who watch about a worker, and the shell, which writes the log."""
    books.worker_notes.append((worker.name, text))
    if books.events is not None:
        books.events.note("worker", None, worker=worker.name, text=text)


def _fence(books: Books, step: Step, worker: Holder) -> None:
    """Ends the session of an incarnation whose name another one takes."""
    step.send(worker.peer, Error(None, "fenced", f"another worker took the name {worker.name}"))
    books.count("fenced")
    _note(books, worker, "fenced")
    fenced = books.fenced.pop(worker.name, None) or deque(maxlen=FENCED_MAX)
    fenced.append(worker.incarnation)
    books.fenced[worker.name] = fenced
    if len(books.fenced) > FENCED_NAMES_MAX:
        del books.fenced[next(iter(books.fenced))]
    _lose_all(books, step, worker, f"worker {worker.name} was replaced by another of its name")
    _remove(books, worker)


def expel(books: Books, step: Step, worker: Holder, why: str) -> None:
    """Ends the session of a worker whose key may not work here any more, and says so to it."""
    step.send(worker.peer, Error(None, "denied", why))
    _note(books, worker, f"expelled: {why}")
    _lose_all(books, step, worker, why)
    _remove(books, worker)


def disown(books: Books, step: Step, puller: Holder, why: str) -> None:
    """Takes back what a pull holds whose key may not have it any more, uncharged, and says so to its client."""
    if puller.peer is not None:
        step.send(puller.peer, Cancelled(tuple(Span(token, 0, BATCH_TASKS_MAX) for token in puller.leases)))
    _depart(books, step, Departure(puller, why, is_lost=False))


def _remove(books: Books, worker: Holder) -> None:
    if worker.peer is not None:
        books.peers.pop(worker.peer, None)
    _leave_queues(books, worker)
    books.dismiss(worker)
    worker.life = Life.ABSENT
    worker.peer = None
    if books.workers.get(worker.name) is worker:
        del books.workers[worker.name]


def take_back_undelivered(books: Books, step: Step, peer: Peer, since: float) -> None:
    """Takes back what was granted in the step whose messages could not be sent to a worker: it never had it."""
    worker = books.peers.get(peer)
    if worker is not None:
        fresh = [lease for lease in worker.leases.values() if lease.granted_at >= since]
        books.count("never arrived", len(fresh))
        _take_back(books, step, worker, fresh, "it never reached its worker")


# Leases that end because their holder is gone, or never had them: a portion in each step. What has not had its turn is
# leased to nobody who could end it, and after a restart to one who does not come back.


def _take_back(books: Books, step: Step, worker: Holder, leases: list[Lease], why: str) -> None:
    """Takes leases from a worker that goes on without them."""
    if len(leases) <= settling.PORTION_LEASES:
        for lease in leases:
            settling.give_back_all(books, step, lease, why)
        return
    nobody = Holder(worker.name, worker.incarnation, is_puller=False)
    for lease in leases:
        nobody.leases[lease.token] = worker.leases.pop(lease.token)
        lease.holder = nobody
        tasks = lease.mask.bit_count()
        books.free_leases(worker, tasks)
        nobody.held += tasks
        if lease.is_solo:
            worker.solo = False
    books.stir_for(worker)
    _depart(books, step, Departure(nobody, why, is_lost=False))


def _lose_all(books: Books, step: Step, worker: Holder, why: str) -> None:
    _depart(books, step, Departure(worker, why, is_lost=True, suspects=settling.suspects_of(worker)))


def _depart(books: Books, step: Step, departure: Departure) -> None:
    _end_leases(books, step, departure)
    if departure.holder.leases:
        books.departed.append(departure)
        books.deadlines.silence.bring_forward(step.now)


def _end_leases(books: Books, step: Step, departure: Departure) -> None:
    """Ends leases of one who is gone, as many as this step still may."""
    most = settling.PORTION_LEASES
    for lease in list(islice(departure.holder.leases.values(), most)):
        if step.departed >= most:
            return
        if departure.is_lost:
            suspects = departure.suspects.get(lease.token, 0)
            step.departed += settling.lose(books, step, lease, departure.why, suspects, most - step.departed)
        else:
            settling.give_back_all(books, step, lease, departure.why)
            step.departed += 1


def _see_off(books: Books, step: Step) -> None:
    """Does a portion of the departures."""
    while books.departed and step.departed < settling.PORTION_LEASES:
        _end_leases(books, step, books.departed[0])
        if not books.departed[0].holder.leases:
            books.departed.popleft()


def disconnected(books: Books, wall: float, peer: Peer) -> None:
    """A message to this connection could not be sent: nothing goes to it any more, and its worker may come back by
    another.
    """
    if books.events is not None:
        books.events.drop_peer(peer)
    worker = books.peers.pop(peer, None)
    if worker is not None:
        worker.peer = None
        suspect(books, wall, worker)


def suspect(books: Books, wall: float, worker: Holder) -> None:
    """Gives a worker nothing new until it is heard again; others take what would have waited for it."""
    if worker.life is Life.LIVE:
        worker.life = Life.SUSPECT
        worker.suspected_time = wall
        books.count("suspected")
        _note(books, worker, "suspect")
        for queue in _queues_of(books, worker):
            books.stirred[queue] = None


def watch(books: Books, step: Step) -> float:
    """Suspects and buries workers by their silence; returns when to look again.

    All workers are looked at only when the first of them can be due: being heard moves that time away, so the one that
    is known is never too late.
    """
    options = books.options
    _see_off(books, step)
    for worker in list(books.workers.values()):
        # The sums are those of `_next_watch_at`: a difference may be rounded the other way, and nothing would be due at
        # the time that it named.
        if step.now >= worker.heard_at + options.gone_after:
            _bury(books, step, worker, f"silent for {step.now - worker.heard_at:.1f} s")
        elif step.now >= worker.beat_at + _idle_period(books) and worker.life is not Life.ABSENT:
            _bury(books, step, worker, f"heard and did not beat for {step.now - worker.beat_at:.1f} s")
        elif step.now >= worker.heard_at + options.suspect_after and worker.life is Life.LIVE:
            suspect(books, step.wall, worker)
    return step.now if books.departed else _next_watch_at(books)


def _bury(books: Books, step: Step, worker: Holder, why: str) -> None:
    """Ends the session of a worker that is gone, or that nothing is known of any more."""
    books.count("gone")
    _note(books, worker, f"gone: {why}")
    _lose_all(books, step, worker, f"worker {worker.name} was {why}")
    _remove(books, worker)


def _idle_period(books: Books) -> float:
    """Returns for how many seconds a worker may hold tasks without working on them."""
    return max(books.options.gone_after, IDLE_MIN)


def _next_watch_at(books: Books) -> float:
    """Returns when the next worker may have to be suspected or buried (monotonic), or infinity."""
    options = books.options
    at = inf
    for worker in books.workers.values():
        limit = options.suspect_after if worker.life is Life.LIVE else options.gone_after
        at = min(at, worker.heard_at + limit)
        if worker.life is not Life.ABSENT:
            at = min(at, worker.beat_at + _idle_period(books))
    return at


def excuse_stall(books: Books, now: float, seconds: float) -> None:
    """Moves everything that was heard by the time in which the coordinator itself stood still, but for what came
    after.
    """
    for worker in books.workers.values():
        worker.heard_at = min(now, worker.heard_at + seconds)
        worker.beat_at = min(now, worker.beat_at + seconds)
    for guest in books.guests.values():
        guest.heard_at = min(now, guest.heard_at + seconds)
    for token in books.offers:
        books.offers[token] += seconds


def excuse_idleness(books: Books, now: float) -> None:
    """Lets the time begin anew after which a worker is found to hold tasks without working on them: this machine stood
    still, and what workers have said since then is read only now.
    """
    for worker in books.workers.values():
        worker.steady_since = now
