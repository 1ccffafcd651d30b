"""Counting everything anew finds nothing to change in books that nothing has happened to."""

from __future__ import annotations

from tests.simulation.ledger import Violation
from zq.core import tables
from zq.core.coordinator import Machine
from zq.core.options import CoordinatorOptions, Now
from zq.core.remains import ask_recount
from zq.core.storage import Transaction
from zq.store.draft import DraftStore, DraftTransaction


def check_recount(options: CoordinatorOptions, tx: Transaction, now: Now) -> None:
    draft = DraftTransaction(tx)
    ask_recount(draft, tables.TABLES)
    machine = Machine(options, now, DraftStore(draft))
    for table, key, before, after in draft.changes():
        is_own = table in (tables.META, tables.DAMAGED)  # of a start, and of the recount
        # Of what was leased when its time came; or had begun, as nobody knows any more, and gave up its unique key.
        is_again = table in (tables.EXPIRY, tables.UNIQUE) and before is None
        if not is_own and not is_again:
            raise Violation(f"a recount changes {key!r} in {table} from {before!r} to {after!r}: {machine.recounted}")
