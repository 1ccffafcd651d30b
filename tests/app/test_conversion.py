"""Values to payloads and back: what goes in comes out, and what does not fit is refused in words."""

from __future__ import annotations

import enum
import subprocess
import sys
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict
from uuid import UUID

import msgpack
import pydantic
import pytest

from zq.app.conversion import converter_of
from zq.errors import ConversionError
from zq.wire.batch import decode_payload, encode_payload

msgspec: Any = pytest.importorskip("msgspec")


class Size(enum.Enum):
    SMALL = "s"
    LARGE = ("l", 2)


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Topping:
    name: str
    grams: float = 10.0


@dataclass(frozen=True)
class Pizza:
    name: str
    toppings: list[Topping] = field(default_factory=list)
    half: Pizza | None = None
    made: int = field(default=0, init=False)


class Point(NamedTuple):
    x: int
    y: int = 0


class Order(TypedDict):
    pizza: Pizza
    note: NotRequired[str]


Struct = msgspec.defstruct("Struct", [("name", str), ("at", datetime), ("raw", bytes, b"")])


class Model(pydantic.BaseModel):
    name: str
    at: datetime
    raw: bytes = b""
    sizes: set[int] = set()
    alias: int = pydantic.Field(default=1, alias="the alias")
    size: Size = Size.SMALL


Id = NewType("Id", int)
T = typing.TypeVar("T", bound=str)
AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
PIZZA = Pizza("funghi", [Topping("mushroom", 30.5)], Pizza("half"))

FITTING: list[tuple[Any, Any]] = [
    (None, None),
    (bool, True),
    (int, -(1 << 63)),
    (int, (1 << 64) - 1),
    (float, 1.5),
    (str, "ü"),
    (bytes, b"\x00\xff"),
    (Any, {"a": [1, None, b"x"]}),
    (list[int], [1, 2]),
    (list, [1, "a"]),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[()], ()),
    (set[str], {"a", "b"}),
    (frozenset[int], frozenset({1})),
    (Sequence[Topping], [Topping("a")]),
    (Iterable[int], [1]),
    (dict[int, list[str]], {1: ["a"]}),
    (Mapping[str, Topping], {"a": Topping("b")}),
    (dict, {"a": 1}),
    (int | None, None),
    (int | None, 5),
    (Topping | Point, Point(1, 2)),
    (int | str, "a"),
    (float | list[float], [1.0]),
    (Literal["a", 1], 1),
    (Literal[Size.SMALL], Size.SMALL),
    (Size, Size.LARGE),
    (Level, Level.LOW),
    (Pizza, PIZZA),
    (Point, Point(1)),
    (Order, {"pizza": PIZZA}),
    (Order, {"pizza": PIZZA, "note": "quick"}),
    (datetime, AT),
    (date, date(2026, 1, 2)),
    (time, time(1, 2, 3)),
    (timedelta, timedelta(days=1, microseconds=5)),
    (Decimal, Decimal("1.10")),
    (UUID, UUID(int=7)),
    (Path, Path("/tmp/a")),
    (PurePath, PurePath("a")),
    (Annotated[int, "unit"], 3),
    (Id, Id(3)),
    (T, "bound"),
    (Struct, Struct("a", AT, b"\xff")),
    (Model, Model(name="a", at=AT, raw=b"\xff", sizes={1}, **{"the alias": 5}, size=Size.SMALL)),
    (Model | None, None),
]


@pytest.mark.parametrize(("annotation", "value"), FITTING, ids=[str(one[0])[:40] for one in FITTING])
def test_what_goes_in_comes_out(annotation: Any, value: Any) -> None:
    converter = converter_of(annotation)

    plain = decode_payload(encode_payload(converter.dump(value)))

    assert converter.load(plain) == value
    assert type(converter.load(plain)) is type(value)


def test_alternatives_are_tried_in_the_order_of_their_own_annotation() -> None:
    # Unions of the same types are equal in whatever order they are written, also inside of other annotations.
    assert isinstance(converter_of(list[int | float]).load([3])[0], int)
    assert isinstance(converter_of(list[float | int]).load([3])[0], float)
    assert converter_of(str | Path).load("a") == "a"
    assert converter_of(Path | str).load("a") == Path("a")


def test_datetime_is_no_date_that_may_lose_its_time() -> None:
    with pytest.raises(ConversionError, match=r"expected date, got datetime datetime\.datetime\(2026, 1, 2, 3, 4, 5"):
        converter_of(date).dump(AT)
    either = converter_of(date | datetime)
    assert either.load(either.dump(AT)) == AT


def test_fields_of_a_class_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[Any] = []
    evaluate = typing.get_type_hints

    def look_up(kind: Any, **more: Any) -> dict[str, Any]:
        looked_up.append(kind)
        return evaluate(kind, **more)

    monkeypatch.setattr(typing, "get_type_hints", look_up)

    @dataclass
    class Box:
        number: int

    for number in range(3):
        assert converter_of(Box).load(converter_of(Box).dump(Box(number))) == Box(number)

    assert looked_up == [Box]


def test_int_will_do_for_a_float() -> None:
    assert converter_of(float).dump(3) == 3.0
    assert isinstance(converter_of(float).load(3), float)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (int, True, "expected int, got bool True"),
        (int, 1 << 64, "expected an int of 64 bits"),
        (str, 5, "expected str, got int 5"),
        (bool, 1, "expected bool, got int 1"),
        (None, 1, "expected None, got int 1"),
        (bytes, "a", "expected bytes, got str 'a'"),
        (list[int], (1,), "expected list, got tuple"),
        (list[int], [1, "a"], r"\[1\]: expected int, got str 'a'"),
        (dict[str, int], {"a": "b"}, r"\['a'\]: expected int, got str 'b'"),
        (tuple[int, int], (1,), "expected a tuple of 2"),
        (Pizza, {"name": "a"}, "expected Pizza, got dict"),
        # It refuses this.
        (Pizza, Pizza("a", [Topping(5)]), r"\.toppings\[0\]\.name: expected str, got int 5"),  # type: ignore[arg-type]
        (Topping | Point, 5, "expected .*Topping.*: expected Topping, got int 5; expected Point, got int 5"),
        (Literal["a"], "b", "expected one of 'a', got str 'b'"),
        (Size, "s", "expected a member of Size, got str 's'"),
        (datetime, "2026", "expected datetime, got str"),
        (Order, {"note": "quick"}, "expected Order with the keys pizza, note"),
        (Struct, 1, "expected Struct, got int 1"),
        (Model, {"name": "a"}, "expected Model, got dict"),
        (Any, PIZZA, "since there is no annotation that says otherwise, got Pizza"),
        (Any, {"a": [{1, 2}]}, r"\['a'\]\[0\]: expected None, bool, int"),
        (Any, {1.5: 1}, "expected a key of str, bytes or int, got float 1.5"),
        (list[Any], [object()], r"\[0\]: expected None"),
    ],
)
def test_what_does_not_fit_is_not_sent(annotation: Any, value: Any, text: str) -> None:
    with pytest.raises(ConversionError, match=text):
        converter_of(annotation).dump(value)


@pytest.mark.parametrize(
    ("annotation", "plain", "text"),
    [
        (int, "5", "expected int, got str '5'"),
        (list[int], {"a": 1}, "expected a list, got dict"),
        (list[int], [1, None], r"\[1\]: expected int, got NoneType None"),
        (set[Any], [[1]], "unhashable"),
        (dict[str, int], [1], "expected a map, got list"),
        (tuple[int], [1, 2], "expected a tuple of 1"),
        (Pizza, [], "expected a map of the fields of Pizza"),
        (Pizza, {"name": "a", "crust": 1}, "expected the fields of Pizza, got also crust"),
        (Pizza, {}, "cannot make Pizza: TypeError: .*missing 1 required positional argument: 'name'"),
        (Pizza, {"name": "a", "made": 3}, "got also made"),
        (Order, {"note": "quick"}, "expected all fields of Order, got none for pizza"),
        (Size, "x", "expected a value of Size, got str 'x'"),
        (datetime, "yesterday", "expected datetime as str, got str 'yesterday'"),
        (datetime, 5, "expected datetime as str, got int 5"),
        (timedelta, "x", "expected timedelta as float, got str 'x'"),
        (UUID, "x", "expected UUID as str"),
        (Struct, {"name": 5}, "cannot make Struct: "),
        (Model, {"name": []}, "cannot make Model: "),
        (int | None, "a", "expected .*: expected int, got str 'a'; expected None, got str 'a'"),
    ],
)
def test_what_came_and_does_not_fit_is_refused(annotation: Any, plain: Any, text: str) -> None:
    with pytest.raises(ConversionError, match=text):
        converter_of(annotation).load(plain)


def test_error_of_a_users_own_constructor_is_a_conversion_error() -> None:
    @dataclass
    class Even:
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ZeroDivisionError("odd")

    with pytest.raises(ConversionError, match="cannot make Even: ZeroDivisionError: odd"):
        converter_of(Even).load({"number": 3})


def test_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(ConversionError, match="at most 100 levels"):
        converter_of(Any).dump(loop)


@pytest.mark.parametrize("annotation", [complex, typing.Callable[[], int], typing.Generator[int, None, None], "text"])
def test_annotation_that_no_payload_can_follow_is_refused(annotation: Any) -> None:
    with pytest.raises(ConversionError, match="expected an annotation that a payload can follow, got"):
        converter_of(annotation)


@pytest.mark.parametrize(
    ("annotation", "value", "plain"),
    [
        (float, 3, 3.0),
        (tuple[int, str], (1, "a"), [1, "a"]),
        (set[int], {1}, [1]),
        (Point, Point(1), {"x": 1, "y": 0}),
        (Order, {"pizza": Pizza("a")}, {"pizza": {"name": "a", "toppings": [], "half": None}}),
        (Size, Size.LARGE, ["l", 2]),
        (Literal[Size.SMALL], Size.SMALL, "s"),
        (datetime, AT, "2026-01-02T03:04:05.000006+00:00"),
        (datetime, datetime(2026, 1, 2), "2026-01-02T00:00:00"),
        (date, date(2026, 1, 2), "2026-01-02"),
        (time, time(1, 2), "01:02:00"),
        (timedelta, timedelta(days=1, microseconds=5), 86400.000005),
        (Decimal, Decimal("1.10"), "1.10"),
        (UUID, UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Path, Path("/tmp/a"), "/tmp/a"),
        (Struct, Struct("a", AT), {"name": "a", "at": "2026-01-02T03:04:05.000006Z", "raw": b""}),
    ],
)
def test_payload_stays_as_it_is_for_tasks_that_lie_on_disk(annotation: Any, value: Any, plain: Any) -> None:
    dumped = decode_payload(encode_payload(converter_of(annotation).dump(value)))

    assert (type(dumped), dumped) == (type(plain), plain)
    assert converter_of(annotation).load(plain) == value


@pytest.mark.parametrize(
    ("annotation", "plain", "value"),
    [
        (datetime, "2026-01-02T03:04:05.000006Z", AT),
        (datetime, "2026-01-02", datetime(2026, 1, 2)),
        (time, "01:02", time(1, 2)),
        (timedelta, 5, timedelta(seconds=5)),
        (Decimal, 1.5, Decimal("1.5")),
        (UUID, "00000000000000000000000000000007", UUID(int=7)),
    ],
)
def test_other_ways_to_write_a_value_are_read_too(annotation: Any, plain: Any, value: Any) -> None:
    assert converter_of(annotation).load(plain) == value


def test_class_that_no_payload_can_follow_is_told_what_it_could_be() -> None:
    with pytest.raises(
        ConversionError, match=r"got the class complex: make it a dataclass, .*install 'zqkit\[types\]'"
    ):
        converter_of(complex)


def test_payload_is_what_another_language_would_write() -> None:
    plain = converter_of(Pizza).dump(PIZZA)

    assert plain == {
        "name": "funghi",
        "toppings": [{"name": "mushroom", "grams": 30.5}],
        "half": {"name": "half", "toppings": [], "half": None},
    }
    assert msgpack.unpackb(msgpack.packb(plain)) == plain


def test_optional_libraries_are_not_imported() -> None:
    code = """
import sys, zq
from dataclasses import dataclass
from zq.app.conversion import converter_of
app = zq.App.memory()
@app.task
def bake(x: list[int]) -> dict[str, int]:
    return {"x": sum(x)}
assert bake.submit([1, 2]).result() == {"x": 3}
print([name for name in ("msgspec", "pydantic") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"


def test_everything_else_is_converted_where_the_optional_libraries_are_not_installed() -> None:
    code = """
from __future__ import annotations
import sys
sys.modules["msgspec"] = sys.modules["pydantic"] = None  # what an import finds then is an ImportError
import enum
import zq
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, TypedDict
from uuid import UUID
class Size(enum.Enum):
    SMALL = "s"
class Point(NamedTuple):
    x: int
class Order(TypedDict):
    size: Size
@dataclass
class Pizza:
    at: datetime
    after: timedelta
    half: Pizza | None = None
app = zq.App.memory()
@app.task
def bake(pizza: Pizza, id: UUID, point: Point, order: Order, *kinds: Literal["a"] | set[int]) -> list[str]:
    return [str(one) for one in (pizza.half.at.year, pizza.half.after, id.int, point.x, order["size"], *kinds)]
pizza = Pizza(datetime.now(UTC), timedelta(1), Pizza(datetime(2026, 1, 1), timedelta(2)))
print(*bake.submit(pizza, UUID(int=7), Point(5), {"size": Size.SMALL}, "a", {6}).result(), sep="|")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "2026|2 days, 0:00:00|7|5|Size.SMALL|a|{6}"
