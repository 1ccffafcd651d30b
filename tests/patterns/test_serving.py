"""Stages that are served at endpoints, as on other machines, and the commands `zq pipeline ...`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import pytest

from patterns import LostError, StartError
from patterns.direct import crew
from tests.patterns.leftovers import is_alive
from tests.patterns.raw_peers import needs_ipv6, wait_until
from tests.patterns.served import pipeline
from tests.patterns.shop import double, keep, tell_process

ZQ = [sys.executable, "-m", "zq.cli"]

Serve = Callable[..., list[str]]

pytestmark = pytest.mark.usefixtures("tidy")


def free_endpoint(host: str) -> str:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as found:
        found.bind((host, 0))
        return f"tcp://{f'[{host}]' if ':' in host else host}:{found.getsockname()[1]}"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a stage, and returns the endpoints of its workers."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(spec: str, stage: str, workers: int, host: str = "127.0.0.1") -> list[str]:
        endpoints = [free_endpoint(host) for _ in range(workers)]
        binds = [argument for endpoint in endpoints for argument in ("--bind", endpoint)]
        command = [*ZQ, "pipeline", "serve", spec, "--stage", stage, *binds]
        servers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return endpoints

    yield start
    for server in servers:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


def run_zq(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ZQ, "pipeline", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_stage_may_run_elsewhere_one_run_after_the_other(serve: Serve) -> None:
    endpoints = {"keep": serve("tests.patterns.served:pipeline", "keep", 2)}

    for _ in range(2):
        results = list(pipeline.run(range(100), endpoints=endpoints, ordered=True))

        assert results == [f"<{2 * n + 1}>" for n in range(100)]


def test_last_stage_may_run_elsewhere_and_the_others_in_threads(serve: Serve) -> None:
    endpoints = {"describe": serve("tests.patterns.served:pipeline", "describe", 1)}

    results = list(pipeline.run(range(10), endpoints=endpoints, ordered=True, threads=True))

    assert results == [f"<{2 * n + 1}>" for n in range(10)]


@needs_ipv6
@pytest.mark.parametrize("host", [None, "::1", "[::1]"])
def test_stage_may_run_at_an_address_of_ipv6(serve: Serve, host: str | None) -> None:
    endpoints = {"keep": serve("tests.patterns.served:pipeline", "keep", 1, "::1")}

    results = list(pipeline.run(range(10), endpoints=endpoints, ordered=True, host=host))

    assert results == [f"<{2 * n + 1}>" for n in range(10)]


def test_other_pipeline_at_the_endpoint_is_told(serve: Serve) -> None:
    endpoints = {"keep": serve("tests.patterns.served:pipeline", "keep", 1)}

    with pytest.raises(StartError, match=r"stage keep: .*another version of the pipeline is served here, at tcp://"):
        list((double | keep).run([1], endpoints=endpoints))


def test_served_worker_that_dies_is_missed_and_counted(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "GONE_AFTER", 1.0)
    monkeypatch.setattr(crew, "PROBE_INTERVAL", 0.1)
    endpoints = {"tell_process": serve("tests.patterns.shop:tell_process", "tell_process", 1)}
    run = tell_process.run(count(), endpoints=endpoints)
    received = list(islice(run, 500))

    os.kill(received[0][0], signal.SIGKILL)
    with pytest.raises(LostError) as caught:
        received.extend(run)

    assert run.sent == len(received) + caught.value.lost["tell_process"]


def test_served_workers_wait_for_the_next_run_when_their_caller_has_gone(serve: Serve) -> None:
    endpoints = {"tell_process": serve("tests.patterns.shop:tell_process", "tell_process", 1)}
    with tell_process.run(count(), endpoints=endpoints) as run:
        first = next(run)[0]

    with tell_process.run(count(), endpoints=endpoints) as run:
        assert next(run)[0] != first  # nothing of a run is left for the next one


# The commands.


def test_draw_prints_text_or_mermaid() -> None:
    assert run_zq("draw", "tests.patterns.served:pipeline").stdout == "double | keep x2 | add_one x2 | describe\n"
    assert run_zq("draw", "tests.patterns.served:pipeline", "--mermaid").stdout == pipeline.diagram()


def test_run_reads_and_prints_json_lines() -> None:
    found = run_zq("run", "tests.patterns.served:pipeline", "--ordered", stdin="1\n\n2\n")

    assert [json.loads(line) for line in found.stdout.splitlines()] == ["<3>", "<5>"]
    assert found.returncode == 0
    assert found.stderr.startswith("zq pipeline, direct: ")


def test_run_gives_results_while_its_input_is_open() -> None:
    process = subprocess.Popen(
        [*ZQ, "pipeline", "run", "tests.patterns.served:pipeline", "--threads"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for number in (4, 5):
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == f"<{2 * number + 1}>"
    process.communicate()
    assert process.returncode == 0


def test_interrupted_run_is_130(tidy: Path) -> None:
    process = subprocess.Popen(
        [*ZQ, "pipeline", "run", "tests.patterns.served:pipeline"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tidy)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("1\n")
    process.stdin.flush()
    assert process.stdout.readline() == '"<3>"\n'
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert errors.count("\n") == 1, errors  # the guarantee, and no traceback


def test_run_with_failures_ends_with_1_and_says_which() -> None:
    found = run_zq("run", "tests.patterns.served:failing", "--on-error", "collect", stdin="6\n7\n8\n")

    assert sorted(found.stdout.splitlines()) == ['"<6>"', '"<8>"']
    assert found.returncode == 1
    assert "zq: stage fail_on_sevens failed: ValueError: no 7 today" in found.stderr
    assert "zq: 1 of 3 items failed, 0 were lost" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run", "tests.patterns.served:half"), "expected a pipeline at tests.patterns.served:half, got function"),
        (("run", "tests.patterns.served:pipeline", "--endpoint", "keep"), "expected --endpoint STAGE=tcp://host:port"),
        (("draw", "tests.patterns.served:nothing"), "there is no nothing in tests.patterns.served"),
        (("serve", "tests.patterns.served:pipeline", "--stage", "x", "--bind", "tcp://127.0.0.1:1"), "no stage 'x'"),
        (("serve", "tests.patterns.served:pipeline", "--stage", "keep", "--bind", "ipc://x"), "tcp://host:port"),
        (
            ("serve", "tests.patterns.served:pipeline", "--stage", "keep", "--bind", "tcp://0.0.0.0:7"),
            "--insecure-bind",
        ),
    ],
)
def test_mistakes_are_2_and_are_told(arguments: tuple[str, ...], text: str) -> None:
    found = run_zq(*arguments, stdin="not json")

    assert found.returncode == 2
    assert text in found.stderr


def test_input_that_is_not_json_is_told_with_its_line() -> None:
    found = run_zq("run", "tests.patterns.served:pipeline", "--threads", stdin="1\nx\n")

    assert found.returncode == 2
    assert "line 2 of the input is not JSON" in found.stderr


def test_pipeline_of_a_script_can_be_named_by_its_file(tmp_path: Path) -> None:
    script = tmp_path / "kitchen.py"
    script.write_text("from patterns import stage\n@stage\ndef bake(x): return {'baked': x}\n")

    assert run_zq("run", f"{script}:bake", stdin='"funghi"').stdout == '{"baked": "funghi"}\n'


def test_command_of_no_package_is_refused() -> None:
    found = subprocess.run([*ZQ, "nothing"], capture_output=True, text=True, check=False)

    assert found.returncode == 2
    assert "No such command 'nothing'" in found.stderr


def test_worker_ends_when_its_server_is_killed(tmp_path: Path) -> None:
    endpoint = free_endpoint("127.0.0.1")
    server = subprocess.Popen(
        [*ZQ, "pipeline", "serve", "tests.patterns.shop:tell_process", "--stage", "tell_process", "--bind", endpoint]
    )
    with tell_process.run(count(), endpoints={"tell_process": [endpoint]}) as run:
        pid = next(run)[0]
        server.kill()
        server.wait()
        wait_until(lambda: not is_alive(pid))
