"""Where the core's transactions happen: on disk by LMDB with a journal before it (docs/journal.md), or in memory.

May import: core.storage, core.sums, core.tables, processes, errors. A store knows tables and bytes, never what the
bytes mean.
"""

from zq.store.journaled import JournaledStore
from zq.store.lmdb import LmdbOptions, LmdbStore
from zq.store.memory import MemoryStore
from zq.store.opening import DiskStore, open_store

__all__ = ["DiskStore", "JournaledStore", "LmdbOptions", "LmdbStore", "MemoryStore", "open_store"]
