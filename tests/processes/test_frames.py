"""Frames over a pipe."""

from __future__ import annotations

import fcntl
import io
import os
import resource

import pytest

from zq.processes.frames import LENGTH, read_frame, wait_frame, write_frame


def test_frames_come_out_as_they_went_in() -> None:
    pipe = io.BytesIO()
    for frame in (b"", b"pizza", b"x" * 100_000):
        write_frame(pipe, frame)
    pipe.seek(0)

    assert [read_frame(pipe) for _ in range(4)] == [b"", b"pizza", b"x" * 100_000, None]


@pytest.mark.parametrize("cut", [b"\1\0", LENGTH.pack(5) + b"piz"])
def test_frame_that_its_writer_did_not_finish_is_the_end(cut: bytes) -> None:
    assert read_frame(io.BytesIO(cut)) is None


def test_frame_is_waited_for_in_parts() -> None:
    source, target = os.pipe()
    with os.fdopen(source, "rb") as reader, os.fdopen(target, "wb", buffering=0) as writer:
        writer.write(LENGTH.pack(5) + b"pi")
        looks = iter(range(100))

        def write_the_rest() -> bool:
            if next(looks) == 1:
                writer.write(b"zza")
            return False

        assert wait_frame(reader, 30.0, write_the_rest) == b"pizza"
        writer.close()
        assert wait_frame(reader, 30.0, lambda: False) is None


@pytest.mark.parametrize(("timeout", "is_over"), [(0.0, False), (30.0, True)])
def test_frame_that_is_late_or_not_wanted_is_not_waited_for(timeout: float, is_over: bool) -> None:
    source, target = os.pipe()
    with os.fdopen(source, "rb") as reader, os.fdopen(target, "wb"), pytest.raises(TimeoutError):
        wait_frame(reader, timeout, lambda: is_over)


def test_frame_is_waited_for_on_a_descriptor_of_a_process_that_has_many() -> None:
    reader, writer = os.pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    try:
        high = fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, 2000)
        with os.fdopen(high, "rb", buffering=0) as source, os.fdopen(writer, "wb") as target:
            write_frame(target, b"dough")

            assert wait_frame(source, 5.0, lambda: False) == b"dough"
    finally:
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
