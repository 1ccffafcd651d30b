"""`zq metrics` on a coordinator that runs."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.cli.conftest import Invoke


def test_metrics_are_printed_for_each_reader(invoke: Invoke) -> None:
    invoke("submit", "orders", '{"pizza": "a"}')

    shown = invoke("metrics")
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(shown.stdout):  # type: ignore[no-untyped-call]  # as it is shipped
        found |= {sample.name: sample.value for sample in family.samples}
    assert found["zq_tasks_submitted_total"] == 1
    assert found["zq_store_commit_seconds_count"] >= 1
    assert found["zq_store_used_bytes"] > 0
    assert found["zq_journal"] == 1
    assert found["zq_journal_records_total"] >= 1
    assert found["zq_journal_written_bytes_total"] > 0
    assert found["zq_store_checkpoints_total"] >= 1
    other = invoke("metrics", "--format", "prometheus", "--queues", "0").stdout
    assert '# TYPE zq_tasks_submitted_total counter\nzq_tasks_submitted_total{queue="other queues"} 1\n' in other
    assert "# EOF" not in other
