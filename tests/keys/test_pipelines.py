"""Pipelines with keys: direct stages that are served elsewhere, and durable runs over a coordinator with keys."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

import zq
from patterns import StartError
from patterns.direct.places import is_local
from patterns.direct.security import STAGE_DOMAIN, Security, StageCall, partners
from tests.keys.gate import Gate
from tests.patterns.served import pipeline
from tests.patterns.test_serving import free_endpoint
from zq.keys.admission import Admission

SPEC = "tests.patterns.served:pipeline"
EXPECTED = [f"<{2 * number + 1}>" for number in range(20)]

Serve = Callable[..., dict[str, list[str]]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves a stage with a key, or without one, and returns its endpoints."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(key: zq.Key | None, stage: str = "keep") -> dict[str, list[str]]:
        path = tmp_path / f"{len(servers)}.toml"
        if key is not None:
            key.write(path)
        endpoint = free_endpoint("127.0.0.1")
        command = [sys.executable, "-m", "zq.cli", "pipeline", "serve", SPEC, "--stage", stage, "--bind", endpoint]
        environment = {**os.environ, "ZQ_KEY": "" if key is None else str(path)}
        servers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment))
        return {stage: [endpoint]}

    yield start
    for server in servers:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def run(endpoints: dict[str, list[str]], key: zq.Key | str, *, threads: bool = False) -> list[str]:
    return list(pipeline.run(range(20), endpoints=endpoints, key=key, ordered=True, threads=threads))


def team() -> zq.Key:
    return zq.Key.new("kitchen", "worker")


@pytest.mark.parametrize("threads", [False, True])
def test_one_key_on_all_machines_is_enough_run_after_run(serve: Serve, threads: bool) -> None:
    key = team()
    endpoints = serve(key)

    for _ in range(2):
        assert run(endpoints, key, threads=threads) == EXPECTED


def test_several_keys_that_name_each_other_do_too(serve: Serve) -> None:
    one, other, caller = team(), team(), zq.Key.new("caller", "client")
    served = [replace(key, servers=(caller.public,)) for key in (one, other)]
    endpoints = serve(served[0]) | serve(served[1], "describe")

    assert run(endpoints, replace(caller, servers=(one.public, other.public))) == EXPECTED


def test_a_caller_that_is_not_admitted_is_told(serve: Serve) -> None:
    key = team()
    caller = zq.Key.new("caller", "client", [key.public])
    endpoints = serve(key)

    with pytest.raises(StartError, match=r"stage keep: .*tcp://127.* does not admit the key caller"):
        run(endpoints, caller)


def test_a_caller_does_not_give_items_to_whoever_has_another_key(serve: Serve) -> None:
    with pytest.raises(StartError, match="is served with none of the keys that the key kitchen"):
        run(serve(team()), team())


def test_nobody_without_a_key_gets_in_to_a_stage_that_has_one(serve: Serve) -> None:
    with pytest.raises(StartError, match="is served with a key, and admits nobody without one"):
        run(serve(team()), "")


def test_a_caller_with_a_key_does_not_give_items_to_a_stage_without_one(serve: Serve) -> None:
    with pytest.raises(StartError, match=r"is served without a key|or without$"):
        run(serve(None), team())


def test_what_other_machines_can_reach_is_refused_without_a_key_unless_told() -> None:
    endpoints = {"keep": ["tcp://192.0.2.1:7001"]}

    with pytest.raises(ValueError, match=r"other machines can reach the sockets of this run at 192\.0\.2\.7"):
        list(pipeline.run([1], endpoints=endpoints, host="192.0.2.7", key=""))
    with pytest.raises(ValueError, match="insecure_bind means nothing in a durable run"):
        pipeline.run([1], address="tcp://127.0.0.1:1", insecure_bind=True)
    with pytest.raises(OSError, match="cannot bind"):  # it went on: there is no such address here
        list(pipeline.run([1], endpoints=endpoints, host="192.0.2.7", key="", insecure_bind=True))
    with pytest.raises(OSError, match="cannot bind"):
        list(pipeline.run([1], endpoints=endpoints, host="192.0.2.7", key=team()))


def test_serving_where_other_machines_can_reach_needs_a_key_unless_told(tmp_path: Path) -> None:
    serving = [sys.executable, "-m", "zq.cli", "pipeline", "serve", SPEC, "--stage", "keep", "--bind", "tcp://*:1"]

    found = subprocess.run(serving, capture_output=True, text=True, check=False, env={**os.environ, "ZQ_KEY": ""})

    assert found.returncode == 2
    assert "give it a key (--key, ZQ_KEY)" in found.stderr
    assert not is_local("tcp://*:1")


def test_no_secret_stands_where_all_users_can_see_it(serve: Serve) -> None:
    key = team()
    endpoints = serve(key)
    with pipeline.run(range(10_000), endpoints=endpoints, key=key, quiet=True) as found:
        next(found)
        shown = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout

    ours = [line for line in shown.splitlines() if "patterns.direct" in line]
    assert ours
    assert not any(re.search(r"[0-9a-f]{32}", line) or key.secret in line for line in ours)


# Parts.


@pytest.mark.parametrize(
    ("place", "value"),
    [(2, b"zq"), (5, b"NULL"), (5, b"PLAIN"), (6, b""), (6, bytes(32))],
    ids=["other domain", "no mechanism", "plain", "no key", "unknown key"],
)
def test_an_admission_says_no_to_all_that_is_not_an_admitted_key(place: int, value: bytes) -> None:
    key = team()
    good = [b"1.0", b"1", STAGE_DOMAIN.encode(), b"127.0.0.1", b"", b"CURVE", z85.decode(key.public)]
    bad = [value if index == place else part for index, part in enumerate(good)]
    with zmq.Context() as context:
        admission = Admission(context, STAGE_DOMAIN, key.public)
        with context.socket(zmq.REQ) as asker:
            asker.connect("inproc://zeromq.zap.01")
            answers = []
            for request in (good, bad, good[:6], [*good, b"more"]):
                asker.send_multipart(request)
                answers.append(asker.recv_multipart()[2])
        admission.close()

    assert answers == [b"200", b"400", b"400", b"400"]


def test_a_key_admits_itself_and_those_that_it_names() -> None:
    other = team()

    key = zq.Key.new("kitchen", "worker", [other.public, other.public])

    assert partners(key) == [key.public, other.public]


def test_once_a_run_has_begun_its_key_gets_in() -> None:
    key, run_key = team(), team()
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        security = Security(context, None, key)
        key.guard(pull, STAGE_DOMAIN)
        port = pull.bind_to_random_port("tcp://127.0.0.1")
        security.begin(run_key)
        with context.socket(zmq.PUSH) as push:
            push.linger = 0
            security.secure(push, key.public)
            push.connect(f"tcp://127.0.0.1:{port}")
            push.send(b"pizza")
            assert pull.poll(30_000)
        security.close()


def test_a_call_tells_nothing_as_long_as_nobody_is_there() -> None:
    with zmq.Context() as context:
        call = StageCall(context, free_endpoint("127.0.0.1"), team())
        call.say([b"join"])
        assert call.refusal() is None
        call.close()


# Durable runs.


@pytest.mark.parametrize("threads", [False, True])
def test_a_durable_run_and_its_workers_show_a_key(door: Gate, key: zq.Key, threads: bool) -> None:
    with pytest.raises(zq.AccessDeniedError):
        list(pipeline.run(range(20), address=door.address, key=key))
    door.admit(key)

    found = list(pipeline.run(range(20), address=door.address, key=key, ordered=True, threads=threads))

    assert found == EXPECTED


def test_a_durable_run_takes_the_key_of_the_environment(
    door: Gate, key: zq.Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key.write(tmp_path / "key.toml")
    monkeypatch.setenv("ZQ_KEY", str(tmp_path / "key.toml"))
    door.admit(key)

    assert list(pipeline.run(range(20), address=door.address, ordered=True)) == EXPECTED


def test_an_embedded_run_needs_no_key_and_shows_none(
    tmp_path: Path, key: zq.Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZQ_KEY", str(tmp_path / "nowhere.toml"))

    assert list(pipeline.run(range(20), data=tmp_path / "data", ordered=True)) == EXPECTED
    with pytest.raises(ValueError, match="key means nothing in an embedded run"):
        pipeline.run(range(20), data=tmp_path / "data", key=key)


def test_commands_of_pipelines_end_in_words_when_they_are_refused(door: Gate, key: zq.Key, tmp_path: Path) -> None:
    key.write(tmp_path / "key.toml")
    zq_run = [sys.executable, "-m", "zq.cli", "pipeline", "run", SPEC, "--address", door.address]

    refused = subprocess.run(
        [*zq_run, "--key", str(tmp_path / "key.toml")], input="1\n", capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "does not admit the key shop-1" in refused.stderr) == (77, True), refused.stderr
    door.admit(key)
    found = subprocess.run(
        [*zq_run, "--key", str(tmp_path / "key.toml")], input="1\n", capture_output=True, text=True, check=False
    )

    assert (found.returncode, found.stdout) == (0, '"<3>"\n'), found.stderr
