"""The byte examples of docs/protocol.md, read out of the document: the code and the specification say the same."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from zq.errors import RemoteProtocolError
from zq.wire import messages
from zq.wire.codec import KINDS, Kind, decode_for_coordinator, decode_from_coordinator, encode

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
EXAMPLES = DOCUMENT.partition("\n## 7. Examples\n")[2].partition("\n### 7.1 Refused\n")

NAMES: dict[str, Any] = {name: value for name, value in vars(messages).items() if name[0].isupper()}


def _good() -> list[Any]:
    found = re.findall(r"^(.+):\n\n```\n(\w+\(.*\))\n\n([0-9a-f\n]+)```", EXAMPLES[0], re.MULTILINE)
    return [pytest.param(text, bytes.fromhex(data.replace("\n", "")), id=title) for title, text, data in found]


def _bad() -> list[Any]:
    found = re.findall(r"^(.+): `([a-z-]+)`\n\n```\n([0-9a-f\n]+)```", EXAMPLES[2], re.MULTILINE)
    return [pytest.param(code, bytes.fromhex(data.replace("\n", "")), id=title) for title, code, data in found]


def _decode(data: bytes, message: Any) -> Any:
    is_coordinators = isinstance(message, messages.FromCoordinator)
    return (decode_from_coordinator if is_coordinators else decode_for_coordinator)(data)


@pytest.mark.parametrize(("text", "data"), _good())
def test_example_is_what_the_codec_writes_and_reads(text: str, data: bytes) -> None:
    message = eval(text, {"__builtins__": {}, "True": True, "False": False, "None": None}, NAMES)

    assert encode(message) == data
    assert _decode(data, message) == message


@pytest.mark.parametrize(("code", "data"), _bad())
def test_refused_example_is_refused_with_its_code(code: str, data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_for_coordinator(data)

    assert caught.value.code == code


def test_every_kind_has_an_example() -> None:
    shown = {parameter.values[0].split("(")[0] for parameter in _good()}

    assert shown == {kind.message.__name__ for kind in KINDS}
    assert len(_bad()) >= 8


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.message.__name__)
def test_table_of_the_document_has_number_and_fields_of_the_kind(kind: Kind) -> None:
    name, fields = kind.message.__name__.lower(), ", ".join(kind.message._fields)
    assert re.search(rf"^\| {kind.number} \| {name} \| {fields} \|$", DOCUMENT, re.MULTILINE)


def test_every_kind_stands_in_the_union_of_those_who_say_it() -> None:
    said: dict[str, Any] = {
        "client": messages.FromClient,
        "worker": messages.FromWorker,
        "coordinator": messages.FromCoordinator,
    }

    assert {by: {kind.message for kind in KINDS if kind.said_by == by} for by in said} == {
        by: set(get_args(union)) for by, union in said.items()
    }
    assert len({kind.number for kind in KINDS}) == len({kind.message for kind in KINDS}) == len(KINDS)
