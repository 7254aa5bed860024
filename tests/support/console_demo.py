"""Executions for tests and pictures of the console: a shop, at chosen instants."""

from __future__ import annotations

from typing import Any

from resonate.payloads.codec import encode, encode_call, encode_error
from resonate_store.interface import Store
from resonate_store.model.clock import ManualClock
from resonate_store.model.message_requests import MessageSend, TaskPublish
from resonate_store.model.records import EMPTY, Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskFulfill,
    TaskHalt,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import ScheduleCreate, SchedulePause
from resonate_store.model.tags import BRANCH, FUNC, KIND, NAME, ORIGIN, PARENT, PREFIX, SCOPE, TARGET, TIMER

MONDAY = 1_796_029_200_000
"""2026-11-30T09:00:00Z, when the first execution starts."""
LATER = MONDAY + 365 * 86_400_000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000

FUNCTIONS: list[dict[str, Any]] = [
    {
        "name": "order",
        "versions": [1, 2],
        "doc": "Reserve, charge and ship an order.\n\nIt waits for an approval if the amount is large.",
        "schema": {
            "type": "object",
            "properties": {
                "amount": {"type": "integer"},
                "currency": {"enum": ["EUR", "USD"], "default": "EUR"},
                "address": {"$ref": "#/$defs/Address"},
                "gift": {"type": "boolean", "default": False},
                "note": {"type": "string", "default": ""},
            },
            "required": ["amount", "address"],
            "$defs": {
                "Address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}
            },
        },
        "positional": [],
    },
    {"name": "refund", "versions": [1], "doc": "Give the money of an order back.", "schema": {}, "positional": []},
    {"name": "stocktake", "versions": [1], "doc": "Count what is in the stores.", "schema": {}, "positional": []},
]
"""What the worker of the shop announces."""


def _payload(error: Value | Exception) -> Value:
    return error if isinstance(error, Value) else encode_error(error)


class Shop:
    """Builder of executions.

    Args:
        store: the store.
        clock: its clock, which each execution sets.
    """

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock

    def ask(self, request: Request) -> Any:
        response = self.store.apply(request)
        assert response.status < 400, (request, response)
        return response

    def begin(self, id: str, at: int, func: str = "order", args: tuple[Any, ...] = (), **kwargs: Any) -> None:
        """Start an execution, whose task a worker acquires."""
        self.clock.advance_to(at)
        tags = {**dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id), SCOPE: "global", TARGET: "poll://any@shop"}
        param = encode_call(func, args, kwargs, 1)
        self.ask(TaskCreate("shop-1", 60_000, PromiseCreate(id, LATER, param, {**tags, FUNC: func})))

    def step(
        self, id: str, func: str, began: int, took: int, value: Any = None, error: Value | Exception | None = None
    ) -> None:
        """Record a local step."""
        self.clock.advance_to(began + took)
        state = "resolved" if error is None else "rejected"
        outcome = encode(value, "a value") if error is None else _payload(error)
        tags = {**self.lineage(id), SCOPE: "local", FUNC: func}
        self.ask(PromiseRecord(id, LATER, began, state, outcome, tags=tags))

    def try_step(self, id: str, func: str, at: int) -> None:
        """Begin a step that is recorded before it ends, because a pause between its attempts is long."""
        self.clock.advance_to(at)
        self.ask(PromiseCreate(id, LATER, tags={**self.lineage(id), SCOPE: "local", FUNC: func}))

    def retry(self, id: str, attempt: int, at: int, until: int, error: Value | Exception) -> None:
        """Create the timer of a pause before the next attempt."""
        self.clock.advance_to(at)
        tags = {**self.lineage(id), TIMER: "true"}
        self.ask(PromiseCreate(f"{id}~{attempt}", until, _payload(error), tags))

    def sleep(self, id: str, at: int, until: int) -> None:
        self.clock.advance_to(at)
        self.ask(PromiseCreate(id, until, tags={**self.lineage(id), SCOPE: "global", TIMER: "true"}))

    def call(self, id: str, at: int, func: str, *args: Any, target: str = "shop") -> None:
        """Create a remote call, whose task is pending."""
        self.clock.advance_to(at)
        tags = {**self.lineage(id), BRANCH: id, SCOPE: "global", TARGET: f"poll://any@{target}", FUNC: func}
        self.ask(PromiseCreate(id, LATER, encode_call(func, args, {}, 1), tags))

    def promise(self, id: str, at: int, data: Any = None) -> None:
        self.clock.advance_to(at)
        tags = {**self.lineage(id), BRANCH: id, SCOPE: "global"}
        self.ask(PromiseCreate(id, LATER, encode(data, "the data"), tags))

    def settle(self, id: str, at: int, value: Any = None, error: Value | Exception | None = None) -> None:
        """Settle a promise, or a call whose task is pending."""
        self.clock.advance_to(at)
        outcome = encode(value, "a value") if error is None else _payload(error)
        self.ask(PromiseSettle(id, "resolved" if error is None else "rejected", outcome))

    def end(
        self, id: str, at: int, value: Any = None, error: Value | Exception | None = None, version: int = 1
    ) -> None:
        """Fulfill the task of an execution."""
        self.clock.advance_to(at)
        outcome = encode(value, "a value") if error is None else _payload(error)
        settle = PromiseSettle(id, "resolved" if error is None else "rejected", outcome)
        self.ask(TaskFulfill(id, version, settle))

    def suspend(self, id: str, *awaited: str, receives: tuple[str, ...] = ()) -> None:
        self.ask(TaskSuspend(id, 1, awaited, receives=receives))

    @staticmethod
    def lineage(id: str) -> dict[str, str]:
        root = id.partition(".")[0]
        return {ORIGIN: root, PARENT: id.rpartition(".")[0], BRANCH: root, PREFIX: root}


def raised(error: Exception) -> Exception:
    """Return the error with a traceback of this file."""
    try:
        _request_payment(error)
    except Exception as caught:
        return caught
    raise AssertionError


def _request_payment(error: Exception) -> None:
    raise error


def told(name: str, message: str) -> Value:
    """Return the payload of an error of the shop, with a traceback of the shop's files."""
    traceback = f"""Traceback (most recent call last):
  File "/var/task/shop/orders.py", line 48, in charge
    receipt = payments.charge(card, amount, key=ctx.idempotency_key)
  File "/var/task/shop/payments.py", line 21, in charge
    response = session.post("/charges", json=body, timeout=10)
{name}: {message}
"""
    state = {"__type": "error", "name": name, "message": message, "args": [message], "traceback": traceback}
    return encode(state, "an error")


def fill(store: Store, clock: ManualClock) -> None:
    """Create the executions of the shop. The clock then shows the instant of the pictures."""
    shop = Shop(store, clock)
    at = MONDAY
    for number in range(18):
        _small_order(
            shop, f"order-{4101 + number}", at + number * 97 * SECOND, 20 + number * 7, fails=number in (6, 13)
        )
    at += 30 * MINUTE
    _failed(shop, "order-4119", at)
    at += 3 * MINUTE
    _nested(shop, "order-4120", at)
    at += 2 * MINUTE
    _halted(shop, "refund-88", at)
    _cancelled(shop, "refund-87", at + 20 * SECOND)
    at += 2 * MINUTE
    _unserved(shop, "stocktake-7", at)
    _retrying(shop, "order-4121", at + 40 * SECOND)
    _approval(shop, "order-4122", at + 100 * SECOND)
    _chat(shop, "support-312", at + 130 * SECOND)
    _running(shop, "order-4123", at + 160 * SECOND)
    _schedules(shop, at + 160 * SECOND)
    clock.advance_to(at + 186 * SECOND)


def _small_order(shop: Shop, id: str, at: int, amount: int, *, fails: bool) -> None:
    shop.begin(id, at, amount=amount, address={"street": "Hauptstraße 1", "city": "Berlin"})
    shop.step(f"{id}.1", "reserve", at + 40, 310, {"stock": 12})
    if fails:
        error = told("ValueError", "the card 4242 was declined")
        shop.step(f"{id}.2", "charge", at + 360, 890, error=error)
        shop.step(f"{id}.3", "release", at + 1_260, 95)
        shop.end(id, at + 1_400, error=error)
        return
    shop.step(f"{id}.2", "charge", at + 360, 890, f"receipt-{amount}")
    shop.step(f"{id}.3", "ship", at + 1_260, 420, "parcel-9")
    shop.end(id, at + 1_700, {"parcel": "parcel-9", "charged": amount})


def _failed(shop: Shop, id: str, at: int) -> None:
    """An order whose payment failed three times, as on the pictures of a night shift."""
    error = told("ConnectionError", "payments.example.com refused the connection")
    shop.begin(id, at, amount=3150, currency="EUR", address={"street": "Rosenweg 8", "city": "Hamburg"})
    shop.step(f"{id}.1", "reserve", at + 60, 380, {"stock": 3})
    shop.step(f"{id}.2", "price", at + 450, 160, 3150)
    shop.try_step(f"{id}.3", "charge", at + 650)
    shop.retry(f"{id}.3", 1, at + 2 * SECOND, at + 6 * SECOND, error)
    shop.clock.advance_to(at + 6 * SECOND)
    shop.ask(PromiseSettle(f"{id}.3~1", "resolved"))
    shop.retry(f"{id}.3", 2, at + 8 * SECOND, at + 16 * SECOND, error)
    shop.clock.advance_to(at + 16 * SECOND)
    shop.ask(PromiseSettle(f"{id}.3~2", "resolved"))
    shop.settle(f"{id}.3", at + 18_100, error=error)
    shop.step(f"{id}.4", "release", at + 18_200, 240)
    shop.step(f"{id}.5", "notify", at + 18_450, 600, "mail-77")
    shop.end(id, at + 19_300, error=error)


def _nested(shop: Shop, id: str, at: int) -> None:
    shop.begin(id, at, amount=420, address={"street": "Am Markt 2", "city": "Bremen"})
    shop.step(f"{id}.1", "reserve", at + 50, 400, {"stock": 40})
    shop.call(f"{id}.2", at + 500, "pack", "box-4")
    shop.ask(TaskAcquire(f"{id}.2", 0, "shop-2", 60_000))
    shop.step(f"{id}.2.1", "weigh", at + 700, 300, 1.4)
    shop.step(f"{id}.2.2", "label", at + 1_050, 900, "DE-77")
    shop.end(f"{id}.2", at + 2_100, "packed")
    shop.sleep(f"{id}.3", at + 2_150, at + 7_150)
    shop.clock.advance_to(at + 7_150)
    shop.ask(PromiseSettle(f"{id}.3", "resolved"))
    shop.promise(f"{id}.4", at + 7_200, {"question": "Is the parcel picked up?"})
    shop.settle(f"{id}.4", at + 11 * SECOND, True)
    shop.step(f"{id}.5", "notify", at + 11_050, 500, "mail-78")
    shop.end(id, at + 11_700, {"parcel": "DE-77"})


def _halted(shop: Shop, id: str, at: int) -> None:
    shop.begin(id, at, "refund", order="order-4106")
    shop.step(f"{id}.1", "find", at + 30, 120, {"amount": 62})
    shop.ask(TaskHalt(id, reason="ReplayError: the code has no command 2 where the history has `run pay_back`"))


def _cancelled(shop: Shop, id: str, at: int) -> None:
    shop.begin(id, at, "refund", order="order-4104")
    shop.clock.advance_to(at + 4 * SECOND)
    shop.ask(PromiseSettle(id, "rejected_canceled"))


def _unserved(shop: Shop, id: str, at: int) -> None:
    shop.begin(id, at, "stocktake", store="north")
    shop.call(f"{id}.1", at + 300, "count", "north", target="warehouse")
    shop.suspend(id, f"{id}.1")


def _retrying(shop: Shop, id: str, at: int) -> None:
    error = told("TimeoutError", "payments.example.com did not answer within 10 s")
    shop.begin(id, at, amount=75, address={"street": "Seestraße 19", "city": "Kiel"})
    shop.step(f"{id}.1", "reserve", at + 40, 350, {"stock": 8})
    shop.try_step(f"{id}.2", "charge", at + 900)
    shop.retry(f"{id}.2", 1, at + 11 * SECOND, at + 15 * SECOND, error)
    shop.clock.advance_to(at + 15 * SECOND)
    shop.ask(PromiseSettle(f"{id}.2~1", "resolved"))
    shop.retry(f"{id}.2", 2, at + 26 * SECOND, at + 5 * MINUTE, error)
    shop.suspend(id, f"{id}.2~2")


def _approval(shop: Shop, id: str, at: int) -> None:
    shop.begin(id, at, amount=9800, address={"street": "Hafen 4", "city": "Rostock"})
    shop.step(f"{id}.1", "reserve", at + 50, 300, {"stock": 2})
    shop.promise(f"{id}.2", at + 400, {"question": "Approve 9,800 EUR?", "customer": "c-2217"})
    shop.suspend(id, f"{id}.2")


def _chat(shop: Shop, id: str, at: int) -> None:
    shop.begin(id, at, "support", customer="c-88")
    tags = {**shop.lineage(f"{id}.1"), SCOPE: "local", KIND: "publish", NAME: "progress"}
    shop.ask(TaskPublish(id, 1, f"{id}.1", "progress", LATER, encode({"asked": 2, "open": 1}, "it"), tags))
    shop.ask(MessageSend(id, "note", "k1", encode("please call me back", "it")))
    shop.ask(TaskSuspend(id, 1, (), receives=("answer",), seen=1))


def _running(shop: Shop, id: str, at: int) -> None:
    shop.begin(id, at, amount=61, address={"street": "Lindenallee 30", "city": "Erfurt"})
    shop.step(f"{id}.1", "reserve", at + 60, 420, {"stock": 19})
    shop.step(f"{id}.2", "charge", at + 500, 1_300, "receipt-61")
    shop.sleep(f"{id}.3", at + 2_000, at + 9_000)
    shop.clock.advance_to(at + 9_000)
    shop.ask(PromiseSettle(f"{id}.3", "resolved"))
    shop.call(f"{id}.4", at + 9_100, "pack", "box-1")
    shop.ask(TaskAcquire(f"{id}.4", 0, "shop-2", 60_000))
    shop.step(f"{id}.4.1", "weigh", at + 9_400, 700, 0.8)


def _schedules(shop: Shop, at: int) -> None:
    shop.clock.advance_to(at)
    tags = {TARGET: "poll://any@shop", FUNC: "stocktake"}
    param = encode_call("stocktake", (), {"store": "south"}, 1)
    shop.ask(ScheduleCreate("stocktake", "0 6 * * mon", "stocktake.{{.timestamp}}", HOUR, param, tags, "Europe/Berlin"))
    shop.ask(ScheduleCreate("report", "@hourly", "report.{{.timestamp}}", HOUR, EMPTY, {**tags, FUNC: "report"}))
    shop.ask(SchedulePause("report"))


def many_steps(shop: Shop, id: str, at: int, count: int) -> None:
    """An execution with many steps, which has ended."""
    shop.begin(id, at, "stocktake", store="all")
    for number in range(1, count + 1):
        shop.step(f"{id}.{number}", "count_shelf", at + number * 5, 4, number)
    shop.end(id, at + count * 5 + 100, count)
