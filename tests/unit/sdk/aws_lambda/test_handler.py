"""The Lambda handler, from the event to the reply."""

from __future__ import annotations

import base64
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.aws_lambda.handler import LEASE_MARGIN_MS, LambdaHandler, MalformedEvent, offer_of
from resonate_store.interface import StoreClosed, StoreError
from resonate_store.model.requests import PromiseCreate, PromiseGet, Request, Response, TaskAcquire
from resonate_store.model.tags import TARGET
from resonate_store.settings import SettingsError
from tests.support.driver import Driver, Flow

PATIENCE = 10.0
"""Seconds after which a test that waits for a thread has failed."""
EVENTS = Path(__file__).parents[4] / "events"


class LambdaContext:
    """What Lambda hands a handler."""

    function_name = "my-worker"

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return round(self._seconds * 1000)


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_FUNCTIONS", "1")
    monkeypatch.setenv("RESONATE_REQUESTS", "1")


@pytest.fixture
def driver() -> Driver:
    return Driver()


def handler_of(driver: Driver) -> LambdaHandler:
    return LambdaHandler(driver.tap, driver.registry, driver.dependencies, driver.clock, "p1")


@pytest.fixture
def handler(driver: Driver) -> LambdaHandler:
    return handler_of(driver)


def offer(driver: Driver) -> dict[str, Any]:
    """The execute message of the oldest offer."""
    id, version = driver.offers.popleft()
    return execute(id, version)


def execute(id: str, version: int = 0) -> dict[str, Any]:
    return {"kind": "execute", "head": {}, "data": {"task": {"id": id, "version": version}}}


def over_http(body: Any, *, method: str = "POST", encoded: bool = False) -> dict[str, Any]:
    """A function URL or API Gateway event of payload version 2."""
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    if encoded and text is not None:
        text = base64.b64encode(text.encode()).decode()
    return {
        "version": "2.0",
        "rawPath": "/",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": method, "path": "/"}, "domainName": "x.lambda-url.eu-central-1.on.aws"},
        "body": text,
        "isBase64Encoded": encoded,
    }


def batch(*bodies: Any) -> dict[str, Any]:
    """An SQS batch."""
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "body": body if isinstance(body, str) else json.dumps(body),
                "eventSource": "aws:sqs",
            }
            for number, body in enumerate(bodies)
        ]
    }


def reply_of(response: dict[str, Any]) -> tuple[int, Any]:
    assert response["headers"] == {"Content-Type": "application/json"}
    return response["statusCode"], json.loads(response["body"])


def double(_: Context, n: int) -> int:
    return 2 * n


def sleeps(ctx: Context) -> Flow:
    yield ctx.sleep(60)
    return "rested"


# -- how it ends ------------------------------------------------------------------------------------------------------


def test_a_task_is_completed(driver: Driver, handler: LambdaHandler) -> None:
    driver.begin("w", double, 2)

    assert handler(offer(driver), LambdaContext()) == {"status": "completed"}
    assert driver.finish("w") == 4


def test_a_task_is_suspended_and_resumed(driver: Driver, handler: LambdaHandler) -> None:
    driver.begin("w", sleeps)
    assert handler(offer(driver), LambdaContext()) == {"status": "suspended"}
    driver.pass_time(60)

    assert handler(offer(driver), LambdaContext()) == {"status": "completed"}
    assert driver.finish("w") == "rested"


def test_a_task_that_cannot_be_run_is_told_of(
    driver: Driver, handler: LambdaHandler, caplog: pytest.LogCaptureFixture
) -> None:
    driver.create("w", {"func": "nope"})
    caplog.set_level(logging.WARNING, "resonate")

    error = "function nope not found in registry: nothing is registered here"
    assert handler(offer(driver), LambdaContext()) == {"status": "released", "error": error}
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [f"task w is released, and will be tried again: {error}"]


def test_a_task_is_released_when_time_is_running_out(driver: Driver, handler: LambdaHandler) -> None:
    ran: list[int] = []

    def slow(_: Context, n: int) -> None:
        ran.append(n)
        driver.clock.advance(7_000)

    def workflow(ctx: Context) -> Flow:
        for n in range(5):
            yield ctx.run(slow, n)

    driver.begin("w", workflow)

    # Of 10 s a fifth is kept back, of 26 s no more than 5 s.
    assert handler(offer(driver), LambdaContext(10)) == {"status": "released"}
    assert ran == [0, 1]
    assert handler(offer(driver), LambdaContext(26)) == {"status": "completed"}
    assert ran == [0, 1, 2, 3, 4]


def test_a_task_is_released_with_the_reason(driver: Driver, handler: LambdaHandler) -> None:
    driver.create("w", {"func": "nobody"})

    assert handler(offer(driver), LambdaContext()) == {
        "status": "released",
        "error": "function nobody not found in registry: nothing is registered here",
    }


def test_a_task_is_lost_to_whoever_was_first(driver: Driver, handler: LambdaHandler) -> None:
    driver.begin("w", sleeps)
    event = offer(driver)
    handler(event, LambdaContext())

    assert handler(event, LambdaContext()) == {"status": "lost"}
    assert handler(execute("unknown"), LambdaContext()) == {"status": "lost"}


def test_a_task_is_halted(driver: Driver) -> None:
    def before(ctx: Context) -> Flow:
        yield ctx.sleep(60)

    def after(ctx: Context) -> Flow:
        yield ctx.run(double, 1)

    driver.deploy(w=before)
    driver.create("w", {"func": "w"})
    handler_of(driver)(offer(driver), LambdaContext())
    driver.pass_time(60)
    driver.deploy(w=after)

    reply = handler_of(driver)(offer(driver), LambdaContext())

    assert reply["status"] == "halted"
    assert "w.1 was a sleep when it first ran and is now run double" in reply["error"]


@pytest.mark.parametrize("how", ["direct", "http", "sqs"])
def test_a_store_that_cannot_answer_makes_lambda_try_again(driver: Driver, handler: LambdaHandler, how: str) -> None:
    def gone(_: Request | str) -> Response | None:
        raise StoreError("no table")

    driver.begin("w", double, 2)
    driver.tap.answer = gone
    event = offer(driver)

    if how == "direct":
        with pytest.raises(StoreError, match="no table"):
            handler(event, LambdaContext())
    elif how == "http":
        response = handler(over_http(event), LambdaContext())
        assert reply_of(response) == (500, {"error": "Handler failed: no table"})
    else:
        assert handler(batch(event), LambdaContext()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


# -- leases and targets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("context", "seconds"), [(LambdaContext(12), 12), (None, 900), (object(), 900)])
def test_the_lease_outlives_the_invocation(driver: Driver, handler: LambdaHandler, context: Any, seconds: int) -> None:
    driver.begin("w", double, 2)

    assert handler(offer(driver), context) == {"status": "completed"}
    acquired = driver.tap.requests[0]
    assert isinstance(acquired, TaskAcquire)
    assert (acquired.ttl, acquired.pid) == (seconds * 1000 + LEASE_MARGIN_MS, "p1")


def test_a_call_without_a_target_comes_back_to_this_function(driver: Driver, handler: LambdaHandler) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.rpc("elsewhere")

    for id, context, target in (("a", LambdaContext(), "lambda://my-worker"), ("b", None, "poll://any@default")):
        driver.begin(id, workflow)
        handler(offer(driver), context)
        driver.offers.clear()
        assert driver.promise(f"{id}.1").tags[TARGET] == target


# -- the store ends with the invocation -------------------------------------------------------------------------------


def test_every_invocation_has_a_store_that_is_closed_when_it_ends(driver: Driver, handler: LambdaHandler) -> None:
    driver.begin("w", sleeps)
    handler(offer(driver), LambdaContext())
    driver.pass_time(60)
    handler(offer(driver), LambdaContext())

    assert [opened.closed for opened in driver.tap.opened] == [True, True]
    assert not driver.tap.closed
    with pytest.raises(StoreClosed):
        driver.tap.opened[0].apply(PromiseGet("w"))


def test_a_thread_that_outlives_the_invocation_writes_nothing(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_FUNCTIONS", "2")
    running, enough, over = threading.Event(), threading.Event(), threading.Event()
    written: list[Any] = []

    def lingers(_: Context) -> str:
        running.set()
        enough.wait(PATIENCE)
        try:
            written.append(driver.tap.opened[0].apply(PromiseCreate("late", 10**13)))
        except StoreClosed as refused:
            written.append(refused)
        over.set()
        return "too late"

    def fast(_: Context) -> None:
        assert running.wait(PATIENCE)

    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_run(lingers)
        yield ctx.run(fast)

    def gone(request: Request | str) -> Response | None:
        if not isinstance(request, TaskAcquire):
            raise StoreError("no table any more")
        return None

    driver.tap.answer = gone
    driver.begin("w", workflow)
    with pytest.raises(StoreError, match="no table any more"):
        handler_of(driver)(offer(driver), LambdaContext())
    driver.tap.answer = lambda _: None
    enough.set()

    assert over.wait(PATIENCE)
    assert isinstance(written[0], StoreClosed)
    assert driver.ids() == ["w"]


# -- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoded", [False, True])
def test_a_function_url_carries_the_message_in_its_body(driver: Driver, handler: LambdaHandler, encoded: bool) -> None:
    driver.begin("w", double, 2)
    driver.create("x", {"func": "nobody"})

    response = handler(over_http(offer(driver), encoded=encoded), LambdaContext())
    assert reply_of(response) == (200, {"status": "completed"})
    status, reply = reply_of(handler(over_http(offer(driver), encoded=encoded), LambdaContext()))
    assert (status, reply["status"]) == (200, "released")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_only_post_is_allowed(handler: LambdaHandler, method: str) -> None:
    response = handler(over_http(execute("w"), method=method), LambdaContext())

    assert reply_of(response) == (405, {"error": f"a worker is sent its tasks by POST, not {method}"})


WHAT_IS_EXPECTED = 'expected an execute message {"kind": "execute"'
MALFORMED: list[tuple[Any, str]] = [
    ({}, "a worker accepts messages of the kind 'execute', not None"),
    ({"kind": "unblock", "data": {}}, "a worker accepts messages of the kind 'execute', not 'unblock'"),
    ({"kind": "execute"}, WHAT_IS_EXPECTED),
    ({"kind": "execute", "data": None}, WHAT_IS_EXPECTED),
    ({"kind": "execute", "data": {"task": "w"}}, WHAT_IS_EXPECTED),
    ({"kind": "execute", "data": {"task": {"id": "w"}}}, WHAT_IS_EXPECTED),
    ({"kind": "execute", "data": {"task": {"id": 5, "version": 0}}}, WHAT_IS_EXPECTED),
    ({"kind": "execute", "data": {"task": {"id": "w", "version": "0"}}}, WHAT_IS_EXPECTED),
    ({"kind": "execute", "data": {"task": {"id": "w", "version": True}}}, WHAT_IS_EXPECTED),
    ([], WHAT_IS_EXPECTED),
    ("text", WHAT_IS_EXPECTED),
]


@pytest.mark.parametrize("header", ["authorization", "Authorization"])
def test_who_shows_the_shared_secret_may_invoke(driver: Driver, monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    monkeypatch.setenv("RESONATE_PUSH_TOKEN", "s3cret")
    driver.begin("w", double, 2)
    event = over_http(offer(driver))
    event["headers"][header] = "Bearer s3cret"

    assert reply_of(handler_of(driver)(event, LambdaContext())) == (200, {"status": "completed"})


@pytest.mark.parametrize(
    "shown", [None, "", "s3cret", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "Bearer \u00e9"]
)
def test_nobody_else_may(driver: Driver, monkeypatch: pytest.MonkeyPatch, shown: str | None) -> None:
    monkeypatch.setenv("RESONATE_PUSH_TOKEN", "s3cret")
    driver.begin("w", double, 2)
    event = over_http(offer(driver)) | {"headers": None if shown is None else {"authorization": shown}}

    assert reply_of(handler_of(driver)(event, LambdaContext())) == (401, {"error": "Unauthorized"})
    task = driver.task("w")
    assert task is not None
    assert task.state == "pending"


def test_aws_answers_for_whom_it_has_authenticated_and_for_direct_invokes(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESONATE_PUSH_TOKEN", "s3cret")
    handler = handler_of(driver)
    driver.begin("w", double, 2)
    event = over_http(offer(driver))
    event["requestContext"]["authorizer"] = {"iam": {"accountId": "1"}}
    assert reply_of(handler(event, LambdaContext())) == (200, {"status": "completed"})

    driver.begin("v", double, 2)
    assert handler(offer(driver), LambdaContext()) == {"status": "completed"}


def test_an_empty_secret_is_none(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_PUSH_TOKEN", "")
    driver.begin("w", double, 2)

    response = handler_of(driver)(over_http(offer(driver)), LambdaContext())

    assert reply_of(response) == (200, {"status": "completed"})


def test_a_secret_that_fits_into_no_header_is_named_at_the_start(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESONATE_PUSH_TOKEN", "two words")
    with pytest.raises(SettingsError, match="RESONATE_PUSH_TOKEN must be printable ASCII without spaces"):
        handler_of(driver)


@pytest.mark.parametrize(("message", "error"), MALFORMED, ids=str)
def test_a_message_that_offers_no_task_is_refused_everywhere(
    driver: Driver, handler: LambdaHandler, message: Any, error: str
) -> None:
    status, reply = reply_of(handler(over_http(json.dumps(message)), LambdaContext()))
    assert status == 400
    assert reply["error"].startswith(error)
    assert handler(batch(json.dumps(message)), LambdaContext()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    with pytest.raises(MalformedEvent) as refused:
        offer_of(message)
    assert str(refused.value).startswith(error)
    if isinstance(message, dict):
        with pytest.raises(MalformedEvent):
            handler(message, LambdaContext())
    assert driver.tap.requests == []


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (over_http(None), "the request has no body: POST an execute message"),
        (over_http(""), "the request has no body: POST an execute message"),
        (over_http("{not json"), "the message is not JSON: "),
        (over_http("{not json", encoded=True), "the message is not JSON: "),
        ({**over_http(execute("w")), "isBase64Encoded": True}, "the body is not base64: "),
        (
            {**over_http(""), "body": base64.b64encode(b"\xff").decode(), "isBase64Encoded": True},
            "the message is not JSON: ",
        ),
    ],
)
def test_a_body_that_cannot_be_read_is_a_bad_request(handler: LambdaHandler, event: Any, error: str) -> None:
    status, reply = reply_of(handler(event, LambdaContext()))

    assert status == 400
    assert reply["error"].startswith(error)


@pytest.mark.parametrize("event", [None, "text", 5, []])
def test_an_event_that_is_no_object_is_refused(handler: LambdaHandler, event: Any) -> None:
    with pytest.raises(MalformedEvent, match=f"expected an event object, got {type(event).__name__}"):
        handler(event, LambdaContext())


# -- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_reports_what_has_failed_and_nothing_else(driver: Driver, handler: LambdaHandler) -> None:
    def fails(request: Request | str) -> Response | None:
        if "bad" in str(request):
            raise StoreError("throttled")
        return None

    driver.tap.answer = fails
    for id in ("good", "bad", "better"):
        driver.begin(id, double, 2)
    good, bad, better = (offer(driver) for _ in range(3))

    reply = handler(batch(good, "{not json", bad, execute("unknown"), better, good), LambdaContext())

    assert reply == {"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]}
    assert [driver.promise(id).state for id in ("good", "bad", "better")] == ["resolved", "pending", "resolved"]


def test_a_message_that_fails_unexpectedly_fails_alone(driver: Driver, handler: LambdaHandler) -> None:
    def fails(request: Request | str) -> Response | None:
        if "poison" in str(request):
            raise RuntimeError("unexpected")
        return None

    driver.tap.answer = fails
    for id in ("poison", "good"):
        driver.begin(id, double, 2)

    reply = handler(batch(offer(driver), offer(driver)), LambdaContext())

    assert reply == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert driver.promise("good").state == "resolved"


def test_a_record_without_a_body_fails_alone(driver: Driver, handler: LambdaHandler) -> None:
    driver.begin("w", double, 2)
    event = batch(offer(driver))
    event["Records"].append({"messageId": "empty"})

    assert handler(event, LambdaContext()) == {"batchItemFailures": [{"itemIdentifier": "empty"}]}


@pytest.mark.parametrize("records", [[], None, "text", [5], [{"body": "no message id"}], {"messageId": "m"}], ids=str)
def test_records_that_are_no_sqs_batch_are_refused(handler: LambdaHandler, records: Any) -> None:
    with pytest.raises(MalformedEvent, match="expected a batch of SQS messages under 'Records'"):
        handler({"Records": records}, LambdaContext())


# -- made by a client -------------------------------------------------------------------------------------------------


def test_a_client_makes_a_handler_for_its_functions(driver: Driver) -> None:
    resonate = Resonate(store=driver.store, clock=driver.clock)
    driver.store.subscribe(send=driver._send)  # the handler alone does the work here
    resonate.register(double)
    resonate.set_dependency("db", 1)
    driver.create("w", {"func": "double", "args": [3]})

    assert resonate.handler()(offer(driver), LambdaContext()) == {"status": "completed"}
    assert driver.finish("w") == 6


@pytest.mark.parametrize("name", ["RESONATE_FUNCTIONS", "RESONATE_REQUESTS"])
def test_a_malformed_setting_is_named_at_the_start(driver: Driver, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "many")

    with pytest.raises(SettingsError, match=f"{name} must be a whole number of at least 1, got 'many'"):
        handler_of(driver)


@pytest.mark.parametrize("file", sorted(EVENTS.glob("worker*.json")), ids=lambda path: path.name)
def test_the_sample_events_are_understood(handler: LambdaHandler, file: Path) -> None:
    reply = handler(json.loads(file.read_text()), LambdaContext())

    assert reply == {"status": "lost"} or reply_of(reply) == (200, {"status": "lost"})
