"""What holds for every command: examples that can be typed, one meaning for each option, JSON, words and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

import zq
from tests.cli.conftest import Invoke, run_command
from tests.cli.tree import ROOT, all_commands, options_of, read, words_of
from zq.cli.guides.recipes import TOPICS

COMMANDS = all_commands()

WRITING = {
    *(
        "coordinator",
        "worker",
        "dashboard",
        "top",
        "dev",
        "demo",
        "work",
        "pipeline run",
        "pipeline serve",
        "metrics",  # in the format of OpenMetrics
    ),
    *("tasks cancel", "tasks retry", "tasks bury", "groups cancel", "dead kick", "dead stop", "dead purge"),
    *("pulled done", "pulled fail", "pulled release", "pulled extend", "topics bind", "topics unbind"),
    *("queues pause", "queues resume", "queues drain", "queues purge", "queues move", "queues rm"),
    *("schedules pause", "schedules resume", "schedules rm", "schedules run"),
    *("workers drain", "workers stop", "workers resume", "workers resize"),
}
"""Commands that print nothing that a program would read, or that stay."""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_can_be_typed(name: str) -> None:
    lines = [line for line in COMMANDS[name].examples if line.strip() and not line.startswith("#")]

    assert lines
    for line in lines:
        assert read(words_of(line)).command is not None
    assert any(words_of(line)[: len(name.split())] == name.split() for line in lines)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_recipe_can_be_typed(topic: str, invoke_alone: Invoke) -> None:
    lines = [one.command for one in TOPICS[topic].recipes]
    for line in lines:
        if not line.startswith("export "):
            assert read(words_of(line)).command is not None

    shown = invoke_alone("cheat", topic)
    assert (shown.exit_code, [line for line in shown.stdout.splitlines() if line in lines]) == (0, lines)


def test_recipes_are_listed_and_the_nearest_topic_is_named(invoke_alone: Invoke) -> None:
    assert [line.split("\t")[0] for line in invoke_alone("cheat").stdout.splitlines()[1:]] == list(TOPICS)
    wrong = invoke_alone("cheat", "ded")
    assert (wrong.exit_code, "did you mean 'dead'?" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WRITING))
def test_every_command_that_reads_prints_json(name: str) -> None:
    own = set() if name.startswith("pipeline ") else {"--plain"}

    assert {"--json", *own} <= options_of(COMMANDS[name]).keys()


ONE_FOR_ALL = {
    "--timeout",
    "--wait",
    "--limit",
    "--for",
    "--json",
    "--plain",
    "--address",
    "--yes",
    "--dry-run",
    "--queue",
}

DIFFERENT = {
    "--address": "of the coordinator; one that is measured or run over is not that of the environment",
    "--all": "all rows, or all figures",
    "--assign": "a policy of a queue, or the default of a coordinator",
    "--bind": "ZeroMQ addresses, or HOST:PORT of a page",
    "--burst": "a policy of a queue; a worker that ends",
    "--concurrency": "a policy of queues; what a worker does at once",
    "--dashboard": "whether there is one, or where",
    "--data": "of a coordinator, of a run",
    "--default": "policies of queues, limits of namespaces",
    "--host": "a name of a page, or the address of a machine",
    "--id": "of a task, or of what is published",
    "--insecure-bind": "without keys, without a key",
    "--key": "tasks have keys, and those who are let in have others",
    "--keys": "for a coordinator, for commands about keys",
    "--log-level": "of stages, too",
    "--max-attempts": "a policy of a task, a queue or a coordinator",
    "--max-bytes": "a policy of queues, and of namespaces",
    "--max-tasks": "a policy of queues and of namespaces, and how many are pulled together",
    "--ordered": "of a key, or of results",
    "--processes": "of a worker, of a measurement",
    "--queue": "a filter of one queue; the patterns of a key's rights",
    "--rate": "of a queue, or of a replay",
    "--reason": "a text that is looked for, or the one that is given",
    "--retry": "a policy of a task or a queue, or the default of a coordinator",
    "--retry-in": "of a task that was pulled, or of what a program ended with",
    "--stage": "of a worker, and of what is served",
    "--to": "a queue, or a directory",
    "--state": "tasks, groups and what is purged have different states",
    "--unique": "of one task, or of each of a schedule",
}
"""Options that mean different things about different things, each with what they are about."""


def meanings() -> dict[str, set[tuple[str, str]]]:
    """Returns type and help of every option, wherever it is."""
    found: dict[str, set[tuple[str, str]]] = {}
    for command in COMMANDS.values():
        for name, option in options_of(command).items():
            kind = str(option.type_descriptor.annotation) if hasattr(option, "type_descriptor") else str(option.type)
            found.setdefault(name, set()).add((kind, option.help or ""))
    return found


def test_an_option_of_one_name_means_one_thing() -> None:
    twice = {name: said for name, said in meanings().items() if len(said) > 1 and name not in DIFFERENT}

    assert twice == {}


def test_these_options_mean_one_thing_wherever_they_are() -> None:
    of_others = {
        "dashboard",
        "bench",
        "pipeline run",
    }  # an address that is measured, or run over, is not from the environment
    for name in ONE_FOR_ALL - {"--queue"}:
        said = {
            options_of(command)[name].help
            for at, command in COMMANDS.items()
            if name in options_of(command) and not (name == "--address" and at in of_others)
        }
        assert len(said) == 1, (name, said)


def test_waiting_for_the_coordinator_takes_as_long_everywhere() -> None:
    defaults = {options_of(one)["--timeout"].default for one in COMMANDS.values() if "--timeout" in options_of(one)}

    assert defaults == {5.0}


LEFT_OUT = {"pulled done", "pulled fail", "pulled release", "pulled extend", "top"}
"""Of these the handle in the example is a variable of the shell; the last needs a terminal."""

ASKING = sorted(name for name, one in COMMANDS.items() if "--timeout" in options_of(one) and name not in LEFT_OUT)


@pytest.mark.parametrize("name", ASKING)
def test_every_command_without_a_coordinator_fails_in_words(name: str) -> None:
    example = next(line for line in COMMANDS[name].examples if words_of(line)[: len(name.split())] == name.split())
    given = [*words_of(example), "--address", "tcp://127.0.0.1:1", "--timeout", "0.1"]

    result = run_command(tuple(given), None, {"ZQ_ADDRESS": ""})

    assert (result.exit_code, result.stdout) == (69, "")
    assert "nothing was heard of the coordinator at tcp://127.0.0.1:1;" in result.stderr
    assert result.stderr.count("nothing was heard of the coordinator") == 1


def test_commands_that_ask_are_many() -> None:
    assert len(ASKING) > 40


QUESTIONS = {
    "queues purge": "orders",
    "queues move": "orders later",
    "queues rm": "orders --purge",
    "dead purge": "--queue orders",
}
"""Arguments with which a command asks before it does something."""


@pytest.mark.parametrize("name", [name for name, one in COMMANDS.items() if "--yes" in options_of(one)])
def test_question_without_a_terminal_is_refused_in_words(
    invoke: Invoke, coordinator: zq.Coordinator, name: str
) -> None:
    with zq.Client(coordinator.address) as client:
        client.submit("orders", 1)
        client.dead.bury(client.submit("orders", 2).id, "why")

        result = invoke(*name.split(), *QUESTIONS[name].split(), stdin="")

        assert (result.exit_code, result.stdout) == (2, "")
        assert "? say --yes where nobody can be asked" in result.stderr
        assert (client.queues.show("orders").waiting, client.queues.show("orders").dead) == (1, 1)


def test_only_the_whole_command_line_offers_to_be_completed(invoke_alone: Invoke) -> None:
    assert "--install-completion" in invoke_alone("--help").stdout
    assert "completion" not in invoke_alone("pipeline", "--help").stdout
    assert "completion" not in invoke_alone("tasks", "--help").stdout


def test_list_of_all_commands_has_those_of_other_packages(invoke_alone: Invoke) -> None:
    lines = invoke_alone("commands").stdout.splitlines()

    assert [line.split("\t")[0] for line in lines[1:]] == list(COMMANDS)
    assert any(line.startswith("pipeline run\t") for line in lines)
    assert all(line.split("\t")[1].endswith((".", ":", "...")) for line in lines[1:])


def test_line_about_a_command_is_in_the_list(invoke_alone: Invoke) -> None:
    shown = " ".join(invoke_alone("--help").stdout.split())

    assert all(f" {name} {entry.help} " in shown for name, entry in ROOT.entries.items())


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("qeues ls", "'queues'"),
        ("pipelin", "'pipeline'"),
        ("tasks lss", "'ls'"),
        ("status --jsno", "'--json'"),
        ("pipeline run k:p --threds", "'--threads'"),
        ("tasks ls --state waitin", "'waiting'"),
        ("submit orders 1 --on-lost reasign", "'reassign'"),
        ("queues show ordres", "'orders'"),
        ("tasks ls --queue ordres", "'orders'"),
        ("queues purge ordres --yes", "'orders'"),
        ("pull ordres", "'orders'"),
        ("dead ls -q ordres", "'orders'"),
        ("schedules show nigthly", "'nightly'"),
        ("schedules pause nightl", "'nightly'"),
        ("namespaces show team-b", "'team-a'"),
        ("topics match orders.eu", "'orders.it'"),
        ("topics unbind orders.ti orders", "'orders.it'"),
        ("events --kind faild --limit 1", "'failed'"),
        ("--context stagin status", "'staging'"),
        ("context show stagin", "'staging'"),
    ],
)
def test_what_is_not_there_is_told_with_what_may_have_been_meant(
    invoke: Invoke,
    coordinator: zq.Coordinator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    meant: str,
) -> None:
    (tmp_path / "zq.toml").write_text("[contexts.staging]\nnamespace = 'a'\n")
    monkeypatch.chdir(tmp_path)
    with zq.Client(coordinator.address) as client:
        client.submit("orders", 1)
        client.submit("team-a/boxes", 1)
        client.schedules.define("nightly", "orders", 1, every=3600)
        client.topics.bind("orders.it", "orders")

    result = invoke(*arguments.split())

    assert result.exit_code != 0
    assert result.stderr.count("; did you mean ") == 1
    assert f"did you mean {meant}" in result.stderr
    assert "invalid:" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("submit orders 1 --id", "Option '--id' requires an argument.\n"),
        ("tasks ls --state ded", "Invalid value for '--state' / '-s': 'ded' is not one of "),
    ],
)
def test_what_is_wrong_is_said_without_what_nobody_asked(invoke_alone: Invoke, arguments: str, said: str) -> None:
    result = invoke_alone(*arguments.split())

    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert "did you mean '--id'" not in result.stderr
