"""Recipes by topic: command lines as they are typed, each with what it is for. A test reads every one of them as `zq`
would.
"""

from __future__ import annotations

from typing import NamedTuple


class Recipe(NamedTuple):
    """A line for the shell, and what it is for."""

    text: str
    command: str


class Topic(NamedTuple):
    """Recipes about one thing, and a line about them."""

    text: str
    recipes: tuple[Recipe, ...]


TOPICS: dict[str, Topic] = {
    "start": Topic(
        "the first minutes",
        (
            Recipe("a coordinator, with its data in ./orders.zq", "zq coordinator"),
            Recipe("elsewhere, at another address", "zq coordinator --data /var/lib/zq --bind tcp://127.0.0.1:7800"),
            Recipe("where commands, clients and workers look for it", "export ZQ_ADDRESS=tcp://127.0.0.1:7800"),
            Recipe("a worker: `worker` or `app` in shop.py", "zq worker shop:worker"),
            Recipe("a task, and its result", 'zq submit orders \'{"pizza": "margherita"}\' --wait'),
            Recipe("how it goes", "zq status"),
        ),
    ),
    "submit": Topic(
        "tasks into queues",
        (
            Recipe("urgent, in an hour, for five minutes", "zq submit orders 1 --priority 9 --delay 3600 --ttl 300"),
            Recipe("at a time", "zq submit reports 1 --at 2030-12-24T18:00+01:00"),
            Recipe("the same id is stored once, however often it is tried", "zq submit orders 1 --id order-17"),
            Recipe("one task of a customer at a time, in order", "zq submit orders 1 --key customer-42 --ordered"),
            Recipe("not while one like it waits or runs", "zq submit reports 1 --unique nightly"),
            Recipe("a task a line, stored in batches", "zq submit orders - < lines.jsonl"),
            Recipe(
                "tried again after 1, 2, 4 ... 60 s, 8 times",
                "zq submit orders 1 --retry exponential:1:2:60 --max-attempts 8",
            ),
        ),
    ),
    "worker": Topic(
        "who does the work",
        (
            Recipe("four child processes", "zq worker shop:worker --processes 4"),
            Recipe("eight threads in one process", "zq worker shop:worker --concurrency 8"),
            Recipe("started again when its files change", "zq worker shop:worker --reload"),
            Recipe("what waits, and then the end", "zq worker shop:worker --burst"),
            Recipe(
                "new children after 1,000 tasks, or above 500 MiB",
                "zq worker shop:worker --tasks-per-child 1000 --child-memory-max 500",
            ),
            Recipe("who is there, and what they hold", "zq workers ls"),
        ),
    ),
    "shell": Topic(
        "workers that are shell scripts",
        (
            Recipe("a task, if one comes within 20 s (exit code 75: none)", "zq pull orders --for 20 --lease 60"),
            Recipe("more time for it", 'zq pulled extend "$HANDLE" 60'),
            Recipe("it is done", 'zq pulled done "$HANDLE" \'{"baked": true}\''),
            Recipe("it failed; again in a minute", 'zq pulled fail "$HANDLE" "the oven is cold" --retry-in 60'),
            Recipe("somebody else shall take it", 'zq pulled release "$HANDLE"'),
            Recipe("what is in a pipe: a header, then columns between tabs", "zq tasks ls --queue orders"),
            Recipe("an object a line", "zq tasks ls --queue orders --json"),
        ),
    ),
    "look": Topic(
        "what happens, and why not",
        (
            Recipe("one screen", "zq status"),
            Recipe("why a task does not run", "zq why order-17"),
            Recipe("all that has happened to it", "zq tasks trace order-17"),
            Recipe("with its payload", "zq tasks show order-17 --payload"),
            Recipe("what runs for a worker", "zq tasks ls --state leased --worker shop-1"),
            Recipe("what waits for more than five minutes", "zq tasks ls --state waiting --older-than 5m"),
            Recipe("failures, as they happen, for a minute", "zq events --kind failed --kind dead --for 60"),
        ),
    ),
    "queues": Topic(
        "queues and their policies",
        (
            Recipe("all of them", "zq queues ls"),
            Recipe("at most 50 tasks a second, 4 at once", "zq queues set orders --rate 50 --concurrency 4"),
            Recipe("full at 100,000 tasks", "zq queues set orders --max-tasks 100000"),
            Recipe("nothing is assigned for a while", "zq queues pause orders"),
            Recipe("and on", "zq queues resume orders"),
            Recipe("what would be ended", "zq queues purge orders --dry-run"),
            Recipe("elsewhere", "zq queues move orders orders-later --yes"),
            Recipe("gone", "zq queues rm orders-later --purge --yes"),
        ),
    ),
    "dead": Topic(
        "what failed for good",
        (
            Recipe("the last words of each", "zq dead ls --queue orders"),
            Recipe("one, with its traceback and payload", "zq dead show order-17 --payload"),
            Recipe("one more try", "zq dead replay order-17"),
            Recipe("all of a reason, 50 a second", "zq dead replay --queue orders --reason TimeoutError --rate 50"),
            Recipe("how that goes", "zq dead replays"),
            Recipe("given up", "zq dead purge --queue orders --reason 'no such pizza' --yes"),
        ),
    ),
    "schedules": Topic(
        "recurring tasks",
        (
            Recipe("every minute", "zq schedules add heartbeat pings null --every 60"),
            Recipe(
                "at night, where it is night",
                "zq schedules add nightly reports 1 --cron '30 2 * * *' --timezone Europe/Berlin",
            ),
            Recipe("when each comes next", "zq schedules ls"),
            Recipe("not for now", "zq schedules pause nightly"),
        ),
    ),
    "topics": Topic(
        "publish to all who want it",
        (
            Recipe("a queue that gets what matches", "zq topics bind 'orders.*.created' invoices"),
            Recipe("who would get it", "zq topics match orders.eu.created"),
            Recipe("to all of them, in one transaction", 'zq publish orders.eu.created \'{"pizza": "margherita"}\''),
        ),
    ),
    "pipelines": Topic(
        "stages of functions",
        (
            Recipe("what it looks like", "zq pipeline draw kitchen:pipeline"),
            Recipe("items and results as JSON lines", "zq pipeline run kitchen:pipeline < items.jsonl"),
            Recipe(
                "nothing lost, whatever is killed",
                "zq pipeline run kitchen:pipeline --data ./run.zq --run-id monday < items.jsonl",
            ),
            Recipe(
                "over a coordinator, with workers elsewhere",
                "zq pipeline run kitchen:pipeline --address tcp://127.0.0.1:7700 --no-workers",
            ),
            Recipe("these workers", "zq worker kitchen:pipeline --stage bake"),
        ),
    ),
    "keys": Topic(
        "who is let in",
        (
            Recipe("a key for a worker; the first one makes ./keys", "zq keys new shop-1 --role worker --keys ./keys"),
            Recipe(
                "for a client of some queues, for 90 days",
                "zq keys new web --role client --keys ./keys --queue 'orders.*' --expires 90d",
            ),
            Recipe(
                "a coordinator that lets these in, and nobody else",
                "zq coordinator --keys ./keys --bind tcp://0.0.0.0:7700",
            ),
            Recipe("with a key", "zq --key ./web.key status"),
            Recipe("a new pair, the one before is good for a week", "zq keys rotate web --keys ./keys --overlap 7d"),
            Recipe("out, within a second", "zq keys revoke web --keys ./keys"),
            Recipe("address, key and namespace by a name in zq.toml", "zq --context staging status"),
        ),
    ),
}
"""The topics of `zq cheat`, in the order in which they are shown."""
