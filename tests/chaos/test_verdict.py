"""Each promise that is broken on purpose, in the books of a small run, is seen, and named, by the check for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos import notes
from tests.chaos.ledger import GroupOrder, Ledger, Order, Taken
from tests.chaos.notes import Note
from tests.chaos.shop import made_of
from tests.chaos.verdict import CHECKS, Case, Final, judge


class Books:
    """A run in which all went well: a task of each kind."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.notes: list[Note] = []
        self.states: dict[str, str] = {}
        self.results: dict[str, Any] = {}
        self.final = Final(groups={"g-all": "done", "g-any": "done", "g-settled": "done", "g-bad": "failed"})
        for id, queue in (("o", "orders"), ("r", "relay"), ("l1", "lines"), ("l2", "lines")):
            self.work(queue, id)
        self.work("sink", "s", {"of": "r", "token": self.results["r"]})
        self.ledger.lines["key"] = ["l1", "l2"]
        for id in ("u1", "u2"):
            self.work("alone", id)
            self.ledger.alone["bread"].append(id)
        parts = [(1, False), (2, True), (3, False)]
        good = [(1, False), (3, False)]
        self.group("g-all", "all", good, [made_of(1), made_of(3)])
        self.group("g-any", "any", parts, [made_of(3)])
        self.group("g-settled", "settled", parts, [["done", made_of(1)], ["dead", "bad"], ["done", made_of(3)]])
        self.ledger.groups["g-bad"] = GroupOrder("all", parts)
        self.ledger.accepted["t"] = Order("trees", 5)
        self.states["t"] = "done"
        self.work("sums", "t-sum", made_of(5) + made_of(6) + made_of(7))
        self.ledger.news["n"], self.ledger.topics["n"] = ("news-1", "news-2"), "news.b"
        self.states |= {"n.1": "done", "n.2": "done"}
        self.ledger.accepted |= {"c": Order("slow"), "b": Order("brittle"), "d": Order("brittle")}
        self.ledger.called_off["c"] = 1
        self.ledger.died |= {"b", "d"}
        self.ledger.revived.add("b")
        self.states |= {"c": "cancelled", "b": "done", "d": "dead"}
        self.work("complaints", "notice-1", "b")
        self.work("complaints", "notice-2", "d")
        self.work("pulled", "p")
        self.ledger.taken.append(Taken("p", self.results["p"], 1.0))
        self.ledger.ended["p"] = (self.results["p"], 2.0)
        self.ledger.pipelines["run"] = ([0, 3], [0, 3])
        self.ledger.schedules["tick"] = ("all", 1.0)
        for second in (1, 2, 3):
            self.work("ticks", f"tick@2026-01-01T00:00:0{second}Z")

    def note(self, event: str, queue: str, id: str, token: int, made: Any = None, pid: int = 1) -> None:
        self.notes.append(Note(event, queue, id, token, float(len(self.notes)), pid, json.dumps(made)))

    def work(self, queue: str, id: str, made: Any = None) -> None:
        token = len(self.notes) + 1
        self.note("start", queue, id, token)
        self.note("end", queue, id, token, made)
        self.states[id], self.results[id] = "done", token
        if queue in ("orders", "relay", "lines", "alone", "pulled"):
            self.ledger.accepted[id] = Order(queue)

    def group(self, id: str, policy: str, parts: list[tuple[int, bool]], made: Any) -> None:
        self.ledger.groups[id] = GroupOrder(policy, parts)
        self.work("boxes", id, made)

    def case(self) -> Case:
        done = {"orders": 1}
        final = replace(
            self.final,
            states=self.states,
            results=self.results,
            ever_done={**done, **self.final.ever_done},
            listed={**done, **self.final.listed},
            fired={"tick": 3, **self.final.fired},
        )
        return Case(self.ledger, self.notes, final)


def again_after(books: Books, queue: str, id: str) -> None:
    books.note("start", queue, id, 1000)


def forward_again(books: Books) -> None:
    books.work("sink", "s-again", {"of": "r", "token": books.results["r"]})


def forward_stale(books: Books) -> None:
    books.notes = [note for note in books.notes if note.id != "s"]
    books.work("sink", "s", {"of": "r", "token": books.results["r"] - 1})


def forward_nothing(books: Books) -> None:
    books.notes = [note for note in books.notes if note.id != "s"]


def swap_line(books: Books) -> None:
    books.ledger.lines["key"].reverse()


def overlap(books: Books) -> None:
    end = next(note for note in books.notes if (note.id, note.event) == ("u1", "end"))
    books.notes[books.notes.index(end)] = end._replace(at=end.at + 1.5)


def call_back(id: str, made: Any) -> Callable[[Books], None]:
    def change(books: Books) -> None:
        books.notes = [note for note in books.notes if note.id != id]
        books.work("boxes", id, made)

    return change


def complete_twice(books: Books) -> None:
    books.final.ever_done.update(orders=2)  # type: ignore[attr-defined] # a dict


def leave_one(books: Books) -> None:
    books.final.left.update(orders=1)  # type: ignore[attr-defined] # a dict


BREACHES: dict[str, tuple[str, Callable[[Books], Any]]] = {
    "an accepted task is unknown": ("lost", lambda books: books.states.pop("o")),
    "a task is done under a token of nobody": ("lost", lambda books: books.results.update(o=77)),
    "a task is dead that should be done": ("lost", lambda books: books.states.update(l2="dead")),
    "a completion counts twice": ("twice", complete_twice),
    "a completion was accepted that was stale": ("stale_accepted", lambda books: again_after(books, "orders", "o")),
    "a task comes from nowhere": ("unexpected", lambda books: again_after(books, "orders", "x")),
    "a forward is there twice": ("forwards", forward_again),
    "a forward of a refused completion is there": ("forwards", forward_stale),
    "a forward is missing": ("forwards", forward_nothing),
    "a key is out of order": ("order", swap_line),
    "two of a unique key run at once": ("unique", overlap),
    "a unique task is gone": ("unique", lambda books: books.states.pop("u1")),
    "a group lacks a result": ("groups", call_back("g-all", [made_of(1)])),
    "a group has its results in another order": ("groups", call_back("g-all", [made_of(3), made_of(1)])),
    "a group of any has two results": ("groups", call_back("g-any", [made_of(1), made_of(3)])),
    "a group of settled has a wrong outcome": ("groups", call_back("g-settled", [["done", 4], ["done", 7], ["done", 10]])),
    "a group that failed calls back": ("groups", call_back("g-bad", [made_of(1), made_of(3)])),
    "a group never calls back": ("groups", lambda books: books.states.pop("g-all")),
    "a group calls back with two payloads": ("groups", lambda books: books.note("end", "boxes", "g-all", 99, [1, 1])),
    "a tree has no sum": ("trees", lambda books: books.ledger.accepted.update(t2=Order("trees", 1)) or books.states.update(t2="done")),
    "a publication is not in a queue": ("publications", lambda books: books.states.pop("n.2")),
    "a publication did not reach a queue": ("publications", lambda books: books.ledger.news.update(n=("news-1",))),
    "a cancelled task is done": ("cancels", lambda books: books.states.update(c="done")),
    "a cancel said too little": ("cancels", lambda books: books.ledger.called_off.update(c=0)),
    "a dead letter stays dead": ("dead_letters", lambda books: books.states.update(b="dead")),
    "a dead letter has no notice": ("dead_letters", lambda books: books.ledger.accepted.update(e=Order("brittle")) or books.states.update(e="dead")),
    "a dead letter has two notices": ("dead_letters", lambda books: books.work("complaints", "notice-3", "d")),
    "a pulled task comes back": ("pulls", lambda books: books.ledger.taken.append(Taken("p", 99, 3.0))),
    "a pulled task has another result": ("pulls", lambda books: books.results.update(p=99)),
    "a schedule misses a time": ("schedules", lambda books: books.work("ticks", "tick@2026-01-01T00:00:05Z")),
    "a schedule has a time twice": ("schedules", lambda books: books.work("ticks", "tick@2026-01-01T00:00:03.5Z")),
    "a pipeline has lost a result": ("pipelines", lambda books: books.ledger.pipelines["run"][1].pop()),
    "a pipeline has given a result twice": ("pipelines", lambda books: books.ledger.pipelines["run"][1].append(3)),
    "a task has not ended": ("left", leave_one),
    "a client saw something": ("clients", lambda books: books.ledger.broken_promises.append("it was done, and came back")),
}  # fmt: skip


def test_run_in_which_all_went_well_has_no_violations() -> None:
    assert judge(Books().case()).violations == []


@pytest.mark.parametrize("name", BREACHES)
def test_breach_is_seen_by_its_check(name: str) -> None:
    check, breach = BREACHES[name]
    books = Books()
    breach(books)

    assert list(CHECKS[check](books.case())), f"{name}, and {check} has seen nothing"


def test_each_check_is_tried() -> None:
    assert {check for check, _ in BREACHES.values()} == CHECKS.keys()


def test_notes_come_back_as_they_were_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv(notes.LEDGER, str(tmp_path))
    notes.write("start", "orders", "a b".replace(" ", "-"), 7)
    notes.write("end", "orders", "a-b", 7, '{"with": "a space"}')

    first, last = notes.read(tmp_path)
    assert (first.event, first.id, first.token) == ("start", "a-b", 7)
    assert json.loads(last.detail) == {"with": "a space"}
    assert first.at <= last.at
