"""What becomes of values that cannot travel: each is a failure of its item, sent to whoever counts that item."""

from __future__ import annotations

from typing import Any

from patterns import Pipeline, gather, scatter
from patterns.work.items import Failure, ItemChunk, Loose, Plain, Sent, WithoutResult
from patterns.work.plan import SINK
from patterns.work.salvage import salvage
from tests.patterns.shop import add_one, describe, digits, split_unreadable, tally

BYTES_MAX = 1000

FAILED_SPLIT = Failure("split_unreadable", "caf?", "FileNotFoundError: no caf\udce9", "", 1)


def save(pipeline: Pipeline[Any, Any], name: str, sent: list[Sent], came: ItemChunk | None) -> list[Sent]:
    return salvage(pipeline.plan().node_named(name), sent, came, BYTES_MAX)


def failure_in(sent: Sent) -> Failure:
    _, ended = sent
    assert isinstance(ended, WithoutResult)
    (failure,) = ended.failures
    assert failure is not None
    return failure


def test_value_that_cannot_travel_fails_alone() -> None:
    bad, good = save(add_one, "add_one", [(SINK, Plain(4, [1, object(), 3]))], Plain(4, ["a", "b", "c"]))

    assert bad[0] == SINK
    assert bad[1].origins == [5]  # type: ignore[union-attr] # failure_in says that it is Ended
    assert failure_in(bad)[:2] == ("add_one", "b")
    assert failure_in(bad).error.startswith("TypeError: its result cannot be sent on: can not serialize 'object'")
    assert good == (SINK, Loose([4, 6], [1, 3]))


def test_value_over_the_limit_of_a_frame_fails_alone() -> None:
    bad, good = save(add_one, "add_one", [(SINK, Plain(0, [bytes(BYTES_MAX), 1]))], Plain(0, ["a", "b"]))

    assert failure_in(bad).error.endswith("bytes; at most 1000 fit into a message")
    assert good == (SINK, Plain(1, [1]))


def test_item_that_does_not_fit_beside_its_error_is_shown_in_words() -> None:
    (bad,) = save(add_one, "add_one", [(SINK, Plain(0, [object()]))], Plain(0, ["a" * BYTES_MAX]))

    assert failure_in(bad).item == "'" + "a" * 199


class Odd(dict[str, int]):
    """Raises when it is looked at."""

    def items(self) -> Any:
        raise SystemExit("no items")

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def test_value_that_raises_when_it_is_packed_fails_alone() -> None:
    bad, good = save(add_one, "add_one", [(SINK, Plain(0, [Odd(), 1]))], Plain(0, [Odd(), "b"]))

    assert failure_in(bad).error == "ValueError: its result cannot be sent on: it raised SystemExit: no items"
    assert failure_in(bad).item == "Odd, whose text cannot be made"
    assert good == (SINK, Plain(1, [1]))


def test_item_is_none_when_it_is_not_known_any_more() -> None:
    (bad,) = save(add_one, "add_one", [(SINK, Plain(0, [object()]))], None)

    assert failure_in(bad).item is None


def test_part_that_cannot_travel_fails_at_the_join_of_its_split() -> None:
    pipeline = scatter(digits) | describe | gather(tally)
    part = (((0, ()),), ((0, 1),))
    plan = pipeline.plan()

    ((number, _),) = save(
        pipeline, "digits", [(plan.node_named("describe").number, Loose([part], [object()]))], Plain(0, [7])
    )

    assert number == plan.node_named("tally").number


def test_failure_of_a_split_that_cannot_travel_does_not_go_to_the_join_of_its_parts() -> None:
    pipeline = scatter(split_unreadable) | describe | gather(tally)

    (bad,) = save(pipeline, "split_unreadable", [(SINK, WithoutResult([0], [FAILED_SPLIT]))], Plain(0, ["caf?"]))

    assert bad[0] == SINK
    assert failure_in(bad).item == "caf?"


def test_failure_of_an_inner_split_that_cannot_travel_goes_to_the_join_around_it() -> None:
    inner = scatter(split_unreadable) | describe | gather(tally)
    pipeline: Pipeline[Any, Any] = scatter(list) | inner | gather(len)
    plan = pipeline.plan()
    outer = next(node.number for node in plan.nodes if node.kind == "join" and node.name != "tally")
    part = (((0, ()),), ((0, 1),))

    ((number, _),) = save(
        pipeline, "split_unreadable", [(outer, WithoutResult([part], [FAILED_SPLIT]))], Loose([part], ["caf?"])
    )

    assert number == outer
