"""Where the core's transactions happen: on disk by LMDB, or in memory.

May import: core.storage, core.tables, processes, errors. A store knows tables and bytes, never what the bytes mean.
"""

from zq.store.lmdb import LmdbOptions, LmdbStore
from zq.store.memory import MemoryStore

__all__ = ["LmdbOptions", "LmdbStore", "MemoryStore"]
