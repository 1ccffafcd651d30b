"""The coordinator's tables: keys, records, and the rule for changing them.

Every key starts with what it is read by, in big-endian, so that bytewise order is the order of service. Records are
msgpack arrays. Whoever changes a key or a record raises `SCHEMA` and the store refuses the directories of other
versions.

| table | key | record |
| --- | --- | --- |
| meta | b"counters" | epoch, last sequence, last finish sequence, queue number, kept, latest wall time |
| queues | number u32 | name, policies that are not default, counters |
| pending | task key | batch: everything that is waiting or leased, in the order of service |
| scheduled | due ms u64, task key | batch |
| parked | line, position u64, sub u16 | task key, batch: waits behind another of its line |
| lines | line | task key of the batch that has the line's turn |
| dead | task key | batch and why |
| progress | task key | masks of a batch that was partly worked or split |
| leases | token u64 | task key, mask, holder, when it was granted |
| index | id | where it is, or how it ended |
| results | task key, lo u16 | hi, ends, blob |
| finished | finish sequence u64 | finish time, id to forget, task key, has results, kind: a split batch, a group ... |
| history | id, 0, sequence u64 | time, event, detail |
| expiry | expiry ms u64, batch id | nothing: what must have started by then |
| replays | id | rate, what is brought back and where to, how far it is |
| operations | operation id | what is done to a whole queue, and how far it is |
| unique | queue number u32, unique key | id of the task that has it |
| schedules | b"n", name | schedule |
| schedules | b"t", ms u64, name | nothing: when a schedule is due that is not paused |
| groups | group id | what it waits for, and how it ended |
| members | group id, 0, path u32... | count, outcome, ends, results or reason: of members that have ended, as a range |
| roster | group id, 0, batch or group id | kind u8 (0 task, 1 group, 2 both): what was let in while it was open |
| bindings | number u32 | pattern, queue, headers |
| namespaces | namespace | max_tasks, max_bytes |
| chores | verb, 0, id | reason, key of the one it is part of, index it is at, count, how many are part of it, marks |
| measures | see `zq.core.measures.steps` | what was counted in a step of time, over all queues and in some |
| publications | publication id | queue and batch id of everything that it became |
| answers | b"n" | how many commands with a mark there were |
| answers | b"s", slot u16 | mark of the command that is remembered there |
| answers | b"m", mark | slot, is it over, what it has done |
| damaged | b"r", number u64 | table, key, stop, what was stored, why, time, is it a part: what was set aside |
| damaged | b"recount" | tables of which something was set aside since the last recount, and the first row of that |

A *line* is queue number u32, kind u8, length of key u16, key: the tasks of a queue that share a key and take turns
(`zq.core.tasks.key_turns`).

A *task key* is queue number u32, 9 - priority u8, sequence u64, sub u16. `sub` is 0 for a batch as it was submitted; a
task that was split off has the sequence of its batch and its own index + 1, so that it keeps its place.
"""

import struct
from typing import Any, Final

import msgpack

from zq.wire import frames

SCHEMA: Final = 14

SCHEMAS_BEFORE: Final = (12, 13)
"""Whose tables are the same but for what has come since, so that a directory of theirs is carried over when it is
opened: 12 had no journal, which an older version would leave unread; the checksums of 12 and 13 were of values alone.
"""

META: Final = "meta"
QUEUES: Final = "queues"
PENDING: Final = "pending"
SCHEDULED: Final = "scheduled"
PARKED: Final = "parked"
LINES: Final = "lines"
DEAD: Final = "dead"
PROGRESS: Final = "progress"
LEASES: Final = "leases"
INDEX: Final = "index"
RESULTS: Final = "results"
FINISHED: Final = "finished"
HISTORY: Final = "history"
EXPIRY: Final = "expiry"
REPLAYS: Final = "replays"
OPERATIONS: Final = "operations"
UNIQUE: Final = "unique"
SCHEDULES: Final = "schedules"
NAMESPACES: Final = "namespaces"
CHORES: Final = "chores"
GROUPS: Final = "groups"
MEMBERS: Final = "members"
ROSTER: Final = "roster"
BINDINGS: Final = "bindings"
PUBLICATIONS: Final = "publications"
MEASURES: Final = "measures"
ANSWERS: Final = "answers"
DAMAGED: Final = "damaged"

TABLES: Final = (
    META, QUEUES, PENDING, SCHEDULED, PARKED, LINES, DEAD, PROGRESS, LEASES, INDEX, RESULTS, FINISHED, HISTORY,
    EXPIRY, REPLAYS, OPERATIONS, UNIQUE, SCHEDULES, GROUPS, MEMBERS, ROSTER, BINDINGS, PUBLICATIONS, NAMESPACES,
    CHORES, MEASURES, ANSWERS, DAMAGED,
)  # fmt: skip

AT_PENDING, AT_SCHEDULED, AT_DEAD, AT_ENDED, AT_PARKED = range(5)
"""The first field of an index record: where the task is."""

COUNTERS_KEY: Final = b"counters"

RECOUNT_KEY: Final = b"recount"

RECOUNTED_KEY: Final = b"counted"
"""Of what recounts have changed; before all others of its table."""

KEY_NUMBER_MAX: Final = (1 << 32) - 1
"""The last number of a queue or binding that a key can have."""

_TASK_KEY = struct.Struct(">IBQH")
_LINE = struct.Struct(">IBH")
_POSITION = struct.Struct(">QH")
_U64 = struct.Struct(">Q")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")

POSITION_BYTES: Final = _POSITION.size


pack: Final = frames.pack
"""Encodes a record."""


def unpack(value: bytes) -> Any:
    """Decodes a record; the store has checked that it is what was written."""
    return msgpack.unpackb(value, use_list=False, raw=False, strict_map_key=False)


def task_key(queue: int, priority: int, sequence: int, sub: int = 0) -> bytes:
    """Returns the key under which a batch waits: by queue, then urgency, then age."""
    return _TASK_KEY.pack(queue, 9 - priority, sequence, sub)


_PENDING_PLACE: Final = pack((AT_PENDING, bytes(_TASK_KEY.size)))[: -_TASK_KEY.size]


def pending_place(key: bytes) -> bytes:
    """Returns the record in the index of what waits or is leased under a task key: packed, all but the key is alike."""
    return _PENDING_PLACE + key


def split_task_key(key: bytes) -> tuple[int, int, int, int]:
    """Returns queue number, priority, sequence and sub of a task key."""
    queue, urgency, sequence, sub = _TASK_KEY.unpack(key)
    return queue, 9 - urgency, sequence, sub


def line_key(queue: int, kind: int, key: str) -> bytes:
    """Returns the line of a key; its length stands before it, so that no line's rows lie within another's."""
    text = key.encode()
    return _LINE.pack(queue, kind, len(text)) + text


def parked_key(line: bytes, position: int, sub: int) -> bytes:
    return line + _POSITION.pack(position, sub)


def parked_bounds(line: bytes) -> tuple[bytes, bytes]:
    """Returns the keys between which the parked batches of a line lie."""
    return line, line + b"\xff" * (_POSITION.size + 1)


def place_key(queue: int, priority: int, sequence: int, turn: int) -> bytes:
    """Returns a place behind every task key up to a sequence and before those of the next; no table has it."""
    return _TASK_KEY.pack(queue, 9 - priority, sequence, 0xFFFF) + _U64.pack(turn)


def lane_bounds(queue: int, priority: int) -> tuple[bytes, bytes]:
    """Returns the keys between which the tasks of one priority of a queue lie."""
    prefix = (queue << 8) | (9 - priority)
    return prefix.to_bytes(5, "big"), (prefix + 1).to_bytes(5, "big")


def queue_bounds(queue: int) -> tuple[bytes, bytes]:
    """Returns the keys between which all tasks of a queue lie."""
    return _U32.pack(queue), _U32.pack(queue + 1)


def queue_key(number: int) -> bytes:
    return _U32.pack(number)


def binding_key(number: int) -> bytes:
    return _U32.pack(number)


def schedule_key(name: str) -> bytes:
    return b"n" + name.encode()


def split_schedule_key(key: bytes) -> str:
    return key[1:].decode()


def schedule_bounds() -> tuple[bytes, bytes]:
    return b"n", b"o"


def schedule_time_key(time: float, name: str) -> bytes:
    """Returns the key of the row that lets a schedule fire."""
    return b"t" + _U64.pack(max(0, round(time * 1000))) + name.encode()


def split_schedule_time_key(key: bytes) -> tuple[float, str]:
    """Returns the time in seconds and the name."""
    return int.from_bytes(key[1:9], "big") / 1000, key[9:].decode()


def schedule_time_bounds() -> tuple[bytes, bytes]:
    return b"t", b"u"


def unique_key(number: int, key: str) -> bytes:
    """Returns the key of the row that says who has a unique key."""
    return _U32.pack(number) + key.encode()


def damaged_key(number: int) -> bytes:
    return b"r" + _U64.pack(number)


def is_damaged_key(key: bytes) -> bool:
    """Returns whether it is one of `damaged_key`, and none of the other rows of its table."""
    return len(key) == 9 and key[:1] == b"r"


def damaged_bounds() -> tuple[bytes, bytes]:
    return b"r\0", b"re"  # before RECOUNT_KEY


def token_key(token: int) -> bytes:
    return _U64.pack(token)


def token_of(key: bytes) -> int:
    return int.from_bytes(key, "big")


def finished_key(sequence: int) -> bytes:
    return _U64.pack(sequence)


def due_key(due_time: float, key: bytes) -> bytes:
    """Returns the key of a scheduled batch: its due time in milliseconds, then its task key."""
    return _U64.pack(max(0, int(due_time * 1000))) + key


def split_due_key(key: bytes) -> tuple[float, bytes]:
    """Returns the due time in seconds and the task key."""
    return int.from_bytes(key[:8], "big") / 1000, key[8:]


def result_key(key: bytes, lo: int) -> bytes:
    return key + _U16.pack(lo)


def result_bounds(key: bytes) -> tuple[bytes, bytes]:
    """Returns the keys between which the results of a batch lie."""
    return key, key + b"\xff\xff\xff"


def history_key(id: str, sequence: int) -> bytes:
    return id.encode() + b"\0" + _U64.pack(sequence)


def id_bounds(id: str) -> tuple[bytes, bytes]:
    """Returns the keys between which lies what is kept by an id: a history, or the members or roster of a group."""
    prefix = id.encode()
    return prefix + b"\0", prefix + b"\x01"


def member_key(group: str, path: tuple[int, ...]) -> bytes:
    """Returns the key of members that have ended: by group, then path."""
    return group.encode() + b"\0" + struct.pack(f">{len(path)}I", *path)


def path_of(group: str, key: bytes) -> tuple[int, ...]:
    """Returns the path in a member key."""
    numbers = key[len(group.encode()) + 1 :]
    return struct.unpack(f">{len(numbers) >> 2}I", numbers)


def roster_key(group: str, id: str) -> bytes:
    return group.encode() + b"\0" + id.encode()
