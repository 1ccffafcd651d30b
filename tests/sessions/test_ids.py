"""Ids that a process makes: in order, and not to be told before."""

from __future__ import annotations

from zq.sessions.ids import IdMaker, make_prefix
from zq.wire.limits import ID_BYTES_MAX


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    make = IdMaker(make_prefix(7), "secret").next
    ids = [make() for _ in range(5000)]

    assert sorted(ids) == ids
    assert len(set(ids)) == 5000


def test_an_id_has_40_bits_that_are_not_in_the_one_before() -> None:
    mine, others = IdMaker(make_prefix(7), "secret"), IdMaker(make_prefix(7), "another")
    pairs = [(mine.next(), others.next()) for _ in range(100)]

    assert all(own[:15] == other[:15] for own, other in pairs)  # prefix and number, which anybody can count
    chances = {id[15:] for pair in pairs for id in pair}
    assert len(chances) == 200
    assert {len(chance) for chance in chances} == {10}
    assert len(pairs[0][0]) + 10 < ID_BYTES_MAX


def test_an_id_without_a_secret_is_prefix_and_number() -> None:
    assert IdMaker("k3m9").next() == "k3m9-00000001"
