"""One owner for each fact: every table is written by one module, and a queue's counts by the queue."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.architecture.tree import ROOT, is_under, module_name, parsed, sources
from zq.core import tables

WRITES = {"put", "put_many", "delete"}

PLACES = "zq.core.state.places"
"""The one module that may write a table which a variable names: those in which a task can be."""

COUNTS = {"_counts", "_finished_in_turn", "waiting", "lines", "stored_bytes"}
"""What a queue counts."""


class Write(NamedTuple):
    """A call that writes a table; `table` is None when it is not named where it is written."""

    module: str
    line: int
    table: str | None


def writes_in(module: str, tree: ast.Module) -> Iterator[Write]:
    """Yields the writes of a module: calls on a transaction, which is named `tx` everywhere in the core."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in WRITES:
            continue
        if ast.unparse(node.func.value).rpartition(".")[2] == "tx":
            named = node.args[0]
            is_named = isinstance(named, ast.Attribute) and ast.unparse(named.value) == "tables"
            yield Write(module, node.lineno, named.attr if isinstance(named, ast.Attribute) and is_named else None)


def hidden_in(module: str, tree: ast.Module) -> Iterator[str]:
    """Yields where a module gives a transaction, or how it is written, another name: its writes could not be seen."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        taken = node if isinstance(node, ast.Attribute) and node.attr in WRITES and id(node) not in called else None
        if taken is not None and ast.unparse(taken.value).rpartition(".")[2] == "tx":
            yield f"{module} line {taken.lineno}: {ast.unparse(taken)}"
        if isinstance(node, ast.Assign) and ast.unparse(node.value).rpartition(".")[2] == "tx":
            yield from (
                f"{module} line {node.lineno}: {ast.unparse(node)}"
                for target in node.targets
                if ast.unparse(target).rpartition(".")[2] != "tx"
            )


def writers() -> list[Path]:
    """Returns the sources that say what is written: a store, whose journal it goes through, only carries it out, and a
    recount brings back to each other what all others have written.
    """
    others = ("zq.store", "zq.core.recount", "zq.core.recounted", "zq.core.remains")
    return [path for path in sources("zq") if not any(is_under(module_name(path), other) for other in others)]


def all_writes() -> list[Write]:
    return [write for path in writers() for write in writes_in(module_name(path), parsed(path))]


def shared(writes: list[Write]) -> dict[str, set[str]]:
    """Returns the tables with more than one writer, or with a writer that does not name it."""
    writers: dict[str, set[str]] = {}
    for write in writes:
        if write.table is None and write.module != PLACES:
            writers.setdefault(f"line {write.line} of {write.module}", set()).update((write.module, "not named"))
        elif write.table is not None:
            writers.setdefault(write.table, set()).add(write.module)
    return {table: modules for table, modules in writers.items() if len(modules) > 1}


def test_every_table_is_written_by_one_module() -> None:
    assert not shared(all_writes())


def test_every_table_has_a_writer() -> None:
    written = {getattr(tables, write.table) for write in all_writes() if write.table is not None}

    by_others = {tables.SCHEDULED, tables.PARKED, tables.DEAD, tables.DAMAGED}  # by `places`; the last one by the store
    assert written | by_others == set(tables.TABLES)


def test_a_transaction_is_called_tx_wherever_it_is_written() -> None:
    assert not [line for path in writers() for line in hidden_in(module_name(path), parsed(path))]


@pytest.mark.parametrize("planted", ["t = step.tx", "put = step.tx.put"])
def test_a_planted_other_name_of_a_transaction_is_found(planted: str) -> None:
    assert list(hidden_in("zq.core.tasks.planted", ast.parse(planted)))


@pytest.mark.parametrize(
    "planted",
    ["step.tx.put(tables.PENDING, key, value)", "tx.delete(tables.LEASES, key)", "step.tx.put_many(table, rows)"],
)
def test_a_planted_second_writer_is_found(planted: str) -> None:
    assert shared([*all_writes(), *writes_in("zq.core.tasks.planted", ast.parse(planted))])


def outside_counts(path: Path, tree: ast.Module) -> Iterator[str]:
    """Yields what a module writes of a queue that only the queue may write."""
    for node in ast.walk(tree):
        targets = (
            [node.target] if isinstance(node, ast.AugAssign) else node.targets if isinstance(node, ast.Assign) else []
        )
        for target in targets:
            written = target.value if isinstance(target, ast.Subscript) else target
            if not isinstance(written, ast.Attribute):
                continue
            of = ast.unparse(written.value).rpartition(".")[2]
            if (of in ("queue", "to") and written.attr in COUNTS) or written.attr == "changed":
                yield f"{path.relative_to(ROOT)} line {written.lineno}: {ast.unparse(written)}"


def test_only_a_queue_writes_its_counts_and_says_that_it_is_changed() -> None:
    others = [path for path in sources("zq/core") if path.name != "queue.py"]
    found = [line for path in others for line in outside_counts(path, parsed(path)) if "self.changed" not in line]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "planted", ["batch.queue.stored_bytes -= 1", "queue.waiting[4] += 1", "books.changed[queue] = None"]
)
def test_a_planted_count_is_found(planted: str) -> None:
    assert list(outside_counts(ROOT / "zq" / "planted.py", ast.parse(planted)))
