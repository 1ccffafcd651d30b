"""Frames over a pipe."""

from __future__ import annotations

import io
import os

import pytest

from zq.processes.frames import LENGTH, FrameReader, read_frame, write_frame


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
    with os.fdopen(source, "rb") as pipe, os.fdopen(target, "wb", buffering=0) as writer:
        reader = FrameReader(pipe, lambda: False)
        writer.write(LENGTH.pack(5) + b"pi")
        looks = iter(range(100))

        def write_the_rest() -> bool:
            if next(looks) == 1:
                writer.write(b"zza" + LENGTH.pack(3) + b"box" + LENGTH.pack(9))
            return False

        assert reader.read(30.0, write_the_rest) == b"pizza"
        assert reader.read() == b"box"
        writer.close()
        assert reader.read(30.0) is None


@pytest.mark.parametrize(("timeout", "is_over"), [(0.0, False), (30.0, True)])
def test_frame_that_is_late_or_not_wanted_is_not_waited_for(timeout: float, is_over: bool) -> None:
    source, target = os.pipe()
    with os.fdopen(source, "rb") as pipe, os.fdopen(target, "wb"), pytest.raises(TimeoutError):
        FrameReader(pipe, lambda: False).read(timeout, lambda: is_over)


def test_frames_of_a_dead_process_end_though_somebody_keeps_its_pipe_open() -> None:
    source, target = os.pipe()
    with os.fdopen(source, "rb") as pipe, os.fdopen(target, "wb", buffering=0) as writer:

        def dies() -> bool:
            if not said:
                said.append(True)
                write_frame(writer, b"the last")
            return True

        said: list[bool] = []
        reader = FrameReader(pipe, dies)

        assert reader.read() == b"the last"
        assert reader.read() is None


def test_frames_come_from_descriptors_of_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise ValueError("filedescriptor out of range in select()")

    monkeypatch.setattr("select.select", refuse)  # as it does from 1024 on, which a worker with 300 children has
    source, target = os.pipe()
    with os.fdopen(source, "rb") as pipe, os.fdopen(target, "wb", buffering=0) as writer:
        write_frame(writer, b"pizza")

        assert FrameReader(pipe, lambda: False).read(30.0) == b"pizza"
