"""The states of a task and the ways between them, as one table; whatever changes a task makes one of these moves.

A queue counts its tasks by state, and asserts with every count that the move is in the table (`Queue.move`,
`Queue.bring_in`); the simulation checks that every move of the table happens, and no other.
`python -m zq.core.state.transitions` prints the picture of it in docs/semantics.md.

A state is where a task is stored: waiting and leased ones in `pending`, parked, scheduled and dead ones in tables of
their names, the others in the index alone, which remembers how they ended (`zq.core.state.places`).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

TaskState = int
"""One of the numbers below. Plain ones, since a queue counts by them several times for every batch, and members of an
enum cost a submit one percent.
"""

WAITING: Final = 0  # in its place in the order of service
PARKED: Final = 1  # ready, and behind another of its line
SCHEDULED: Final = 2  # until its time comes
LEASED: Final = 3  # in somebody's hands
DEAD: Final = 4  # a dead letter, until somebody decides
DONE: Final = 5
CANCELLED: Final = 6
EXPIRED: Final = 7
PURGED: Final = 8  # a dead letter that was given up; it is remembered as dead
NEW: Final = 9  # not stored yet
FORGOTTEN: Final = 10  # not known any more

NAMES: Final = (
    "waiting", "parked", "scheduled", "leased", "dead", "done", "cancelled", "expired", "purged", "new", "forgotten",
)  # fmt: skip
"""By state. Those before DEAD are unfinished; a queue counts all but the last two."""

ALL: Final = range(len(NAMES))


class Move(NamedTuple):
    """An event that takes tasks from any of some states to one of others."""

    event: str
    origins: tuple[TaskState, ...]
    targets: tuple[TaskState, ...]
    why: str


MOVES: Final = (
    Move("accepted", (NEW,), (WAITING, PARKED, SCHEDULED), "it was submitted, forwarded, published, fired or joined"),
    Move("due", (SCHEDULED,), (WAITING, PARKED), "its time has come"),
    Move("next", (PARKED,), (WAITING,), "the turn of its key has come"),
    Move("set back", (WAITING,), (PARKED,), "a task of its batch will be tried again, and goes first"),
    Move("leased", (WAITING,), (LEASED,), "a worker or a pull gets it"),
    Move("given back", (LEASED,), (WAITING,), "its holder has not started it"),
    Move("done", (LEASED,), (DONE,), "its holder completed it"),
    Move("tried again", (LEASED,), (WAITING, PARKED, SCHEDULED), "it failed, or was lost after it had started"),
    Move("dead", (WAITING, PARKED, SCHEDULED, LEASED), (DEAD,), "no attempt is left, or it was buried or pushed out"),
    Move("cancelled", (WAITING, PARKED, SCHEDULED, LEASED), (CANCELLED,), "somebody cancelled it"),
    Move("expired", (WAITING, PARKED, SCHEDULED), (EXPIRED,), "it did not start within its time to live"),
    Move("revived", (DEAD,), (WAITING, PARKED), "a dead letter was brought back"),
    Move("purged", (DEAD,), (PURGED,), "a dead letter was given up"),
    Move("moved", (WAITING,), (WAITING, PARKED), "to another queue"),
    Move("moved", (SCHEDULED,), (SCHEDULED,), "to another queue"),
    Move("moved", (DEAD,), (DEAD,), "to another queue"),
    Move("forgotten", (DONE, CANCELLED, EXPIRED, PURGED), (FORGOTTEN,), "it ended long ago"),
)
"""Every way between two states. Events of the same ends differ in what they cost: an attempt, a delay, nothing."""


def allowed(origin: TaskState) -> Iterator[TaskState]:
    """Yields the states to which there is a way from one."""
    for move in MOVES:
        if origin in move.origins:
            yield from move.targets


MAY_BECOME: Final = tuple(tuple(to in set(allowed(origin)) for to in ALL) for origin in ALL)
"""Whether there is a way, by both states: looked up for every count, so it is no set."""


IS_END: Final = tuple(DEAD <= state <= EXPIRED for state in ALL)
"""Whether a task has ended there, by state, so that its queue has finished one."""


def picture() -> str:
    """Returns the table as text: a line for each event and state that it starts from."""
    rows = [(NAMES[origin], move) for origin in (NEW, *ALL[:NEW]) for move in _from(origin)]
    lines, before = [], ""
    for name, move in rows:
        targets = ", ".join(NAMES[to] for to in move.targets)
        lines.append(f"{'' if name == before else name:<10} ── {move.event + ' ':─<12}> {targets:<28} {move.why}")
        before = name
    return "\n".join(lines)


def _from(origin: TaskState) -> Iterator[Move]:
    return (move for move in MOVES if origin in move.origins)


if __name__ == "__main__":
    print(picture())  # noqa: T201 - what it is run for
