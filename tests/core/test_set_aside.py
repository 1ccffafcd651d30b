"""What waits outside of its lane: in order for each thing that is waited for, and found by what has come."""

from zq.core.state.lane import SetAside


def test_first_in_place_is_taken_first_and_what_is_empty_is_waited_for_no_more() -> None:
    aside = SetAside()
    aside.put("a", b"2", b"second")
    aside.put("a", b"1", b"first")
    aside.put("b", b"3", b"other")

    assert (len(aside), list(aside), aside.count("a"), aside.count("c")) == (2, ["a", "b"], 2, 0)
    assert [aside.take("a") for _ in range(3)] == [(b"1", b"first"), (b"2", b"second"), None]
    assert "a" not in aside
    assert (aside.reason_of(b"other"), aside.reason_of(b"first")) == ("b", None)


def test_only_what_is_waited_for_opens_and_is_told_once() -> None:
    aside = SetAside()
    aside.put("a", b"1", b"x")

    assert [aside.open("a"), aside.open("b")] == [True, False]
    assert aside.has_opened
    assert aside.take_opened(9) == ["a"]
    assert not aside.has_opened
    aside.open_all()
    aside.take("a")
    assert aside.take_opened(9) == []


def test_everything_can_be_taken_at_once() -> None:
    aside = SetAside()
    for number in range(3):
        aside.put(f"k{number % 2}", b"%d" % number, b"t%d" % number)

    assert sorted(aside.take_all()) == [(b"0", b"t0"), (b"1", b"t1"), (b"2", b"t2")]
    assert not aside
