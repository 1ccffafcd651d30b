"""The examples of pipelines run, print what they promise, and are short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name: str, *arguments: str) -> list[str]:
    finished = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "zq pipeline, direct: " in finished.stderr
    return finished.stdout.splitlines()


def test_word_count_adds_up_all_parts_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "first.txt").write_text("the quick brown fox\njumps over the lazy dog\n" * 5000)  # several parts
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "second.txt").write_text("The end.")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "other.md").write_text("not counted")

    assert run_example("word_count.py", str(tmp_path), "--top", "3") == [
        "3 files, 45002 words, 9 different ones",
        "   10001 the",
        "    5000 brown",
        "    5000 dog",
    ]


def test_hashes_are_those_of_sha256_and_files_alike_are_named(tmp_path: Path) -> None:
    for name, content in (("a", b"abc"), ("b", b""), ("c", b"abc"), ("large", bytes(1 << 20))):
        (tmp_path / name).write_bytes(content)

    assert run_example("hash_files.py", str(tmp_path)) == [
        f"ba7816bf8f01cfea  {tmp_path}/a",  # FIPS 180-2, appendix B.1
        f"e3b0c44298fc1c14  {tmp_path}/b",
        f"ba7816bf8f01cfea  {tmp_path}/c",
        f"30e14955ebf13522  {tmp_path}/large",
        f"alike: {tmp_path}/a {tmp_path}/c",
    ]


def test_pizza_kitchen_boxes_whole_orders_and_tells_what_it_does_not_bake() -> None:
    assert run_example("pizza_pipeline.py") == [
        "scatter(take_apart)",
        "dough x2",
        "bake x3",
        "gather(box)",
        "route(way)",
        "├─ delivery: deliver",
        "└─ takeaway: hand_over",
        "margherita and funghi ride to ann",
        "diavola and diavola and marinara ride to eve",
        "bianca for joe, at the counter",
        "bake failed 3 times for the hawaii: ValueError: no pineapple in this kitchen",
        "4 orders, 3 completed, 1 failed, 0 lost",
    ]


@pytest.mark.parametrize("name", ["word_count.py", "hash_files.py", "pizza_pipeline.py"])
def test_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 80
