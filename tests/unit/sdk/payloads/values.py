"""Annotated types as users write them, and values of each that come back equal."""

from __future__ import annotations

import typing
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic

from resonate.payloads import codec


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 3


class Access(Flag):
    READ = 1
    WRITE = 2


class Corner(Enum):
    ORIGIN = (0, 0)
    RIGHT = (1, 0)


class Mixed(Enum):
    ONE = 1
    TWO = "two"


class Point(msgspec.Struct):
    x: float
    y: int = 0


@dataclass
class Circle:
    centre: Point
    radius: Decimal


class Size(NamedTuple):
    width: int
    since: date


class Movie(TypedDict):
    title: str
    length: timedelta


class Part(TypedDict, total=False):
    shape: Point | Circle
    name: str


class Account(pydantic.BaseModel):
    id: UUID
    opened: datetime
    balance: Decimal
    tags: set[str] = set()
    nested: list[Account] = []
    limit: float | None = pydantic.Field(default=None, alias="creditLimit")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    at: datetime
    size: tuple[int, int]


@dataclass
class Drawing:
    shapes: list[Point | Circle]
    corner: Corner
    owner: Account | None
    sizes: dict[str, Size]


@dataclass
class Board:
    queue: deque[Point | Circle]
    seen: Counter[UUID]
    order: OrderedDict[str, datetime]
    by_day: defaultdict[date, list[Circle]]


class Wrapper(msgspec.Struct):
    either: Circle | Point
    blob: bytes


@dataclass
class Line:
    amount: int
    note: str = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


@dataclass
class Cart:
    lines: list[Line]


class Place(msgspec.Struct):
    x: int
    y: int = 0


class Settings(TypedDict, total=False):
    at: datetime
    corner: Place


class Name(str):
    __slots__ = ()


class Custom:
    """A class without a JSON form."""

    def __repr__(self) -> str:
        return "Custom()"


AN_ID = UUID("12345678-1234-5678-1234-567812345678")
NOON = datetime(2025, 6, 15, 12, tzinfo=UTC)
CIRCLE = Circle(Point(1.5, 2), Decimal("1.50"))
ACCOUNT = Account(id=AN_ID, opened=NOON, balance=Decimal("0.10"), tags={"a"}, creditLimit=5.0)
BOARD = Board(
    *(deque([Point(1.0), CIRCLE]), Counter({AN_ID: 3}), OrderedDict(z=NOON, a=NOON)),
    defaultdict(list, {date(2025, 1, 1): [CIRCLE]}),
)


def travel(value: Any, annotation: Any = Any) -> Any:
    """Encode a value and decode it to an annotation."""
    return codec.decode(codec.encode(value, "the value"), annotation)


VALUES: list[tuple[Any, Any]] = [
    (None, int | None),
    (0, int),
    (2**70, int),
    (10**4299, int),
    ("", str),
    ("\U0001f600\0", str),
    (False, bool),
    (1.5, float),
    (b"\0\xff", bytes),
    (b"\0", bytes | None),
    ("b", Literal["a", "b"]),
    (Colour.RED, Literal[Colour.RED, Colour.BLUE]),
    (b"a", Literal[b"a"]),
    ([True, 1], list[Literal[1, True, "1"]]),
    # Dates and times
    (NOON, datetime),
    (date(2025, 6, 15), date),
    (datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))), date),
    (datetime(1890, 1, 1, tzinfo=timezone(timedelta(seconds=1172))), datetime),
    ({"a": datetime(1890, 1, 1, tzinfo=timezone(timedelta(seconds=-75))), "b": NOON}, dict[str, datetime]),
    ([time(1, 2, tzinfo=timezone(timedelta(hours=-1, seconds=-1))), None], list[time | None]),
    (time(1, 2, 3, 4), time),
    (time(1, tzinfo=UTC), time),
    (timedelta(hours=1), timedelta),
    # Other scalars
    (Decimal("1.10"), Decimal),
    ([Fraction(1, 3), Fraction(2)], list[Fraction]),
    (AN_ID, UUID),
    (Colour.RED, Colour),
    (Level.HIGH, Level),
    (Corner.RIGHT, Corner),
    ([Corner.RIGHT], list[Corner]),
    (Access.READ | Access.WRITE, Access),
    ([Access.READ, Access(0)], list[Access]),
    (Path("a/b"), Path),
    (PurePosixPath("a"), PurePosixPath | None),
    (PureWindowsPath("C:\\a\\b"), PureWindowsPath),
    ({Path("a"): IPv4Address("1.2.3.4")}, dict[Path, IPv4Address]),
    (IPv6Network("::/8"), IPv6Network),
    (Name("x"), Name),
    # Collections
    ([], list[int]),
    ((1, "a"), tuple[int, str]),
    ((1, 2, 3), tuple[int, ...]),
    ({1, 2}, set[int]),
    (frozenset("a"), frozenset[str]),
    ({1: "int key"}, dict[int, str]),
    ({AN_ID: {Colour.RED: (1, NOON)}}, dict[UUID, dict[Colour, tuple[int, datetime]]]),
    ({"a": [Point(1), None]}, dict[str, list[Point | None]]),
    (deque([1, 2]), deque[int]),
    (deque([NOON], maxlen=5), deque[datetime]),
    (deque(["a"]), deque),
    (deque([CIRCLE]), typing.Deque[Circle]),  # noqa: UP006
    (deque([CIRCLE]), deque[Circle] | None),
    (OrderedDict(b=NOON, a=NOON), OrderedDict[str, datetime]),
    (OrderedDict(b=1, a=2), OrderedDict),
    (defaultdict(list, {3: [CIRCLE]}), defaultdict[int, list[Circle]]),
    (defaultdict(int, {"a": 1}), defaultdict),
    (Counter([AN_ID, AN_ID]), Counter[UUID]),
    (Counter("aab"), Counter),
    (Counter({1: 2, 3: 1}), Counter[int]),
    (Counter({"1": 2, "three": 1}), Counter[int | str]),
    (Counter({True: 2, False: -1}), Counter[bool]),
    ({True: CIRCLE}, dict[bool, Circle]),
    # Structures
    (Point(1, 2), Point),
    ({"title": "M", "length": timedelta(1)}, Movie),
    ({"shape": CIRCLE}, Part),
    ({}, Part),
    (Size(1, date(2025, 1, 1)), Size),
    (Wrapper(CIRCLE, b"\xff"), Wrapper),
    (Wrapper(Point(1.0), b""), Annotated[Wrapper, "noted"]),
    (ACCOUNT, Account),
    ([ACCOUNT, None], list[Account | None]),
    ({"a": Account(id=AN_ID, opened=NOON, balance=Decimal(1), nested=[ACCOUNT])}, dict[str, Account]),
    (Strict(at=NOON, size=(1, 2)), Strict),
    (Drawing([Point(0.5), CIRCLE], Corner.ORIGIN, ACCOUNT, {"s": Size(1, date(2025, 1, 1))}), Drawing),
    (Drawing([], Corner.RIGHT, None, {}), Drawing),
    (BOARD, Board),
    # Unions
    (Point(1.0), Point | Circle),
    (CIRCLE, Point | Circle),
    ([Point(1.0), CIRCLE], list[Point | Circle]),
    ((CIRCLE, 1), tuple[Point | Circle, int]),
    ((CIRCLE, Point(0.0)), tuple[Point | Circle, ...]),
    ({"a": CIRCLE}, dict[str, Point | Circle]),
    ({1: CIRCLE}, dict[int, Point | Circle]),
    ({Mixed.ONE: CIRCLE, Mixed.TWO: CIRCLE}, dict[Mixed, Circle]),
    ([{Mixed.TWO: NOON}], list[dict[Mixed | int, datetime]]),
    ({AN_ID: CIRCLE, 5: CIRCLE}, dict[Mixed | UUID | int, Circle]),
    ({AN_ID, NOON}, set[UUID | datetime]),
    (frozenset({AN_ID}), frozenset[UUID | datetime]),
    (AN_ID, UUID | datetime | None),
    ("neither", UUID | datetime | str),
    (str(AN_ID), UUID | datetime | str),
    (None, UUID | datetime | None),
]
"""Values with their annotations."""
