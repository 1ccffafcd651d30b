"""Who is taken for gone, and when a heartbeat is due: with literal times."""

from patterns.guide.liveness import Liveness


def test_a_peer_that_misses_its_heartbeats_is_gone_once() -> None:
    liveness = Liveness(1.0, 3, 0.0)
    liveness.heard(b"a", 0.0)
    liveness.heard(b"b", 0.5)
    for now in (0.9, 1.8, 2.7):
        assert liveness.take_expired(now) == []
    assert liveness.take_expired(3.0) == [b"a"]
    assert list(liveness) == [b"b"]
    assert liveness.take_expired(3.4) == []


def test_hearing_a_peer_renews_its_time() -> None:
    liveness = Liveness(1.0, 3, 0.0)
    liveness.heard(b"a", 0.0)
    liveness.heard(b"b", 0.0)
    assert liveness.take_expired(1.0) == liveness.take_expired(2.0) == []
    liveness.heard(b"a", 2.5)
    assert liveness.take_expired(3.0) == [b"b"]


def test_a_loop_that_stood_still_declares_nobody_gone() -> None:
    liveness = Liveness(1.0, 3, 0.0)
    liveness.heard(b"a", 0.0)
    assert liveness.take_expired(60.0) == []
    assert liveness.take_expired(61.0) == []
    assert liveness.take_expired(62.0) == [b"a"]


def test_a_heartbeat_is_due_once_in_each_interval() -> None:
    liveness = Liveness(1.0, 3, 10.0)
    assert [liveness.take_beat(now) for now in (10.0, 10.5, 11.0, 11.9, 12.1)] == [True, False, True, False, True]


def test_the_next_look_is_at_the_earliest_of_beat_and_expiry() -> None:
    liveness = Liveness(1.0, 1, 0.0)
    liveness.take_beat(0.0)
    assert liveness.next_at() == 1.0
    liveness.heard(b"a", -0.5)
    assert liveness.next_at() == 0.5
