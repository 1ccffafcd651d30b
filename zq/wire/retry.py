"""How long a failed task waits before it is tried again: the policy as a value, its text, and its delays."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

from zq.errors import short
from zq.wire.limits import DELAY_MAX, RETRY_FACTOR_MAX

RETRY_KINDS: Final = ("none", "constant", "linear", "exponential", "full-jitter")

EXPONENT_MAX: Final = 64
"""Failures beyond which an exponential delay grows no more: floats end soon after."""


class RetryPolicy(NamedTuple):
    """When a task that failed is tried again; make one with its class methods, or by its text with `parse`.

    Attributes:
        kind: one of `RETRY_KINDS`.
        first: seconds before the first retry.
        factor: growth of an exponential delay from retry to retry.
        largest: seconds above which no delay grows.
    """

    kind: str
    first: float = 1.0
    factor: float = 2.0
    largest: float = 60.0

    @classmethod
    def none(cls) -> Self:
        """No retry: the first failure makes a dead letter. A start that is lost with its worker is no failure."""
        return cls("none")

    @classmethod
    def constant(cls, seconds: float) -> Self:
        """The same delay before each retry."""
        return cls("constant", seconds).checked()

    @classmethod
    def linear(cls, first: float, *, largest: float = 60.0) -> Self:
        """After the n-th failure n times the first delay."""
        return cls("linear", first, largest=largest).checked()

    @classmethod
    def exponential(cls, first: float = 1.0, *, factor: float = 2.0, largest: float = 60.0) -> Self:
        """After the n-th failure the first delay times factor ** (n - 1)."""
        return cls("exponential", first, factor, largest).checked()

    @classmethod
    def full_jitter(cls, first: float = 1.0, *, factor: float = 2.0, largest: float = 60.0) -> Self:
        """Anything from 0 to the exponential delay, so that what failed together does not come back together."""
        return cls("full-jitter", first, factor, largest).checked()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `none`, `constant:SECONDS`, `linear:FIRST:LARGEST`, `exponential:FIRST:FACTOR:LARGEST` or
        `full-jitter:...`; what is left out has its default.

        Raises:
            ValueError: it is none of these.
            TypeError: it is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"expected a retry policy such as {_EXAMPLES}, got {text!r}")
        kind, *parts = text.split(":")
        names = _PARTS.get(kind)
        if names is None or len(parts) > len(names):
            raise ValueError(f"expected a retry policy such as {_EXAMPLES}, got {short(text)}")
        try:
            numbers = {name: float(part) for name, part in zip(names, parts, strict=False)}
        except ValueError:
            raise ValueError(
                f"expected numbers of seconds in a retry policy such as {_EXAMPLES}, got {short(text)}"
            ) from None
        return cls(kind, **numbers).checked()

    @classmethod
    def read(cls, value: Any) -> Self:
        """Takes a policy as a caller or peer gives it: a policy, its text, or the array of its fields.

        Raises:
            TypeError: it is nothing of the kind.
            ValueError: it cannot be a policy.
        """
        if isinstance(value, str):
            return cls.parse(value)
        if not isinstance(value, tuple | list) or len(value) != 4 or not isinstance(value[0], str):
            raise TypeError(f"expected retry as a RetryPolicy or text such as {_EXAMPLES}, got {short(value)}")
        for number in value[1:]:
            if not isinstance(number, int | float) or isinstance(number, bool):
                raise TypeError(f"expected numbers in a retry policy, got {short(value)}")
        return cls(value[0], *map(float, cls(*value).checked()[1:]))

    def checked(self) -> Self:
        """Returns itself.

        Raises:
            ValueError: it has an unknown kind, or a number is out of its range.
            TypeError: a number is none.
        """
        if not isinstance(self.kind, str) or self.kind not in _PARTS:
            raise ValueError(f"expected a retry policy of {', '.join(RETRY_KINDS)}, got {short(self.kind)}")
        for name, most in (("first", DELAY_MAX), ("factor", RETRY_FACTOR_MAX), ("largest", DELAY_MAX)):
            number = getattr(self, name)
            if not isinstance(number, int | float) or isinstance(number, bool):
                raise TypeError(f"expected {name} of a retry policy as a number, got {number!r}")
            if not 0 <= number <= most:  # NaN is nowhere between
                raise ValueError(f"expected {name} of a retry policy from 0 to {most:.0f}, got {number}")
        return self

    def text(self) -> str:
        """Returns what `parse` reads."""
        return ":".join([self.kind, *(_plain(getattr(self, name)) for name in _PARTS[self.kind])])

    def delay(self, failures: int, chance: float) -> float:
        """Returns the seconds before the next attempt.

        Args:
            failures: of the task so far, at least 1.
            chance: 0.0 to 1.0, for the policy with jitter.
        """
        match self.kind:
            case "constant":
                return self.first
            case "linear":
                return min(self.first * failures, self.largest)
        delay = min(self.first * self.factor ** min(failures - 1, EXPONENT_MAX), self.largest)
        return delay * chance if self.kind == "full-jitter" else delay


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


_PARTS: Final = {
    "none": (),
    "constant": ("first",),
    "linear": ("first", "largest"),
    "exponential": ("first", "factor", "largest"),
    "full-jitter": ("first", "factor", "largest"),
}
"""Which fields each kind uses, in the order of its text."""

_EXAMPLES: Final = "none, constant:5, linear:5:60, exponential:1:2:60 or full-jitter:1:2:60"
