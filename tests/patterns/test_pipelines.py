"""Pipelines as values: composition, pictures, and the mistakes that are found when they are made."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from patterns import Stage, batch, fan_out, gather, route, scatter, stage
from patterns.pipeline.stages import reference_of
from patterns.work.plan import SINK, Plan
from tests.patterns import shop
from tests.patterns.shop import add_one, describe, digits, double, keep, parity, repeat, tally, total
from zq.processes.references import load_reference


def test_stage_is_still_the_function() -> None:
    assert double(4) == 8
    assert list(repeat(5)) == [5, 5]
    assert repeat.__doc__ == "Gives 0, 1 or 2 copies of a number."


def test_sequence_is_a_new_value_each_time() -> None:
    start = double | add_one

    longer = start | describe

    assert str(start) == "double | add_one x2"
    assert str(longer) == "double | add_one x2 | describe"


def test_pipeline_is_drawn_as_text_with_its_branches() -> None:
    pipeline = double | route(parity, {"even": add_one | fan_out(double, describe), "odd": double}) | describe

    assert str(pipeline).split("\n") == [
        "double",
        "route(parity)",
        "├─ even: add_one x2",
        "│        fan_out",
        "│        ├─ double",
        "│        └─ describe",
        "└─ odd: double",
        "describe",
    ]


def test_diagram_is_mermaid_from_items_to_results() -> None:
    pipeline = scatter(digits) | add_one | gather(total)

    assert pipeline.diagram().split("\n") == [
        "flowchart LR",
        "    items([items])",
        '    n0[/"digits"\\]',
        '    n1["add_one x2"]',
        '    n2[\\"total"/]',
        "    results([results])",
        "    items --> n0",
        "    n0 --> n1",
        "    n1 --> n2",
        "    n2 --> results",
        "",
    ]


def test_names_in_a_plan_are_unlike() -> None:
    plan = (double | add_one | double | batch(2) | batch(3)).plan()

    assert [node.name for node in plan.nodes] == ["double", "add_one", "double-2", "batch", "batch-2"]


def test_plan_knows_followers_joins_and_what_batches_hold() -> None:
    plan = (
        batch(4) | scatter(list) | route(parity, {"even": double, "odd": add_one}) | gather(total) | batch(5)
    ).plan()

    kinds = [node.kind for node in plan.nodes]
    assert kinds == ["batch", "split", "route", "stage", "stage", "join", "batch"]
    assert [node.join for node in plan.nodes] == [SINK, SINK, 5, 5, 5, SINK, SINK]
    assert plan.nodes[1].closing == 5
    assert plan.followers(1) == {3, 4, 5, SINK}
    assert plan.held_max == 4 + 20


def test_plan_survives_the_wire() -> None:
    plan = (keep | route(parity, {"even": double}, otherwise=repeat)).named("shop").plan()

    again = Plan.from_wire(plan.to_wire())

    assert again.nodes == plan.nodes
    assert (again.name, again.fingerprint) == ("shop", plan.fingerprint)
    assert again.function(0)(3) == 3
    assert again.nodes[0].options.key is keep.options.key


def test_fingerprint_tells_pipelines_apart_and_ignores_workers() -> None:
    assert (double | add_one).plan().fingerprint != (add_one | double).plan().fingerprint
    more = stage(workers=9)(double.function)
    assert (more | add_one).plan().fingerprint == (double | add_one).plan().fingerprint


# Mistakes.


def test_lambda_is_refused_with_the_name_of_the_stage() -> None:
    guess: Stage[int, int] = stage(name="guess")(lambda number: number)

    with pytest.raises(ValueError, match="stage guess: no other process can import its function: a lambda"):
        double | guess


def test_nested_function_is_refused_with_the_name_of_the_stage() -> None:
    @stage
    def inner(number: int) -> int:
        return number

    with pytest.raises(ValueError, match=r"stage inner: .* exists only while the function around it runs"):
        double | inner


def test_threads_need_no_import() -> None:
    pipeline = double | stage(threads=True, name="guess")(lambda number: number)

    assert str(pipeline) == "double | guess"


def test_function_typed_in_is_refused(tmp_path: Path) -> None:
    program = "from patterns import stage\n@stage\ndef typed(x): return x\ntry: typed | typed\nexcept ValueError as error: print(error)"

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert "stage typed: no other process can import its function: typed was typed in" in found.stdout


def test_function_of_a_script_is_named_by_its_file(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from patterns import stage\n@stage\ndef written(x): return x\n"
        "print((written | written).plan().nodes[0].reference)"
    )

    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == f"{script.resolve()}:written"


def test_module_that_is_run_as_the_main_program_is_imported_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "kitchen").mkdir()
    (tmp_path / "kitchen" / "__init__.py").write_text("")
    (tmp_path / "kitchen" / "main.py").write_text(
        "from patterns import stage\n@stage(key=lambda x: x % 2)\ndef bake(x): return -x\n"
        "if __name__ == '__main__':\n"
        "    print((bake | bake).plan().nodes[0].reference, list(bake.run([1, 2], ordered=True, quiet=True)))"
    )

    found = subprocess.run(
        [sys.executable, "-m", "kitchen.main"], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert found.stdout.strip() == "kitchen.main:bake [-1, -2]"


def test_function_hidden_by_another_is_refused() -> None:
    def double(number: int) -> int:
        return number

    double.__qualname__ = "double"
    double.__module__ = shop.__name__
    with pytest.raises(
        ValueError, match=r"stage double: .* there is another thing, or nothing, at tests.patterns.shop"
    ):
        stage(double) | add_one


def test_plain_function_is_no_stage() -> None:
    with pytest.raises(TypeError, match=r"after double: expected a stage or pipeline, got parity; is @stage missing\?"):
        double | parity  # type: ignore[operator] # the mistake under test


def test_gather_needs_its_scatter() -> None:
    with pytest.raises(ValueError, match=r"gather\(total\) has no scatter of its own before it"):
        double | gather(total)


def test_two_gathers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gather\(total\) has no scatter of its own before it"):
        scatter(digits) | add_one | gather(tally) | gather(total)


def test_scatter_needs_its_gather() -> None:
    with pytest.raises(ValueError, match=r"pipeline: scatter\(digits\) has no gather after it"):
        (scatter(digits) | add_one).plan()


def test_branch_with_an_open_scatter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"branch of fan_out: scatter\(digits\) has no gather after it"):
        fan_out(double, scatter(digits) | add_one)


def test_batch_between_scatter_and_gather_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch\(2\) between scatter\(digits\) and its gather would mix the parts"):
        scatter(digits) | batch(2)


def only_known(number: int) -> Literal["even", "odd", "huge"]:
    return "even" if number % 2 == 0 else "odd"


def test_route_that_may_choose_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"route\(only_known\): unknown route 'huge'"):
        route(only_known, {"even": double, "odd": add_one})


def test_empty_branches_are_refused() -> None:
    with pytest.raises(ValueError, match="fan_out: expected at least one branch"):
        fan_out()
    with pytest.raises(ValueError, match=r"route\(parity\): expected at least one branch"):
        route(parity, {})


def test_async_function_is_no_stage() -> None:
    async def later(number: int) -> int:
        return number

    with pytest.raises(TypeError, match="stage later: expected a plain function, got an async one"):
        stage(later)


def test_object_that_is_called_asynchronously_is_refused() -> None:
    class Oven:
        async def __call__(self, number: int) -> int:
            return number

    with pytest.raises(TypeError, match="stage Oven: expected a plain function, got an async one"):
        stage(threads=True)(Oven())


def test_partial_of_a_generator_is_a_flat_stage() -> None:
    def several(number: int) -> Iterator[int]:
        yield number

    with pytest.raises(ValueError, match=r"stage partial of .*several: it yields its results one by one"):
        stage(threads=True)(functools.partial(several))


def test_generator_is_a_flat_stage_or_a_split() -> None:
    def several(number: int) -> Iterator[int]:
        yield number

    with pytest.raises(ValueError, match=r"stage several: it yields its results one by one: say @stage\(flat=True\)"):
        stage(several)
    with pytest.raises(ValueError, match=r"gather\(several\): it yields its results one by one"):
        gather(several)  # type: ignore[arg-type] # the mistake under test
    assert scatter(several).label == "scatter(several)"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"workers": 0}, "double: expected workers as a whole number from 1 to 256, got 0"),
        ({"retries": -1}, "double: expected retries as a whole number from 0 to 999, got -1"),
        ({"timeout": 0}, "stage double: expected timeout from 0.001"),
        ({"timeout": 1, "threads": True}, "a thread cannot be stopped"),
        ({"name": "a/b"}, "expected a name of 1 to 64 ASCII letters"),
        ({"backoff": (1, 2)}, r"expected backoff as \(first, factor, largest\)"),
    ],
)
def test_options_out_of_range_are_refused(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        stage(**arguments)(double.function)  # type: ignore[call-overload] # the mistakes under test


def test_batch_size_is_checked() -> None:
    with pytest.raises(ValueError, match="batch: expected size as a whole number from 1"):
        batch(0)
    with pytest.raises(ValueError, match="batch: expected within from above 0"):
        batch(2, within=0)


def test_reference_leads_back_to_the_function() -> None:
    reference = reference_of(double.function, "double")

    assert reference == "tests.patterns.shop:double"
    assert load_reference(reference) is double


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("nothing", "expected module:name"),
        ("no_such_module_at_all:x", "there is no module no_such_module_at_all"),
        ("/no/such/file.py:x", "there is no file"),
        ("tests.patterns.shop:nobody", "there is no nobody in tests.patterns.shop"),
    ],
)
def test_reference_that_leads_nowhere_is_refused(reference: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        load_reference(reference)
