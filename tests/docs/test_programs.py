"""The snippets of docs/faces.md and docs/pipelines.md run as they stand, but for the addresses of other machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.docs.pages import ROOT, Fence, Section, read_sections
from tests.docs.snippets import run_python
from tests.docs.walks import free_endpoint

FACES = {one.title: one for one in read_sections(ROOT / "docs" / "faces.md")}
PIPELINES = {one.title: one for one in read_sections(ROOT / "docs" / "pipelines.md")}

SHOP, USE_OF_SHOP = FACES["2. Apps"].fences_in("python")
KITCHEN = PIPELINES["Pipelines"].fences_in("python")[0]

PLUGIN = "6. The pytest plugin"

BOXES = "{'box': [{'name': 'funghi', 'baked': True}, {'name': 'diavola', 'baked': True}]}"


class Desk:
    """Where the programs of a page are: a folder with `shop.py` and `kitchen.py`, and a coordinator."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.addresses = {"tcp://10.0.0.1:7700": address, "tcp://queue.example:7700": address}
        (folder / "shop.py").write_text(SHOP.text)
        (folder / "kitchen.py").write_text(KITCHEN.text)

    def run(self, fence: Fence, file: str, **names: Any) -> dict[str, Any]:
        """Runs a fence in this process, at the addresses of this machine; returns its variables."""
        text = fence.text
        for theirs, ours in self.addresses.items():
            text = text.replace(theirs, ours)
        run_python(Fence(fence.language, text, fence.line), names, f"<{file}>")
        return names

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder
        )


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with zq.Coordinator(tmp_path / "coordinator", bind=f"ipc://{tmp_path}/socket") as coordinator:
        monkeypatch.setenv("ZQ_ADDRESS", coordinator.address)
        monkeypatch.delenv("ZQ_NAMESPACE", raising=False)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.chdir(tmp_path)
        yield Desk(tmp_path, coordinator.address)
    for name in ("shop", "kitchen"):
        sys.modules.pop(name, None)


def endings(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=100)
    return process.returncode, output


@pytest.mark.parametrize(
    "section", [one for one in FACES.values() if one.fences and one.title != PLUGIN], ids=lambda one: one.anchor
)
def test_snippet_of_faces_runs_as_it_stands(section: Section, desk: Desk) -> None:
    for fence in section.fences_in("python"):
        if fence is SHOP:
            continue  # it is a file, which is imported by the next one
        names = desk.run(fence, "docs/faces.md")
        for name, value in names.items():
            if name.startswith("test_"):
                value()


def test_tests_that_show_the_plugin_pass(desk: Desk) -> None:
    (desk.folder / "test_shop.py").write_text(FACES[PLUGIN].fences_in("python")[0].text)
    code, output = endings(desk.start("-m", "pytest", "-q", "-p", "zq.pytest_plugin", "test_shop.py"))

    assert code == 0, output
    assert "2 passed" in output


def test_kitchen_is_a_program(desk: Desk) -> None:
    code, output = endings(desk.start("kitchen.py"))

    assert code == 0, output
    assert BOXES in output.splitlines()


def test_kitchen_runs_durably(desk: Desk) -> None:
    import kitchen  # type: ignore[import-not-found]  # it is written by the fixture

    desk.run(PIPELINES["Durable runs"].fences_in("python")[0], "docs/pipelines.md", **vars(kitchen))


def test_kitchen_runs_on_other_machines(desk: Desk) -> None:
    import kitchen

    ours = [free_endpoint(), free_endpoint()]
    desk.addresses |= zip(("tcp://10.0.0.2:7801", "tcp://10.0.0.2:7802"), ours, strict=True)
    binds = [word for endpoint in ours for word in ("--bind", endpoint)]
    zq.Key.new("kitchen", "worker").write("kitchen.toml")  # as the text there says
    what = ("kitchen:kitchen", "--stage", "bake", "--key", "kitchen.toml")
    server = desk.start("-m", "zq.cli", "pipeline", "serve", *what, *binds)
    try:
        desk.run(PIPELINES["Other machines"].fences_in("python")[0], "docs/pipelines.md", **vars(kitchen))
    finally:
        server.send_signal(signal.SIGTERM)
        code, output = endings(server)
    assert code == 0, output


def test_every_fence_of_python_in_the_documents_is_run() -> None:
    pages = {
        path.name
        for path in (ROOT / "docs").glob("*.md")
        if any(section.fences_in("python") for section in read_sections(path))
    }
    titles = [one.title for one in PIPELINES.values() if one.fences_in("python")]

    assert pages == {"faces.md", "pipelines.md", "semantics.md"}
    assert titles == ["Pipelines", "Durable runs", "Other machines"]
    assert all(len(PIPELINES[title].fences_in("python")) == 1 for title in titles)
