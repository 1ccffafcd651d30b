"""Where the core's transactions happen: on disk by LMDB, or in memory."""

from zq.store.lmdb import LmdbOptions, LmdbStore
from zq.store.memory import MemoryStore

__all__ = ["LmdbOptions", "LmdbStore", "MemoryStore"]
