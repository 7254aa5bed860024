"""Handlers that start executions: events as AWS sends them, delivered twice, in any order, and malformed."""

import copy
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.testing.memory import MemoryStack
from resonate_infra.triggers import UnusableEventError, dynamodb_handler, eventbridge_handler, s3_handler, sqs_handler
from resonate_store.interface import StoreError
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseCreate
from tests.support.dynamo import Table
from tests.support.present import present

Handler = Callable[..., Any]
EVENTS = {path.stem: json.loads(path.read_text()) for path in Path(__file__).with_name("events").iterdir()}
FACTORIES: dict[str, Handler] = {
    "sqs": sqs_handler,
    "eventbridge": eventbridge_handler,
    "s3": s3_handler,
    "dynamodb": dynamodb_handler,
}
FAILED = "batchItemFailures"
DEFAULT_IDS = {
    "sqs": ["order-2e1424d4-f796-459a-8184-9c92662be6da", "order-c80e8021-a70a-42c7-a470-796e1186f753"],
    "eventbridge": ["order-7bf73129-1428-4cd3-a780-95db273d1602"],
    "s3": ["order-shop%2Eorders/in/order 17%2Ejson/0055AED6DCD90281E5"],
    "dynamodb": ["order-f07f8ca4b0b26cb9c4e5e77e69f274ee", "order-f07f8ca4b0b26cb9c4e5e77e69f274ef"],
}
ORDER = {"orderId": 17, "customer": "ada", "lines": [{"sku": "A.1"}]}
CONTENTS = {
    "sqs": ORDER,
    "eventbridge": ORDER,
    "s3": {
        "event": "ObjectCreated:Put",
        "time": "2025-01-01T00:00:00.000Z",
        "bucket": "shop.orders",
        "key": "in/order 17.json",
        "version": "L4kqtJlcpXroDTDmpUMLUo",
        "sequencer": "0055AED6DCD90281E5",
        "size": 1305756,
        "etag": "b21b84d653bb07b05b1e6b33684dc11b",
    },
    "dynamodb": {
        "event": "INSERT",
        "keys": {"orderId": 17},
        "new_image": {
            "orderId": 17,
            "customer": "ada",
            "price": 29.99,
            "tags": ["gift"],
            "paid": True,
            "exact": "0.12345678901234567890123456789",
        },
        "old_image": None,
    },
}
runs: list[Any] = []


def order(_ctx: Context, content: Any = None, customer: str = "") -> Any:
    runs.append(content)
    return {"content": content, "customer": customer}


@pytest.fixture
def stack() -> MemoryStack:
    runs.clear()
    stack = MemoryStack()
    stack.register(order, group="shop")
    return stack


@pytest.fixture
def client(stack: MemoryStack) -> Resonate:
    return stack.client()


def event(source: str) -> Any:
    return copy.deepcopy(EVENTS[source])


def roots(stack: MemoryStack) -> list[str]:
    return sorted(record.id for record in stack.store.records())


@pytest.mark.parametrize("source", FACTORIES)
def test_event_that_is_delivered_twice_starts_one_execution(stack: MemoryStack, source: str) -> None:
    handler = FACTORIES[source](stack.client(), "order", target="shop")
    answer = handler(event(source), None)
    again = event(source)
    again.get("Records", []).reverse()

    assert handler(again, None) == answer
    stack.pump()
    assert roots(stack) == DEFAULT_IDS[source]
    assert stack.result(DEFAULT_IDS[source][0]) == {"content": CONTENTS[source], "customer": ""}
    assert len(runs) == len(DEFAULT_IDS[source])
    assert answer == ({FAILED: []} if source in ("sqs", "dynamodb") else {"ids": DEFAULT_IDS[source]})


IDS: dict[str, tuple[Any, str]] = {
    "sqs": ("order-{body[orderId]}-{messageAttributes[tenant][stringValue]}", "order-17-acme"),
    "eventbridge": (lambda event: f"order-{event.detail['orderId']}", "order-17"),
    "s3": ("{bucket}/{key}", "shop%2Eorders/in/order 17%2Ejson"),
    "dynamodb": ("{event}-{keys[orderId]}", "INSERT-17"),
}
NAMES: dict[str, Callable[[Any], Any]] = {
    "sqs": lambda record: (record.json_body["orderId"], record.json_body["customer"]),
    "eventbridge": lambda event: {"content": 17, "customer": event.detail["customer"]},
    "s3": lambda record: (17, record.s3.bucket.name),
    "dynamodb": lambda record: (17, record.dynamodb.new_image.get("customer", "")),
}


@pytest.mark.parametrize("source", FACTORIES)
def test_trigger_uses_its_id_arguments_and_options(stack: MemoryStack, source: str) -> None:
    make, id = IDS[source]
    given = {"target": "shop", "timeout": 60, "tags": {"from": source}, "version": 1}
    FACTORIES[source](stack.client(), order.__name__, id=make, arguments=NAMES[source], **given)(event(source), None)
    stack.pump()

    assert stack.result(id) == {"content": 17, "customer": "shop.orders" if source == "s3" else "ada"}
    record = present(stack.store.record(id))
    assert (record.tags["from"], record.timeout_at - record.created_at) == (source, 60_000)


POISON: dict[str, Callable[[Any], Any]] = {
    "a body that is not JSON": lambda record: {**record, "body": "{"},
    "a missing value of the id": lambda record: {**record, "body": "{}"},
    "an id that is not Unicode": lambda record: {**record, "body": '{"orderId": "\\ud800"}'},
    "no body": lambda record: {name: text for name, text in record.items() if name != "body"},
}


def test_poisoned_message_is_reported_and_the_rest_started(
    stack: MemoryStack, client: Resonate, subtests: pytest.Subtests
) -> None:
    handler = sqs_handler(client, "order", id="order-{body[orderId]}", target="shop")
    for name, poison in POISON.items():
        with subtests.test(name):
            batch = event("sqs")
            bad, good = batch["Records"]
            batch["Records"] = [poison(bad), good]
            assert handler(batch, None) == {FAILED: [{"itemIdentifier": bad["messageId"]}]}
    assert roots(stack) == ["order-18"]


def test_arguments_that_cannot_travel_are_reported(client: Resonate, stack: MemoryStack) -> None:
    values: Iterator[Any] = iter([(object(),), [17], (18,)])
    handler = sqs_handler(client, "order", arguments=lambda _record: next(values))
    batch = event("sqs")
    batch["Records"].append({**batch["Records"][0], "messageId": "third"})

    assert [each["itemIdentifier"] for each in handler(batch, None)[FAILED]] == [
        record["messageId"] for record in batch["Records"][:2]
    ]
    assert roots(stack) == ["order-third"]


def test_id_of_another_function_is_reported_and_not_lost(client: Resonate, stack: MemoryStack) -> None:
    client.begin_rpc("order-17", "refund")
    stack.store.apply(PromiseCreate("order-18", 2**52))
    handler = sqs_handler(client, "order", id="order-{body[orderId]}")

    assert len(handler(event("sqs"), None)[FAILED]) == 2


def test_event_can_start_two_functions(client: Resonate, stack: MemoryStack) -> None:
    for func in ("order", "audit"):
        eventbridge_handler(client, func)(event("eventbridge"))

    assert [id.split("-")[0] for id in roots(stack)] == ["audit", "order"]


def test_fifo_group_stops_at_its_failure_without_other_groups(client: Resonate, stack: MemoryStack) -> None:
    (message, _) = event("sqs")["Records"]
    arn = "arn:aws:sqs:us-east-1:123456789012:orders.fifo"

    def of(name: str, group: str, body: str) -> dict[str, Any]:
        return {
            **message,
            "messageId": name,
            "eventSourceARN": arn,
            "body": body,
            "attributes": {"MessageGroupId": group},
        }

    records = [of("a1", "a", "1"), of("a2", "a", "{"), of("b1", "b", "1"), of("a3", "a", "1"), of("b2", "b", "1")]
    handler = sqs_handler(client, "order")

    assert handler({"Records": records}, None) == {FAILED: [{"itemIdentifier": "a2"}, {"itemIdentifier": "a3"}]}
    assert roots(stack) == ["order-a1", "order-b1", "order-b2"]
    assert handler({"Records": [of("a3", "a", "1")]}, None) == {FAILED: []}, "a failure is that of its batch only"


def test_poisoned_stream_record_is_reported_by_its_number(client: Resonate, stack: MemoryStack) -> None:
    handler = dynamodb_handler(client, "order", id="order-{new_image[orderId]}", target="shop")

    assert handler(event("dynamodb"), None) == {FAILED: [{"itemIdentifier": "222"}]}
    assert roots(stack) == ["order-17"]


def test_poisoned_event_of_eventbridge_raises_for_a_retry(client: Resonate, stack: MemoryStack) -> None:
    with pytest.raises(UnusableEventError, match="is missing") as raised:
        eventbridge_handler(client, "order", id="order-{detail[number]}")(event("eventbridge"))
    assert raised.value.__notes__ == [
        "no execution of order was started for event 7bf73129-1428-4cd3-a780-95db273d1602"
    ]
    assert roots(stack) == []


def test_poisoned_record_of_s3_raises_after_the_rest(client: Resonate, stack: MemoryStack) -> None:
    batch = event("s3")
    (record,) = batch["Records"]
    broken = {**record, "s3": {"bucket": {"name": "b"}}}
    handler = s3_handler(client, "order")

    with pytest.raises(UnusableEventError, match="the event is malformed: KeyError: 'object'"):
        handler({"Records": [broken, record]})
    with pytest.raises(ExceptionGroup, match="2 records started no execution"):
        handler({"Records": [broken, broken, record]})
    assert roots(stack) == DEFAULT_IDS["s3"]


def test_s3_events_without_a_sequencer_have_ids_of_their_own(client: Resonate, stack: MemoryStack) -> None:
    batch = event("s3")
    thing = batch["Records"][0]["s3"]["object"]
    del thing["sequencer"]
    handler = s3_handler(client, "order")
    for name in ("ObjectTagging:Put", "ObjectTagging:Put", "ObjectTagging:Delete"):
        batch["Records"][0]["eventName"] = name
        handler(batch)
    del thing["versionId"]
    handler(batch)

    tail = "2025-01-01T00%3A00%3A00%2E000Z"
    assert roots(stack) == [
        f"order-shop%2Eorders/in/order 17%2Ejson/{version}/ObjectTagging%3A{kind}/{tail}"
        for version, kind in (
            ("L4kqtJlcpXroDTDmpUMLUo", "Delete"),
            ("L4kqtJlcpXroDTDmpUMLUo", "Put"),
            ("null", "Delete"),
        )
    ]
    assert handler({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "shop.orders"}) == {"ids": []}


def test_unreachable_store_is_left_to_the_retries_of_lambda(stack: MemoryStack) -> None:
    client = stack.client()

    def refuse(_request: Any) -> Any:
        raise StoreError("the table cannot be reached")

    client.store.apply = refuse  # pyright: ignore[reportAttributeAccessIssue]
    assert len(sqs_handler(client, "order")(event("sqs"), None)[FAILED]) == 2
    with pytest.raises(StoreError):
        eventbridge_handler(client, "order")(event("eventbridge"))


def test_trigger_starts_no_threads(table: Table) -> None:
    before = set(threading.enumerate())
    client = Resonate(store=table.store(ManualClock()))

    assert sqs_handler(client, "order")(event("sqs"), None) == {FAILED: []}
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("source", FACTORIES)
def test_event_of_another_source_is_refused(client: Resonate, source: str) -> None:
    other = {"sqs": "s3", "s3": "sqs", "dynamodb": "sqs", "eventbridge": "s3"}[source]
    for wrong in (event(other), {}, {"Records": []}):
        with pytest.raises(UnusableEventError, match="expected"):
            FACTORIES[source](client, "order")(wrong, None)


def test_wrong_arguments_of_a_factory_are_refused_at_once(client: Resonate) -> None:
    wrong: Any = 17
    mistakes: list[dict[str, Any]] = [{"id": wrong}, {"arguments": wrong}, {"timeout": "soon"}]
    for given in mistakes:
        with pytest.raises(TypeError):
            sqs_handler(client, "order", **given)
    with pytest.raises(TypeError, match="resonate"):
        sqs_handler(wrong, "order")
    with pytest.raises(ValueError, match="the id template"):
        sqs_handler(client, "order", id="order-{detail[orderId]}")


def test_registered_function_checks_the_arguments_of_events(stack: MemoryStack) -> None:
    client = stack.client()

    @client.register(name="checked")
    def checked(_ctx: Context, number: int) -> int:
        return number

    handler = sqs_handler(client, checked, arguments=lambda record: (record.json_body["orderId"], "too many"))
    assert len(handler(event("sqs"), None)[FAILED]) == 2
    numbered = sqs_handler(client, checked, id="n-{body[orderId]}", arguments=lambda r: (r.json_body["orderId"],))
    assert numbered(event("sqs"), None) == {FAILED: []}
    assert roots(stack) == ["n-17", "n-18"]


def test_function_for_the_id_must_return_a_text(client: Resonate) -> None:
    number: Any = lambda _record: 17  # noqa: E731
    assert len(sqs_handler(client, "order", id=number)(event("sqs"), None)[FAILED]) == 2
