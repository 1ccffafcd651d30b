"""The text for Prometheus: read by the parsers of those who read it, and checked by their own tool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from tests.core.desk import WALL, Desk, assigned, done, failed
from zq.monitor.openmetrics import METRIC_QUEUES_MAX, OTHER_QUEUES, MetricsFormat, render

ROOT = Path(__file__).parents[2]

Found = dict[str, dict[tuple[tuple[str, str], ...], float]]

ABOUT: dict[str, Any] = {
    "version": "1.2.3",
    "uptime": 10.0,
    "commits": 3,
    "commit": {"count": 3, "sum": 0.25, "buckets": [1, 0, 0, 2, *[0] * 16]},
    "store": {"used_bytes": 4096, "map_bytes": 1 << 30, "free_bytes": 1 << 40, "is_full": False},
    "memory": {"bytes": 50_000_000, "max": None},
    "connections": {"open": 4, "max": 100},
    "refused": {"too long": 2},
}
"""What the shell adds to the status."""


def worked() -> Desk:
    desk = Desk()
    desk.submit("a", 3)
    desk.submit("b", max_attempts=1, queue="dying")
    desk.submit("later", delay=100.0)
    mine = {one.id: one for one in assigned(desk.hello(b"w", "worker-1", 4, queues=("q", "dying")))}
    desk.now += 2
    desk.wall += 2
    desk.settle(b"w", done(mine["a"], 0, 1), failed(mine["b"]))
    return desk


def text_of(desk: Desk, text_format: MetricsFormat = "openmetrics", **options: Any) -> str:
    status = {**ABOUT, **desk.query("status")}
    queues, workers = desk.query("queues", with_times=True), desk.query("workers")
    return render(status, queues, workers, text_format=text_format, **options)


def read(text: str, parser: Callable[[str], Any] = read_openmetrics) -> Found:
    """Returns the samples by name and labels."""
    found: Found = {}
    for family in parser(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


@pytest.mark.parametrize(
    ("text_format", "parser"), [("openmetrics", read_openmetrics), ("prometheus", read_prometheus)]
)
def test_figures_are_those_of_the_coordinator(text_format: MetricsFormat, parser: Callable[[str], Any]) -> None:
    found = read(text_of(worked(), text_format), parser)

    q = ("queue", "q")
    assert found["zq_tasks_submitted_total"] == {(q,): 4, (("queue", "dying"),): 1}
    assert found["zq_tasks_finished_total"][("outcome", "done"), q] == 1
    assert found["zq_tasks_finished_total"][("outcome", "dead"), ("queue", "dying")] == 1
    assert found["zq_task_failures_total"][("queue", "dying"),] == 1
    assert found["zq_queue_tasks"][q, ("state", "scheduled")] == 1
    assert found["zq_queue_tasks"][q, ("state", "leased")] + found["zq_queue_tasks"][q, ("state", "waiting")] == 2
    assert found["zq_build_info"] == {(("version", "1.2.3"),): 1}
    assert found["zq_start_time_seconds"] == {(): WALL + 2 - 10}
    assert found["zq_workers"][("state", "live"),] == 1
    assert found["zq_input_refused_total"] == {(("reason", "too long"),): 2}
    assert found["zq_store_full"] == {(): 0}
    assert found["zq_commits_total"] == {(): 3}


def test_histograms_are_cumulative_and_whole() -> None:
    found = read(text_of(worked()))

    q = ("queue", "q")
    waits = found["zq_task_wait_seconds_bucket"]
    assert waits[("le", "0.001"), q] == waits[("le", "+Inf"), q] == found["zq_task_wait_seconds_count"][q,] > 0
    runs = found["zq_task_run_seconds_bucket"]
    assert (runs[("le", "1.0"), q], runs[("le", "2.5"), q], runs[("le", "86400.0"), q]) == (0, 1, 1)
    assert found["zq_task_run_seconds_sum"][q,] == 2.0
    commits = found["zq_store_commit_seconds_bucket"]
    assert (commits[("le", "0.001"),], commits[("le", "0.01"),], commits[("le", "+Inf"),]) == (1, 3, 3)


@pytest.mark.parametrize("name", ['say"hi"', "back\\slash", "über/größe", "a{b}=c,d"])
def test_names_are_escaped(name: str) -> None:
    desk = Desk()
    desk.submit("a", queue=name)

    for text_format, parser in (("openmetrics", read_openmetrics), ("prometheus", read_prometheus)):
        found = read(text_of(desk, text_format), parser)  # type: ignore[arg-type]  # a text, and not any
        assert found["zq_tasks_submitted_total"] == {(("queue", name),): 1}


def test_what_cannot_be_seen_does_not_break_a_line() -> None:
    rows = [{**worked().query("queues", with_times=True)[0], "name": 'a\x1b\n"b'}]

    found = read(render({**ABOUT, "time": 0.0}, rows, []))

    assert (("queue", 'a?\n"b'),) in found["zq_tasks_submitted_total"]


def test_queues_that_do_not_fit_are_summed_up_and_said() -> None:
    desk = worked()
    for number in range(5):
        desk.submit(f"t{number}", number + 10, queue=f"many-{number}")
    found = read(text_of(desk, queues_max=2))

    queues = {dict(labels)["queue"]: value for labels, value in found["zq_tasks_submitted_total"].items()}
    assert queues == {"many-3": 13, "many-4": 14, OTHER_QUEUES: 4 + 1 + 10 + 11 + 12}
    assert (found["zq_queues"][()], found["zq_queues_summed"][()]) == (7, 5)
    other = ("queue", OTHER_QUEUES)
    assert found["zq_task_run_seconds_count"][other,] == 2
    assert found["zq_queue_oldest_task_timestamp_seconds"][other,] == WALL + 2
    lines = text_of(desk, queues_max=0).splitlines()
    assert len(lines) < 200, "however many queues there are"
    assert METRIC_QUEUES_MAX < 1000


@pytest.mark.parametrize("odd", [{"text_format": "json"}, {"queues_max": -1}])
def test_odd_options_are_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected a format"):
        text_of(worked(), **odd)


def test_a_status_of_little_is_enough() -> None:
    found = read(render({"time": 1.0, "counters": {}}, [], []))

    assert found["zq_queues"] == {(): 0}
    assert "zq_store_used_bytes" not in found


def test_prometheus_own_tool_finds_nothing_wrong() -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool, which Prometheus brings, is not installed")
    text = text_of(worked(), "prometheus")
    checked = subprocess.run([tool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_dashboard_of_grafana_names_metrics_that_there_are() -> None:
    desk = worked()
    desk.submit("waits", queue="idle")
    alarmed = [{**row, "alerts": ["waiting"]} for row in desk.query("queues", with_times=True)]
    found = read(render({**ABOUT, **desk.query("status")}, alarmed, desk.query("workers")))
    dashboard = json.loads((ROOT / "docs" / "deployment" / "grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked += [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    named = {name for text in asked for name in re.findall(r"\bzq_\w+", text)}

    assert len(named) > 20
    assert named <= found.keys()
