"""Ids of batches that a process makes: a prefix of its own and a counter, so that they sort in the order in which they
were made.
"""

from itertools import count

PREFIX_CHARACTERS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: nothing that is mistaken for something else."""

PREFIX_LENGTH = 12
"""60 bits: a billion makers of ids, and still one chance in two of no two alike."""


CHANCE_BYTES = 5
"""In each id: it would take half a million million submits to come before one."""


CHANCES_AT_ONCE = 12
"""Ids whose chance is made by one hash, which has 64 bytes at most."""


def make_prefix(bits: int) -> str:
    """Returns the prefix that stands for some random bits."""
    return "".join(PREFIX_CHARACTERS[bits >> 5 * place & 31] for place in range(PREFIX_LENGTH))


SHORT_PREFIX_LENGTH = 6
"""Of ids that have chance of their own."""


class IdMaker:
    """Makes ids; any thread may call it. Random keys would cost an LMDB store seven times the writes.

    Whoever has seen an id knows the prefix and can count. With a secret each id ends with 40 bits that nobody else can
    tell before: else somebody could submit under the next one first, and the task that comes under it would be taken
    for that one, said again.
    """

    __slots__ = ("_chances", "_key", "_numbers", "_prefix")

    def __init__(self, prefix: str, secret: str = "") -> None:
        self._prefix = prefix[:SHORT_PREFIX_LENGTH] if secret else prefix
        self._key = secret.encode()
        self._numbers = count(1)
        self._chances = (-1, "")  # those of some ids in a row, by their first number through so many

    def next(self) -> str:
        number = next(self._numbers)
        if not self._key:
            return f"{self._prefix}-{number:08x}"
        row, at = divmod(number, CHANCES_AT_ONCE)
        chances = self._chances
        if chances[0] != row:
            from hashlib import blake2b  # loads OpenSSL, which who only asks does not need

            size = CHANCES_AT_ONCE * CHANCE_BYTES
            chances = row, blake2b(row.to_bytes(8, "big"), digest_size=size, key=self._key).hexdigest()
            self._chances = chances
        at *= 2 * CHANCE_BYTES
        return f"{self._prefix}-{number:08x}{chances[1][at : at + 2 * CHANCE_BYTES]}"
