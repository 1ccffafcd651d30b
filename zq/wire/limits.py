"""Limits of the protocol, each with the reason for its value; every side checks them at its own border."""

from typing import Final, Literal, get_args

VERSION = 1

FRAME_BYTES_MAX = 16 << 20
"""One message. It leaves room for a dozen full batches and bounds what a peer can make a process allocate at once."""

PLAIN_BYTES_MAX = 72 << 10
"""A message of a kind that carries neither payloads nor lists of leases: names, numbers, and a text of
TEXT_CHARS_MAX.
"""

LISTING_BYTES_MAX = 768 << 10
"""A message that lists HELD_MAX leases or spans, with as many numbers of what has started, or MESSAGE_BATCHES_MAX
names.
"""

ASKING_BYTES_MAX = 1 << 20
"""A message with options or arguments, and so with HEADERS_MAX headers, but without a payload."""

VALUES_MAX = 150_000
"""Values in a message, in each other or side by side: HELD_MAX leases with what has started of them, or a thousand
batches with all of their options and headers.
"""

ARGUMENT_PARTS_MAX = 100
"""Values in a list that is an argument of a query or command: the names and texts of HEADERS_MAX headers."""

BATCH_TASKS_MAX = 1000
"""Tasks in a batch: where the cost per batch has become small beside the cost per payload; masks of 1000 bits stay
cheap.
"""

BATCH_BYTES_MAX = 1 << 20
"""Where a client cuts a batch that has more than one task; a single task may be larger, up to the payload limit."""

PAYLOAD_BYTES_MAX = 1 << 20
"""Default limit of one encoded payload (as Amazon SQS); the coordinator may allow up to PAYLOAD_BYTES_CEILING."""

PAYLOAD_BYTES_CEILING = 8 << 20
"""Half a frame: a larger payload would fit no message together with anything else."""

ONE_BATCH_BYTES_MAX = PAYLOAD_BYTES_CEILING + ASKING_BYTES_MAX
"""A message with one batch: its payloads, and its options."""

WHOLE_BYTES_MAX = 1 << 20
"""Payloads of a message up to which it is looked at whether they are whole msgpack values: some milliseconds at the
most. Whatever is read is looked at by its reader in any case.
"""

MESSAGE_BATCHES_MAX = 1000
"""Batches in one submit, assignments in one assign, entries in one settle: bounds the work of one step."""

FORWARDS_MAX = MESSAGE_BATCHES_MAX
"""Batches and groups that the completions of one settle forward and open, all together: as many as a submit has."""

HELD_MAX = 20_000
"""Leases that one worker may list: CREDIT_MAX batches of one, and as many again that are finished and not yet
settled.
"""

CREDIT_MAX = 10_000
"""Tasks that one worker may hold: 100 ms of work at 100,000 tasks a second."""

ID_BYTES_MAX = 128
"""A task's or batch's id in UTF-8. LMDB keys end at 511 bytes, and an id is part of several."""

NAME_BYTES_MAX = 128
"""Names of queues and workers, keys, incarnations, clients, in UTF-8."""

TEXT_CHARS_MAX = 16_384
"""An error text or traceback; longer ones are cut by the sender, keeping the end."""

RESERVED_HEADER_PREFIX = "zq-"
"""Of headers that the coordinator sets: what a handler reads there (`task.topic`) is no word of whoever submitted."""

HEADERS_MAX = 32
"""Headers of a batch."""

HEADER_CHARACTERS_MAX = 4096
"""The text of a header: room for a trace context or a token, not for a payload."""

ATTEMPTS_MAX = 1000
"""Starts that may be allowed to a task; whatever fails so often will fail for ever."""

RETRY_FACTOR_MAX = 1000.0
"""Growth of a delay from retry to retry; ten such retries are beyond any delay."""

DEPTH_MAX = 8
"""Arrays and maps in each other in a message, itself the first: as deep as the path of a group goes in the options of a
task that a completion forwards. Payloads are opaque bytes, and have their own limit at the end that decodes them.
"""

GROUP_MEMBERS_MAX = 100_000
"""Members that a group may be opened for: joining them is one step of the coordinator."""

PATH_MAX = 16
"""Numbers in the path of a member: how deep groups, forks and chains may be nested. Paths are part of LMDB keys."""

PATH_NUMBER_MAX = (1 << 31) - 1
"""A number in a path; with the largest index added it still fits four bytes."""

FANOUT_QUEUES_MAX = 1000
"""Queues that one publication may reach: all of them are written in one transaction, and listed in one answer."""

FANOUT_BYTES_MAX = 64 << 20
"""Payloads that the publications of one step may write, over all of their queues: what a transaction may take without
anybody noticing a pause.
"""

LEASE_MAX = 43_200.0
"""Seconds a pulled task may be held without another word (12 h, as Amazon SQS)."""

WAIT_MAX = 60.0
"""Seconds a pull may wait at the coordinator; clients ask again."""

DELAY_MAX = 31_536_000.0
"""Seconds a task may be delayed or may run: one year."""

CatchUp = Literal["skip", "one", "all"]
CATCH_UP: Final = get_args(CatchUp)
"""What a schedule does about times that it has missed."""

EVERY_MIN = 1.0
"""Seconds between two times of a schedule: what is to happen more often is a loop of a program."""

TIME_MAX = 253_402_300_799.0
"""The last second that a calendar can name, in seconds since 1970: the end of the year 9999."""

PUBLICATION_ID_BYTES_MAX = ID_BYTES_MAX - 5
"""The id of a publication: those of its batches are a dot and a number up to FANOUT_QUEUES_MAX longer."""

TASK_SEPARATOR = "#"
"""Stands between a batch's id and a task's index: task 3 of batch b is b#3. Ids chosen by users may not hold it."""

FOLLOW_MAX = 60.0
"""Seconds for which a watcher follows without saying so again: a dead one is forgotten soon."""

EVENT_KINDS_MAX = 100
"""Kinds of events that a watcher names."""

SEEN_MAX = 1 << 62
"""Number of the last message of events that was seen, from which it goes on: what follows has room to count up."""

MARKED_VERBS: Final = frozenset(
    ("retry", "replay", "purge-dead", "bury", "stop-replay", "delete-schedule", "run-schedule", "bind", "unbind")
)
"""Commands whose answer says what they did, and would say another thing when they are asked again: they have a mark."""
