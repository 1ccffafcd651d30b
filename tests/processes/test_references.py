"""Things that are named so that another process can import them."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patterns import shop
from zq.processes import references
from zq.processes.references import StartedOnImportError, load_provider, load_reference, place_of, reference_to

SCRIPT = """
import dataclasses
with open(__file__ + ".runs", "a") as runs:
    print(__name__, file=runs)
@dataclasses.dataclass
class Pizza:
    name: str
    @classmethod
    def plain(cls):
        return cls("margherita")
if __name__ == "__main__":
    raise SystemExit("the main part is not for others")
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A script that notes each time it is run; whatever this process has loaded is forgotten afterwards."""
    monkeypatch.delitem(
        sys.modules, references.MAIN_OF_CHILD, raising=False
    )  # of multiprocessing, if a test loads that
    monkeypatch.setattr(references, "_lent", [])  # of commands that another test has run in this process
    before = set(sys.modules)
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    yield path
    for name in set(sys.modules) - before:
        if name.startswith(references.MAIN_OF_CHILD):
            file = sys.modules.pop(name).__file__
            references._scripts.pop(str(file), None)


def runs_of(script: Path) -> list[str]:
    return Path(f"{script}.runs").read_text().split()


class Oven:
    @classmethod
    def make(cls) -> Oven:
        return cls()

    def bake(self) -> None:
        """Has no name of its own: it is bound to one oven."""


class GasOven(Oven):
    pass


# Names.


@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (runs_of, f"{__name__}:runs_of"),
        (Oven.make, f"{__name__}:Oven.make"),
        (GasOven.make, f"{__name__}:GasOven.make"),
        (Oven, f"{__name__}:Oven"),
        (len, "builtins:len"),
        (str.upper, "builtins:str.upper"),
    ],
)
def test_reference_leads_back(function: Any, reference: str) -> None:
    assert reference_to(function) == reference
    assert load_reference(reference) == function


def test_function_that_another_thing_holds_is_named_if_that_is_said() -> None:
    assert reference_to(shop.double.function, held_as="function") == "tests.patterns.shop:double"
    with pytest.raises(ValueError, match=r"there is another thing, or nothing, at tests\.patterns\.shop\.double"):
        reference_to(shop.double.function)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda: 1, "a lambda has no name"),
        (functools.partial(runs_of), "a partial has no name"),
        (Oven().bake, "methods of objects, partial and decorated functions have no name of their own"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_the_reason(function: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        reference_to(function)


# Scripts.


def test_script_is_run_once_in_a_process_as_a_module_that_stays(script: Path) -> None:
    pizza = load_reference(f"{script}:Pizza")

    assert load_reference(f"{script.parent}/../{script.parent.name}/script.py:Pizza") is pizza
    assert load_reference(f"{script}:Pizza.plain")() == pizza("margherita")
    assert runs_of(script) == ["__mp_main__"]
    assert sys.modules[pizza.__module__].Pizza is pizza
    assert dataclasses.replace(pizza.plain(), name="salami").name == "salami"
    assert reference_to(pizza) == f"{script.resolve()}:Pizza"


def test_second_script_does_not_take_the_place_of_the_first(script: Path) -> None:
    other = script.with_name("other.py")
    other.write_text(SCRIPT)
    first, second = load_reference(f"{script}:Pizza"), load_reference(f"{other}:Pizza")

    assert runs_of(other) == ["__mp_main__2"]
    assert first is not second
    assert (reference_to(first), reference_to(second)) == (f"{script}:Pizza", f"{other}:Pizza")


def test_script_is_run_once_by_threads_that_ask_at_the_same_time(script: Path) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(load_reference(f"{script}:Pizza"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(runs_of(script)) == 1
    assert len(set(map(id, found))) == 1


def test_script_that_failed_is_run_again(script: Path) -> None:
    script.write_text("ovens = 1 / 0")
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        load_reference(f"{script}:ovens")
    script.write_text("ovens = 2")

    assert load_reference(f"{script}:ovens") == 2


@pytest.mark.parametrize("command", [["script.py"], ["-m", "script"]])
def test_own_script_is_known_and_not_run_again(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "script.py").write_text(
        "from zq.processes.references import load_reference, loaded_module, place_of, reference_to\n"
        "import sys\n"
        "print('run')\n"
        "def bake(): pass\n"
        "reference = reference_to(bake)\n"
        "main = sys.modules['__main__']\n"
        "print(load_reference(reference) is bake, loaded_module(place_of(main)) is main, reference)\n"
    )

    found = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, cwd=tmp_path)

    place = "script" if "-m" in command else str((tmp_path / "script.py").resolve())
    assert found.stdout.splitlines() == ["run", f"True True {place}:bake"]


def test_module_that_was_typed_in_has_no_place() -> None:
    typed = type(sys)("__main__")

    assert place_of(typed) is None


# Loading.


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("nothing", "expected module:name or file.py:name, got 'nothing'"),
        (":x", "expected module:name"),
        ("no_such_module_at_all:x", "there is no module no_such_module_at_all"),
        ("/no/such/file.py:x", "there is no file /no/such/file.py"),
        ("tests.patterns.shop:nobody", "there is no nobody in tests.patterns.shop"),
        ("tests.patterns.shop:nobody.at.all", "there is no nobody.at.all in"),
    ],
)
def test_reference_that_leads_nowhere_is_refused(reference: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        load_reference(reference)


def test_file_that_is_not_python_is_refused_with_the_line(script: Path) -> None:
    script.write_text("\nthis is no Python\n")

    with pytest.raises(ValueError, match=r"script\.py line 2 is not Python: invalid syntax"):
        load_reference(f"{script}:x")


def test_importing_by_reference_is_known_to_the_thread_that_does_it(script: Path) -> None:
    script.write_text("from zq.processes.references import refuse_while_loading\nrefuse_while_loading('it runs')")

    with pytest.raises(
        StartedOnImportError, match=r"^it runs while its module is imported for what it defines: put the run"
    ):
        load_reference(f"{script}:x")
    references.refuse_while_loading("it runs")  # which it may, outside of an import


def test_part_of_what_has_no_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="a type has no parts, so there is no 'bake' of"):
        load_provider(f"{__name__}:Oven@bake")
