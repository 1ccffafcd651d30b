"""The page of reasons (`zq.core.insight.waiting`): what `why` can answer, what the docs say, and files that exist."""

import ast
import re
from pathlib import Path

from zq.core.insight import reasons, waiting
from zq.core.insight.waiting import REASONS
from zq.core.state import throttle

ROOT = Path(__file__).parent.parent.parent


def texts_given_to(function: str, module: object) -> list[str]:
    """Returns the first arguments with which a module calls a function, those that are plain texts."""
    path = Path(str(module.__file__))  # type: ignore[attr-defined]  # of every module
    tree = ast.parse(path.read_text(encoding="utf-8"))
    firsts = [
        first
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == function
        for first in node.args[:1]
    ]
    return [one.value for one in firsts if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def file_of(module: str) -> str:
    return module.replace(".", "/") + ".py"


def test_page_has_what_can_be_answered_and_nothing_else() -> None:
    answered = {*texts_given_to("_because", reasons)}
    limits = {*texts_given_to("Limit", throttle), *texts_given_to("_rate_limit", throttle)}

    assert len(limits) == 5
    assert answered | limits == set(REASONS)


def test_each_reason_has_a_test() -> None:
    tests = (ROOT / "tests/core/test_reasons.py").read_text(encoding="utf-8")

    assert [code for code in REASONS if f'"{code}"' not in tests] == []


def test_docs_have_the_page_in_its_order() -> None:
    text = (ROOT / "docs/semantics.md").read_text(encoding="utf-8")
    table = text[text.index("### `why`") :]
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (.*?) \| `([a-z_/]+\.py)` \|", table[: table.index("From `paused` on")], re.M
    )

    assert rows == [(code, one.meaning, file_of(one.decided_in)) for code, one in REASONS.items()]


def test_files_that_decide_exist() -> None:
    named = {one.decided_in for one in REASONS.values()}
    named.update(re.findall(r"`(zq\.core\.[a-z_.]+)`", waiting.__doc__ or ""))

    assert len(named) > 8
    assert [module for module in sorted(named) if not (ROOT / file_of(module)).exists()] == []
