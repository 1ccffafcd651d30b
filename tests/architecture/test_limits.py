"""Limits that rest on each other: what the reasons beside them say in words holds for their values."""

from __future__ import annotations

from zq.client import flow, publications, pulled
from zq.core import arguments, tables
from zq.core.insight import task_rows
from zq.core.tasks import follow_up, schedules
from zq.server import loop
from zq.sessions import client, pings, reports, settles, submits
from zq.sockets import channel
from zq.wire import codec, limits, namespaces
from zq.wire.messages import Batch, Done, Failed, Options, Settle, Submit

LMDB_KEY_BYTES_MAX = 511
NAME = "n" * limits.NAME_BYTES_MAX
ID = "i" * limits.ID_BYTES_MAX
PATH = (limits.PATH_NUMBER_MAX,) * limits.PATH_MAX
HEADERS = {
    f"{number:0{limits.NAME_BYTES_MAX}}": "\u20ac" * limits.HEADER_CHARACTERS_MAX
    for number in range(limits.HEADERS_MAX)
}
LARGEST = Options(
    key=NAME, retry=("exponential", 1.0, 2.0, 60.0), timeout=1.0, headers=HEADERS, on_dead=NAME, group=(ID, PATH),
    ordered=True, at=1.0, ttl=1.0, max_attempts=5,
)  # fmt: skip


def test_the_largest_payload_fits_a_frame_with_the_largest_options() -> None:
    batch = Batch(ID, NAME, LARGEST, bytes(4), b"\0" * limits.PAYLOAD_BYTES_CEILING)

    assert len(codec.encode(Submit(limits.BATCH_TASKS_MAX, (batch,)))) <= limits.FRAME_BYTES_MAX
    assert 2 * limits.PAYLOAD_BYTES_CEILING <= limits.FRAME_BYTES_MAX
    assert limits.BATCH_BYTES_MAX <= limits.PAYLOAD_BYTES_MAX <= limits.PAYLOAD_BYTES_CEILING


def test_a_submit_fits_a_frame_with_one_payload_above_what_was_gathered() -> None:
    assert submits.SUBMIT_BYTES_MAX + limits.PAYLOAD_BYTES_CEILING <= limits.FRAME_BYTES_MAX
    assert submits.FULL_BYTES <= submits.SUBMIT_BYTES_MAX <= submits.WINDOW_BYTES
    assert limits.BATCH_BYTES_MAX <= submits.SUBMIT_BYTES_MAX
    assert flow.FLOW_WINDOW_BYTES == 2 * submits.WINDOW_BYTES
    assert submits.SMALL_MESSAGES <= submits.WINDOW_MESSAGES <= channel.LINK_HIGH_WATER_MARK


def test_settles_fit_a_frame_with_one_completion_above_what_was_gathered() -> None:
    entries = limits.MESSAGE_BATCHES_MAX * len(
        codec.encode(Settle(1, 1, (Done(1 << 62, ID, 0, 1000, b"", b"", ()),), ()))
    )

    for gathered in (reports.WORKER_SETTLE_BYTES_MAX, settles.PULLER_SETTLE_BYTES_MAX):
        assert gathered + limits.PAYLOAD_BYTES_CEILING + entries <= limits.FRAME_BYTES_MAX
    assert limits.PAYLOAD_BYTES_CEILING <= pulled.CALLER_SETTLE_BYTES_MAX < limits.FRAME_BYTES_MAX


def test_a_failure_fits_a_settle_whatever_its_text() -> None:
    failed = Failed(1, ID, 0, "\U0001f355" * limits.TEXT_CHARS_MAX, None, False)

    assert len(codec.encode(Settle(1, 1, (), (failed,)))) <= settles.PULLER_SETTLE_BYTES_MAX
    assert 4 * limits.TEXT_CHARS_MAX <= codec.STR_MAX


def test_a_worker_can_list_what_it_holds_and_what_is_on_its_way() -> None:
    assert limits.HELD_MAX == 2 * limits.CREDIT_MAX
    assert max(limits.BATCH_TASKS_MAX, limits.MESSAGE_BATCHES_MAX, limits.HEADERS_MAX) <= limits.HELD_MAX
    assert limits.CREDIT_MAX < loop.COORDINATOR_HIGH_WATER_MARK


def test_ids_that_are_made_of_others_are_ids() -> None:
    publication = "p" * limits.PUBLICATION_ID_BYTES_MAX
    name = "s" * schedules.SCHEDULE_NAME_BYTES_MAX

    assert len(f"{publication}.{limits.FANOUT_QUEUES_MAX}") <= limits.ID_BYTES_MAX
    assert len(schedules.task_id(name, limits.TIME_MAX - 0.5)) <= limits.ID_BYTES_MAX
    assert 2 * namespaces.NAMESPACE_BYTES_MAX <= limits.NAME_BYTES_MAX


def test_keys_of_the_store_hold_the_longest_names_and_paths() -> None:
    line = tables.line_key(1, 0, NAME)
    keys = [
        tables.parked_key(line, 1, 0),
        tables.unique_key(1, NAME),
        tables.schedule_time_key(limits.TIME_MAX, NAME),
        tables.history_key(f"{ID}#{limits.BATCH_TASKS_MAX}", 1),
        tables.member_key(ID, PATH),
        tables.roster_key(ID, f"{ID}#{limits.BATCH_TASKS_MAX}"),
    ]

    assert max(map(len, keys)) <= LMDB_KEY_BYTES_MAX
    assert limits.PATH_NUMBER_MAX + limits.BATCH_TASKS_MAX < 1 << 32


def test_answers_and_notices_hold_the_reasons_that_they_show() -> None:
    assert arguments.LIST_MAX * 4 * task_rows.LISTED_REASON_CHARS < limits.FRAME_BYTES_MAX
    assert follow_up.HEADER_REASON_CHARS <= limits.HEADER_CHARACTERS_MAX
    assert max(limits.HEADERS_MAX, len(Options._fields)) <= codec.MAP_MAX


def test_what_publish_many_cuts_reaches_many_queues_in_one_transaction() -> None:
    assert 500 * publications.PUBLICATION_BYTES <= limits.FANOUT_BYTES_MAX
    assert limits.PAYLOAD_BYTES_CEILING <= limits.FANOUT_BYTES_MAX


def test_a_client_asks_whether_anybody_is_there_before_it_gives_up() -> None:
    assert pings.PING_INTERVAL < pings.SILENCE_FIRST < pings.SILENCE_MAX
    assert client.SCAN_INTERVAL < pings.PING_INTERVAL
    assert limits.WAIT_MAX < limits.LEASE_MAX <= limits.DELAY_MAX
