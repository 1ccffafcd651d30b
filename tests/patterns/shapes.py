"""Every shape of pipeline, with items and what must come out: the contract that each grade keeps, with processes and
with threads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from patterns import batch, fan_out, gather, route, scatter
from patterns.pipeline.pipeline import Pipeline
from tests.patterns.shop import (
    add_one,
    countdown,
    describe,
    digits,
    double,
    halve,
    keep,
    number_of,
    parity,
    repeat,
    sign,
    tally,
    total,
)


class Shape(NamedTuple):
    """A pipeline, its input, and its results in the order of the input."""

    name: str
    pipeline: Pipeline[Any, Any]
    items: Iterable[Any]
    results: list[Any]


SHAPES = [
    Shape("nothing", double, [], []),
    Shape("one stage", double, range(300), [2 * n for n in range(300)]),
    Shape("sequence", double | add_one | describe, range(50), [f"<{2 * n + 1}>" for n in range(50)]),
    Shape("many or none", repeat | add_one, range(9), [n + 1 for n in range(9) for _ in range(n % 3)]),
    Shape("key", keep | double, range(40), [2 * n for n in range(40)]),
    Shape(
        "fan out",
        double | fan_out(add_one, halve, describe),
        range(10),
        [r for n in range(10) for r in (2 * n + 1, n, f"<{2 * n}>")],
    ),
    Shape(
        "route",
        route(parity, {"even": double, "odd": add_one}) | describe,
        range(20),
        [f"<{n + 1 if n % 2 else 2 * n}>" for n in range(20)],
    ),
    Shape(
        "route with a rest",
        route(sign, {"minus": double}, otherwise=describe),
        range(-5, 5),
        [2 * n if n < 0 else f"<{n}>" for n in range(-5, 5)],
    ),
    Shape(
        "scatter and gather",
        scatter(digits) | double | gather(total),
        range(80, 120),
        [sum(2 * int(d) for d in str(n)) for n in range(80, 120)],
    ),
    Shape("scatter into nothing", scatter(countdown) | double | gather(tally), range(9), [n % 4 for n in range(9)]),
    Shape("parts in order", scatter(digits) | halve | gather(number_of), [86420, 13579], [1234, 43210]),
    Shape(
        "scatter in scatter",
        scatter(digits) | scatter(countdown) | add_one | gather(total) | gather(total),
        [123, 0, 9],
        [sum(sum(range(1, int(d) % 4 + 1)) for d in str(n)) if n else 0 for n in (123, 0, 9)],
    ),
    Shape(
        "everything nested",
        double
        | fan_out(scatter(digits) | route(parity, {"even": add_one, "odd": repeat}) | gather(tally), describe)
        | describe,
        range(10, 20),
        [
            r
            for n in range(10, 20)
            for r in (f"<{sum(1 if int(d) % 2 == 0 else int(d) % 3 for d in str(2 * n))}>", f"<<{2 * n}>>")
        ],
    ),
    Shape("batches", double | batch(4) | total, range(10), [12, 44, 34]),
    Shape("batches of batches", batch(2) | batch(2) | describe, range(5), ["<[[0, 1], [2, 3]]>", "<[[4]]>"]),
    Shape("batch and scatter", batch(5) | scatter(list) | double | gather(total), range(10), [20, 70]),
]
