"""What the coordinator's shell does when the store is full, when the program itself has a fault, and when it stops."""

from pathlib import Path
from typing import Any

import pytest

import zq
from zq.core.tasks import admission
from zq.wire.messages import Submit


def test_full_store_is_busy_and_everything_accepted_is_still_done(tmp_path: Path) -> None:
    small = zq.LmdbOptions(map_bytes=4 << 20, free_bytes_min=0)
    with (
        zq.Coordinator(tmp_path / "s.zq", store_options=small) as coordinator,
        zq.Client(coordinator.address) as client,
    ):
        receipts = []
        with pytest.raises(zq.BusyError, match="the store is full"):
            while True:
                receipts.append(client.submit("q", bytes(4000)))
        assert len(receipts) > 100
        worker = zq.Worker(coordinator.address)
        worker.task("q")(lambda task: len(task.payload))

        worker.run(burst=True)

        assert [receipt.result(timeout=30.0) for receipt in receipts] == [4000] * len(receipts)
        assert client.submit("q", "there is room again").id


def test_message_that_finds_a_fault_is_refused_and_the_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = admission.submit

    def faulty(books: Any, step: Any, peer: bytes, message: Submit, run: Any) -> None:
        left = real(books, step, peer, message, run)
        if left is not None:
            left.store(books, step)
        if any(batch.id == "poison" for batch in message.batches):
            raise KeyError("a fault of the program, after the books were changed")

    monkeypatch.setattr(admission, "submit", faulty)
    with (
        zq.Coordinator(tmp_path / "s.zq") as coordinator,
        zq.Client(coordinator.address, timeout=2.0) as unlucky,
        zq.Client(coordinator.address) as client,
    ):
        client.submit("q", 1)
        with pytest.raises(zq.ZqError):
            unlucky.submit("q", 2, id="poison")
        client.submit("q", 3)
        status = client.query("status")

        assert status["waiting"] == 2
        assert status["counters"]["error invalid"] >= 1
        assert client.status("poison").state == "unknown"


def test_socket_file_is_gone_after_a_stop(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket"):
        assert (tmp_path / "socket").is_socket()

    assert not (tmp_path / "socket").exists()


def test_socket_file_that_another_coordinator_has_bound_since_stays(tmp_path: Path) -> None:
    first = zq.Coordinator(tmp_path / "1.zq", bind=f"ipc://{tmp_path}/socket").open()
    (tmp_path / "socket").unlink()  # while it is there, it is in use
    with zq.Coordinator(tmp_path / "2.zq", bind=f"ipc://{tmp_path}/socket") as second:
        first.close()

        assert (tmp_path / "socket").is_socket()
        with zq.Client(second.address) as client:
            assert client.submit("q", 1).id
    assert not (tmp_path / "socket").exists()
