"""Which room may import which: every import counts, those for type checkers and those inside of functions too."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture.tree import ROOT, Import, all_imports, is_under, parsed, sources, target_of

FILES_PER_FOLDER_MAX = 20

ROOMS: dict[str, str] = {
    "zq.errors": "",
    "zq.lazy": "",
    "zq.handling": "",
    "zq.wire": "zq.errors",
    "zq.submit_options": "zq.wire",
    "zq.task": "zq.submit_options zq.wire",
    "zq.core": "zq.task zq.wire zq.errors",
    "zq.monitor": "zq.wire",
    "zq.keys": "zq.core zq.processes zq.errors",
    "zq.sessions": "zq.wire zq.task zq.errors",
    "zq.processes": "",
    "zq.sockets": "zq.sessions zq.keys zq.processes zq.wire zq.errors",
    "zq.store": "zq.core.storage zq.core.sums zq.core.tables zq.processes zq.errors",
    "zq.care": "zq.core zq.store zq.errors",
    "zq.server": "zq.core zq.keys zq.store zq.processes zq.wire zq.errors",
    "zq.client": "zq.sessions zq.sockets zq.keys zq.handling zq.task zq.submit_options zq.wire zq.errors",
    "zq.worker": "zq.sessions zq.sockets zq.keys zq.processes zq.handling zq.task zq.submit_options zq.wire zq.errors",
    "zq.app": "zq.client zq.worker zq.server.calendar zq.core zq.store zq.sessions zq.sockets zq.keys zq.processes zq.handling zq.task zq.submit_options zq.wire zq.errors",
    "zq.executor": "zq.app zq.client zq.worker zq.server zq.processes zq.handling zq.sessions zq.sockets zq.keys zq.task zq.submit_options zq.wire zq.errors",
    "zq.dashboard": "zq.monitor",
    "zq.telemetry": "zq.app zq.handling zq.task zq.wire",
    "zq.demo": "zq.processes",
    "zq.cli": "zq",
    "zq.__main__": "zq",
    "zq.pytest_plugin": "zq",
    "patterns.errors": "",
    "patterns.sockets": "",
    "patterns.pipeline": "",
    "patterns.work": "patterns.pipeline",
    "patterns.run": "patterns.work patterns.errors",
    "patterns.direct": "patterns.run patterns.work patterns.pipeline patterns.sockets patterns.errors",
    "patterns.durable": "patterns.run patterns.work patterns.pipeline patterns.errors",
    "patterns.guide": "patterns.sockets",
    "patterns.start": "patterns.direct patterns.durable patterns.run patterns.pipeline",
    "patterns.commands": "patterns",
}
"""What each room may import beside itself, by prefix. `zq` alone is the package and everything in it."""

FLOORS: dict[str, int] = {
    "zq.core.options": 0,
    "zq.core.peer_limits": 0,
    "zq.core.accounts": 0,
    "zq.core.storage": 0,
    "zq.core.sums": 0,
    "zq.core.tables": 0,
    "zq.core.counters": 0,
    "zq.core.arguments": 0,
    "zq.core.pages": 0,
    "zq.core.bindings": 0,
    "zq.core.ring": 0,
    "zq.core.unhurried": 0,
    "zq.core.recounted": 1,
    "zq.core.measures": 1,
    "zq.core.state": 1,
    "zq.core.tasks": 2,
    "zq.core.admin": 3,
    "zq.core.clocks": 3,
    "zq.core.insight": 4,
    "zq.core.rights": 5,
    "zq.core.remains": 5,
    "zq.core.recount": 6,
    "zq.core.opening": 6,
    "zq.core.upkeep": 6,
    "zq.core.coordinator": 6,
}
"""Inside of the core: who stands higher may import who stands lower, never the other way."""

OF_ZQ_FOR_PATTERNS = ("zq.processes", "zq.lazy", "zq.handling", "zq.keys")
"""What patterns may import of zq beside the public names: processes, how names are loaded when they are first used,
how anybody's code is called, and keys.
"""

OVER_PUBLIC_NAMES = ("zq.dashboard", "zq.demo")
"""Rooms of zq that use it as any program does: they import the package, and of it only what it exports."""

ROOFS = ("zq", "patterns")
"""The packages themselves name everything that is public; whoever imports them from below could reach what is above."""

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("patterns.pipeline.pipeline", "patterns.start"): "a pipeline's methods load what runs it when they are called",
    ("patterns.pipeline.pipeline", "patterns.run.running"): "the same, for type checkers",
    ("patterns.pipeline.pipeline", "patterns.run.settings"): "the same, for type checkers",
    ("patterns.pipeline.pipeline", "patterns.work.plan"): "the same",
    ("patterns.pipeline.pipeline", "patterns.work.drawing"): "the same",
    ("patterns.pipeline.pipeline", "patterns.durable.stage_worker"): "the same",
}
"""Imports (by, target) that the rule does not allow and that stand all the same, each with its reason."""


def room_of(module: str) -> str:
    return next((room for room in ROOMS if is_under(module, room)), module)


def floor_of(module: str) -> int:
    return next((floor for place, floor in FLOORS.items() if is_under(module, place)), -1)


def is_allowed(found: Import) -> bool:
    by, target = found.by, target_of(found)
    if by in ROOFS:
        return not (by == "zq" and is_under(target, "patterns"))
    if (by, target) in EXCEPTIONS:
        return True
    if is_under(by, "zq") and is_under(target, "patterns"):
        return False
    if is_under(by, "patterns") and is_under(target, "zq"):
        return target == "zq" or any(is_under(target, room) for room in OF_ZQ_FOR_PATTERNS)
    room = room_of(by)
    if target == "zq" and room in OVER_PUBLIC_NAMES:
        return True
    if target == "zq" and found.name == "__version__":
        return True
    if is_under(target, room):
        return not is_under(by, "zq.core") or 0 <= floor_of(target) <= floor_of(by)
    return any(is_under(target, may) for may in ROOMS[room].split())


def wrong_imports(imports: Iterable[Import]) -> list[Import]:
    return [found for found in imports if any(is_under(found.module, roof) for roof in ROOFS) and not is_allowed(found)]


def test_rooms_import_only_what_they_may() -> None:
    wrong = wrong_imports(all_imports("zq", "patterns"))

    assert not wrong, "\n".join(map(str, wrong))


PLANTED = [
    Import("zq.wire.codec", "zq.core.tables", "SCHEMA"),  # below imports above
    Import("zq.core.state.books", "zq.core.tasks.settling", "settle"),  # a floor of the core imports a higher one
    Import("zq.core.tasks.settling", "zq.core.insight", "queries"),  # the same, by the name of a module
    Import("zq.core.coordinator", "zq.store.memory", "MemoryStore"),  # the core knows a store
    Import("zq.sessions.client", "zq.core.tables", None),  # a session knows the coordinator
    Import("zq.client.client", "zq.worker.harvest", "Report"),  # two faces know each other
    Import("zq.client.client", "zq.core.state.books", "Books"),  # a client knows the coordinator
    Import("zq.worker.worker", "zq.client.receipt", "Receipt"),  # the other way round
    Import("zq.server.loop", "zq.client", None),  # a coordinator knows its clients
    Import("zq.processes.references", "zq.task", "Task"),  # processes know tasks
    Import("zq.store.lmdb", "zq.core.state.queue", "Queue"),  # a store knows what is stored
    Import("zq.sockets.link", "zq", "Client"),  # the way round over the package itself
    Import("zq.cli.tasks", "patterns", "stage"),  # zq knows patterns
    Import("patterns.run.feeder", "zq.client.client", "Client"),  # patterns see what zq does not export
    Import("patterns.direct.engine", "patterns.durable.engine", None),  # two grades know each other
    Import("patterns.work.plan", "patterns.run", "running"),  # a floor of patterns imports a higher one
    Import("patterns.run.running", "patterns.direct.engine", "DirectEngine"),  # a run knows a grade
    Import("patterns.guide.sink", "patterns.pipeline.stages", "stage"),  # the guide stands on sockets alone
    Import("patterns.pipeline.stages", "patterns", "Run"),  # the way round over the package itself
]


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_the_rule_finds_a_planted_import(planted: Import) -> None:
    assert wrong_imports([planted]) == [planted]


def test_every_module_has_a_room() -> None:
    found = {found.by for found in all_imports("zq", "patterns")} - set(ROOFS)

    assert not [module for module in found if room_of(module) not in ROOMS]
    assert not [module for module in found if is_under(module, "zq.core.") and floor_of(module) < 0]


def test_every_exception_is_still_needed() -> None:
    found = {(one.by, target_of(one)) for one in all_imports("zq", "patterns")}

    assert EXCEPTIONS.keys() <= found


def graph_of(imports: Iterable[Import]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for found in imports:
        target = target_of(found)
        is_ours = any(is_under(target, roof) for roof in ROOFS) and found.by not in ROOFS and target not in ROOFS
        if is_ours and (found.by, target) not in EXCEPTIONS:
            graph.setdefault(found.by, set()).add(target)
    return graph


def circle_in(imports: Iterable[Import]) -> list[str]:
    """Returns the files of a circle, or nothing when there is none."""
    try:
        list(TopologicalSorter(graph_of(imports)).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def test_there_is_no_circle_of_files() -> None:
    assert not circle_in(all_imports("zq", "patterns"))


def test_a_planted_circle_is_found() -> None:
    planted = Import("zq.errors", "zq.wire.codec", "encode")

    assert circle_in([planted, *(found for found in all_imports("zq") if is_under(found.by, "zq.wire"))])


def test_folders_hold_a_number_of_files_that_can_be_looked_over() -> None:
    files = Counter(path.parent for path in sources("zq", "patterns"))
    crowded = {str(folder.relative_to(ROOT)): count for folder, count in files.items() if count > FILES_PER_FOLDER_MAX}

    assert not crowded


def test_every_permission_is_used() -> None:
    found = [(room_of(one.by), target_of(one)) for one in all_imports("zq", "patterns")]
    spare = [
        f"{room}: {may}"
        for room, allowed in ROOMS.items()
        for may in allowed.split()
        if not any(by == room and is_under(target, may) for by, target in found)
    ]

    assert not spare, "a door that nobody uses"


SEEN = re.compile(r"May import: (.*?)[.;](?= |$)")


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / room.replace(".", "/")).is_dir()])
def test_every_room_says_what_it_is_and_what_it_may_import(room: str) -> None:
    package = room.split(".", maxsplit=1)[0]
    text = page_of(room)
    found = SEEN.search(" ".join(text.split()))
    allowed = [one.removeprefix(f"{package}.") for one in ROOMS[room].split()]

    assert text.split("\n")[0].endswith(".")
    assert found is not None, "say what the room is, what it may import, and what does not belong in it"
    named = {"zq": "everything", "": f"nothing of {package}"}.get(ROOMS[room], ", ".join(allowed))
    assert found[1].split(", inside")[0] == named


@pytest.mark.parametrize(
    "room", ["zq.core.state", "zq.core.tasks", "zq.core.admin", "zq.core.insight", "zq.core.rights"]
)
def test_every_floor_of_the_core_says_what_it_may_import(room: str) -> None:
    assert "May import: " in page_of(room)


def page_of(room: str) -> str:
    return ast.get_docstring(parsed(ROOT / room.replace(".", "/") / "__init__.py")) or ""
