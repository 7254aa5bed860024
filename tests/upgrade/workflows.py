"""The workflows whose stored executions every later release has to resume.

Fixtures hold what these functions recorded. So a function here is never changed in a way that alters its history: its
commands, their order, names, ids and options stay as they are. A later release that stores something new adds
functions at the end, and fixtures of its own.

A step returns the release that ran it (`conditions.release`). The result of a resumed execution therefore shows which
steps were read from the fixture and which ran now.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from resonate import Context, Resonate
from resonate.encoders import JsonEncoder
from resonate.errors import ResonateCanceledError, ResonateStoreError, ResonateTimedoutError
from resonate.errors.canceled import Canceled
from resonate.retry_policies import Constant, Exponential, Linear, Never
from resonate.workflow.deterministic import RANDOM
from tests.upgrade import conditions

Flow = Generator[Any, Any, Any]

DAY = 86_400.0
LONG = 30 * DAY

resonate = Resonate(group="worker")
resonate.set_dependency(RANDOM, conditions.Dice())


# Steps


def stamp(ctx: Context, text: str) -> str:
    conditions.runs[ctx.id] += 1
    return f"{text} {conditions.release}"


async def async_stamp(ctx: Context, text: str) -> str:
    conditions.runs[ctx.id] += 1
    return f"{text} {conditions.release}"


def charge(ctx: Context, amount: int) -> str:
    """Fails for as long as it is broken, and says which attempt it was."""
    conditions.runs[ctx.id] += 1
    if "charge" in conditions.broken:
        raise ConnectionError(f"no route, attempt {ctx.info.attempt}")
    return f"charged {amount} in attempt {ctx.info.attempt} {conditions.release}"


def blob(ctx: Context, size: int) -> str:
    conditions.runs[ctx.id] += 1
    return ("y" if conditions.release == "then" else "z") * size


# Waiting


@resonate.register
def sleeper(ctx: Context, secs: float) -> Flow:
    before = yield ctx.run(stamp, "before")
    yield ctx.sleep(secs)
    after = yield ctx.run(stamp, "after")
    return [before, after]


@resonate.register
async def async_sleeper(ctx: Context, secs: float) -> list[str]:
    before = await ctx.run(async_stamp, "before")
    await ctx.sleep(secs)
    after = await ctx.run(stamp, "after")
    return [before, after]


@resonate.register
def two_naps(ctx: Context) -> Flow:
    """A sleep that is over, and one that is not."""
    yield ctx.sleep(3600)
    between = yield ctx.run(stamp, "between")
    yield ctx.sleep(LONG)
    return [between, (yield ctx.run(stamp, "after"))]


@resonate.register
def calling(ctx: Context) -> Flow:
    """Calls another team's worker."""
    order = yield ctx.run(stamp, "order")
    tracking = yield ctx.rpc("ship", "tea", count=2).options(target="lambda://carrier", tags={"team": "carrier"})
    return [order, tracking]


@resonate.register
def calling_here(ctx: Context) -> Flow:
    """Calls workflows of its own group, by function and by name."""
    first = yield ctx.rpc(sleeper.func, 3600.0)
    second = yield ctx.rpc("sleeper", secs=LONG).options(timeout=60 * DAY)
    return [first, second]


@resonate.register
def approval(ctx: Context, amount: int) -> Flow:
    asked = yield ctx.run(stamp, "asked")
    promise = yield ctx.promise(timeout=90 * DAY, data={"amount": amount}, tags={"team": "finance"})
    try:
        answer = yield promise
    except ValueError as error:
        answer = f"ValueError: {error}"
    except (ResonateTimedoutError, ResonateCanceledError) as error:
        answer = type(error).__name__
    return [asked, answer]


@resonate.register
def shared(ctx: Context) -> Flow:
    """Waits for a promise that other executions wait for too."""
    promise = yield ctx.promise(id="shared/weather.2026")
    return f"the weather is {yield promise}"


@resonate.register
def begun(ctx: Context) -> Flow:
    """Begun calls that are outstanding while it sleeps."""
    local = yield ctx.begin_run(stamp, "local")
    nested = yield ctx.begin_run(sleeper.func, LONG)
    remote = yield ctx.begin_rpc("sleeper", 2 * LONG)
    elsewhere = yield ctx.begin_rpc("ship", "tea").options(target="lambda://carrier")
    yield ctx.sleep(LONG)
    return [(yield local), (yield nested), (yield remote), (yield elsewhere)]


@resonate.register
def unawaited(ctx: Context) -> Flow:
    """Returns before what it began: its end waits for them."""
    yield ctx.begin_run(sleeper.func, LONG)
    yield ctx.begin_rpc("sleeper", LONG)
    return (yield ctx.run(stamp, "returned"))


@resonate.register
def detaching(ctx: Context) -> Flow:
    promise = yield ctx.detached("sleeper", LONG)
    named = yield ctx.detached("sleeper", LONG).options(id="detached-by-name")
    yield ctx.sleep(3600)
    return [promise.id, named.id]


@resonate.register
def awaiting_detached(ctx: Context) -> Flow:
    promise = yield ctx.detached("sleeper", LONG)
    return (yield promise)


# Nesting


@resonate.register
def nesting(ctx: Context, depth: int) -> Flow:
    """Nested workflows: one that is done, one that sleeps, and an async one."""
    done = yield ctx.run(pair, "done")
    if depth > 0:
        below = yield ctx.run(nesting.func, depth - 1)
    else:
        below = yield ctx.run(sleeping_pair, "below")
    after = yield ctx.run(async_pair, "async")
    return [done, below, after]


def pair(ctx: Context, text: str) -> Flow:
    first = yield ctx.run(stamp, f"{text} first")
    return [first, (yield ctx.run(async_stamp, f"{text} second"))]


def sleeping_pair(ctx: Context, text: str) -> Flow:
    first = yield ctx.run(stamp, f"{text} first")
    yield ctx.sleep(LONG)
    return [first, (yield ctx.run(stamp, f"{text} second"))]


async def async_pair(ctx: Context, text: str) -> list[str]:
    first = await ctx.run(stamp, f"{text} first")
    return [first, await ctx.run(async_stamp, f"{text} second")]


@resonate.register
async def async_nesting(ctx: Context) -> list[Any]:
    done = await ctx.run(async_pair, "done")
    begun = await ctx.begin_run(async_sleeping_pair, "begun")
    below = await ctx.run(sleeping_pair, "below")
    return [done, below, await begun]


async def async_sleeping_pair(ctx: Context, text: str) -> list[str]:
    first = await ctx.run(stamp, f"{text} first")
    await ctx.sleep(LONG / 2)
    return [first, await ctx.run(stamp, f"{text} second")]


# Ids, keys, options


@resonate.register
def overriding(ctx: Context) -> Flow:
    """Every command under an id of its own, first awaited, then outstanding."""
    ran = yield ctx.run(stamp, "ran").options(id="own/run")
    nested = yield ctx.run(pair, "nested").options(id="own/nested")
    called = yield ctx.rpc("double", 4).options(id="own/rpc")
    yield ctx.sleep(5).options(id="own/nap")
    begun = yield ctx.begin_run(stamp, "begun").options(id="own/begun")
    sleeping = yield ctx.begin_run(sleeping_pair, "sleeping").options(id="own/sleeping")
    remote = yield ctx.begin_rpc("sleeper", LONG).options(id="own/begun-rpc")
    promise = yield ctx.promise(id="own/promise")
    yield ctx.sleep(LONG).options(id="own/sleep")
    return [ran, nested, called, (yield begun), (yield sleeping), (yield remote), (yield promise)]


@resonate.register
def double(ctx: Context, n: int) -> int:
    conditions.runs[ctx.id] += 1
    return 2 * n if conditions.release == "then" else 20 * n


@resonate.register
def keyed(ctx: Context) -> Flow:
    ran = yield ctx.run(stamp, "ran").options(idempotency_key="run-key", tags={"colour": "red"}, timeout=DAY)
    called = yield ctx.rpc("double", 8).options(idempotency_key="rpc-key")
    promise = yield ctx.promise(idempotency_key="promise-key", data="what now?")
    made = yield ctx.run(stamp, "made").options(idempotency_key=lambda id: f"key of {id}")
    return [ran, called, made, (yield promise)]


@resonate.register
def fleeting(ctx: Context) -> Flow:
    """A step whose outcome is not recorded runs again."""
    kept = yield ctx.run(stamp, "kept")
    lost = yield ctx.run(stamp, "lost").options(durable=False)
    yield ctx.sleep(LONG)
    return [kept, lost]


@resonate.register(name="versioned", version=1)
def versioned_1(ctx: Context) -> Flow:
    yield ctx.sleep(LONG)
    return (yield ctx.run(stamp, "version 1"))


@resonate.register(name="versioned", version=2)
def versioned_2(ctx: Context) -> Flow:
    old = yield ctx.begin_rpc("versioned").options(version=1)
    yield ctx.sleep(LONG)
    return [(yield old), (yield ctx.run(stamp, "version 2"))]


@resonate.register
def encoding(ctx: Context) -> Flow:
    """Values that an encoder of the program's own has written."""
    written = yield ctx.run(stamp, "written").options(encoder=Shouting())
    promise = yield ctx.promise(data={"a": 1}).options(encoder=JsonEncoder())
    called = yield ctx.begin_rpc("echo", {"b": 2}).options(encoder=Shouting(), target="lambda://carrier")
    yield ctx.sleep(3600)
    return [written, (yield promise), (yield called)]


class Shouting:
    """JSON in capital letters."""

    def encode(self, obj: Any, /) -> str | None:
        return None if obj is None else msgspec.json.encode(obj).decode().swapcase()

    def decode(self, obj: str | None, /) -> Any:
        return None if obj is None else msgspec.json.decode(obj.swapcase())


# Retries


@resonate.register
def retrying(ctx: Context, retries: int) -> Flow:
    """A step that is tried again every hour."""
    first = yield ctx.run(stamp, "first")
    try:
        charged = yield ctx.run(charge, 9).options(retry_policy=Constant(delay=3600, max_retries=retries))
    except ConnectionError as error:
        charged = f"{type(error).__name__}: {error}"
    return [first, charged]


@resonate.register
def retrying_begun(ctx: Context) -> Flow:
    """The same, begun and under an id of its own, with a policy that grows."""
    named = yield ctx.begin_run(charge, 1).options(id="own/charge", retry_policy=Linear(delay=60, max_retries=50))
    promise = yield ctx.begin_run(charge, 2).options(retry_policy=Exponential(delay=10, max_delay=math.inf))
    return [(yield named), (yield promise)]


@resonate.register
def retrying_series(ctx: Context) -> Flow:
    """A step without a pause between its attempts: one after a hundred is durable."""
    return (yield ctx.run(charge, 3).options(retry_policy=Constant(delay=0)))


@resonate.register
def retrying_workflow(ctx: Context) -> Flow:
    """Nested workflows that fail as a whole."""
    generator = yield ctx.begin_run(fragile).options(retry_policy=Constant(delay=3600))
    asynchronous = yield ctx.begin_run(async_fragile).options(retry_policy=Constant(delay=3600))
    return [(yield generator), (yield asynchronous)]


@resonate.register
def fragile(ctx: Context) -> Flow:
    first = yield ctx.run(stamp, f"attempt {ctx.info.attempt}")
    return [first, (yield ctx.run(charge, 4).options(retry_policy=Never()))]


async def async_fragile(ctx: Context) -> list[str]:
    first = await ctx.run(stamp, f"async attempt {ctx.info.attempt}")
    return [first, await ctx.run(charge, 5).options(retry_policy=Never())]


@resonate.register
def second_thoughts(ctx: Context) -> Flow:
    """Fails once; its second attempt sleeps."""
    attempt = ctx.info.attempt
    first = yield ctx.run(stamp, f"attempt {attempt}")
    if attempt == 1:
        raise ConnectionError("no route")
    yield ctx.sleep(LONG)
    return [first, f"{yield ctx.run(stamp, 'after')} in attempt {ctx.info.attempt}"]


@resonate.register
def plain(ctx: Context, amount: int) -> str:
    """A registered function without commands."""
    return charge(ctx, amount)


# Errors


Gone = type("Gone", (Exception,), {"__module__": "a_module_that_is_gone"})
"""An error whose class does not exist in the process that reads it."""


def fail(ctx: Context, kind: str) -> None:
    conditions.runs[ctx.id] += 1
    text = f"{kind} {conditions.release}"
    if kind == "value":
        raise ValueError(text)
    if kind == "key":
        raise KeyError(text)
    if kind == "os":
        raise FileNotFoundError(2, text, "missing.txt")
    if kind == "own":
        raise conditions.OutOfStock(text)
    if kind == "gone":
        raise Gone(text)
    if kind == "attributes":
        raise conditions.Declined(text, 402)
    if kind == "cause":
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RuntimeError("wrapped") from error
    if kind == "group":
        raise ExceptionGroup("several", [ValueError(text), KeyError(text)])
    error = TypeError(text)
    error.add_note("a note")
    raise error


@resonate.register
def failing(ctx: Context, kind: str) -> Flow:
    yield ctx.run(fail, kind).options(retry_policy=Never())


def described(kind: str, error: Exception) -> str:
    """What of an error has to come back: its type, if that is known here, its text, and what it had with it."""
    match kind:
        case "gone":
            return f"another error: {str(error).rpartition(': ')[2]}"
        case "attributes":
            assert isinstance(error, conditions.Declined)
            return f"{error.args} {error.amount} {error.body!r} {error.inner!r} {error.details}"
        case "cause":
            return f"{type(error).__name__}: {error} because of {type(error.__cause__).__name__}: {error.__cause__}"
        case "group":
            assert isinstance(error, ExceptionGroup)
            return f"{error.message}: {', '.join(f'{type(each).__name__}: {each}' for each in error.exceptions)}"
        case "note":
            return f"{type(error).__name__}: {error}, {'a note' in error.__notes__}"
        case _:
            return f"{type(error).__name__}: {error}"


@resonate.register
def catching(ctx: Context) -> Flow:
    """Errors of every kind that a step or a call can leave behind, caught; then a sleep."""
    caught: list[str] = []
    for kind in ("value", "key", "os", "own", "gone", "attributes", "cause", "group", "note"):
        try:
            yield ctx.run(fail, kind).options(retry_policy=Never())
        except Exception as error:
            caught.append(described(kind, error))
    for kind in ("own", "gone"):
        try:
            yield ctx.rpc("failing", kind)
        except Exception as error:
            caught.append(described(kind, error))
    promise = yield ctx.promise(timeout=60)
    try:
        yield promise
    except ResonateTimedoutError as error:
        caught.append(type(error).__name__)
    promise = yield ctx.promise(id="catching-cancelled")
    try:
        yield promise
    except ResonateCanceledError as error:
        caught.append(type(error).__name__)
    yield ctx.sleep(LONG)
    return caught


# Values


class Colour(Enum):
    RED = "r"
    BLUE = "b"


@dataclass
class Item:
    name: str
    price: Decimal
    colour: Colour


class Point(msgspec.Struct):
    x: int
    y: float


@dataclass
class Order:
    id: UUID
    at: datetime
    day: date
    items: list[Item]
    photo: bytes
    place: Point
    notes: dict[str, str] = field(default_factory=dict)


def price(ctx: Context, order: Order) -> Order:
    conditions.runs[ctx.id] += 1
    order.items.append(Item(f"tax {conditions.release}", Decimal("0.07"), Colour.BLUE))
    return order


def when(ctx: Context, order: Order) -> datetime:
    conditions.runs[ctx.id] += 1
    return order.at


def total(ctx: Context, order: Order) -> Decimal:
    conditions.runs[ctx.id] += 1
    return sum((item.price for item in order.items), Decimal(0))


def colours(ctx: Context, order: Order) -> set[Colour]:
    conditions.runs[ctx.id] += 1
    return {item.colour for item in order.items}


ORDER = Order(
    UUID("12345678-1234-5678-1234-567812345678"),
    datetime(2026, 11, 29, 12, 30, 15, 250_000, tzinfo=UTC),
    date(2026, 12, 24),
    [Item("tea", Decimal("12.50"), Colour.RED)],
    b"\x00\xffphoto",
    Point(1, 2.5),
    {"naïve": "é ☕"},
)


@resonate.register
def typed(ctx: Context, order: Order, colour: Colour = Colour.RED) -> Flow:
    """Typed arguments and results, shown as text after they were read again."""
    priced: Order = yield ctx.run(price, order)
    at = yield ctx.run(when, priced)
    sum_ = yield ctx.run(total, priced)
    kinds = yield ctx.run(colours, priced)
    called = yield ctx.rpc(relay.func, priced)
    yield ctx.sleep(LONG)
    names = sorted(kind.name for kind in kinds)
    return [shown(order), shown(priced), at.isoformat(), str(sum_), names, colour.name, shown(called)]


@resonate.register
def relay(ctx: Context, order: Order) -> Order:
    conditions.runs[ctx.id] += 1
    return order


def shown(order: Order) -> str:
    items = ", ".join(f"{item.name} {item.price!s} {item.colour.name}" for item in order.items)
    place = f"{type(order.place).__name__}({order.place.x}, {order.place.y})"
    return f"{order.id} {order.at.isoformat()} {order.day.isoformat()} [{items}] {order.photo!r} {place} {order.notes}"


def numbers(ctx: Context) -> list[float | None]:
    conditions.runs[ctx.id] += 1
    return [math.inf, -math.inf, math.nan, 1e300, None]


def words(ctx: Context) -> list[str]:
    conditions.runs[ctx.id] += 1
    return ["__INF__", "plain"]


def nothing(ctx: Context) -> None:
    conditions.runs[ctx.id] += 1


def mapping(ctx: Context) -> dict[str, Any]:
    conditions.runs[ctx.id] += 1
    return {"": [], "nested": {"a": [1, {"b": True}]}, "big": 2**60, "text": "naïve é ☕ \u0000"}


@resonate.register
def peculiar(ctx: Context) -> Flow:
    """Values that JSON has no word for, and those that look like them."""
    found = [
        (yield ctx.run(numbers)),
        (yield ctx.run(words)),
        (yield ctx.run(nothing)),
        (yield ctx.run(mapping)),
    ]
    yield ctx.sleep(LONG)
    return repr(found)


@resonate.register
def recording(ctx: Context) -> Flow:
    """The time and chance, recorded before a sleep and asked again after it."""
    found = [
        (yield ctx.time.time()),
        (yield ctx.random.randint(1, 6)),
        (yield ctx.random.random()),
        (yield ctx.random.getrandbits(8)),
    ]
    yield ctx.sleep(LONG)
    return [*found, (yield ctx.random.randint(1, 6))]


@resonate.register
def large(ctx: Context, text: str, size: int) -> Flow:
    """A large argument and a large result of a step."""
    result = yield ctx.run(blob, size)
    yield ctx.sleep(LONG)
    return [len(text) == size, text[0], len(result) == size, result[0]]


@resonate.register
def calling_strangers(ctx: Context) -> Flow:
    """Calls that workers of the official SDKs have answered, each in its own form; then a sleep."""
    found: list[Any] = []
    for _ in range(4):
        try:
            found.append((yield ctx.rpc("ship", "tea").options(target="lambda://carrier")))
        except Exception as error:
            found.append(described("gone", error))
    yield ctx.sleep(LONG)
    return found


# Changed code


@resonate.register
def changed(ctx: Context) -> Flow:
    """Takes another path for as long as `conditions.detour` says so."""
    first = yield ctx.run(stamp, "first")
    yield ctx.sleep(3600)
    second = yield ctx.run(async_stamp if conditions.detour else stamp, "second")
    yield ctx.sleep(1800)
    return [first, second]


# Stored since 2026-11-30


@resonate.register
def refusing(ctx: Context) -> Flow:
    """Three calls whose ids other promises have: a promise, a call in a row, and an awaited call. Then a sleep."""
    caught: list[str] = []
    try:
        yield ctx.promise(id="taken/promise", idempotency_key="ours")
    except ResonateStoreError as error:
        caught.append(f"{type(error).__name__} at the promise")
    before = yield ctx.begin_rpc("sleeper", 60.0).options(target="poll://any@worker")
    yield ctx.begin_rpc("sleeper", 60.0).options(id="taken/begun", idempotency_key="ours")
    try:
        yield before
    except ResonateStoreError as error:
        caught.append(f"{type(error).__name__} at the next wait")
    try:
        yield ctx.rpc("sleeper", 60.0).options(id="taken/awaited", idempotency_key="ours")
    except ResonateStoreError as error:
        caught.append(f"{type(error).__name__} at the call")
    yield ctx.sleep(LONG)
    return [*caught, (yield before)]


def lasting(ctx: Context, milliseconds: int) -> str:
    conditions.wait(milliseconds)
    return stamp(ctx, "lasted")


@resonate.register
def timed(ctx: Context) -> Flow:
    """A step that takes some time, and a sleep."""
    lasted = yield ctx.run(lasting, 5_000)
    yield ctx.sleep(LONG)
    return [lasted, (yield ctx.run(stamp, "after"))]


@resonate.register
def distracted(ctx: Context) -> Flow:
    """A promise that the workflow awaits only after a sleep."""
    promise = yield ctx.promise()
    before = yield ctx.run(stamp, "before")
    yield ctx.sleep(LONG)
    return [before, (yield promise), (yield ctx.run(stamp, "after"))]


@resonate.register
def several(ctx: Context) -> Flow:
    """A race, a wait for all, a limited wait and a map. Then a sleep, and another map."""
    first = yield ctx.race(slow=ctx.begin_sleep(LONG), fast=ctx.run(stamp, "fast"), cancel_losers=True)
    both = yield ctx.all(a=ctx.run(stamp, "a"), b=ctx.run(stamp, "b"))
    promise = yield ctx.promise()
    try:
        waited = yield ctx.wait(promise, timeout=60)
    except TimeoutError:
        waited = yield ctx.run(stamp, "late")
    yield ctx.cancel(promise)
    mapped = yield ctx.map(stamp, ["x", "y"], max_concurrency=1)
    yield ctx.sleep(LONG)
    again = yield ctx.map(stamp, ["z"])
    return [first.name, first.value, both, waited, mapped.values, again.values]


@resonate.register
def interrupted(ctx: Context) -> Flow:
    """A nested workflow that is cancelled, and takes some time to compensate."""
    try:
        yield ctx.run(compensates)
    except Canceled as canceled:
        return [canceled.reason, (yield ctx.run(stamp, "end"))]


def compensates(ctx: Context) -> Flow:
    try:
        yield ctx.sleep(LONG)
    finally:
        yield ctx.run(stamp, "undo")
        yield ctx.sleep(LONG)


@resonate.register
def limited(ctx: Context) -> Flow:
    """A patch and a step that runs at most once, before a sleep. The patch is asked for again after it."""
    patched = yield ctx.patched("first")
    marked = yield ctx.run(stamp, "marked").options(at_most_once=True, attempt_timeout=3600)
    yield ctx.sleep(LONG)
    return [patched, marked, (yield ctx.patched("first")), (yield ctx.run(stamp, "after").options(at_most_once=True))]


@resonate.register
def chatting(ctx: Context) -> Flow:
    """Receive messages, one of them from the workflow itself, publish, and wait for another one with a timeout."""
    first = yield ctx.receive("chat")
    yield ctx.publish("count", 1)
    before = yield ctx.run(stamp, "before")
    yield ctx.send(ctx.id, "chat", "mine")
    second = yield ctx.receive("chat")
    third = yield ctx.receive("chat", timeout=LONG)
    return [first, before, second, third, (yield ctx.run(stamp, "after"))]


handler = resonate.handler()


@resonate.register
def endless(ctx: Context, number: int = 1) -> Flow:
    """Three histories, with a sleep in the second one."""
    name = yield ctx.run(stamp, f"round {number}")
    if number == 3:
        return name
    if number == 2:
        yield ctx.sleep(LONG)
    return ctx.continue_as(number + 1)


@resonate.register
def forked(ctx: Context, works: bool = False) -> Flow:
    """Fail and compensate in the source. In the fork, call another execution and sleep."""
    saga = ctx.saga()
    paid = yield saga.run(stamp, "paid", undo=(stamp, "refunded"))
    if not works:
        raise ValueError("no")
    called = yield ctx.rpc("double", 4)
    yield ctx.sleep(LONG)
    return [paid, called, ctx.info.idempotency_key, (yield ctx.run(stamp, "after"))]
