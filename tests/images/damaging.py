"""Ways in which a disk, or somebody, damages a data file; each changes a copy of its bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

PAGE: Final = 4096

Damaging = Callable[[bytearray, random.Random], None]


def bit(data: bytearray, draw: random.Random) -> None:
    """A bit anywhere behind the meta pages."""
    data[draw.randrange(2 * PAGE, len(data))] ^= 1 << draw.randrange(8)


def bits_of_a_row(data: bytearray, draw: random.Random) -> None:
    """One to three bits where rows are, in keys, checksums or values: a page is filled from its end."""
    page = draw.randrange(2, len(data) // PAGE) * PAGE
    for _ in range(draw.randint(1, 3)):
        data[page + draw.randrange(PAGE // 2, PAGE)] ^= 1 << draw.randrange(8)


def bit_of_a_head(data: bytearray, draw: random.Random) -> None:
    """A bit of what a page says of itself, or of where its entries are."""
    data[draw.randrange(2, len(data) // PAGE) * PAGE + draw.randrange(60)] ^= 1 << draw.randrange(8)


def burst(data: bytearray, draw: random.Random) -> None:
    """A sector of something else."""
    at = draw.randrange(4 * PAGE // 1024, len(data) // 512) * 512
    data[at : at + 512] = draw.randbytes(512)


def zeroed_page(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(2, len(data) // PAGE) * PAGE
    data[at : at + PAGE] = bytes(PAGE)


def random_page(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(2, len(data) // PAGE) * PAGE
    data[at : at + PAGE] = draw.randbytes(PAGE)


def swapped_pages(data: bytearray, draw: random.Random) -> None:
    one, other = (draw.randrange(2, len(data) // PAGE) * PAGE for _ in range(2))
    data[one : one + PAGE], data[other : other + PAGE] = data[other : other + PAGE], data[one : one + PAGE]


def misplaced_page(data: bytearray, draw: random.Random) -> None:
    """A page that was written where another one belongs."""
    one, other = (draw.randrange(2, len(data) // PAGE) * PAGE for _ in range(2))
    data[one : one + PAGE] = data[other : other + PAGE]


def one_meta_page(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(2) * PAGE
    data[at : at + PAGE] = draw.choice((bytes(PAGE), draw.randbytes(PAGE)))


def both_meta_pages(data: bytearray, draw: random.Random) -> None:
    data[: 2 * PAGE] = draw.choice((bytes(2 * PAGE), draw.randbytes(2 * PAGE)))


def cut_off(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


DAMAGINGS: Final[dict[str, tuple[int, Damaging]]] = {
    "a bit": (10, bit),
    "bits of a row": (30, bits_of_a_row),
    "a bit of a head": (15, bit_of_a_head),
    "a sector": (10, burst),
    "a zeroed page": (8, zeroed_page),
    "a random page": (5, random_page),
    "swapped pages": (6, swapped_pages),
    "a misplaced page": (6, misplaced_page),
    "one meta page": (4, one_meta_page),
    "both meta pages": (2, both_meta_pages),
    "cut off": (4, cut_off),
}
"""By name: how often it is drawn, and what it does."""

REFUSED_BY_RIGHT: Final = {"one meta page", "both meta pages", "cut off"}
"""After which a start may say no in words, whatever was hit."""
