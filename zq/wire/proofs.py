"""What proves that one may speak for the lease of a pulled task: knowing the lease.

Whoever pulls says a *secret* of its own with each pull. Of that secret and the token of a lease both sides make its
*proof*, 64 bits that nobody else can guess, and that tell nothing of the secret: so the handle of one task can be given
away without those of the others. The token stays a number that only grows, for whoever fences with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

PROOF_BYTES: Final = 8
"""64 bits: at a million guesses a second, 300,000 years for half of them."""

PROOFS_KEPT_MAX: Final = 1024
"""Proofs that are kept: the tasks of a lease, which mostly end one after the other, have the same."""

SECRET_BYTES_MAX: Final = 64
"""What the hash takes as a key."""


class Proof(NamedTuple):
    """That one may speak for the lease of a pull."""

    token: int
    proof: bytes  # empty: none


@lru_cache(maxsize=PROOFS_KEPT_MAX)
def proof_of(secret: str, token: int) -> Proof:
    """Returns the proof of a lease that was pulled with a secret; an empty one without a secret."""
    if not secret:
        return Proof(token, b"")
    from hashlib import blake2b  # loads OpenSSL, which who pulls nothing does not need

    key = secret.encode()
    return Proof(token, blake2b(token.to_bytes(8, "big"), digest_size=PROOF_BYTES, key=key).digest())


def proofs_of(secret: str, tokens: Iterable[int]) -> tuple[Proof, ...]:
    """Returns the proofs of leases that were pulled with a secret, each once; none without a secret."""
    return tuple(proof_of(secret, token) for token in dict.fromkeys(tokens)) if secret else ()
