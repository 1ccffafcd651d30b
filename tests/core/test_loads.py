"""How much goes to one worker at once: what its connection can be expected to read, whatever its credit."""

from tests.core.desk import Desk
from zq.core.peer_limits import PeerLimits
from zq.core.state.leases import ASSIGN_BYTES_MAX
from zq.core.tasks.assignment import LOAD_BYTES_MAX
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.codec import encode
from zq.wire.messages import Assign, Batch, Hello, Options, Pull, Submit, Tasks

LARGE = 1_000_000


def submit_large(desk: Desk, count: int, queue: str = "q") -> None:
    for number in range(count):
        ends, blob = pack_payloads([encode_payload(bytes(LARGE))])
        desk.turn((b"client", Submit(number, (Batch(f"{queue}-{number}", queue, Options(), ends, blob),))))


HEADERS = {f"header-{number}": "x" * 4096 for number in range(32)}
"""As long as they may be."""


def tasks_in(sent: list[tuple[bytes, object]]) -> int:
    return sum(len(message.assignments) for _, message in sent if isinstance(message, Assign))


def hello(*queues: str) -> tuple[bytes, Hello]:
    return b"w", Hello("w", "life-1", queues, 1000, 1, ())


def test_worker_gets_large_tasks_over_several_steps() -> None:
    desk = Desk()
    submit_large(desk, 20)
    first = tasks_in(desk.turn(hello("q")))

    assert LARGE * (first - 1) < LOAD_BYTES_MAX <= (LARGE + 100) * first
    assert desk.machine.next_at(desk.clocks()) == desk.now
    counts = [first]
    while counts[-1]:
        counts.append(tasks_in(desk.turn()))
    assert (sum(counts), max(counts)) == (20, first)
    assert desk.machine.next_at(desk.clocks()) > desk.now


def test_what_a_worker_gets_in_one_step_is_counted_over_all_queues() -> None:
    desk = Desk()
    for queue in "abc":
        submit_large(desk, 6, queue)

    assert LARGE * (tasks_in(desk.turn(hello("a", "b", "c"))) - 1) < LOAD_BYTES_MAX


def test_worker_gets_less_where_less_may_be_on_its_way() -> None:
    desk = Desk(peer_limits=PeerLimits(bytes_out=8_000_000))
    submit_large(desk, 10)

    assert tasks_in(desk.turn(hello("q"))) == 2


def test_worker_gets_nothing_while_its_connection_has_much_to_read() -> None:
    desk = Desk()
    submit_large(desk, 20)
    first = tasks_in(desk.turn(hello("q")))
    for _ in range(3):
        assert desk.machine.turn(desk.clocks(), slow=[b"w", b"stranger"]) == []
    assert desk.machine.next_at(desk.clocks()) > desk.now  # who knows of connections says when

    assert tasks_in(desk.turn()) == first


def test_another_worker_gets_what_one_with_much_to_read_does_not() -> None:
    desk = Desk()
    desk.turn(hello("q"))
    desk.turn((b"v", Hello("v", "life-2", ("q",), 1000, 1, ())))
    submit = Submit(1, (Batch("b", "q", Options(), *pack_payloads([encode_payload(1)] * 10)),))

    sent = desk.machine.turn(desk.clocks(), [(b"client", submit)], slow=[b"w"])

    assert [peer for peer, message in sent if isinstance(message, Assign)] == [b"v"]


def test_worker_that_left_with_much_to_read_is_forgotten() -> None:
    desk = Desk()
    submit_large(desk, 20)
    desk.turn(hello("q"))
    desk.machine.turn(desk.clocks(), slow=[b"w"])
    desk.lose(b"w")
    assert not desk.machine.books.loaded

    assert tasks_in(desk.turn(hello("q"))) > 0


def test_headers_count_for_what_a_worker_gets_and_for_where_messages_are_cut() -> None:
    desk = Desk()
    options, payload = Options(headers=HEADERS), pack_payloads([encode_payload(1)])
    for number in range(200):
        desk.turn((b"client", Submit(number, (Batch(f"b-{number}", "q", options, *payload),))))
    sent = desk.turn(hello("q"))

    frames = [len(encode(message)) for _, message in sent if isinstance(message, Assign)]
    assert max(frames) <= ASSIGN_BYTES_MAX + 100 * tasks_in(sent)
    assert LOAD_BYTES_MAX - sum(map(len, HEADERS.values())) < sum(frames) < LOAD_BYTES_MAX * 1.1


def test_headers_count_for_what_a_pull_gets() -> None:
    desk = Desk()
    options, payload = Options(headers=HEADERS), pack_payloads([encode_payload(1)])
    for number in range(100):
        desk.turn((b"client", Submit(number, (Batch(f"b-{number}", "q", options, *payload),))))
    sent = desk.turn((b"p", Pull(1, "puller", "q", 1000, 0.0, 60.0)))

    assert [len(encode(message)) < ASSIGN_BYTES_MAX * 1.1 for _, message in sent if isinstance(message, Tasks)] == [
        True
    ]
