"""The audit: a file that cannot be written stops nobody, and nobody can fill it with what is refused."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.door.shop import Raw, opened
from zq.core.rights.guard import Deed, Guard
from zq.keys.audit import AuditFile
from zq.keys.logbook import Logbook
from zq.wire.messages import Answer, Command, Error, Query


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """Files of this process may have so many bytes: a longer write is a short one, and the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_was_written_in_part_is_logged_and_the_next_one_is_a_fresh_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit = AuditFile(tmp_path / "audit")
    audit.open()
    with caplog.at_level(logging.WARNING):
        with room_for(10):
            audit.add("first")
            for line in ("second", "third"):
                audit.add(line)
            assert (audit.fault, audit.in_log) == ("File too large", 2)
        audit.add("fourth")
        audit.add("fifth")
    audit.close()

    assert (audit.fault, audit.in_log) == (None, 2)
    assert (tmp_path / "audit").read_text() == "first\nseco\nfourth\nfifth\n"
    said = [one.getMessage() for one in caplog.records]
    assert [one for one in said if one in ("second", "third")] == ["second", "third"]
    assert sum("cannot write the audit" in one for one in said) == 1
    assert sum("is written to" in one and "again" in one for one in said) == 1


def test_a_coordinator_whose_audit_cannot_be_written_goes_on_and_says_so(tmp_path: Path) -> None:
    pipe = tmp_path / "audit"
    os.mkfifo(pipe, 0o600)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    filler = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(filler, fcntl.F_SETPIPE_SZ, 4096)
        with suppress(BlockingIOError):
            while True:
                os.write(filler, b"x")
        with opened(tmp_path, boss="admin") as (shop, keys), Raw(shop.address, keys["boss"]) as boss:
            assert isinstance(boss.ask(Command(1, "pause", {"queue": "q"})), Answer)
            during = boss.ask(Query(2, "status", {})).value["keys"]["audit"]
            os.read(reader, 1 << 16)
            boss.ask(Command(3, "pause", {"queue": "r"}))
            after = boss.ask(Query(4, "status", {})).value["keys"]["audit"]
            line = json.loads(os.read(reader, 1 << 16))
    finally:
        os.close(reader)
        os.close(filler)

    assert (during["in_log"], after["in_log"], after["fault"]) == (1, 1, None)
    assert during["fault"]
    assert line["arguments"]["queue"] == "r"


def test_what_is_refused_does_not_fill_the_audit(tmp_path: Path) -> None:
    with opened(tmp_path, till="client", boss="admin") as (shop, keys):
        with Raw(shop.address, keys["till"]) as till, Raw(shop.address, keys["boss"]) as boss:
            for number in range(300):
                assert isinstance(till.ask(Command(number, "pause", {"queue": "x" * 5000, "id": "y" * 5000})), Error)
            for number in range(3):
                boss.ask(Command(number, "pause", {"queue": "q"}))
            left_out = boss.ask(Query(9, "status", {})).value["keys"]["audit"]["left_out"]
        lines = (tmp_path / "audit").read_text().splitlines()

    assert [json.loads(line).get("did", "refused") for line in lines].count("pause") == 3
    assert len(lines) + left_out == 303
    assert len(lines) < 100  # a few, however slow this was
    assert len(lines[0]) < 1500


def test_arguments_of_a_refused_command_are_short_however_deep_they_are(tmp_path: Path) -> None:
    guard = Guard()
    book = Logbook(tmp_path / "audit", lambda public: public)
    book.open()
    deep = {str(name): tuple({"a": "x" * 900} for _ in range(50)) for name in range(50)}
    guard.audits.append(Deed(0.0, "till", "", "pause", deep, "no"))

    book.write(guard)
    book.close()

    line = json.loads((tmp_path / "audit").read_text())
    assert (line["refused"], line["arguments"][:3]) == ("pause", '{"0')
    assert len(line["arguments"]) < 600
