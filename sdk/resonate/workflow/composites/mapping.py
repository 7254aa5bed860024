"""`ctx.map`: one function for many items, with a limit of how many are under way.

A map is one nested workflow, whose steps are the items. Once it is recorded, a replay reads its one record.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Generic, NoReturn, Self, TypeVar, Unpack

from msgspec import Struct

from resonate.errors.mistakes import ArgumentTypeError, ArgumentValueError
from resonate.payloads import codec
from resonate.payloads.restore import restore
from resonate.workflow.commands import LFC, LFI, RFI, Command, Composite, Promise
from resonate.workflow.options import RemoteOptions, RunOptions, by_name
from resonate_store.model.records import Value

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class MapFailure(Struct, frozen=True):
    """Item of a `ctx.map` that failed.

    Attributes:
        index: its place among the items, from 0.
        error: what its call raised.
    """

    index: int
    error: BaseException


class MapResult(Struct, Generic[T], frozen=True):
    """Result of `ctx.map`.

    Attributes:
        values: the value of each item, in their order; None for an item that failed, or was not begun.
        failures: the items that failed, in their order.
        begun: how many items were begun. It is less than all if too many failed.
    """

    values: list[T | None]
    failures: list[MapFailure]
    begun: int

    def raise_if_failed(self) -> None:
        """Raise an `ExceptionGroup` of the errors, if an item failed or was not begun."""
        if self.failures:
            errors = [failure.error for failure in self.failures if isinstance(failure.error, Exception)]
            raise ExceptionGroup(f"{len(errors)} of {len(self.values)} items failed", errors)


class MapOptions(RunOptions, RemoteOptions, total=False):
    """Options of the calls of a map: with `remote=True` those of a remote call, else those of a run."""


class Next(Command[list[int]]):
    """Wait until one of many promises has settled. Neither the wait nor its result is recorded.

    Attributes:
        fresh: promises to wait for as well, from the next wait on.
        at_once: whether to return at once, also if none has settled.
        state: what the interpreter knows of those before.
    """

    __slots__ = ("at_once", "fresh", "state")
    kind = "map"
    special = True

    def __init__(self) -> None:
        super().__init__()
        self.fresh: list[Promise[Any]] = []
        self.at_once = False
        self.state: Any = None


class IsBehind(Command[bool]):
    """Ask whether the workflow probably has recorded commands that it has not issued yet."""

    __slots__ = ()
    kind = "map"
    special = True
    waits = False


class Map(Composite[T_co]):
    """Call of one function for many items.

    Args:
        calls: the command that begins the call of each item.
        annotation: the type of its result.
        limit: the largest number of items under way.
        tolerated: after more failures than this, no further item is begun.
    """

    __slots__ = ("annotation", "calls", "limit", "tolerated")
    kind = "map"

    def __init__(self, calls: Sequence[LFI[Any] | RFI[Any]], annotation: Any, limit: int, tolerated: int) -> None:
        super().__init__()
        self.calls = calls
        self.annotation = annotation
        self.limit = limit
        self.tolerated = tolerated

    @by_name(lambda command: command.describe(), MapOptions)
    def options(self, **options: Unpack[MapOptions]) -> Self:
        """Set options of the call of each item, and return the map: `ctx.map(load, pages).options(timeout=30)`.

        Raises:
            TypeError, ValueError: an option is unknown, or has the wrong type or value; `id` names one promise only.
        """
        if options.get("id") is not None:
            raise ArgumentValueError("ctx.map has no option `id`: each item has a promise of its own")
        for call in self.calls:
            call.options(**options)
        return self

    def steps(self) -> Generator[Any, Any, Any]:
        plain = yield LFC[Any](run_items, "map", (self.calls, self.limit, self.tolerated), {})
        # None is also the value of an item that failed, whatever the annotation is.
        values = [None if value is None else restore(value, self.annotation) for value in plain["values"]]
        failures = [MapFailure(index, codec.error_in(Value(data=data))) for index, data in plain["failures"]]
        return MapResult(values, failures, plain["begun"])


def run_items(_: Any, calls: Sequence[Command[Any]], limit: int, tolerated: int) -> Generator[Any, Any, dict[str, Any]]:
    """Run the calls of a map, at most `limit` at a time. This is the nested workflow."""
    values: list[Any] = [None] * len(calls)
    failures: dict[int, BaseException] = {}
    under_way: dict[int, Promise[Any]] = {}
    places: list[int] = []
    arrivals = Next()
    begun = 0
    repeats = True
    while True:
        while begun < len(calls) and len(under_way) < limit:
            # Replay may learn of failures earlier or later than the first run. So it first begins what that has begun.
            # Then it takes all that has settled, and begins an item only if not too many have failed.
            if repeats and not (yield IsBehind()):
                repeats, arrivals.at_once = False, True
                break
            if len(failures) > tolerated and not repeats:
                break
            try:
                promise: Promise[Any] = yield calls[begun]
            except Exception as refused:
                failures[begun] = refused
            else:
                under_way[begun] = promise
                places.append(begun)
                arrivals.fresh.append(promise)
            begun += 1
        if not (under_way or arrivals.at_once):
            break
        settled: list[int] = yield arrivals
        arrivals.at_once = False
        for arrived in settled:
            index = places[arrived]
            try:
                values[index] = yield under_way.pop(index)
            except Exception as error:
                failures[index] = error
    failed = [[index, codec.encode_error(failures[index]).data] for index in sorted(failures)]
    return {"values": values, "failures": failed, "begun": begun}


def limit_of(max_concurrency: int | None, many: int) -> int:
    """Return how many items may be under way.

    Raises:
        TypeError, ValueError: it is not a positive whole number.
    """
    if max_concurrency is None:
        return max(1, many)
    if not isinstance(max_concurrency, int) or isinstance(max_concurrency, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"max_concurrency must be `int`, got {type(max_concurrency).__name__}")
    if max_concurrency < 1:
        raise ArgumentValueError(f"max_concurrency must be at least 1, got {max_concurrency}")
    return max_concurrency


def tolerated_of(tolerated_failures: float | None, many: int) -> int:
    """Return how many failures are tolerated: a count, or a share of the items.

    Raises:
        TypeError, ValueError: it is neither.
    """
    if tolerated_failures is None:
        return many
    if isinstance(tolerated_failures, bool) or not isinstance(tolerated_failures, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"tolerated_failures must be `int` or `float`, got {type(tolerated_failures).__name__}")
    if isinstance(tolerated_failures, int):
        if tolerated_failures < 0:
            raise ArgumentValueError(f"tolerated_failures must be zero or more, got {tolerated_failures}")
        return tolerated_failures
    if not 0 <= tolerated_failures <= 1:
        raise ArgumentValueError(f"tolerated_failures as a share must be between 0.0 and 1.0, got {tolerated_failures}")
    return int(tolerated_failures * many)


def refuse_items(items: object) -> NoReturn:
    """Raise the error for items that are not an iterable."""
    raise ArgumentTypeError(f"ctx.map takes an iterable of items, and not {type(items).__name__}: {items!r:.80}")
