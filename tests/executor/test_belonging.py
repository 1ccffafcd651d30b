"""What whoever may submit calls can have called: what belongs to an allowed module, and nothing else."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.executor import functions
from tests.executor.strangers import trapped
from tests.process.kitchen import Kitchen, wait_until
from zq.errors import TaskFailedError
from zq.executor.belonging import find_exception, find_own, is_allowed
from zq.executor.remote_call import _make_exception, describe, pack, unpack

PLACE = trapped.__name__

ALLOW = ("tests.executor.strangers",)

OWN = {
    "price": 2,
    "wrapped": 2,
    "cached": 3,
    "kept": 4,
    "Menu.cost": 3,
    "Menu.Card.fold": 1,
}
"""What may be called with one number, and what comes of 1."""

MORE = ["wrapping", "Trap", "Liar", "Kept", "Menu", "Menu.Card", "Menu.title"]


@pytest.fixture(autouse=True)
def nothing_is_sprung() -> Iterator[None]:
    trapped.CALLED.clear()
    yield
    assert trapped.CALLED == []


def every_path(depth: int) -> Iterator[str]:
    """Yields dotted names of what can be reached in the module by `getattr`, and of what would answer for itself."""
    waiting: list[tuple[str, Any, int]] = [("", trapped, 0)]
    while waiting:
        before, thing, level = waiting.pop()
        names = dir(type(thing)) if isinstance(thing, trapped.Trap | trapped.Liar) else dir(thing)
        for name in [*names, "anything", "__globals__", "__wrapped__", "__call__", "__func__", "function"]:
            yield (path := f"{before}{name}")
            found = vars(thing).get(name) if hasattr(thing, "__dict__") else None
            if level + 1 < depth and found is not None:
                waiting.append((f"{path}.", found, level + 1))


def test_of_all_paths_through_a_module_only_its_own_lead_anywhere() -> None:
    found = []
    for path in every_path(3):
        try:
            find_own(f"{PLACE}:{path}", ALLOW)
        except ValueError:
            continue
        found.append(path)

    assert sorted(set(found)) == sorted([*OWN, *MORE])


def test_random_paths_reach_nothing_but_what_belongs_to_the_module() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    names = [*{part for path in every_path(2) for part in path.split(".")}, "", " ", "os", "..", "x/y", "\0", "é", "1"]
    allowed = {*OWN, *MORE}
    for _ in range(20_000):
        path = ".".join(chance.choices(names, k=chance.randint(1, 4)))
        try:
            find_own(f"{PLACE}:{path}", ALLOW)
        except ValueError:
            continue
        assert path in allowed


@pytest.mark.parametrize(("path", "result"), OWN.items())
def test_what_was_defined_in_the_module_is_found_whatever_decorates_it(path: str, result: int) -> None:
    assert find_own(f"{PLACE}:{path}", ALLOW)(1) == result


@pytest.mark.parametrize("path", OWN)
def test_what_an_executor_sends_of_these_is_found_again(path: str) -> None:
    function: Any = trapped
    for name in path.split("."):
        function = getattr(function, name)

    assert describe(function).path == f"{PLACE}:{path}"


def test_inherited_class_method_needs_its_own_class_allowed() -> None:
    assert find_own(f"{PLACE}:Menu.owner", (*ALLOW, "tests.executor.functions"))() == "Menu"
    with pytest.raises(ValueError, match=r"no public function or class Menu\.owner"):
        find_own(f"{PLACE}:Menu.owner", ALLOW)


@pytest.mark.parametrize(
    "place",
    [
        "plain.x.py",
        "plain.py",
        "./plain.py",
        "plain.egg-info/../../tmp/any.py",
        "plain./../x.py",
        "plain.",
        "plain..x",
        "plain._x",
        "plain.__main__",
        "plain.x-y",
        "plain.x y",
        "plain.x\0",
        "plain.1",
        "plain.x/y",
        "plainer",
        "",
        ".",
        "os",
        "/srv/shop.pyx",
        "/srv/shop.py.x",
        "/srv/../srv/shop.py",
    ],
)
def test_place_that_is_neither_listed_nor_below_a_listed_one_is_refused(place: str) -> None:
    assert not is_allowed(place, ("plain", "/srv/shop.py", ""))


def test_places_that_are_listed_and_what_is_below_them_are_allowed() -> None:
    for place in ("plain", "plain.x", "plain.x.y", "_operator", "/srv/shop.py"):
        assert is_allowed(place, ("plain", "_operator", "/srv/shop.py"))


def test_module_is_found_by_its_own_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="os is no package"):
        find_own("os.path:join", ("os",))
    monkeypatch.setitem(sys.modules, "tests.executor.strangers.alias", functions)
    with pytest.raises(ValueError, match="another name of a module"):
        find_own("tests.executor.strangers.alias:untyped", ALLOW)
    with pytest.raises(ValueError, match="trapped is no package"):
        find_own("tests.executor.strangers.trapped.x:join", ALLOW)


def test_exception_is_made_again_only_of_a_class_that_was_defined_where_the_worker_says() -> None:
    assert find_exception("builtins", "OSError") is OSError
    assert find_exception("builtins", "IOError") is None
    for path in (
        f"{PLACE}:trap.x",
        f"{PLACE}:anything",
        f"{PLACE}:trap",
        "os:system",
        "os:error",
        "nowhere:X",
        ":",
        "",
    ):
        assert isinstance(_make_exception("1", path, pack(["id"], "it"), "text"), TaskFailedError)


@pytest.fixture
def kitchen(tmp_path: Path) -> Iterator[Kitchen]:
    one = Kitchen(tmp_path)
    try:
        one.start_coordinator()
        wait_until((tmp_path / "socket").exists, "the coordinator")
        yield one
    finally:
        one.close()


PLAIN = "def price(number):\n    return 2 * number\n"
SHOP = "import os\nimport json as js\nfrom os import getuid\ndef price(number):\n    return 3 * number\n"


@pytest.fixture
def folder(tmp_path: Path, kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a worker of the executor in it."""
    place = tmp_path / "folder"
    for name, text in {
        "plain.py": PLAIN,
        "shop.py": SHOP,
        "plain.d/x.py": PLAIN,
        "plain.egg-info/x": "",
        "any.py": PLAIN,
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    (place / "plain.x.py").write_text("import pathlib\npathlib.Path('run').touch()\ndef price(number): ...\n")
    (place / "lib").mkdir()
    (place / "lib" / "__init__.py").touch()
    (place / "lib" / "part.py").write_text(PLAIN)
    monkeypatch.setenv("ZQ_EXECUTOR_ALLOW", f"plain, shop, lib, {place / 'any.py'}")
    kitchen.start_in(place, "worker", "zq.executor:worker", "--processes", "1")
    return place


def test_stranger_has_a_worker_call_what_it_allows_and_nothing_else(folder: Path, kitchen: Kitchen) -> None:
    attacks: dict[str, list[object]] = {
        "os:getpid": [],
        "builtins:open": ["plain.py"],
        "plain:__loader__.get_data": ["/etc/passwd"],
        "plain:__loader__.set_data": ["plain.y.py", b"import os"],
        "plain:__builtins__.open": ["plain.py"],
        "plain:price.__globals__.get": ["__builtins__"],
        "plain:price.__call__": [1],
        "plain:__spec__.loader.get_data": ["/etc/passwd"],
        "plain.x.py:price": [1],
        "plain.d/x.py:price": [1],
        "plain.d/../any.py:price": [1],
        f"plain.egg-info/../{'../' * 20}{str(folder)[1:]}/any.py:price": [1],
        "./any.py:price": [1],
        "plain.x:price": [1],
        "plain.py:price": [1],
        "shop:os.getpid": [],
        "shop:os.system": [f"touch {folder}/system"],
        "shop:getuid": [],
        "shop:js.dumps": [1],
        "lib:part.price": [1],
        "lib.part.price:__call__": [1],
        "lib.__init__:price": [1],
        "plain": [],
        ":": [],
        "plain:": [],
        "x" * 100_000 + ":price": [1],
        "plain:\x1b[31mprice\n": [1],
    }
    with kitchen.client() as client:

        def call(path: str, *args: object) -> Any:
            payload = {"function": path, "args": pack(list(args), "x"), "kwargs": pack({}, "x")}
            return client.submit("zq.executor", payload, max_attempts=1).result(60)

        assert unpack(call("plain:price", 2)["result"]) == 4
        assert unpack(call("shop:price", 2)["result"]) == 6
        assert unpack(call("lib.part:price", 2)["result"]) == 4
        assert unpack(call(f"{folder / 'any.py'}:price", 2)["result"]) == 4
        for path, args in attacks.items():
            with pytest.raises(zq.TaskFailedError, match=r"may not be called here|there is no function"):
                print(path[:100], call(path, *args))
    assert {one.name for one in folder.iterdir()} - {"__pycache__"} == {
        *("plain.py", "shop.py", "plain.d", "plain.egg-info", "any.py", "plain.x.py", "lib"),
    }
