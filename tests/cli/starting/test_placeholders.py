"""Placeholders in the arguments of a program."""

from __future__ import annotations

from typing import Any

import pytest

from zq.cli.starting.placeholders import PlaceMissingError, check_no_code, fill, has_places, read_argument

PAYLOAD = {"pizza": "funghi", "count": 2, "is_hot": True, "box": {"sizes": [30, 40]}, "note": None, "größe": "XL"}


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("{pizza}", "funghi"),
        ("--pizza={pizza}.jpg", "--pizza=funghi.jpg"),
        ("{pizza}{count}", "funghi2"),
        ("{is_hot} {note}", "true null"),
        ("{box.sizes.1}", "40"),
        ("{box}", '{"sizes":[30,40]}'),
        ("{größe}", "XL"),
        ("{{pizza}}", "{pizza}"),
        ("{{}}", "{}"),
        ("{print $1}", "{print $1}"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("{pizza", "{pizza"),
        ("{a..b} {.} }{", "{a..b} {.} }{"),
        ("", ""),
    ],
)
def test_placeholder_is_the_value_in_the_payload(argument: str, expected: str) -> None:
    assert fill(read_argument(argument), PAYLOAD) == expected


@pytest.mark.parametrize(("payload", "expected"), [("two words; $(x)", "two words; $(x)"), ([1, "a"], '[1,"a"]')])
def test_empty_braces_are_the_payload(payload: Any, expected: str) -> None:
    assert fill(read_argument("{}"), payload) == expected


@pytest.mark.parametrize(
    ("argument", "payload", "text"),
    [
        ("{dessert}", PAYLOAD, "the payload has nothing at {dessert}"),
        ("{pizza.size}", PAYLOAD, "nothing at {pizza.size}"),
        ("{box.sizes.9}", PAYLOAD, "nothing at {box.sizes.9}"),
        ("{pizza}", "funghi", "nothing at {pizza}"),
        ("{}", "a\0b", "zero byte"),
        ("{}", {"a": b"\xff"}, "JSON cannot hold the payload"),
        ("{}", float("nan"), "JSON cannot hold the payload"),
    ],
)
def test_what_cannot_be_filled_in_is_said(argument: str, payload: Any, text: str) -> None:
    with pytest.raises(PlaceMissingError, match=text):
        fill(read_argument(argument), payload)


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "bake {pizza}"],
        ["/bin/bash", "-e", "-xc", "bake '{}'"],
        ["python3.11", "-c", "print('{}')"],
        ["perl", "-ne", "{a}"],
    ],
)
def test_code_takes_no_placeholder(command: list[str]) -> None:
    with pytest.raises(ValueError, match="would run what the payload says as code"):
        check_no_code([read_argument(one) for one in command])


@pytest.mark.parametrize("command", [["sh", "-c", 'bake "$1"', "sh", "{pizza}"], ["awk", "-c", "{}"], ["sh", "{}"]])
def test_other_arguments_take_them(command: list[str]) -> None:
    arguments = [read_argument(one) for one in command]

    check_no_code(arguments)

    assert has_places(arguments)
