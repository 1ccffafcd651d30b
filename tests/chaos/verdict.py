"""What was promised, held against what happened: a check for each promise, each of which returns what broke it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.chaos.ledger import GroupOrder, Ledger
from tests.chaos.load import TOPICS
from tests.chaos.notes import Note
from tests.chaos.shop import made_of

WORKED_OFF = frozenset({"orders", "lobby", "relay", "lines", "trees", "pulled"})
"""Queues of which each accepted task is done in the end, with the token of its completion as the result."""


@dataclass(frozen=True)
class Final:
    """What the coordinator says when everything has ended.

    Attributes:
        states: of each task that it knows, by id.
        results: of those that are done and were asked for.
        ever_done: how many of each queue were completed, ever.
        listed: how many of each queue it has as done.
        left: how many of each queue have not ended.
        groups: state of each group.
        fired: how many tasks each schedule has stored.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    ever_done: Mapping[str, int] = field(default_factory=dict)
    listed: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    fired: Mapping[str, int] = field(default_factory=dict)


class Case:
    """All that is known of a run."""

    def __init__(self, ledger: Ledger, notes: Iterable[Note], final: Final) -> None:
        self.ledger = ledger
        self.notes = list(notes)
        self.final = final
        self.starts: dict[str, list[Note]] = defaultdict(list)
        self.ends: dict[str, list[Note]] = defaultdict(list)
        self.ids: dict[str, set[str]] = defaultdict(set)  # queue: what was executed of it
        for note in self.notes:
            self.ids[note.queue].add(note.id)
            if note.event == "start":
                self.starts[note.id].append(note)
            elif note.event == "end":
                self.ends[note.id].append(note)

    def state(self, id: str) -> str:
        return self.final.states.get(id, "unknown")

    def made(self, id: str) -> list[Any]:
        """Returns what the executions of a task have made."""
        return [json.loads(note.detail) for note in self.ends[id]]


Check = Callable[[Case], Iterator[str]]


def lost(case: Case) -> Iterator[str]:
    """What was accepted and did not end as it had to, or under no token that is known."""
    for id, order in case.ledger.accepted.items():
        if order.queue not in WORKED_OFF:
            continue
        if case.state(id) != "done":
            yield f"{id} of {order.queue} was accepted, and is {case.state(id)}"
        elif order.queue in ("orders", "relay", "lines"):
            token = case.final.results.get(id)
            if token not in {note.token for note in case.ends[id]}:
                yield f"{id} of {order.queue} is done under {token}, and nobody has done that"


def unexpected(case: Case) -> Iterator[str]:
    """What was executed, and nobody has submitted."""
    if any(name.startswith("TimedOut") for name in case.ledger.acknowledged):
        return  # the ids of batches without an answer are not known
    for queue in ("orders", "relay", "lines", "alone", "slow", "brittle", "trees"):
        for id in case.ids[queue]:
            if id not in case.ledger.accepted and id not in case.ledger.tried:
                yield f"{id} of {queue} was executed, and nobody has submitted it"


def twice(case: Case) -> Iterator[str]:
    """What was completed more than once, by the counts of its queue."""
    for queue, count in case.final.ever_done.items():
        if count != case.final.listed.get(queue, 0):
            yield f"{queue} has {case.final.listed.get(queue, 0)} tasks that are done, and counts {count} completions"


def stale_accepted(case: Case) -> Iterator[str]:
    """Completions under a token that was not the last."""
    for id, order in case.ledger.accepted.items():
        token = case.final.results.get(id)
        if order.queue not in ("orders", "relay", "lines") or not isinstance(token, int):
            continue
        if any(note.token > token for note in case.starts[id]):
            yield f"{id} of {order.queue} is done under {token}, and was started under a later one"


def forwarded(case: Case) -> Iterator[str]:
    """Forwards that are not there once for each completion, or of a completion that was refused."""
    found: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for id in case.ids["sink"]:
        for payload in case.made(id)[:1]:
            found[payload["of"]].add((id, payload["token"]))
    relays = {id for id, order in case.ledger.accepted.items() if order.queue == "relay"}
    for id in sorted(relays | case.ledger.sent | set(found)):
        tokens = [token for _, token in found[id]]
        token = case.ledger.ended[id][0] if id in case.ledger.ended else case.final.results.get(id)
        if len(tokens) > 1 or (len(tokens) == 1 and token is not None and tokens[0] != token):
            yield f"{id} is done under {token}, and has forwarded under {tokens}"
        elif not tokens and (id in case.ledger.sent or case.state(id) == "done"):
            yield f"{id} is done, and has forwarded nothing"


def in_line(case: Case) -> Iterator[str]:
    """Ordered keys of which one started before the one in front of it had ended."""
    before = {after: one for line in case.ledger.lines.values() for one, after in pairwise(line)}
    ended: dict[tuple[int, int], set[str]] = defaultdict(set)  # process and token: what it had ended by then
    for note in case.notes:
        if note.event == "end":
            ended[note.pid, note.token].add(note.id)
        elif note.event == "start" and note.id in before:
            one = before[note.id]
            token = case.final.results.get(one)
            if token is None or not (token < note.token or one in ended[note.pid, note.token]):
                yield f"{note.id} started under {note.token} before {one} had ended, which is done under {token}"


def alone(case: Case) -> Iterator[str]:
    """Unique keys of which two were worked on at once, by the executions that were accepted."""
    for key, ids in case.ledger.alone.items():
        spans = []
        for id in sorted(set(ids)):
            state, token = case.state(id), case.final.results.get(id)
            if state == "cancelled":
                continue
            starts = [note.at for note in case.starts[id] if note.token == token]
            ends = [note.at for note in case.ends[id] if note.token == token]
            if state != "done" or not starts or not ends:
                yield f"{id} of the unique key {key} was accepted, and is {state} under {token}"
            else:
                spans.append((starts[0], ends[-1], id))
        for (_, end, one), (start, _, other) in pairwise(sorted(spans)):
            if start < end:
                yield f"{one} and {other} of the unique key {key} were worked on at once"


def gathered(case: Case) -> Iterator[str]:
    """Groups that did not call back once, with what their policy says."""
    for id, group in case.ledger.groups.items():
        made = case.made(id)
        fails = all(bad for _, bad in group.parts) if group.policy == "any" else any(bad for _, bad in group.parts)
        if group.policy != "settled" and fails:
            if made or case.final.groups.get(id) != "failed":
                yield f"group {id} of {group.policy} had to fail, is {case.final.groups.get(id)} and called {made}"
        elif case.final.groups.get(id) != "done" or case.state(id) != "done" or not made:
            yield f"group {id} of {group.policy} is {case.final.groups.get(id)}, its callback {case.state(id)}"
        elif any(one != made[0] for one in made) or not _is_right(group, made[0]):
            yield f"group {id} of {group.policy} with {group.parts} called back with {made}"
    for id in case.ids["boxes"]:
        if id not in case.ledger.groups and id not in case.ledger.tried and not _had_no_answer(case, "group"):
            yield f"{id} was called back, and nobody has opened such a group"


def _is_right(group: GroupOrder, payload: Any) -> bool:
    good = [made_of(n) for n, bad in group.parts if not bad]
    match group.policy:
        case "all":
            return bool(payload == good)
        case "any":
            return len(payload) == 1 and payload[0] in good
        case _:
            expected = [("dead", None) if bad else ("done", made_of(n)) for n, bad in group.parts]
            return len(payload) == len(expected) and all(
                outcome == wanted and (result is None or found == result)
                for (outcome, found), (wanted, result) in zip(payload, expected, strict=True)
            )


def grown(case: Case) -> Iterator[str]:
    """Groups that handlers opened, of which the sums are not there, once each."""
    trees = [(id, order.detail) for id, order in case.ledger.accepted.items() if order.queue == "trees"]
    expected = Counter(sum(made_of(n + i) for i in range(3)) for id, n in trees if case.state(id) == "done")
    found = Counter(case.made(id)[0] for id in case.ids["sums"] if case.made(id))
    if not _had_no_answer(case, "tree") and expected != found:
        yield f"sums that are missing: {expected - found}; that nobody has ordered: {found - expected}"


def published(case: Case) -> Iterator[str]:
    """Publications that did not reach every queue, once."""
    for id, queues in case.ledger.news.items():
        if queues != TOPICS[case.ledger.topics[id]]:
            yield f"publication {id} to {case.ledger.topics[id]} reached {queues}"
        for place, queue in enumerate(queues, 1):
            if case.state(f"{id}.{place}") != "done":
                yield f"publication {id} is {case.state(f'{id}.{place}')} in {queue}"


def called_off(case: Case) -> Iterator[str]:
    """Cancelled tasks that ended otherwise, and cancels that said what is not so, also when they were said again."""
    for id, said in case.ledger.called_off.items():
        if case.state(id) != ("cancelled" if said else "done"):
            yield f"cancel said {said} of {id}, which is {case.state(id)}"


def mended(case: Case) -> Iterator[str]:
    """Dead letters that did not come back, and those without their notice, or with two."""
    notices: dict[str, set[str]] = defaultdict(set)
    for id in case.ids["complaints"]:
        for of in case.made(id)[:1]:
            notices[of].add(id)
    for id, order in case.ledger.accepted.items():
        if order.queue != "brittle":
            continue
        state = case.state(id)
        if state not in ("done", "dead") or (id in case.ledger.revived and state != "done"):
            yield f"{id} of brittle is {state}" + (" and was brought back" if id in case.ledger.revived else "")
        died = id in case.ledger.died or state == "dead"
        if len(notices[id]) > 1 or (died and not notices[id]):
            yield f"{id} of brittle is {state} and has {len(notices[id])} notices of its death"


def pulled(case: Case) -> Iterator[str]:
    """Pulled tasks that came again after they were done, or are done under another token."""
    ended = case.ledger.ended
    for id, (token, _) in ended.items():
        if case.final.results.get(id) != token:
            yield f"{id} was pulled and done under {token}, and its result is {case.final.results.get(id)}"
    for taken in case.ledger.taken:
        if taken.id in ended and taken.asked_at > ended[taken.id][1]:
            yield f"{taken.id} was done, and was pulled again"


def fired(case: Case) -> Iterator[str]:
    """Schedules that missed a time, or had one twice."""
    slots: dict[str, list[float]] = defaultdict(list)
    for id in case.ids["ticks"]:
        name, _, at = id.partition("@")
        slots[name].append(datetime.fromisoformat(at).timestamp())
    for name, (catch_up, every) in case.ledger.schedules.items():
        times = sorted(slots[name])
        if len(times) != case.final.fired.get(name, 0):
            yield f"schedule {name} has stored {case.final.fired.get(name)} tasks, and {len(times)} were executed"
        gaps = Counter(round(after - before, 3) for before, after in pairwise(times))
        if any(gap < every - 0.002 for gap in gaps) or (catch_up == "all" and any(gap > every + 0.002 for gap in gaps)):
            yield f"schedule {name} of every {every:g} s fired with gaps of {dict(gaps)}"


def piped(case: Case) -> Iterator[str]:
    """Runs of pipelines that did not give what they had to, once."""
    for id, (expected, given) in case.ledger.pipelines.items():
        if Counter(given) != Counter(expected):
            missing, more = Counter(expected) - Counter(given), Counter(given) - Counter(expected)
            yield f"the run {id} has not given {dict(missing)}, and has given {dict(more)} too much"


def left(case: Case) -> Iterator[str]:
    """What has not ended."""
    for queue, count in case.final.left.items():
        if count:
            yield f"{queue} has {count} tasks that have not ended"


def seen_at_once(case: Case) -> Iterator[str]:
    """What clients saw, and what they failed by."""
    yield from case.ledger.broken_promises
    yield from case.ledger.errors


def _had_no_answer(case: Case, deed: str) -> bool:
    return any(name.startswith("TimedOut") and deed in name for name in case.ledger.acknowledged)


CHECKS: dict[str, Check] = {
    "lost": lost, "twice": twice, "stale_accepted": stale_accepted, "unexpected": unexpected, "forwards": forwarded,
    "order": in_line, "unique": alone, "groups": gathered, "trees": grown, "publications": published,
    "cancels": called_off, "dead_letters": mended, "pulls": pulled, "schedules": fired, "pipelines": piped,
    "left": left,
    "clients": seen_at_once,
}  # fmt: skip
"""By the name under which a run counts its violations."""


@dataclass
class Verdict:
    """How it went."""

    figures: dict[str, Any]
    violations: list[str]


def judge(case: Case) -> Verdict:
    """Makes all checks."""
    found = {name: list(check(case)) for name, check in CHECKS.items()}
    executions = sum(map(len, case.starts.values()))
    failed = Counter(note.id for note in case.notes if note.event == "fail")
    figures: dict[str, Any] = {
        "acknowledged": case.ledger.acknowledged.total(),
        "executions": executions,
        "again": sum(max(0, len(starts) - 1 - failed[id]) for id, starts in case.starts.items()),
        **{name: len(broken) for name, broken in found.items()},
    }
    return Verdict(figures, [f"{name}: {text}" for name, broken in found.items() for text in broken])
