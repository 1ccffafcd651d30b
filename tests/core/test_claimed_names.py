"""What a peer says it is called gives it nothing: the key of its connection decides."""

from __future__ import annotations

import pytest

from tests.core.guarded import GuardedDesk, task
from zq.wire.messages import Command, Error, Goodbye, Hello, Message, Pull, Receipt, Schedule, Submit

CLAIMS: list[Message] = [
    Hello("boss", "i", ("q",), 1, 1, ()),
    Pull(7, "boss", "q", 1, 0.0, 30.0),
    Goodbye("boss", "i"),
    Command(7, "set-namespace", {"name": "boss", "max_tasks": 1}),
    Schedule(7, task("boss", "q"), 60.0, None, "UTC", "one"),
]


@pytest.mark.parametrize("message", CLAIMS, ids=lambda message: type(message).__name__)
def test_whoever_calls_itself_by_the_name_of_another_key_has_its_own_rights(message: Message) -> None:
    desk = GuardedDesk()
    till = desk.let("till", "client", submit=("till",), work=("till",))
    assert isinstance(desk.boss(Submit(1, (task("of-the-boss", "q"),))), Receipt)

    answers = desk.say(till, message)

    assert all(isinstance(answer, Error) and answer.code == "denied" for answer in answers)
    assert desk.machine.books.leases == {}
    assert "boss" not in desk.machine.books.workers
    assert desk.machine.books.schedules == 0
