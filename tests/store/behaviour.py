"""Two stores side by side, and whatever is done to one is done to the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from zq.store import MemoryStore

TABLES = ("left", "right")


class SameBehaviour(RuleBasedStateMachine):
    """Whatever is done to a store and to the twin in memory, they answer the same; subclasses say which store."""

    def make(self) -> Any:
        raise NotImplementedError

    keys = st.binary(min_size=1, max_size=3)
    tables = st.sampled_from(TABLES)

    @initialize()
    def open(self) -> None:
        self.directory = Path(os.environ["ZQ_TEST_STORE"]) / os.urandom(8).hex()
        self.memory = MemoryStore(TABLES)
        self.disk = self.make()
        self.open_both: tuple[Any, Any] | None = None

    def both(self) -> tuple[Any, Any]:
        if self.open_both is None:
            self.open_both = (self.memory.begin(), self.disk.begin())
        return self.open_both

    @rule(table=tables, key=keys, value=st.binary(max_size=20))
    def put(self, table: str, key: bytes, value: bytes) -> None:
        for tx in self.both():
            tx.put(table, key, value)

    @rule(table=tables, items=st.lists(st.tuples(keys, st.binary(max_size=5)), max_size=5))
    def put_many(self, table: str, items: list[tuple[bytes, bytes]]) -> None:
        for tx in self.both():
            tx.put_many(table, items)

    @rule(table=tables, key=keys)
    def delete(self, table: str, key: bytes) -> None:
        memory, disk = self.both()
        assert memory.delete(table, key) == disk.delete(table, key)

    @rule(table=tables, some=st.lists(keys, max_size=5))
    def delete_many(self, table: str, some: list[bytes]) -> None:
        memory, disk = self.both()
        assert memory.delete_many(table, some) == disk.delete_many(table, some)

    @rule(table=tables, key=keys)
    def get(self, table: str, key: bytes) -> None:
        memory, disk = self.both()
        assert memory.get(table, key) == disk.get(table, key)

    @rule(table=tables, start=st.binary(max_size=2), stop=st.none() | keys)
    def scan(self, table: str, start: bytes, stop: bytes | None) -> None:
        memory, disk = self.both()
        assert list(memory.scan(table, start, stop)) == list(disk.scan(table, start, stop))

    @precondition(lambda self: self.open_both is not None)
    @rule(commits=st.booleans())
    def end(self, commits: bool) -> None:
        for tx in self.both():
            (tx.commit if commits else tx.abort)()
        self.open_both = None

    @precondition(lambda self: self.open_both is None)
    @rule()
    def reopen(self) -> None:
        self.disk.close()
        self.disk = self.make()

    def teardown(self) -> None:
        if hasattr(self, "disk"):
            if self.open_both is not None:
                self.end(commits=False)
            self.disk.close()
