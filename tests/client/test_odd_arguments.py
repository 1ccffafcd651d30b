"""Whatever a program gives to a call, it hears of its mistake in words: an error of zq, a ValueError or a TypeError."""

from __future__ import annotations

import datetime
import decimal
import inspect
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import zq

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 5, 2**31, 2**63, 2**64, 10**400, -(2**64), 1.5, -0.5, math.nan, math.inf, -math.inf, 1j),
    *(
        "",
        "a",
        "a b",
        "a\n",
        "\ud800",
        "\0",
        "\x1b[31m",
        "#",
        "/",
        "a//b",
        "x" * 70_000,
        "é",
        "a#5",
        "a#²",
        "a#" + "9" * 99,
    ),
    *(b"", b"x", bytearray(b"x"), [], ["a"], [1], [["a"]], (), ("a", 1), ("a", 1, 2), (5, 1), {}, {"a": 1}, {1: 2}),
    *({"a": {"b": "\ud800"}}, set(), frozenset({1}), object(), decimal.Decimal("NaN"), decimal.Decimal(1)),
    *(Fraction(1, 3), datetime.datetime(2026, 1, 1), datetime.timedelta(1), range(3), abs, Path("x"), int),
    zq.RetryPolicy.none(),
)

PYTHONS_OWN = (
    *("not supported between", "has no attribute", "object is not", "to unpack", "unsupported operand"),
    *("cannot be interpreted", "argument must be", "unhashable", "must be real"),
)
"""Of what Python itself says when nobody has looked at an argument."""

NEEDED: dict[str, Any] = {"payload": 1, "payloads": [1], "timeout": 0.0, "what": "status", "members": [1], "rate": 1.0}
"""Arguments of calls that must be there; else "a"."""

WAITS = ("wait", "timeout")
"""Of which some odd values are honest, and long."""

OPTIONS = ("priority", "delay", "at", "ttl", "key", "on_lost", "max_attempts", "retry", "timeout", "headers", "on_dead")

MORE: dict[str, tuple[str, ...]] = {
    "submit": (*OPTIONS, "group", "ordered", "unique"),
    "submit_many": OPTIONS,
    "publish": OPTIONS,
    "publish_many": OPTIONS,
    "request": OPTIONS,
    "group": OPTIONS,
    "tasks": ("queue", "key", "headers", "worker", "reason", "older_than"),
    "queues.set": ("max_tasks", "max_bytes", "rate", "burst", "retry", "keep_seconds", "key_rate", "concurrency"),
    "namespaces.set": ("max_tasks", "max_bytes"),
}
"""Options of calls that take any."""

NOUNS = ("queues", "schedules", "dead", "topics", "namespaces", "workers")

NOT_CALLED = ("close", "over", "ping")


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zq.Client]:
    """A client of a real coordinator."""
    place = tmp_path_factory.mktemp("odd")
    with zq.Coordinator(place / "o.zq", bind=f"ipc://{place}/s") as coordinator, zq.Client(coordinator.address) as one:
        yield one


def faults_of(call: Callable[[Any], Any], values: tuple[Any, ...] = ODD) -> list[str]:
    """Returns what a call raises that is not in words."""
    found = []
    for value in values:
        try:
            made = call(value)
            if hasattr(made, "close"):
                made.close()
        except zq.ZqError:
            pass
        except (ValueError, TypeError) as error:
            if isinstance(error, UnicodeError) or any(own in str(error) for own in PYTHONS_OWN):
                found.append(f"{value!r:.50}: {error!r:.150}")
        except Exception as error:
            found.append(f"{value!r:.50}: {error!r:.150}")
    return found


def methods(thing: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, member in inspect.getmembers(type(thing), callable):
        if not name.startswith("_") and name not in NOT_CALLED:
            for one in inspect.signature(member).parameters.values():
                if one.name != "self" and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
                    yield f"{prefix}{name}", one.name
            for more in MORE.get(f"{prefix}{name}", ()):
                yield f"{prefix}{name}", more


def every_argument() -> list[tuple[str, str]]:
    with_nouns = [(zq.Client, "")] + [(getattr(zq, NAMES[noun]), f"{noun}.") for noun in NOUNS]
    return [one for kind, prefix in with_nouns for one in methods(kind.__new__(kind), prefix)]


NAMES = {
    "queues": "Queues",
    "schedules": "Schedules",
    "dead": "DeadLetters",
    "topics": "Topics",
    "namespaces": "Namespaces",
    "workers": "Workers",
}


@pytest.mark.parametrize(("path", "argument"), sorted(set(every_argument())), ids=str)
def test_odd_argument_of_a_client_is_refused_in_words(patient: zq.Client, path: str, argument: str) -> None:
    method: Any = patient
    for name in path.split("."):
        method = getattr(method, name)
    parameters = inspect.signature(method).parameters.values()
    needed = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    given = {one.name: NEEDED.get(one.name, "a") for one in needed} | ({"timeout": 0.0} if path == "events" else {})
    given |= {"timeout": 0.0} if "timeout" in [one.name for one in parameters] else {}
    by_place = [one.name for one in needed if one.kind is one.POSITIONAL_ONLY]

    def call(value: Any) -> Any:
        arguments = {**given, argument: value}
        return method(*[arguments.pop(name) for name in by_place], **arguments)

    values = ODD
    if argument in WAITS:
        values = tuple(one for one in ODD if not (one is None or (isinstance(one, int | float) and one > 0)))
    assert faults_of(call, values) == []


@pytest.fixture(scope="module")
def pulled(patient: zq.Client) -> zq.PulledTask:
    patient.submit("odd", 1)
    return patient.pull("odd", lease=3600)[0]


def test_odd_argument_of_a_pulled_task_is_refused_in_words(patient: zq.Client, pulled: zq.PulledTask) -> None:
    assert faults_of(pulled.extend) == []
    assert faults_of(lambda value: pulled.fail("x", value), ODD[2:]) == []
    assert faults_of(lambda value: pulled.forward("odd", 1, key=value)) == []
    assert faults_of(lambda value: pulled.forward(value, 1)) == []
    for value in ODD:
        patient.submit("odd2", 1)
        [one] = patient.pull("odd2", lease=3600)
        assert faults_of(one.fail, (value,)) == []
    for value in ODD:
        patient.submit("odd2", 1)
        [one] = patient.pull("odd2", lease=3600)
        assert faults_of(one.done, (value,)) == []


MAKERS: dict[str, Callable[[Any], Any]] = {
    "RetryPolicy.constant": zq.RetryPolicy.constant,
    "RetryPolicy.linear": zq.RetryPolicy.linear,
    "RetryPolicy.exponential": lambda value: zq.RetryPolicy.exponential(1, factor=value),
    "RetryPolicy.full_jitter": lambda value: zq.RetryPolicy.full_jitter(1, largest=value),
    "RetryPolicy.parse": zq.RetryPolicy.parse,
    "RetryPolicy.read": zq.RetryPolicy.read,
    "CoordinatorOptions.retry": lambda value: zq.CoordinatorOptions(retry=value),
    "CoordinatorOptions.max_attempts": lambda value: zq.CoordinatorOptions(max_attempts=value),
    "CoordinatorOptions.gone_after": lambda value: zq.CoordinatorOptions(gone_after=value),
    "CoordinatorOptions.assign": lambda value: zq.CoordinatorOptions(assign=value),
    "CoordinatorOptions.keep_seconds": lambda value: zq.CoordinatorOptions(keep_seconds=value),
    "Client.address": zq.Client,
    "Client.timeout": lambda value: zq.Client(timeout=value),
    "Client.name": lambda value: zq.Client(name=value),
    "Client.payload_bytes_max": lambda value: zq.Client(payload_bytes_max=value),
    "Client.namespace": lambda value: zq.Client(namespace=value),
    "Client.key": lambda value: zq.Client(key=value),
    "Worker.key": lambda value: zq.Worker(key=value),
    "App.key": lambda value: zq.App(key=value),
    "Coordinator.keys": lambda value: zq.Coordinator("/nonexistent/zq", keys=value),
    "Worker.address": zq.Worker,
    "Worker.name": lambda value: zq.Worker(name=value),
    "Worker.concurrency": lambda value: zq.Worker(concurrency=value),
    "Worker.processes": lambda value: zq.Worker(processes=value),
    "Worker.namespace": lambda value: zq.Worker(namespace=value),
    "Worker.task": lambda value: zq.Worker().task(value),
    "App.address": zq.App,
    "App.namespace": lambda value: zq.App(namespace=value),
    "App.task.queue": lambda value: zq.App.memory().task(queue=value)(print),
    "App.task.retry": lambda value: zq.App.memory().task(retry=value)(print),
    "App.advance": lambda value: zq.App.memory().advance(value),
    "Coordinator.bind": lambda value: zq.Coordinator("/nonexistent/zq", bind=value),
    "Coordinator.directory": zq.Coordinator,
    "Unique": lambda value: zq.Unique(value),
}


@pytest.mark.parametrize("which", MAKERS)
def test_odd_argument_of_what_is_made_is_refused_in_words(which: str) -> None:
    assert faults_of(MAKERS[which]) == []


def test_wait_of_no_time_on_a_new_connection_does_not_call_the_coordinator_unreachable(patient: zq.Client) -> None:
    with zq.Client(patient.address) as client, pytest.raises(zq.TimedOutError) as caught:
        client.result(patient.submit("odd", 1).id, timeout=0)
    assert not isinstance(caught.value, zq.UnreachableError)
