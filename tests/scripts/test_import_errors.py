"""A module that cannot be imported: the user's own traceback, wherever it is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import zq
from tests.scripts.folder import Folder, wait_for
from zq.processes.references import ModuleFailedError, load_reference

FAULTS = {
    "missing": ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
    "inner": ("import shop.no_such_part", "ModuleNotFoundError: No module named 'shop.no_such_part'; 'shop' is not a package"),
    "from": ("from os import no_such_name", "ImportError: cannot import name 'no_such_name' from 'os'"),
    "relative": ("from . import kitchen", "ImportError: attempted relative import with no known parent package"),
    "name": ("ovens = nobody", "NameError: name 'nobody' is not defined"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "odd": (
        "class Odd(Exception):\n    def __str__(self): raise RuntimeError('no text')\nraise Odd",
        "Odd: <exception str() failed>",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _forget_shop() -> None:
    sys.modules.pop("shop", None)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", ["shop", "shop.py"])
def test_fault_of_a_module_is_told_with_file_and_line_and_nothing_of_zq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, place: str
) -> None:
    code, text = FAULTS[fault]
    (tmp_path / "shop.py").write_text(f"import json\n{code}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleFailedError) as caught:
        load_reference(f"{place}:worker")

    first, *lines = str(caught.value).splitlines()
    assert first == f"{place} cannot be imported:"
    line = len(code.splitlines()) + 1
    assert f'  File "{tmp_path}/shop.py", line {line}, in <module>' in lines
    assert text in lines[-1]
    assert "/zq/" not in str(caught.value)
    assert "importlib" not in str(caught.value)
    assert str(tmp_path / "shop.py") in caught.value.files


def test_fault_in_what_a_module_imports_is_told_from_the_module_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.py").write_text("import kitchen_of_shop\n")
    (tmp_path / "kitchen_of_shop.py").write_text("def heat():\n    return 1 / 0\nheat()\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleFailedError) as caught:
        load_reference("shop:worker")

    frames = [line.strip() for line in str(caught.value).splitlines() if line.strip().startswith("File")]
    assert frames == [
        f'File "{tmp_path}/shop.py", line 1, in <module>',
        f'File "{tmp_path}/kitchen_of_shop.py", line 3, in <module>',
        f'File "{tmp_path}/kitchen_of_shop.py", line 2, in heat',
    ]


@pytest.mark.parametrize("place", ["no_such_shop", "json.no_such_part", "no_such.shop.at.all"])
def test_only_a_module_that_is_not_there_is_called_missing(place: str) -> None:
    with pytest.raises(ValueError, match=f"^there is no module {place}: No module named"):
        load_reference(f"{place}:worker")


@pytest.mark.parametrize("place", ["./shop", ".shop", "a..b"])
def test_what_is_neither_module_nor_file_is_said_so(place: str) -> None:
    with pytest.raises(ValueError, match=r"expected the name of a module, or a file that ends in \.py"):
        load_reference(f"{place}:worker")


BROKEN = "import zq\ndef bake(x): return x\novens = nobody\nworker = zq.Worker()\n"


def check_words(text: str, folder: Folder) -> None:
    assert f'File "{folder.path}/shop.py", line 3, in <module>' in text, text
    assert "NameError: name 'nobody' is not defined" in text
    assert "/zq/" not in text
    assert "╭" not in text


@pytest.mark.parametrize(
    "command",
    [
        ["worker", "shop:worker"],
        ["worker", "shop.py:worker"],
        ["worker", "shop:worker", "--concurrency", "1"],
        ["pipeline", "draw", "shop:pipeline"],
        ["pipeline", "run", "shop:pipeline"],
        ["pipeline", "serve", "shop:pipeline", "--stage", "bake", "--bind", "tcp://127.0.0.1:1"],
    ],
)
def test_command_line_shows_the_fault_of_the_module(folder: Folder, command: list[str]) -> None:
    folder.write("shop.py", BROKEN)

    done = folder.run("-m", "zq.cli", *command)

    assert done.returncode == 2
    check_words(done.stderr, folder)


def test_executor_shows_the_fault_of_the_module(folder: Folder) -> None:
    folder.write("shop.py", BROKEN.replace("ovens = nobody", "import __main__\novens = __main__.nobody"))
    folder.write(
        "main.py",
        """
        import zq
        nobody = 1
        from shop import bake
        if __name__ == "__main__":
            with zq.Executor(max_workers=1) as executor:
                executor.submit(bake, 1).result()
        """,
    )

    done = folder.run("main.py")

    assert done.returncode == 1
    assert f'File "{folder.path}/shop.py", line 4, in <module>' in done.stderr
    assert "AttributeError: module '__main__' has no attribute 'nobody'" in done.stderr
    assert "there is no module" not in done.stderr


CHILD_ONLY = """
    import os, zq
    from patterns import stage
    if os.getpid() != int(os.environ.setdefault("PARENT_OF_SHOP", str(os.getpid()))):
        ovens = nobody
    worker = zq.Worker(processes=1)
    @worker.task("q")
    SORT bake(task): return 1
    @stage(OPTIONS)
    def double(x): return 2 * x
    if __name__ == "__main__":
        RUN
"""


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"RUN": "worker.run()"}, "RunnerBrokenError"),
        ({"RUN": "worker.run()", "SORT": "async def"}, "RunnerBrokenError"),
        ({"RUN": "list(double.run([1]))"}, "StartError"),
        ({"RUN": "list(double.run([1]))", "OPTIONS": "timeout=30.0"}, "StartError"),
        ({"RUN": "list(double.run([1], data='run.zq'))"}, "StartError"),
    ],
    ids=["worker", "coroutines", "direct", "timeout", "durable"],
)
def test_child_that_cannot_import_its_module_ends_the_run_with_the_fault(
    folder: Folder, client: zq.Client, changes: dict[str, str], kind: str
) -> None:
    receipt = client.submit("q", 1)
    text = CHILD_ONLY
    for name, value in {"SORT": "def", "OPTIONS": "", **changes}.items():
        text = text.replace(name, value)
    folder.write("shop.py", text)

    done = folder.run("shop.py")

    assert done.returncode == 1
    words = done.stderr[done.stderr.rindex(f"{kind}: ") :]
    assert f'File "{folder.path}/shop.py", line 5, in <module>' in words
    assert "NameError: name 'nobody' is not defined" in words
    assert "/zq/" not in words
    assert (client.status(receipt.id).state, client.status(receipt.id).attempts) == ("waiting", 0)


def test_process_that_serves_a_stage_shows_the_fault_of_the_module(folder: Folder) -> None:
    text = CHILD_ONLY
    for name, value in {"SORT": "def", "OPTIONS": "", "RUN": "pass"}.items():
        text = text.replace(name, value)
    folder.write("shop.py", text)
    server = folder.start(
        *("-m", "zq.cli", "pipeline", "serve", "shop:double", "--stage", "double", "--bind", "tcp://127.0.0.1:1")
    )
    wait_for(lambda: "NameError: name 'nobody' is not defined" in folder.said_by(server), "the fault")

    said = folder.said_by(server)

    assert said.startswith("zq pipeline serve: stage double cannot work: shop cannot be imported:")
    assert f'File "{folder.path}/shop.py", line 5, in <module>' in said
    assert "/zq/" not in said
