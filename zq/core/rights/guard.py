"""The guard of a coordinator with keys: no message is handled, and no answer leaves, but by the rights of a key.

Theory of operation. The shell introduces each connection by the public key that it has proved to have, and tells
whenever the rights of keys change. For each message the guard looks the rights up afresh, so what is taken from a key
is taken from its next message. What the coordinator keeps for a connection (waits, pulls, watchers, a worker's session)
is asked for again when the rights of its key change, at the beginning of the next turn, and ended where it would be
refused now.

It fails closed: a connection that was not introduced, and a key that has no rights, may say nothing at all.

It is there for as long as the shell is, over machines that are thrown away; what it notes, the shell writes down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from zq.core.accounts import KeyShare
from zq.core.rights.check import DENIAL_CHARS, DENIED, DeniedError, batch_fault, check, may_follow, may_keep
from zq.core.rights.cursors import KeptCursors
from zq.core.rights.rights import ADMIN_ROLE, Rights
from zq.core.rights.usage import NO_TRAFFIC, KeyTraffic, usage_per_key
from zq.core.rights.veil import veil
from zq.core.rights.view import View
from zq.core.state.books import Books
from zq.core.state.event_streams import Followers
from zq.core.state.holder import Guest, Peer
from zq.core.state.leases import Holder
from zq.core.state.step import Step
from zq.core.tasks import liveness, pulls
from zq.wire.messages import (
    Answer,
    Batch,
    Cancel,
    Command,
    Error,
    Follow,
    FromCoordinator,
    Open,
    Publish,
    Published,
    Query,
    Receipt,
    Refused,
    Submit,
    ToCoordinator,
)

CALLERS_MAX: Final = 100_000
"""Connections whose keys are remembered, far above the descriptors of a process. One that is forgotten is introduced
again with its next message.
"""

PULLERS_ASKED_MAX: Final = 1000
"""Pulls with leases that are asked about in one turn, when rights have changed: two milliseconds."""

NOTES_MAX: Final = 10_000
"""Refusals, and deeds of administration, that are noted in one turn."""

Handle = Callable[[Step, Peer, ToCoordinator | Error], None]


class Caller(NamedTuple):
    """A connection, as the shell has introduced it."""

    public: str
    address: str  # as the transport has it, for the audit


class Deed(NamedTuple):
    """What a key has done, or was refused, for the log or the audit."""

    time: float  # wall
    key: str  # its name; the public key where there is none
    address: str
    what: str
    arguments: Mapping[str, Any]
    fault: str | None  # why it was refused


class Guard:
    """Who stands between the shell and the machine, if the coordinator has keys.

    Attributes:
        refused: messages that were refused, since the start.
        refusals: what was refused, for the log; the shell takes it away.
        audits: commands, carried out or refused; as refusals.
        traffic_of: what the shell knows of a key, by its name.
    """

    def __init__(self) -> None:
        self.refused = 0
        self.refusals: deque[Deed] = deque(maxlen=NOTES_MAX)
        self.audits: deque[Deed] = deque(maxlen=NOTES_MAX)
        self.traffic_of: Callable[[str], KeyTraffic] = lambda _: NO_TRAFFIC
        self._rights: Mapping[str, Rights] = {}  # by public key, of which a key that is rotated has two
        self._by_name: Mapping[str, Rights] = {}
        self._callers: dict[Peer, Caller] = {}
        self._changed: set[str] = set()  # public keys whose rights changed since the last turn
        self._has_new_books = False  # what is held in them was not asked about yet
        self._pullers: deque[str] = deque()  # keys of those that are still to be asked about
        self._cursors = KeptCursors()
        self._replaced: set[Peer] = set()  # connections under whose name another key speaks now

    # For the shell.

    def introduce(self, peer: Peer, public: str, address: str) -> None:
        """Says who is at a connection; before its first message, and again if the key is another."""
        known = self._callers.get(peer)
        if known is not None and known.public != public:
            self._replaced.add(peer)
        elif known is None and len(self._callers) >= CALLERS_MAX:
            del self._callers[next(iter(self._callers))]
        self._callers[peer] = Caller(public, address)

    def caller(self, peer: Peer) -> Caller | None:
        """Returns who was introduced at a connection."""
        return self._callers.get(peer)

    def update(self, rights: Mapping[str, Rights]) -> None:
        """Takes the rights of all keys, by public key; who is not among them has none."""
        both = self._rights.keys() | rights.keys()
        self._changed |= {public for public in both if self._rights.get(public) != rights.get(public)}
        self._rights = rights
        self._by_name = {one.name: one for one in rights.values()}

    def forget(self, peers: Any) -> None:
        """Forgets connections that are gone."""
        for peer in peers:
            self._callers.pop(peer, None)

    def rights_of(self, peer: Peer) -> Rights | None:
        """Returns what the key of a connection may do now; None: nothing."""
        caller = self._callers.get(peer)
        return None if caller is None else self._rights.get(caller.public)

    @property
    def rights_by_name(self) -> Mapping[str, Rights]:
        """What each key may do that has rights now, by its name; another mapping each time that any of it changes."""
        return self._by_name

    # For the machine.

    def attach(self, books: Books) -> None:
        """Has new books count for keys."""
        books.accounts.key_of = partial(self._key_of, books)
        self._has_new_books = True

    def _key_of(self, books: Books, peer: Peer) -> KeyShare | None:
        rights = self.rights_of(peer)
        return None if rights is None else KeyShare(rights.name, rights.limits_from(books.options.peer_limits))

    @property
    def is_asking(self) -> bool:
        """Whether there is more to ask about in the next turn."""
        return bool(self._pullers)

    def begin(self, books: Books, step: Step) -> None:
        """Ends what is kept for those whose rights it was and is not any more."""
        if self._changed or self._has_new_books:
            self._has_new_books = False
            self._ask_all(books, step)
            self._pullers = deque(books.pullers)
        if self._pullers:
            self._ask_pullers(books, step)

    def _ask_all(self, books: Books, step: Step) -> None:
        changed, self._changed = self._changed, set()
        self._adjust_accounts(books)
        for guest in list(books.guests.values()):
            if self._is_among(guest.peer, changed):
                self._ask_guest(books, step, guest)
        for peer in list(books.peers):
            if self._is_among(peer, changed):
                self._ask_worker(books, step, peer)
        if books.events is not None:
            self._ask_followers(books, step, books.events, changed)

    def note_replaced(self, books: Books, step: Step, peer: Peer) -> None:
        """Ends what was kept for who had this connection before, if it is somebody else's by now."""
        if peer in self._replaced:
            self._replaced.discard(peer)
            liveness.disconnected(books, step.wall, peer)
            pulls.disconnected(books, step, peer)

    def receive(self, books: Books, step: Step, peer: Peer, message: ToCoordinator | Error, handle: Handle) -> None:
        """Lets a message be handled as far as its key may say it, and its answers be seen as far as it may see them."""
        rights = self.rights_of(peer)
        if rights is None:
            self._refuse(books, step, peer, message, "the key is not known here, or has no rights any more")
            return
        step.owner = rights.name
        step.may_submit = rights.may_submit if rights.is_bounded else None
        try:
            self._receive(View(books, step, rights, peer), message, handle)
        finally:
            step.owner = step.may_submit = None

    def _receive(self, view: View, message: ToCoordinator | Error, handle: Handle) -> None:
        books, step, rights, peer = view
        if isinstance(message, Error):  # the answer to what could not be read
            handle(step, peer, message)
            return
        if isinstance(message, Query) and rights.is_bounded:
            message = message._replace(arguments=self._cursors.restore(rights, message.arguments))
        refused: list[Refused] = []
        try:
            admitted: ToCoordinator | None = check(view, message)
        except DeniedError as error:
            self._refuse(books, step, peer, message, str(error)[:DENIAL_CHARS])
            return
        if isinstance(message, Submit) and rights.is_bounded:
            admitted, refused = self._sift(view, message)
        mark = len(step.outbox)
        if admitted is not None:
            handle(step, peer, admitted)
        if refused:
            _add_refused(step, peer, message, refused, mark)
        if isinstance(message, Command | Cancel):
            self._note(self.audits, step, peer, *_deed(message), _fault_in(step, peer, message.request, mark))
        if rights.is_bounded:
            self._veil(view, message, mark)
        elif isinstance(message, Query) and message.what == "status" and rights.role == ADMIN_ROLE:
            self._add_usage(view, mark)

    def _veil(self, view: View, message: ToCoordinator, mark: int) -> None:
        outbox = view.step.outbox
        for at in range(mark, len(outbox)):
            to, answer = outbox[at]
            if to == view.peer and isinstance(answer, Answer | Error):
                seen = veil(view, message, answer)
                if isinstance(message, Query) and isinstance(seen, Answer):
                    seen = seen._replace(value=self._cursors.replace(view.rights, seen.value))
                outbox[at] = (to, seen)
        if isinstance(message, Follow) and view.books.events is not None:
            follower = view.books.events.by_request.get((view.peer, message.request))
            if follower is not None:
                follower.sees = partial(self.may_see, view.books, view.peer)

    def _add_usage(self, view: View, mark: int) -> None:
        """Adds to the status what each key has."""
        outbox = view.step.outbox
        for at in range(mark, len(outbox)):
            to, answer = outbox[at]
            if to == view.peer and isinstance(answer, Answer):
                usage = usage_per_key(view.books.accounts, self._by_name, self.traffic_of)
                outbox[at] = (to, answer._replace(value={**answer.value, "per_key": usage}))

    def may_see(self, books: Books, peer: Peer, queue: str | None, worker: str | None) -> bool:
        """Whether an event about a queue, or else about a worker, may be seen at a connection now."""
        rights = self.rights_of(peer)
        if rights is None:
            return False
        if queue is not None or worker is None:
            return rights.may_see(queue)
        known = books.workers.get(worker)
        return known is not None and rights.is_inside(worker) and any(map(rights.may_see, known.queues))

    def _sift(self, view: View, message: Submit) -> tuple[Submit | None, list[Refused]]:
        """Parts the batches that may be stored from those that are refused."""
        admitted: list[Batch] = []
        refused: list[Refused] = []
        for batch in message.batches:
            fault = batch_fault(view, batch)
            if fault is None:
                admitted.append(batch)
            else:
                refused.append(Refused(batch.id, DENIED, None, fault[:DENIAL_CHARS]))
        if refused:
            self._count(view.books, view.step, view.peer, message, refused[0].reason)
        return (message._replace(batches=tuple(admitted)) if admitted else None), refused

    # Refusing.

    def _refuse(self, books: Books, step: Step, peer: Peer, message: ToCoordinator | Error, fault: str) -> None:
        self._count(books, step, peer, message, fault)
        step.send(peer, _refusal(message, fault))

    def _count(self, books: Books, step: Step, peer: Peer, message: ToCoordinator | Error, fault: str) -> None:
        books.count(f"error {DENIED}")
        self.refused += 1
        if self.rights_of(peer) is not None:
            books.accounts.account_of(peer).refused += 1
        what, arguments = _deed(message)
        if isinstance(message, Command | Cancel):
            self._note(self.audits, step, peer, what, arguments, fault)
        self._note(self.refusals, step, peer, what, arguments, fault)

    def _note(
        self, notes: deque[Deed], step: Step, peer: Peer, what: str, arguments: Mapping[str, Any], fault: str | None
    ) -> None:
        caller = self._callers.get(peer)
        rights = self.rights_of(peer)
        key = rights.name if rights is not None else "unknown" if caller is None else caller.public
        notes.append(Deed(step.wall, key, "" if caller is None else caller.address, what, arguments, fault))

    # When rights change.

    def _adjust_accounts(self, books: Books) -> None:
        """Gives the accounts of keys their limits of now; those of keys that have no rights any more may go."""
        for account in list(books.accounts):
            rights = self._by_name.get(account.who) if isinstance(account.who, str) else None
            account.is_kept = rights is not None
            if rights is None:
                books.accounts.see_off(account)
                continue
            limits = rights.limits_from(books.options.peer_limits)
            if limits != account.limits:
                was_full = account.is_full
                account.take_limits(limits)
                for holder in account.holders.values() if was_full else ():
                    books.stir_for(holder)

    def _is_among(self, peer: Peer, changed: set[str]) -> bool:
        caller = self._callers.get(peer)
        return caller is None or caller.public in changed

    def _ask_guest(self, books: Books, step: Step, guest: Guest) -> None:
        """Ends the waits and pulls that its key may not have any more."""
        rights = self.rights_of(guest.peer)
        view = None if rights is None else View(books, step, rights, guest.peer)
        over = [request for request, id in guest.waits.items() if view is None or not view.has_task_or_group(id)]
        over += [
            wait.pull.request for wait in guest.pulls.values() if rights is None or not rights.may_work(wait.pull.queue)
        ]
        pulls.withdraw(books, step, guest.peer, tuple(over))
        step.outbox += books.waits.unhurried.take_receipts(guest.peer)
        for request in over:
            step.send(guest.peer, Error(request, DENIED, "the key may not wait for this any more"))

    def _ask_worker(self, books: Books, step: Step, peer: Peer) -> None:
        rights = self.rights_of(peer)
        worker = books.peers[peer]
        if rights is None or not may_keep(View(books, step, rights, peer), worker):
            liveness.expel(books, step, worker, f"the key may not work on the queues of worker {worker.name} any more")

    def _ask_pullers(self, books: Books, step: Step) -> None:
        """Takes back what pulls hold whose keys may not work on its queue any more, some of them in each turn."""
        for _ in range(min(PULLERS_ASKED_MAX, len(self._pullers))):
            puller = books.pullers.get(self._pullers.popleft())
            if puller is not None and puller.owner is not None and not self._may_hold(puller.owner, puller):
                why = f"the key of pull {puller.name} may not work on its queue any more"
                liveness.disown(books, step, puller, why)

    def _may_hold(self, owner: str, puller: Holder) -> bool:
        rights = self._by_name.get(owner)
        return (
            rights is not None
            and rights.is_inside(puller.name)
            and all(rights.may_work(one.batch.queue.name) for one in puller.leases.values())
        )

    def _ask_followers(self, books: Books, step: Step, followers: Followers, changed: set[str]) -> None:
        for (peer, request), follower in list(followers.by_request.items()):
            if not self._is_among(peer, changed):
                continue
            rights = self.rights_of(peer)
            if rights is not None and may_follow(rights, follower.queue):
                follower.sees = partial(self.may_see, books, peer) if rights.is_bounded else None
                continue
            followers.remove((peer, request))
            books.accounts.see_off(follower.account)
            step.send(peer, Error(request, DENIED, "the key may not follow this any more"))


def _deed(message: ToCoordinator | Error) -> tuple[str, Mapping[str, Any]]:
    """Returns what a message does, for people, and of a deed of administration with what."""
    match message:
        case Command(verb=verb, arguments=arguments):
            return verb, {name: value for name, value in arguments.items() if name != "mark"}
        case Cancel(id=id):
            return "cancel", {"id": id}
        case _:
            return type(message).__name__.lower(), {}


def _fault_in(step: Step, peer: Peer, request: int, mark: int) -> str | None:
    """Returns why a request was not carried out, as its answer says; None: it was, or is being."""
    for to, answer in step.outbox[mark:]:
        if to == peer and isinstance(answer, Error) and answer.request == request:
            return f"{answer.code}: {answer.text}"[:DENIAL_CHARS]
    return None


def _refusal(message: ToCoordinator | Error, fault: str) -> FromCoordinator:
    match message:
        case Submit(request, batches):
            return Receipt(request, (), tuple(Refused(one.id, DENIED, None, fault) for one in batches))
        case Open(request, group):
            return Receipt(request, (), (Refused(group.id, DENIED, None, fault),))
        case Publish(request=request, id=id):
            return Published(request, (), Refused(id, DENIED, None, fault))
        case _:
            return Error(getattr(message, "request", None), DENIED, fault)


def _add_refused(step: Step, peer: Peer, message: ToCoordinator, refused: list[Refused], mark: int) -> None:
    """Puts the batches that were refused into the receipt of those that were not, or into one of their own."""
    assert isinstance(message, Submit)
    for at in range(mark, len(step.outbox)):
        to, answer = step.outbox[at]
        if to == peer and isinstance(answer, Receipt) and answer.request == message.request:
            step.outbox[at] = (to, answer._replace(refused=(*answer.refused, *refused)))
            return
    step.send(peer, Receipt(message.request, (), tuple(refused)))
