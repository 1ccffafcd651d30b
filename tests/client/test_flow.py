"""How the batches of one submit_many get to the link's thread."""

from __future__ import annotations

from typing import Any

from zq.client.flow import Flow
from zq.wire.batch import pack_payload
from zq.wire.messages import DEFAULT_OPTIONS, Batch


def gather(flow: Flow, id: str) -> bool:
    """Starts a batch; returns whether the link's thread has to be told."""
    batch = Batch(id, "q", DEFAULT_OPTIONS, *pack_payload(b"\x01"))
    return flow.gather(1.0, batch, 9.0, flow.start(1, 1, 9.0))


def test_link_is_told_once_of_what_gathers_before_it_comes() -> None:
    flow, submitted = Flow(), []

    def submit(now: float, batch: Batch, deadline: float, reply: Any) -> None:
        submitted.append(batch.id)
        if batch.id == "b":
            assert gather(flow, "d")  # it comes while the others are taken: the link is told, for it may be too late

    assert [gather(flow, id) for id in ("a", "b", "c")] == [True, False, False]
    flow.submit_gathered(submit)
    assert submitted == ["a", "b", "c", "d"]
    flow.submit_gathered(submit)
    assert gather(flow, "e")
    flow.submit_gathered(submit)
    assert submitted == ["a", "b", "c", "d", "e"]


def test_fault_at_one_batch_harms_no_other() -> None:
    flow, submitted = Flow(), []

    def submit(now: float, batch: Batch, deadline: float, reply: Any) -> None:
        if batch.id == "b":
            raise RuntimeError("a fault")
        submitted.append(batch.id)

    for id in ("a", "b", "c"):
        gather(flow, id)
    flow.submit_gathered(submit)

    assert submitted == ["a", "c"]
    assert str(flow.error) == "a fault"
