"""The coordinator's tables: keys, records, and the rule for changing them.

Every key starts with what it is read by, in big-endian, so that bytewise order is the order of service. Records are msgpack arrays. Whoever changes a
key or a record raises `SCHEMA` and the store refuses the directories of other versions.

| table | key | record |
| --- | --- | --- |
| meta | b"counters" | epoch, last sequence, last finish sequence, queue number, kept |
| queues | number u32 | name, policies that are not default, counters |
| pending | task key | batch: everything that is waiting or leased, in the order of service |
| scheduled | due ms u64, task key | batch |
| dead | task key | batch and why |
| progress | task key | masks of a batch that was partly worked or split |
| leases | token u64 | task key, mask, holder |
| index | id | where it is, or how it ended |
| results | task key, lo u16 | hi, ends, blob |
| finished | finish sequence u64 | finish time, ids to forget, task key, whether it has results |
| history | id, 0, sequence u64 | time, event, detail |

A *task key* is queue number u32, 9 - priority u8, sequence u64, sub u16. `sub` is 0 for a batch as it was submitted; a task that was split off has the
sequence of its batch and its own index + 1, so that it keeps its place.
"""

import struct
from typing import Any, Final

import msgpack

SCHEMA: Final = 2

META: Final = "meta"
QUEUES: Final = "queues"
PENDING: Final = "pending"
SCHEDULED: Final = "scheduled"
DEAD: Final = "dead"
PROGRESS: Final = "progress"
LEASES: Final = "leases"
INDEX: Final = "index"
RESULTS: Final = "results"
FINISHED: Final = "finished"
HISTORY: Final = "history"

TABLES: Final = (META, QUEUES, PENDING, SCHEDULED, DEAD, PROGRESS, LEASES, INDEX, RESULTS, FINISHED, HISTORY)

COUNTERS_KEY: Final = b"counters"

_TASK_KEY = struct.Struct(">IBQH")
_U64 = struct.Struct(">Q")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")

TASK_KEY_BYTES: Final = _TASK_KEY.size


def pack(record: Any) -> bytes:
    """Encodes a record."""
    return msgpack.packb(record, use_bin_type=True)


def unpack(value: bytes) -> Any:
    """Decodes a record; the store has checked that it is what was written."""
    return msgpack.unpackb(value, use_list=False, raw=False, strict_map_key=False)


def task_key(queue: int, priority: int, sequence: int, sub: int = 0) -> bytes:
    """Returns the key under which a batch waits: by queue, then urgency, then age."""
    return _TASK_KEY.pack(queue, 9 - priority, sequence, sub)


def split_task_key(key: bytes) -> tuple[int, int, int, int]:
    """Returns queue number, priority, sequence and sub of a task key."""
    queue, urgency, sequence, sub = _TASK_KEY.unpack(key)
    return queue, 9 - urgency, sequence, sub


def lane_bounds(queue: int, priority: int) -> tuple[bytes, bytes]:
    """Returns the keys between which the tasks of one priority of a queue lie."""
    prefix = (queue << 8) | (9 - priority)
    return prefix.to_bytes(5, "big"), (prefix + 1).to_bytes(5, "big")


def queue_bounds(queue: int) -> tuple[bytes, bytes]:
    """Returns the keys between which all tasks of a queue lie."""
    return _U32.pack(queue), _U32.pack(queue + 1)


def queue_key(number: int) -> bytes:
    return _U32.pack(number)


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


def history_key(id: str, sequence: int) -> bytes:
    return id.encode() + b"\0" + _U64.pack(sequence)


def history_bounds(id: str) -> tuple[bytes, bytes]:
    prefix = id.encode()
    return prefix + b"\0", prefix + b"\x01"
