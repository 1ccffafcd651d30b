"""Ids of batches that a process makes: a prefix of its own and a counter, so that they sort in the order in which they
were made.
"""

from itertools import count

PREFIX_CHARACTERS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: nothing that is mistaken for something else."""

PREFIX_LENGTH = 12
"""60 bits: a billion makers of ids, and still one chance in two of no two alike."""


def make_prefix(bits: int) -> str:
    """Returns the prefix that stands for some random bits."""
    return "".join(PREFIX_CHARACTERS[bits >> 5 * place & 31] for place in range(PREFIX_LENGTH))


class IdMaker:
    """Makes ids; any thread may call it. Random keys would cost an LMDB store seven times the writes."""

    __slots__ = ("_numbers", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._numbers = count(1)

    def next(self) -> str:
        return f"{self._prefix}-{next(self._numbers):08x}"
