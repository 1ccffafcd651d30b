"""A coordinator with keys: rights that change under live connections, its own key, what it writes down."""

from __future__ import annotations

import json
import logging
import stat
import time
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.door.shop import PATIENCE, Raw, Shop, batch, is_turned_away, opened
from zq.errors import KeyFileError
from zq.keys import door
from zq.keys.door import Door
from zq.keys.key import Key
from zq.server.embedded import Coordinator
from zq.server.loop import Server
from zq.wire.messages import (
    Answer,
    Assign,
    Command,
    Error,
    Events,
    Follow,
    Hello,
    Outcome,
    Ping,
    Pong,
    Pull,
    Query,
    Receipt,
    Submit,
    Wait,
    Welcome,
)


def hear_error(raw: Raw, request: int | None) -> Error:
    """Returns the error that answers a request, whatever else comes before it."""
    give_up_at = time.monotonic() + PATIENCE
    while time.monotonic() < give_up_at:
        heard = raw.hear()
        assert heard is not None
        if isinstance(heard, Error) and heard.request == request:
            return heard
    raise AssertionError(f"nothing has ended request {request}")


def test_a_key_that_is_revoked_loses_what_it_waits_for(tmp_path: Path) -> None:
    with opened(tmp_path, till="client", boss="admin") as (shop, keys), Raw(shop.address, keys["till"]) as till:
        assert isinstance(till.ask(Submit(1, (batch("a"),))), Receipt)
        till.send(Wait(2, "a", 0, 1))
        till.send(Pull(3, "till", "nothing", 1, 60.0, 60.0))
        till.send(Follow(4, None, (), 60.0, 0))
        while not isinstance(till.hear(), Events):
            pass  # the wait is answered, too: it goes on

        shop.allow(keys["till"], state="revoked")

        for request in (2, 3, 4):
            assert hear_error(till, request).code == "denied"
        till.send(Ping(5))
        assert hear_error(till, 5).code == "denied"
        with Raw(shop.address, keys["boss"]) as boss:
            assert boss.ask(Query(1, "task", {"id": "a"})).value["state"] == "waiting"


def test_a_worker_whose_key_is_revoked_is_sent_away_and_its_task_goes_to_another(tmp_path: Path) -> None:
    keys = {"boss": "admin", "oven": "worker", "spare": "worker"}
    with opened(tmp_path, **keys) as (shop, made), Raw(shop.address, made["boss"]) as boss:
        boss.ask(Submit(1, (batch("a"),)))
        with Raw(shop.address, made["oven"]) as oven, Raw(shop.address, made["spare"]) as spare:
            assert isinstance(oven.ask(Hello("oven", "1", ("q",), 1, 1, ())), Welcome)
            assert isinstance(oven.hear(), Assign)
            assert isinstance(spare.ask(Hello("spare", "1", ("q",), 1, 1, ())), Welcome)

            shop.allow(made["oven"], state="revoked")

            assert hear_error(oven, None).code == "denied"
            assert isinstance(spare.hear(), Assign)


def test_narrowed_rights_hold_at_once_for_what_is_there(tmp_path: Path) -> None:
    with opened(tmp_path, till="client") as (shop, keys), Raw(shop.address, keys["till"]) as till:
        till.ask(Submit(1, (batch("a", "mine"), batch("b", "other"))))
        assert isinstance(till.ask(Wait(2, "a", 0, 1)), Outcome)
        assert isinstance(till.ask(Wait(3, "b", 0, 1)), Outcome)

        shop.allow(keys["till"], queues=("mine",))

        assert hear_error(till, 3).code == "denied"
        receipt = till.ask(Submit(4, (batch("c", "mine"), batch("d", "other"))))
        assert ([one.id for one in receipt.accepted], [one.id for one in receipt.refused]) == (["c"], ["d"])
        assert receipt.refused[0].code == "denied"
        assert till.ask(Wait(5, "b", 0, 1)) == till.ask(Wait(5, "nothing", 0, 1))


def test_a_key_that_is_allowed_while_the_coordinator_runs_comes_in(tmp_path: Path) -> None:
    with opened(tmp_path, boss="admin") as (shop, _):
        fresh = Key.new("fresh", "client", [shop.server])
        with Raw(shop.address, fresh) as raw:
            assert is_turned_away(raw, Ping(1))
        shop.allow(fresh)
        shop.wait_for(fresh)
        with Raw(shop.address, fresh) as raw:
            assert isinstance(raw.ask(Ping(1)), Pong)


def test_the_pair_before_is_good_until_its_time(tmp_path: Path) -> None:
    with opened(tmp_path, till="client") as (shop, keys), Raw(shop.address, keys["till"]) as live:
        assert isinstance(live.ask(Ping(1)), Pong)
        (assigned,) = (live.ask(Submit(2, (batch("a"),))), live.ask(Pull(3, "t", "q", 1, 0.0, 60.0, secret="s")))[
            1
        ].assignments
        entry = shop.keys.entry("till")
        fresh = Key.new("till", "client", [shop.server])
        shop.keys.write(entry.rotated(fresh.public, time.time() + 1000), is_replacing=True)
        shop.wait_for(fresh)
        with Raw(shop.address, fresh) as raw:  # the same key by another number: the lease is its own
            (again,) = raw.ask(Pull(3, "t", "q", 1, 0.0, 60.0, secret="s")).assignments
        assert again.token == assigned.token
        assert isinstance(live.ask(Ping(4)), Pong)

        shop.keys.write(entry.rotated(fresh.public, time.time() - 1), is_replacing=True)

        shop.wait_for(keys["till"], is_good=False)
        assert hear_error_of(live, Ping(5)).code == "denied"


def hear_error_of(raw: Raw, message: Any) -> Any:
    raw.send(message)
    return hear_error(raw, message.request)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_the_coordinator_changes_its_own_key_while_it_runs(tmp_path: Path, transport: str) -> None:
    with opened(tmp_path, transport, till="client") as (shop, keys):
        address, before = shop.address, shop.server
        with Raw(address, keys["till"]) as live:
            assert isinstance(live.ask(Ping(1)), Pong)

            fresh = shop.keys.rotate_server(time.time(), 0.0)

            assert is_turned_away_at_last(address, keys["till"], before)
        with Raw(address, keys["till"], fresh.public) as raw:
            assert isinstance(raw.ask(Ping(1)), Pong)
        if transport == "ipc":
            assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600
    assert not (tmp_path / "socket").exists()


def is_turned_away_at_last(address: str, key: Key, server: str) -> bool:
    """Whether who trusts another server is turned away, as soon as the change has been seen."""
    give_up_at = time.monotonic() + PATIENCE
    while time.monotonic() < give_up_at:
        with Raw(address, key, server) as raw:
            if is_turned_away(raw, Ping(1)):
                return True
    return False


def test_files_of_sockets_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Coordinator(tmp_path / "data", bind=f"ipc://{folder}/socket"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "socket").stat().st_mode) == 0o600


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o755)
    with Coordinator(tmp_path / "data", bind=f"ipc://{folder}/socket"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_each_command_is_a_line_of_the_audit(tmp_path: Path) -> None:
    with opened(tmp_path, till="client", boss="admin") as (shop, keys):
        with Raw(shop.address, keys["boss"]) as boss, Raw(shop.address, keys["till"]) as till:
            boss.ask(Command(1, "pause", {"queue": "q\n\x1b[31m"}))
            boss.ask(Command(2, "pause", {"queue": "q"}))
            till.ask(Command(1, "purge", {"id": "x", "queue": "q"}))
        path = tmp_path / "audit"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]

    assert all(line["time"] and "from" in line for line in lines)
    assert [(line["key"], line.get("did"), line.get("refused"), line["arguments"]["queue"]) for line in lines] == [
        ("boss", None, "pause", "q\n\x1b[31m"),  # no name of a queue
        ("boss", "pause", None, "q"),
        ("till", None, "purge", "q"),
    ]


def test_who_is_refused_is_logged_by_name_once_in_a_while_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, till="admin", boss="admin") as (shop, keys), caplog.at_level(logging.WARNING):
        shop.allow(keys["till"], queues=("mine",))
        with Raw(shop.address, keys["till"]) as till, Raw(shop.address, keys["boss"]) as boss:
            while not isinstance(till.ask(Command(0, "pause", {"queue": "q"})), Error):
                pass
            for number in range(19):
                heard = till.ask(Command(number, "pause", {"queue": "q\x1b[31m\n" + "x" * 10_000}))
                assert heard.code == "denied" and len(heard.text) <= 500
            status = boss.ask(Query(1, "status", {})).value
            with Raw(shop.address, Key.new("unknown", "admin", [shop.server])) as unknown:
                assert is_turned_away(unknown, Ping(1))
            later = boss.ask(Query(2, "status", {})).value

    assert status["keys"]["refused_messages"] == status["counters"]["error denied"] == 20
    assert later["keys"]["refused_connections"] >= 1
    said = [one.getMessage() for one in caplog.records if "refused key till" in one.getMessage()]
    assert len(said) == 1
    assert "\n" not in said[0] and "\x1b" not in said[0]


def test_a_worker_outside_of_the_namespace_of_its_key_is_told_what_to_give(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    oven = shop.key("oven", "worker", namespaces=("team-a",))
    worker = zq.Worker(shop.address, key=oven)
    worker.task("orders")(print)

    with shop.coordinator, pytest.raises(zq.AccessDeniedError, match="give --namespace team-a or namespace="):
        worker.address = shop.address
        worker.run()


@pytest.mark.parametrize("kind", ["no key", "wrong server"])
def test_who_cannot_even_ask_to_come_in_is_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    with opened(tmp_path, boss="admin") as (shop, keys), caplog.at_level(logging.WARNING):
        key = None if kind == "no key" else Key.new("x", "admin", [Key.new("y", "coordinator").public])
        with Raw(shop.address, key) as stranger, Raw(shop.address, keys["boss"]) as boss:
            assert is_turned_away(stranger, Ping(1))
            give_up_at = time.monotonic() + PATIENCE
            while not boss.ask(Query(1, "status", {})).value["connections"]["handshakes_failed"]:
                assert time.monotonic() < give_up_at

    assert sum("did not get in" in one.getMessage() for one in caplog.records) == 1


def test_a_good_key_that_is_not_used_costs_no_other_its_answers(tmp_path: Path) -> None:
    """What cannot be read is answered to who has a key, and not to who has none any more."""
    with opened(tmp_path, till="client") as (shop, keys), Raw(shop.address, keys["till"]) as till:
        assert isinstance(till.ask(Ping(1)), Pong)
        till.socket.send(b"\xc1")
        assert till.hear().code == "malformed"
        shop.allow(keys["till"], state="revoked")
        shop.wait_for(keys["till"], is_good=False)
        till.socket.send(b"\xc1")
        assert till.hear().code == "denied"


def test_an_old_libzmq_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "LIBZMQ_MIN", (99, 0, 0))

    with pytest.raises(KeyFileError, match=r"expected libzmq 99\.0\.0 or later with CURVE"):
        Door(tmp_path)


def test_a_coordinator_without_usable_keys_does_not_open(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", bind=f"ipc://{tmp_path}/socket", keys=tmp_path / "keys")
    with pytest.raises(KeyFileError, match="cannot use the directory of keys"):
        server.open()
    shop = Shop(tmp_path)
    shop.keys.path.chmod(0o755)
    with pytest.raises(KeyFileError, match="mode 0700"):
        shop.coordinator.open()


def test_an_audit_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit").touch(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"), opened(tmp_path):
        pass
    with pytest.raises(ValueError, match="expected keys with audit"):
        Coordinator(tmp_path / "data", audit=tmp_path / "audit").open()


def test_waits_of_a_good_key_are_answered(tmp_path: Path) -> None:
    with opened(tmp_path, till="client") as (shop, keys), Raw(shop.address, keys["till"]) as till:
        till.ask(Submit(1, (batch("a"),)))
        assert isinstance(till.ask(Command(2, "bury", {"id": "a"})), Answer)
        assert isinstance(till.ask(Wait(3, "a", 0, 1)), Outcome)
