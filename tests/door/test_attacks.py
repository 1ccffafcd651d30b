"""Eleven attacks on four faces of a coordinator with keys, over tcp and ipc: none is admitted, 88 of 88.

Where ZeroMQ turns the peer away, its connection breaks and nothing is ever heard; where it comes in with a good key for
something else, it hears a refusal, and what it was after is as it was.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.door.shop import PATIENCE, Raw, Shop, batch, is_turned_away
from zq.keys import door
from zq.keys.key import Key
from zq.wire.batch import pack_payloads
from zq.wire.codec import encode
from zq.wire.messages import (
    Assign,
    Cancel,
    Command,
    Done,
    Error,
    Event,
    Events,
    Extend,
    Follow,
    Goodbye,
    Hello,
    Ping,
    Pull,
    Query,
    Receipt,
    Release,
    Settle,
    Settled,
    Span,
    Submit,
    Tasks,
    Welcome,
)

TRANSPORTS = ["tcp", "ipc"]

FIRST_WORDS: dict[str, Any] = {
    "client": Submit(1, (batch("stolen"),)),
    "worker": Hello("thief", "thief", ("q",), 1, 1, ()),
    "admin": Command(1, "pause", {"queue": "q"}),
    "watcher": Follow(1, None, (), 15.0, 0),
}
"""What is said at each face, and what tells of who is admitted there."""


@pytest.fixture(scope="module", params=TRANSPORTS)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("keys"), request.param)
    with made.coordinator:
        yield made


def key_of(shop: Shop, name: str, role: str = "client", **entry: Any) -> Key:
    """Returns a key that is let in by now; each test has its own, which live on."""
    made = shop.key(name, role, **entry)
    shop.wait_for(made)
    return made


def only_refused(answer: Any) -> bool:
    """Whether an answer says no, and nothing else."""
    if isinstance(answer, Receipt):
        return not answer.accepted and all(one.code == "denied" for one in answer.refused)
    return isinstance(answer, Error) and answer.code == "denied"


# Those who do not get in: no key, wrong server key, unknown, revoked, NULL, PLAIN.


def raw_bytes(address: str) -> socket.socket:
    """Opens a bare stream to an address."""
    transport, _, place = address.partition("://")
    if transport == "ipc":
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(place)
    else:
        host, _, port = place.rpartition(":")
        stream = socket.create_connection((host, int(port)))
    stream.settimeout(PATIENCE)
    return stream


@pytest.mark.parametrize("face", FIRST_WORDS)
def test_who_has_no_key_is_not_admitted(shop: Shop, face: str) -> None:
    """It claims to speak CURVE and sends its message at once, as if the handshake were over."""
    words = encode(FIRST_WORDS[face])
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
    ready = b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"

    with raw_bytes(shop.address) as stream:
        stream.sendall(greeting + ready + b"\x00" + bytes([len(words)]) + words)
        heard = b""
        try:
            while part := stream.recv(4096):
                heard += part
        except ConnectionError:
            pass

    assert len(heard) <= 64 + 64  # a greeting and perhaps an ERROR command, and the end: no message


@pytest.mark.parametrize("face", FIRST_WORDS)
def test_who_takes_another_for_the_server_is_not_admitted(shop: Shop, face: str) -> None:
    key = shop.key(f"misled-{face}", "admin")
    with Raw(shop.address, key, Key.new("x", "coordinator").public) as raw:
        assert is_turned_away(raw, FIRST_WORDS[face])


@pytest.mark.parametrize("face", FIRST_WORDS)
def test_an_unknown_key_is_not_admitted(shop: Shop, face: str) -> None:
    with Raw(shop.address, Key.new("unknown", "admin", [shop.server])) as raw:
        assert is_turned_away(raw, FIRST_WORDS[face])


@pytest.mark.parametrize("face", FIRST_WORDS)
def test_a_revoked_key_is_not_admitted(shop: Shop, face: str) -> None:
    key = key_of(shop, f"fired-{face}", "admin")
    with Raw(shop.address, key) as live:
        assert live.ask(Ping(1)) is not None
        shop.allow(key, state="revoked")
        while not isinstance(live.ask(Ping(2)), Error):
            pass  # the directory is looked at once a second
        answer = live.ask(FIRST_WORDS[face])
        with Raw(shop.address, key) as raw:
            assert is_turned_away(raw, FIRST_WORDS[face])

    assert only_refused(answer)


@pytest.mark.parametrize("face", FIRST_WORDS)
def test_who_speaks_null_is_not_admitted(shop: Shop, face: str) -> None:
    with Raw(shop.address) as raw:
        raw.socket.setsockopt(zmq.ZAP_DOMAIN, b"zq")
        assert is_turned_away(raw, FIRST_WORDS[face])


@pytest.mark.parametrize("face", FIRST_WORDS)
def test_who_speaks_plain_is_not_admitted(shop: Shop, face: str) -> None:
    with Raw(shop.address) as raw:
        raw.socket.plain_username, raw.socket.plain_password = b"admin", b"admin"
        assert is_turned_away(raw, FIRST_WORDS[face])


# Those who get in, and ask for what is not theirs.


WRONG_ROLES: dict[str, tuple[str, Any]] = {
    "client": ("worker", Cancel(1, "mine")),
    "worker": ("client", FIRST_WORDS["worker"]),
    "admin": ("client", FIRST_WORDS["admin"]),
    "watcher": ("worker", FIRST_WORDS["watcher"]),
}


@pytest.mark.parametrize("face", WRONG_ROLES)
def test_another_role_is_not_admitted(shop: Shop, face: str) -> None:
    role, words = WRONG_ROLES[face]
    with Raw(shop.address, key_of(shop, f"role-{face}", role)) as raw:
        assert only_refused(raw.ask(words))


def worker_of(shop: Shop, name: str) -> Raw:
    """Opens the connection of a worker that lives, of a key of its own."""
    raw = Raw(shop.address, key_of(shop, f"key-of-{name}", "worker", queues=(f"{name}-queue",)))
    assert isinstance(raw.ask(Hello(name, f"{name}-1", (f"{name}-queue",), 1, 1, ())), Welcome)
    return raw


def still_works(shop: Shop, worker: Raw, name: str) -> bool:
    """Whether a task that is submitted now is given to it."""
    with Raw(shop.address, key_of(shop, f"asks-{name}", "admin")) as admin:
        receipt = admin.ask(Submit(1, (batch(f"after-{name}", f"{name}-queue"),)))
    assert receipt.accepted
    return isinstance(worker.hear(), Assign)


def taken_name_at_the_client(shop: Shop, name: str) -> None:
    """A pull in the name of another client, which would be given that one's leases again."""
    with (
        Raw(shop.address, key_of(shop, f"owner-{name}")) as owner,
        Raw(shop.address, key_of(shop, f"t-{name}")) as thief,
    ):
        owner.ask(Submit(1, (batch(f"of-{name}", name),)))
        pull = Pull(2, name, name, 1, 0.0, 60.0, secret="of-the-owner")
        pulled = owner.ask(pull)
        assert isinstance(pulled, Tasks) and pulled.assignments

        assert only_refused(thief.ask(pull))
        assert thief.ask(pull._replace(secret="")) == Tasks(2, ())


def taken_name_at_the_worker(shop: Shop, name: str) -> None:
    """A hello under the name of a worker that lives, which would end it."""
    with worker_of(shop, name) as worker, Raw(shop.address, key_of(shop, f"t-{name}", "worker")) as thief:
        assert only_refused(thief.ask(Hello(name, "newer", (f"{name}-queue",), 1, 1, ())))
        assert still_works(shop, worker, name)


def taken_name_at_the_admin(shop: Shop, name: str) -> None:
    """A goodbye in the name of another's worker, by one who may do everything but be it."""
    with worker_of(shop, name) as worker, Raw(shop.address, key_of(shop, f"t-{name}", "admin")) as thief:
        assert only_refused(thief.ask(Goodbye(name, f"{name}-1")))
        assert still_works(shop, worker, name)


def taken_name_at_the_watcher(shop: Shop, name: str) -> None:
    """A watcher of one queue, who hears nothing of workers of others."""
    with Raw(shop.address, key_of(shop, f"t-{name}", queues=(f"{name}-own",))) as thief:
        assert isinstance(thief.ask(Follow(1, None, (), 15.0, 0)), Events)
        with worker_of(shop, name):
            thief.ask(Submit(2, (batch(f"own-{name}", f"{name}-own"),)))
            seen = events_until(thief, f"own-{name}")

    assert {event.queue for event in seen} == {f"{name}-own"}


def events_until(raw: Raw, id: str) -> list[Event]:
    seen: list[Event] = []
    raw.send(Query(9, "status", {}))
    while True:
        heard = raw.hear()
        assert heard is not None
        seen += heard.events if isinstance(heard, Events) else []
        if any(event.id == id for event in seen):
            return seen


@pytest.mark.parametrize(
    "attack",
    [taken_name_at_the_client, taken_name_at_the_worker, taken_name_at_the_admin, taken_name_at_the_watcher],
    ids=list(FIRST_WORDS),
)
def test_the_name_of_another_is_not_admitted(shop: Shop, attack: Callable[[Shop, str], None]) -> None:
    attack(shop, attack.__name__)


FOREIGN_TOKENS: dict[str, tuple[str, Callable[[int, str], Any]]] = {
    "client": (
        "client",
        lambda token, id: Settle(3, None, (Done(token, id, 0, 1, *pack_payloads([b"\x07"]), ()),), ()),
    ),
    "worker": ("worker", lambda token, id: Settle(3, None, (Done(token, id, 0, 1, b"", b"", ()),), ())),
    "admin": ("admin", lambda token, _: Extend(3, token, 1000.0)),
    "watcher": ("client", lambda token, _: Release(3, None, (Span(token, 0, 1),))),
}


@pytest.mark.parametrize("face", FOREIGN_TOKENS)
def test_the_token_of_another_is_not_admitted(shop: Shop, face: str) -> None:
    role, attack = FOREIGN_TOKENS[face]
    id, queue = f"pulled-{face}", f"tokens-{face}"
    with (
        Raw(shop.address, key_of(shop, f"holder-{face}")) as owner,
        Raw(shop.address, key_of(shop, f"forger-{face}", role)) as thief,
    ):
        owner.ask(Submit(1, (batch(id, queue),)))
        (assignment,) = owner.ask(Pull(2, "till", queue, 1, 0.0, 60.0)).assignments

        answer = thief.ask(attack(assignment.token, id))

        assert answer.value is False if face == "admin" else answer.stale == (Span(assignment.token, 0, 1),)
        settled = owner.ask(Settle(4, None, (Done(assignment.token, id, 0, 1, b"", b"", ()),), ()))
        assert settled == Settled(4, ())


# A coordinator whose guard at the door is missing.


def guard_without_domain(key: Key, socket: Any) -> None:
    socket.curve_server = 1
    socket.curve_secretkey, socket.curve_publickey = key.secret.encode(), key.public.encode()
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


@pytest.fixture(params=TRANSPORTS)
def unguarded(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], tuple[Shop, Key]]]:
    """Opens a shop of which something is broken, with a good key of an admin."""
    opened: list[Shop] = []

    def open(what: str) -> tuple[Shop, Key]:
        if what == "nobody answers":
            monkeypatch.setattr(door, "ZAP_ENDPOINT", "inproc://nobody.asks.here")
        else:
            monkeypatch.setattr(Key, "guard", guard_without_domain)
        shop = Shop(tmp_path, request.param)
        key = shop.key("good", "admin")
        shop.coordinator.open()
        opened.append(shop)
        return shop, key

    yield open
    for shop in opened:
        shop.coordinator.close()


@pytest.mark.parametrize("face", FIRST_WORDS)
def test_without_an_authenticator_nobody_is_admitted(unguarded: Callable[[str], tuple[Shop, Key]], face: str) -> None:
    shop, key = unguarded("nobody answers")
    with Raw(shop.address, key) as raw:
        assert is_turned_away(raw, FIRST_WORDS[face])


@pytest.mark.parametrize("face", FIRST_WORDS)
def test_without_a_domain_nobody_is_admitted(unguarded: Callable[[str], tuple[Shop, Key]], face: str) -> None:
    """ZeroMQ asks nobody about a socket without a domain, and lets everybody in; who comes in like that has no key."""
    shop, key = unguarded("no domain")
    with Raw(shop.address, key) as raw, Raw(shop.address, Key.new("unknown", "admin", [shop.server])) as stranger:
        assert only_refused(raw.ask(FIRST_WORDS[face]))
        assert only_refused(stranger.ask(FIRST_WORDS[face]))
