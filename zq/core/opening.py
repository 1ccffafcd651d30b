"""Opens the books: reads at a start what the tables have to be remembered, and leaves the rest to be read when it is
asked for.
"""

from zq.core import tables
from zq.core.admin.operations import resume_all
from zq.core.bindings import Binding
from zq.core.clocks import open_clock
from zq.core.measures.rolling import end_of_step
from zq.core.options import CoordinatorOptions, Now
from zq.core.state.batch import mask_of
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Departure, Holder, Lease, LeaseRecord
from zq.core.state.operation import read_operation
from zq.core.state.queue import read_queue
from zq.core.storage import Transaction
from zq.core.tasks import leasing


def read_books(options: CoordinatorOptions, now: Now, tx: Transaction) -> Books:
    """Reads the books at a start: raises the epoch, and keeps every lease for its holder to claim (protocol 6.4)."""
    books = Books(options)
    books.begin_epoch(tx.get(tables.META, tables.COUNTERS_KEY))
    open_clock(books, now)
    for key, record in tx.scan(tables.QUEUES):
        queue = read_queue(int.from_bytes(key, "big"), record, books.changed)
        queue.rate_at = now.monotonic
        books.add_queue(queue)
        books.prepare(queue, now.monotonic, is_restart=True)
    found = [read_operation(key.decode(), record) for key, record in tx.scan(tables.OPERATIONS)]
    books.operations = {one.id: one for one in sorted(found, key=lambda one: one.started_time)}
    resume_all(books)
    for key, record in tx.scan(tables.CHORES):
        books.chores.read(key, record)
    for key, record in tx.scan(tables.NAMESPACES):
        max_tasks, max_bytes = tables.unpack(record)
        books.shares.set(key.decode(), max_tasks, max_bytes, books.queues)
    for key, record in tx.scan(tables.BINDINGS):
        books.bindings.add(Binding(*tables.unpack(record)), int.from_bytes(key, "big"))
    for key, record in list(tx.scan(tables.LEASES)):
        _read_lease(books, now, tx, tables.token_of(key), record)
    books.tallies.count({})
    books.tallies.before.clear()
    books.measures.history.read(tx)
    books.deadlines.history.when = end_of_step(now.wall)  # what the life before has not written is written then
    books.save(tx)
    return books


def _read_lease(books: Books, now: Now, tx: Transaction, token: int, record: bytes) -> None:
    stored = LeaseRecord(*tables.unpack(record))
    batch = books.fetch(tx, stored.key)
    covered = 0 if batch is None else mask_of(stored.mask) & ~batch.ended
    if batch is None or not covered:
        leasing.forget(tx, token)
        return
    books.keep(batch)
    holders = books.pullers if stored.is_puller else books.workers
    fresh = Holder(stored.holder, stored.incarnation, is_puller=stored.is_puller)
    key = fresh.key if stored.is_puller else fresh.name
    holder = holders.setdefault(key, fresh)
    if holder.incarnation != stored.incarnation:  # it was about to lose its leases
        books.departed.append(Departure(holder, f"worker {holder.name} was gone", is_lost=True))
        holder = holders[key] = fresh
    if holder is fresh:
        holder.owner = stored.owner
        holder.life = Life.ABSENT
        holder.heard_at = now.monotonic
    lease = Lease(token, batch, covered, holder, now.monotonic, stored.granted_time)
    lease.is_solo = holder.solo = batch.is_solo and not stored.is_puller
    batch.leased |= covered
    books.add_lease(lease)
    if batch.options.ttl is not None and not batch.attempts:
        leasing.watch_start(books, lease, now.monotonic, now.wall)
    if stored.seconds is not None:
        lease.seconds = stored.seconds
        lease.expires_at = now.monotonic + stored.seconds
        books.alarms.set(lease.expires_at, lease)
