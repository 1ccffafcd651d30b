"""What a coordinator counts, as text for Prometheus and its like.

Two formats of the same figures: OpenMetrics 1.0, and the older text format of Prometheus, which its textfile collector
and `promtool check metrics` read. They differ in how counters are declared, and in how the text ends.

Labels are bounded: names of queues, at most so many, and of few other things; never a task, key or worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple

from zq.wire.questions import TIME_BOUNDS

MetricsFormat = Literal["openmetrics", "prometheus"]

MEDIA_TYPES: Final[Mapping[MetricsFormat, str]] = {
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "prometheus": "text/plain; version=0.0.4; charset=utf-8",
}
"""The Content-Type of each format."""

METRIC_QUEUES_MAX: Final = 200
"""Queues with figures of their own when nothing is said about it: each has about 60 lines."""

OTHER_QUEUES: Final = "other queues"
"""The label of the sum over the others; a queue cannot be called so, for it has a space."""

Labels = dict[str, str]
MetricRow = Mapping[str, Any]


class Sample(NamedTuple):
    """One figure of a family."""

    labels: Labels
    value: Any  # a number, or a histogram as answers have it


class Family(NamedTuple):
    """A metric: its name without what its kind adds."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    samples: list[Sample]


def render(
    status: MetricRow,
    queues: Iterable[MetricRow],
    workers: Iterable[MetricRow],
    *,
    text_format: MetricsFormat = "openmetrics",
    queues_max: int = METRIC_QUEUES_MAX,
) -> str:
    """Returns the figures of a coordinator as text.

    Args:
        status: the answer to the query `status`.
        queues: rows of the query `queues`, with times if histograms are wanted.
        workers: rows of the query `workers`.
        text_format: "openmetrics" or "prometheus".
        queues_max: queues that have figures of their own, those with most tasks; the others are added up under the
            label OTHER_QUEUES, and `zq_queues_summed` says how many these are.

    Raises:
        ValueError: there is no such format, or `queues_max` is negative.
    """
    if text_format not in MEDIA_TYPES or queues_max < 0:
        raise ValueError(f"expected a format of {', '.join(MEDIA_TYPES)} and queues_max from 0, got {text_format!r}")
    rows = list(queues)
    shown, others = _shown(rows, queues_max)
    families = [*_of_queues(shown), *_of_coordinator(status, len(rows), others), *_of_workers(status, workers)]
    lines = [line for family in families if family.samples for line in _lines(family, text_format)]
    if text_format == "openmetrics":
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


# Queues.

_STATES: Final = ("waiting", "scheduled", "leased", "dead")
_OUTCOMES: Final = {"done": "done", "cancelled": "cancelled", "expired": "expired", "dead": "died"}


def _shown(rows: list[MetricRow], most: int) -> tuple[list[MetricRow], int]:
    """Returns the queues that are shown, and as one the sum of the others, of which there are so many."""
    if len(rows) <= most:
        return rows, 0
    by_tasks = sorted(rows, key=lambda row: (-row["accepted"], row["name"]))
    rest = by_tasks[most:]
    return [*sorted(by_tasks[:most], key=lambda row: str(row["name"])), _sum(rest)], len(rest)


def _sum(rows: Sequence[MetricRow]) -> MetricRow:
    names = (*_STATES, *_OUTCOMES.values(), "accepted", "failed", "retried", "lost", "bytes")
    oldest = [row["oldest_time"] for row in rows if row.get("oldest_time") is not None]
    return {
        "name": OTHER_QUEUES,
        **{name: sum(row[name] for row in rows) for name in names},
        "oldest_time": min(oldest, default=None),
        "alerts": sorted({alert for row in rows for alert in row.get("alerts") or ()}),
        **{name: _added([row[name] for row in rows if row.get(name)]) for name in ("wait", "run")},
    }


def _added(histograms: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    if not histograms:
        return None
    return {
        "count": sum(one["count"] for one in histograms),
        "sum": sum(one["sum"] for one in histograms),
        "buckets": [sum(counts) for counts in zip(*(one["buckets"] for one in histograms), strict=True)],
    }


def _of_queues(rows: Sequence[MetricRow]) -> list[Family]:
    def by_queue(name: str) -> list[Sample]:
        return [Sample({"queue": row["name"]}, row[name]) for row in rows if row.get(name) is not None]

    ended = [
        Sample({"queue": row["name"], "outcome": outcome}, row[name])
        for row in rows
        for outcome, name in _OUTCOMES.items()
    ]
    states = [Sample({"queue": row["name"], "state": state}, row[state]) for row in rows for state in _STATES]
    alerts = [Sample({"queue": row["name"], "alert": alert}, 1) for row in rows for alert in row.get("alerts") or ()]
    return [
        Family("zq_tasks_submitted", "counter", "Tasks that were new in a queue.", by_queue("accepted")),
        Family("zq_tasks_finished", "counter", "Tasks that ended, by how.", ended),
        Family("zq_task_failures", "counter", "Attempts that failed.", by_queue("failed")),
        Family("zq_task_redeliveries", "counter", "Attempts that were followed by another.", by_queue("retried")),
        Family("zq_tasks_lost", "counter", "Tasks that were with a worker or pull that was gone.", by_queue("lost")),
        Family("zq_queue_tasks", "gauge", "Tasks by state.", states),
        Family("zq_queue_bytes", "gauge", "Payloads of the tasks that have not ended.", by_queue("bytes")),
        Family(
            "zq_queue_oldest_task_timestamp_seconds",
            "gauge",
            "When the task was accepted that waits for longest.",
            by_queue("oldest_time"),
        ),
        Family("zq_queue_alerts", "gauge", "1 while an alert of a queue goes on.", alerts),
        Family("zq_task_wait_seconds", "histogram", "From accepted or due to first assigned.", by_queue("wait")),
        Family("zq_task_run_seconds", "histogram", "From started, or assigned, to the end.", by_queue("run")),
    ]


# The coordinator.


def _of_coordinator(status: MetricRow, queues: int, others: int) -> list[Family]:
    counters: Mapping[str, int] = status.get("counters") or {}
    store: Mapping[str, Any] = status.get("store") or {}
    journal: Mapping[str, Any] = status.get("journal") or {}
    errors = [
        Sample({"code": name.removeprefix("error ")}, value) for name, value in counters.items() if name[:6] == "error "
    ]
    refused = [Sample({"reason": reason}, value) for reason, value in (status.get("refused") or {}).items()]
    started = None if status.get("uptime") is None else status["time"] - status["uptime"]
    return [
        Family("zq_build", "info", "The version of the coordinator.", _one_info("version", status.get("version"))),
        Family("zq_start_time_seconds", "gauge", "When the coordinator was started.", _one(started)),
        Family("zq_queues", "gauge", "Queues.", _one(queues)),
        Family("zq_queues_summed", "gauge", "Queues without figures of their own.", _one(others)),
        Family("zq_commits", "counter", "Transactions that were committed.", _one(status.get("commits"))),
        Family("zq_store_commit_seconds", "histogram", "The time of commits.", _one(status.get("commit"))),
        Family("zq_store_used_bytes", "gauge", "Bytes of the store in use.", _one(store.get("used_bytes"))),
        Family("zq_store_map_bytes", "gauge", "Bytes that the store may have.", _one(store.get("map_bytes"))),
        Family("zq_store_disk_free_bytes", "gauge", "Bytes that are free on its disk.", _one(store.get("free_bytes"))),
        Family(
            "zq_store_full", "gauge", "1 while nothing new is accepted for want of room.", _one(store.get("is_full"))
        ),
        Family("zq_store_full_by", "gauge", "1 for what there is too little of while it is full.", _lacks(store)),
        Family("zq_store_damaged", "gauge", "Rows that were damaged, and set aside.", _one(status.get("damaged"))),
        Family("zq_journal", "gauge", "1 while small writes go to a journal first.", _one(journal.get("is_on"))),
        Family("zq_journal_records", "counter", "Records written.", _one(journal.get("records"))),
        Family("zq_journal_written_bytes", "counter", "Bytes of them.", _one(journal.get("record_bytes"))),
        Family("zq_store_checkpoints", "counter", "Commits of the tables.", _one(journal.get("checkpoints"))),
        Family("zq_memory_bytes", "gauge", "Memory of the coordinator.", _one(_in(status, "memory", "bytes"))),
        Family("zq_connections", "gauge", "Connections.", _one(_in(status, "connections", "open"))),
        Family("zq_submits_busy", "counter", "Submits that were refused as busy.", _one(counters.get("busy", 0))),
        Family("zq_input_refused", "counter", "Messages that could not be read or were too many.", refused),
        Family("zq_errors", "counter", "Requests that were answered by an error.", errors),
        Family("zq_events_dropped", "counter", "Events for slow watchers.", _one(counters.get("events dropped", 0))),
    ]


def _of_workers(status: MetricRow, workers: Iterable[MetricRow]) -> list[Family]:
    states = dict.fromkeys(("live", "suspect", "stuck", "absent"), 0)
    for row in workers:
        states[row["state"]] = states.get(row["state"], 0) + 1
    gone = (status.get("counters") or {}).get("gone", 0)
    return [
        Family("zq_workers", "gauge", "Workers by state.", [Sample({"state": one}, n) for one, n in states.items()]),
        Family("zq_worker_expirations", "counter", "Workers that were silent for too long.", _one(gone)),
    ]


def _one(value: Any) -> list[Sample]:
    return [] if value is None else [Sample({}, value)]


def _one_info(label: str, value: Any) -> list[Sample]:
    return [] if value is None else [Sample({label: str(value)}, 1)]


def _lacks(store: Mapping[str, Any]) -> list[Sample]:
    by = store.get("full_by")
    if by is None:  # of a coordinator that does not tell
        return []
    return [Sample({"by": one}, int(one == by)) for one in ("store", "disk", "quota", "limit")]


def _in(status: MetricRow, name: str, field: str) -> Any:
    return (status.get(name) or {}).get(field)


# Text.

_SUFFIX: Final = {"counter": "_total", "gauge": "", "histogram": "", "info": "_info"}

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def _lines(family: Family, text_format: MetricsFormat) -> Iterable[str]:
    name, kind = family.name, str(family.kind)
    whole = name + _SUFFIX[family.kind]
    if text_format == "prometheus":  # there counters are declared by their whole name, and there is no info
        name, kind = whole, "gauge" if kind == "info" else kind
    yield f"# HELP {name} {family.help}"
    yield f"# TYPE {name} {kind}"
    unit = next((unit for unit in ("seconds", "bytes") if family.name.endswith(f"_{unit}")), None)
    if unit is not None and text_format == "openmetrics":
        yield f"# UNIT {name} {unit}"
    for sample in family.samples:
        if family.kind == "histogram":
            yield from _histogram_lines(whole, sample)
        else:
            yield f"{whole}{_labels(sample.labels)} {_number(sample.value)}"


def _histogram_lines(name: str, sample: Sample) -> Iterable[str]:
    histogram = sample.value
    bounds = [*(_number(float(bound)) for bound in TIME_BOUNDS), "+Inf"]
    for bound, count in zip(bounds, accumulate(histogram["buckets"]), strict=True):
        yield f"{name}_bucket{_labels({**sample.labels, 'le': bound})} {count}"
    yield f"{name}_count{_labels(sample.labels)} {histogram['count']}"
    yield f"{name}_sum{_labels(sample.labels)} {_number(histogram['sum'])}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """Returns the value of a label as both formats write it; what cannot be seen is a question mark."""
    visible = (
        value if value.isprintable() else "".join(one if one.isprintable() or one == "\n" else "?" for one in value)
    )
    return visible.translate(_ESCAPES)


def _number(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(int(value))
