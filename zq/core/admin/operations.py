"""Operations on whole queues: purge, move and delete.

Theory of operation. A queue may hold more than one step can touch, so an operation is stored, and each step does a
bounded portion of it: the rest waits for the next step, or for the next life of the coordinator. It looks at what was
accepted before it began, in the order of service, and leaves alone what is leased. Done operations are remembered for a
while, so that one that is asked for again, by its id, is only reported.

- *purge* ends tasks as cancelled, and gives dead letters up.
- *move* gives tasks a place in another queue: see `moving`.
- *delete* purges until nothing is left, and forgets the queue. Meanwhile the queue accepts and assigns nothing; what
  runs is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from math import inf
from typing import Any, Final, NamedTuple

from zq.core import tables
from zq.core.admin import moving
from zq.core.admin.policies import set_policies
from zq.core.arguments import InvalidRequestError, name_in, optional_name_in, prefix, queue_in
from zq.core.measures.rolling import totals_of
from zq.core.pages import Budget, Page, page
from zq.core.state import places
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books, one_queue
from zq.core.state.operation import DONE, RUNNING, WAITING, Operation
from zq.core.state.places import Place
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.tasks import cancelling, dead_letters, key_turns, publishing
from zq.errors import short

ALL_STATES: Final = ("waiting", "parked", "scheduled", "dead")
DEFAULT_STATES: Final = ("waiting", "parked", "scheduled")

PORTION_TASKS: Final = 1000
PORTION_ROWS: Final = 250
PORTION_BYTES: Final = 4 << 20
"""What one step does of all operations together: a few milliseconds. Rows are also those that it only passes by."""

PASSES_MAX: Final = 2
"""Passes of an operation in one step: the second finds nothing any more, if little was there."""

RUNNING_MAX: Final = 100
"""Operations at the same time: they share the portion of a step, in turn."""

FULL_LOOK_SECONDS: Final = 1.0
"""Until it is looked again whether a full store has room for what is moved."""

KEPT_MAX: Final = 100
"""Done operations that are remembered."""

LAST: Final = (1 << 63) - 1


# Commands.


def purge(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    """Begins to end what waits in a queue."""
    return _begin(books, step, "purge", arguments, _states(arguments)).as_map()


def move(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    """Begins to move what waits in a queue to another, which is made if need be."""
    return _begin(books, step, "move", arguments, _states(arguments)).as_map()


def delete(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    """Begins to delete a queue, which must be empty unless it is to be purged."""
    return _begin(books, step, "delete", arguments, ALL_STATES).as_map()


def _begin(books: Books, step: Step, kind: str, arguments: dict[str, Any], states: tuple[str, ...]) -> Operation:
    id = name_in(arguments, "id")
    if id in books.operations:
        return books.operations[id]
    queue = one_queue(books, arguments)
    _check_free(books, queue)
    if kind == "move":
        books.ceilings.check_store(step)
    to = _target(books, step, queue, arguments) if kind == "move" else None
    if kind == "delete":
        _check_deletable(queue, may_purge=arguments.get("purge") is True)
    before = LAST if kind == "delete" else books.sequence
    queue.save_later()  # or it may be forgotten, and another get its number
    operation = Operation(id, kind, queue.name, queue.number, None if to is None else to.name, states, before)
    operation.started_time = step.wall
    books.operations[id] = operation
    queue.swept_before = operation.before
    if books.events is not None:
        books.events.note("queue", queue.name, text=kind if to is None else f"{kind} to {to.name}", veiled=kind)
    if kind == "delete" and (queue.unfinished or queue.dead):
        set_policies(books, step, queue, queue.policies._replace(draining=True, paused=True))
    _portion(books, step, operation, PortionBudget(books))
    return operation


def _states(arguments: dict[str, Any]) -> tuple[str, ...]:
    named = arguments.get("states")
    if named is None:
        return DEFAULT_STATES
    if not isinstance(named, tuple) or not named or not set(named) <= set(ALL_STATES):
        raise InvalidRequestError(f"expected states as a list of {', '.join(ALL_STATES)}, got {short(named)}")
    if "waiting" in named:  # what waits behind its key is next when those before it are gone
        named = (*named, "parked")
    return tuple(state for state in ALL_STATES if state in named)


def _check_free(books: Books, queue: Queue) -> None:
    running = [one for one in books.operations.values() if one.state != DONE]
    if len(running) >= RUNNING_MAX:
        raise InvalidRequestError(f"{RUNNING_MAX} operations are going on, which is the most there may be")
    for one in running:
        if queue.name in (one.queue, one.to):
            raise InvalidRequestError(f"operation {one.id} ({one.kind}) goes on in queue {queue.name}; wait for it")


def _target(books: Books, step: Step, queue: Queue, arguments: dict[str, Any]) -> Queue:
    to = books.queue_for(step, queue_in(arguments, "to"))
    if to is queue:
        raise InvalidRequestError(f"expected another queue than {queue.name} to move to")
    if to.policies.draining:
        raise InvalidRequestError(f"queue {to.name} is draining; resume it first")
    for one in books.operations.values():
        if one.state != DONE and to.name == one.queue:
            raise InvalidRequestError(f"operation {one.id} ({one.kind}) goes on in queue {to.name}; wait for it")
    return to


def _check_deletable(queue: Queue, *, may_purge: bool) -> None:
    if (queue.unfinished or queue.dead) and not may_purge:
        raise InvalidRequestError(
            f"queue {queue.name} is not empty: {queue.total_waiting + queue.parked} wait, {queue.scheduled} are scheduled, "
            f"{queue.leased} run, {queue.dead} are dead; purge it, too"
        )


# Going on.


def carry_on(books: Books, step: Step) -> float:
    """Does a portion of each operation that goes on; returns when the next one is to be done: at once, or never."""
    if not books.operations:
        return inf
    ready: list[Operation] = []
    held_up = False
    for operation in books.operations.values():
        if operation.state == RUNNING or (operation.state == WAITING and _is_over(books, operation)):
            operation.state = RUNNING
            if operation.kind == "move" and (step.tx.is_full or books.cramped):
                held_up = True  # what is moved is written anew
            else:
                ready.append(operation)
    if not ready:
        return step.now + FULL_LOOK_SECONDS if held_up else inf
    first = books.turn % len(ready)  # in turn, so that none of them waits for the others
    budget = PortionBudget(books)
    for operation in ready[first:] + ready[:first]:
        if budget.is_over:
            break
        _portion(books, step, operation, budget)
    books.turn += 1
    return step.now if any(one.state == RUNNING for one in ready) else step.now + FULL_LOOK_SECONDS if held_up else inf


def _is_over(books: Books, operation: Operation) -> bool:
    """Whether there is something to do again for an operation that waited for running tasks."""
    queue = books.queues_by_number.get(operation.number)
    return queue is None or not queue.leased or queue.unfinished > queue.leased or queue.dead > 0


def resume_all(books: Books) -> None:
    """Notes again, at a start, in which queues operations go on."""
    for operation in books.operations.values():
        queue = books.queues_by_number.get(operation.number)
        if queue is not None and operation.state != DONE:
            queue.swept_before = operation.before


def list_operations(books: Books, step: Step, arguments: dict[str, Any]) -> Page:  # noqa: ARG001 - a query
    """Answers the query `operations`: all that go on, and the last that are done, in the order in which they began, or
    the one with an id.
    """
    id, inside = optional_name_in(arguments, "id"), prefix(arguments)
    began = {f"{one.started_time:020.6f} {one.id}": one for one in books.operations.values() if id in (None, one.id)}

    def find(after: str, budget: Budget) -> Iterator[tuple[str, dict[str, Any] | None]]:  # noqa: ARG001 - alike
        for place in sorted([place for place in began if place > after]):
            yield place, began[place].as_map() if began[place].queue.startswith(inside) else None

    return page(arguments, "", find)


class PortionBudget:
    """What all operations together may still do in a step."""

    __slots__ = ("rows", "size", "tasks")

    def __init__(self, books: Books) -> None:
        self.tasks = books.portion(PORTION_TASKS)
        self.rows = books.portion(PORTION_ROWS)
        self.size = PORTION_BYTES

    @property
    def is_over(self) -> bool:
        return self.tasks <= 0 or self.rows <= 0 or self.size <= 0


def _portion(books: Books, step: Step, operation: Operation, budget: PortionBudget) -> None:
    queue = books.queues_by_number.get(operation.number)
    if queue is None:
        _end(books, step, operation)
        _save(books, step, operation)
        return
    for _ in range(PASSES_MAX):
        if not _pass(books, step, operation, queue, budget):
            break
        _end_pass(books, step, operation, queue, budget)
        if operation.state != RUNNING or budget.is_over:
            break
    _save(books, step, operation)


def _pass(books: Books, step: Step, operation: Operation, queue: Queue, budget: PortionBudget) -> bool:
    """Goes on with a pass, as far as the budget goes; returns whether it has seen everything."""
    to = None if operation.to is None else books.queue(step, operation.to)
    while operation.phase < len(operation.states):
        phase = _PHASES[operation.states[operation.phase]]
        count, is_over = phase(books, step, operation, (queue, to), budget)
        operation.tasks += count
        operation.has_found = operation.has_found or count > 0
        if not is_over:
            return False
        operation.phase += 1
        operation.cursor = b""
        if budget.is_over:
            break
    return operation.phase == len(operation.states)


def _save(books: Books, step: Step, operation: Operation) -> None:
    step.tx.put(tables.OPERATIONS, operation.id.encode(), operation.record())
    if operation.state == DONE:
        done = [one for one in books.operations.values() if one.state == DONE]
        for one in done[: max(0, len(done) - KEPT_MAX)]:
            del books.operations[one.id]
            step.tx.delete(tables.OPERATIONS, one.id.encode())


def _end_pass(books: Books, step: Step, operation: Operation, queue: Queue, budget: PortionBudget) -> None:
    """Everything was looked at: once more, if that can have brought something to light behind the cursor."""
    key_turns.end_turns(books, step)
    has_found, operation.has_found = operation.has_found, False
    if has_found:
        operation.phase = 0
        return
    if operation.kind != "delete":
        _end(books, step, operation)
    elif not (queue.unfinished or queue.dead):
        bound = list(islice(books.bindings.of(queue.name), budget.rows + 1))
        budget.rows -= publishing.remove(books, step, bound[: budget.rows])
        if books.bindings.has(queue.name):
            operation.phase = 0
            return
        _forget(books, step, queue)
        _end(books, step, operation)
    else:
        operation.phase = 0
        operation.state = WAITING if queue.unfinished == queue.leased and not queue.dead else RUNNING


def _end(books: Books, step: Step, operation: Operation) -> None:
    operation.state = DONE
    operation.finished_time = step.wall
    queue = books.queues_by_number.get(operation.number)
    if queue is not None:
        queue.swept_before = 0


def _forget(books: Books, step: Step, queue: Queue) -> None:
    """Forgets a queue in which nothing is left; who asks for its name makes it anew, workers and pulls at once."""
    for replay in [one for one in books.replays.values() if queue.name in (one.queue, one.to)]:
        dead_letters.stop_replay(books, step, replay.id)
    books.measures.history.leave_out(step.tx, totals_of(queue.counts()))
    books.remove_queue(step, queue)
    if not (queue.workers or queue.pull_waits):
        return
    fresh = books.queue(step, queue.name)
    for worker in queue.workers.values():
        fresh.workers[worker.name] = worker
    fresh.pull_waits = queue.pull_waits
    if fresh.pull_waits:
        books.pulled[fresh] = None


# The phases: each returns how many tasks it has ended or moved, and whether it has seen all of its table. The queues
# are the one of the operation, and that to which tasks are moved, if they are.

Phase = tuple[int, bool]
Between = tuple[Queue, Queue | None]


class Row(NamedTuple):
    key: bytes
    value: bytes


def _rows(step: Step, table: str, start: bytes, stop: bytes | None, budget: PortionBudget) -> tuple[list[Row], bool]:
    """Returns rows of a table, as many as the budget has, and whether these are the last."""
    rows: list[Row] = []
    for key, value in step.tx.scan(table, start, stop):
        if budget.rows <= 0 or budget.size <= 0:
            return rows, False
        rows.append(Row(key, value))
        budget.rows -= 1
        budget.size -= len(value)
    return rows, True


def _waiting(books: Books, step: Step, operation: Operation, queues: Between, budget: PortionBudget) -> Phase:
    queue, to = queues
    start, stop = tables.queue_bounds(queue.number)
    rows, is_last = _rows(step, tables.PENDING, max(start, operation.cursor), stop, budget)
    count = 0
    for key, value in rows:
        if budget.tasks <= 0:
            return count, False
        operation.cursor = key + b"\0"
        _, priority, sequence, _ = tables.split_task_key(key)
        if sequence > operation.before:  # all behind it in its lane are newer
            operation.cursor = tables.lane_bounds(queue.number, priority)[1]
            return count, priority == 0
        if step.tx.get(tables.PENDING, key) is None:
            continue  # moved with the others of its line
        batch = books.batches.get(key) or books.read(step.tx, key, value)
        if to is not None:
            found = moving.move_line(books, step, batch, to, operation.before, budget.tasks)
        else:
            found = cancelling.purge(books, step, Place(tables.AT_PENDING, key), batch)
        count += found
        budget.tasks -= found
    return count, is_last


def _parked(books: Books, step: Step, operation: Operation, queues: Between, budget: PortionBudget) -> Phase:
    queue, to = queues
    if to is not None:
        return 0, True  # they go with the one that has the turn of their line, or stay with it
    start, stop = tables.queue_bounds(queue.number)
    rows, is_last = _rows(step, tables.PARKED, max(start, operation.cursor), stop, budget)
    count = 0
    for key, _ in rows:
        if budget.tasks <= 0:
            return count, False
        operation.cursor = key + b"\0"
        batch = places.read_parked(books, step, key)
        if batch is not None and _sequence(batch) <= operation.before:
            found = cancelling.purge(books, step, Place(tables.AT_PARKED, key), batch)
            count += found
            budget.tasks -= found
    return count, is_last


def _scheduled(books: Books, step: Step, operation: Operation, queues: Between, budget: PortionBudget) -> Phase:
    queue, to = queues
    if not queue.scheduled:
        return 0, True
    rows, is_last = _rows(step, tables.SCHEDULED, operation.cursor, None, budget)
    count = 0
    for key, value in rows:
        if budget.tasks <= 0:
            return count, False
        operation.cursor = key + b"\0"
        due_time, task_key = tables.split_due_key(key)
        number, _, sequence, _ = tables.split_task_key(task_key)
        if number != queue.number or sequence > operation.before:
            continue
        batch = books.read(step.tx, task_key, value)
        if to is not None:
            found = moving.move_scheduled(books, step, batch, to, key, due_time)
        else:
            found = cancelling.purge(books, step, Place(tables.AT_SCHEDULED, key), batch)
        count += found
        budget.tasks -= found
    return count, is_last or not queue.scheduled


def _dead(books: Books, step: Step, operation: Operation, queues: Between, budget: PortionBudget) -> Phase:
    queue, to = queues
    start, stop = tables.queue_bounds(queue.number)
    rows, is_last = _rows(step, tables.DEAD, max(start, operation.cursor), stop, budget)
    count = 0
    for key, value in rows:
        if budget.tasks <= 0:
            return count, False
        operation.cursor = key + b"\0"
        dead = places.dead_letter(books, step, key, value)
        if _sequence(dead.batch) > operation.before:
            continue
        if to is not None:
            found = moving.move_dead(books, step, dead, to)
        else:
            dead_letters.purge(books, step, dead)
            found = 1
        count += found
        budget.tasks -= found
    return count, is_last


_PHASES: dict[str, Callable[[Books, Step, Operation, Between, PortionBudget], Phase]] = {
    "waiting": _waiting,
    "parked": _parked,
    "scheduled": _scheduled,
    "dead": _dead,
}


def _sequence(batch: StoredBatch) -> int:
    return tables.split_task_key(batch.key)[2]
