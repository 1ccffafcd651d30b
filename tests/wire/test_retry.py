"""Retry policies as values: their delays, their text, and what cannot be one."""

from typing import Any

import pytest

from zq.wire.retry import RetryPolicy


def delays(policy: RetryPolicy, chance: float = 1.0) -> list[float]:
    return [policy.delay(failures, chance) for failures in range(1, 7)]


def test_constant_delay_stays() -> None:
    assert delays(RetryPolicy.constant(5.0)) == [5.0] * 6


def test_linear_delay_grows_by_its_first_up_to_its_largest() -> None:
    assert delays(RetryPolicy.linear(5.0, largest=22.0)) == [5.0, 10.0, 15.0, 20.0, 22.0, 22.0]


def test_exponential_delay_grows_by_its_factor_up_to_its_largest() -> None:
    assert delays(RetryPolicy.exponential(1.0, factor=3.0, largest=60.0)) == [1.0, 3.0, 9.0, 27.0, 60.0, 60.0]


def test_full_jitter_is_anything_from_nothing_to_the_exponential_delay() -> None:
    policy = RetryPolicy.full_jitter(2.0, factor=2.0, largest=10.0)

    assert delays(policy, 0.0) == [0.0] * 6
    assert delays(policy, 0.5) == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert delays(policy, 1.0) == [2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_delay_after_very_many_failures_is_still_a_number() -> None:
    assert RetryPolicy.exponential(1.0, factor=1000.0, largest=9.0).delay(100_000, 1.0) == 9.0


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("none", RetryPolicy.none()),
        ("constant:5", RetryPolicy.constant(5.0)),
        ("constant:86400.25", RetryPolicy.constant(86400.25)),
        ("linear:5:600", RetryPolicy.linear(5.0, largest=600.0)),
        ("exponential:0.5:3:1234567", RetryPolicy.exponential(0.5, factor=3.0, largest=1234567.0)),
        ("full-jitter:1:2:60", RetryPolicy.full_jitter(1.0, factor=2.0, largest=60.0)),
    ],
)
def test_text_and_policy_are_the_same(text: str, policy: RetryPolicy) -> None:
    assert RetryPolicy.parse(text) == policy
    assert policy.text() == text
    assert RetryPolicy.read(tuple(policy)) == policy


def test_what_the_text_leaves_out_has_its_default() -> None:
    assert RetryPolicy.parse("exponential") == RetryPolicy.exponential(1.0, factor=2.0, largest=60.0)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ("sometimes", ValueError, "expected a retry policy such as none, .*got 'sometimes'"),
        ("none:5", ValueError, "got 'none:5'"),
        ("constant:soon", ValueError, "expected numbers of seconds .*got 'constant:soon'"),
        ("constant:-1", ValueError, "expected first of a retry policy from 0 to 31536000, got -1"),
        ("exponential:1:1e9", ValueError, "expected factor of a retry policy from 0 to 1000, got 1000000000"),
        ("constant:nan", ValueError, "expected first .*got nan"),
        (5, TypeError, "expected retry as a RetryPolicy or text such as .*got 5"),
        (("constant", 1, 2), TypeError, "expected retry as a RetryPolicy"),
        (("constant", True, 2, 3), TypeError, "expected numbers in a retry policy"),
        (("never", 1, 2, 3), ValueError, "expected a retry policy of none, constant, .*got 'never'"),
    ],
)
def test_what_is_no_policy_is_refused_in_words(value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        RetryPolicy.read(value)
