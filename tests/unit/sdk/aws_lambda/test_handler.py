"""The handler of a Lambda worker, from the event to the reply."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resonate import Context
from resonate.aws_lambda.handler import LEASE_MARGIN_MS, LambdaHandler, MalformedEvent, offer_of
from resonate.worker.descriptions import descriptions_of
from resonate_store.interface import StoreClosed, StoreError
from resonate_store.model.requests import (
    FulfillAndTakeOver,
    PromiseCreate,
    PromiseGet,
    Request,
    Response,
    TaskAcquire,
)
from resonate_store.model.tags import TARGET
from resonate_store.settings import SettingsError
from tests.support.driver import Driver, Flow
from tests.support.present import present
from tests.support.steps import PATIENCE, Held, double, execute

EVENTS = Path(__file__).parents[4] / "events"


class LambdaContext:
    """The context that Lambda passes to a handler."""

    function_name = "my-worker"
    invoked_function_arn = ""

    def __init__(self, seconds: float = 60.0) -> None:
        self.get_remaining_time_in_millis = lambda: round(seconds * 1000)


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_FUNCTIONS", "1")
    monkeypatch.setenv("RESONATE_REQUESTS", "1")


def handler_of(driver: Driver) -> LambdaHandler:
    return LambdaHandler(driver.tap, driver.registry, driver.dependencies, driver.clock, "p1")


@pytest.fixture
def handler(driver: Driver) -> LambdaHandler:
    return handler_of(driver)


def offer(driver: Driver) -> dict[str, Any]:
    """Return the execute message of the oldest offer."""
    id, version = driver.offers.popleft()
    return execute(id, version)


def over_http(body: Any, *, method: str = "POST", encoded: bool = False) -> dict[str, Any]:
    """Return an event of a function URL or API Gateway, of payload version 2."""
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
    """Return an SQS batch."""
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return {"Records": [{"messageId": f"m{n}", "body": text, "eventSource": "aws:sqs"} for n, text in enumerate(texts)]}


def reply_of(response: dict[str, Any]) -> tuple[int, Any]:
    assert response["headers"] == {"Content-Type": "application/json"}
    return response["statusCode"], json.loads(response["body"])


def sleeps(ctx: Context) -> Flow:
    yield ctx.sleep(60)
    return "rested"


def test_handler_suspends_and_resumes_a_task(driver: Driver, handler: LambdaHandler) -> None:
    driver.begin("w", sleeps)
    assert handler(offer(driver), LambdaContext()) == {"status": "suspended"}
    driver.pass_time(60)

    assert handler(offer(driver), LambdaContext()) == {"status": "completed"}
    assert driver.finish("w") == "rested"
    assert [opened.closed for opened in driver.tap.opened] == [True, True]
    assert not driver.tap.closed
    with pytest.raises(StoreClosed):
        driver.tap.opened[0].apply(PromiseGet("w"))


def test_handler_logs_and_returns_why_a_task_is_released(
    driver: Driver, handler: LambdaHandler, caplog: pytest.LogCaptureFixture
) -> None:
    driver.create("w", {"func": "nope"})
    caplog.set_level(logging.WARNING, "resonate")

    error = "function nope not found in registry: nothing is registered here; register it by @resonate.register in"
    error += " this program. If another program of the group 'default' has it, give each program a group of its own"
    assert handler(offer(driver), LambdaContext()) == {"status": "released", "error": error}
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"task w is released, and will be tried again: {error}"]


def test_handler_releases_a_task_when_time_is_running_out(driver: Driver, handler: LambdaHandler) -> None:
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


def test_handler_fails_if_the_store_cannot_answer(driver: Driver, handler: LambdaHandler) -> None:
    def gone(_: Request | str) -> Response | None:
        raise StoreError("no table")

    driver.begin("w", double, 2)
    driver.tap.answer = gone
    event = offer(driver)

    with pytest.raises(StoreError, match="no table"):
        handler(event, LambdaContext())
    assert reply_of(handler(over_http(event), LambdaContext())) == (500, {"error": "Handler failed: no table"})
    assert handler(batch(event), LambdaContext()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


ARN = "arn:aws:lambda:us-east-1:123456789012:function:my-worker"


@pytest.mark.parametrize(
    ("arn", "target"),
    [(ARN, "lambda://my-worker"), (f"{ARN}:live", "lambda://my-worker:live")],
    ids=["function", "alias"],
)
def test_handler_continues_callers_of_its_own_qualifier_only(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, arn: str, target: str
) -> None:
    monkeypatch.setattr(type(driver.tap), "hands_over_callers", True)
    context = LambdaContext()
    context.invoked_function_arn = arn
    driver.begin("w", double, 2)
    assert handler_of(driver)(offer(driver), context) == {"status": "completed"}

    (fulfill,) = [each for each in driver.tap.opened[0].requests if isinstance(each, FulfillAndTakeOver)]
    assert present(fulfill.successor).targets == (target, f"lambda://{arn}")


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def be(version: str, alias: str = "live") -> None:
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_VERSION", version)
        monkeypatch.setenv("RESONATE_PIN_ALIAS", alias)

    return be


def test_first_acquisition_pins_a_published_version(
    driver: Driver, version: Callable[..., None], subtests: pytest.Subtests
) -> None:
    def wrapped(event: Any) -> Any:
        return event

    cases: list[tuple[str, str, Callable[[Any], Any], str | None]] = [
        ("7", "live", wrapped, "lambda://my-worker:7"),
        ("7", "", wrapped, None),
        ("$LATEST", "live", wrapped, None),
        ("7", "live", over_http, None),
        ("7", "live", batch, None),
    ]
    for number, (running, alias, event_of, pinned) in enumerate(cases):
        with subtests.test(running=running, alias=alias, event_of=event_of.__name__):
            version(running, alias)
            driver.begin(f"w{number}", double, 2)
            driver.tap.requests.clear()
            handler_of(driver)(event_of(offer(driver)), LambdaContext())
            (acquired,) = [each for each in driver.tap.requests if isinstance(each, TaskAcquire)]
            assert acquired.pin == pinned
            assert present(driver.task(f"w{number}")).pinned == pinned


def test_pinned_worker_continues_callers_of_its_version(
    driver: Driver, version: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(driver.tap), "hands_over_callers", True)
    version("7")
    context = LambdaContext()
    context.invoked_function_arn = f"{ARN}:live"
    driver.begin("w", double, 2)
    assert handler_of(driver)(offer(driver), context) == {"status": "completed"}

    (fulfill,) = [each for each in driver.tap.opened[0].requests if isinstance(each, FulfillAndTakeOver)]
    own = ("lambda://my-worker:live", f"lambda://{ARN}:live", "lambda://my-worker:7")
    assert present(fulfill.successor).targets == own


def test_lease_outlives_the_invocation(driver: Driver, handler: LambdaHandler) -> None:
    contexts: list[tuple[Any, int]] = [(LambdaContext(12), 12), (None, 900), (object(), 900)]
    for number, (context, seconds) in enumerate(contexts):
        driver.begin(f"w{number}", double, 2)
        driver.tap.requests.clear()
        assert handler(offer(driver), context) == {"status": "completed"}
        acquired = driver.tap.requests[0]
        assert isinstance(acquired, TaskAcquire)
        assert (acquired.ttl, acquired.pid) == (seconds * 1000 + LEASE_MARGIN_MS, "p1")


def test_call_without_a_target_has_this_function_as_its_target(driver: Driver, handler: LambdaHandler) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.rpc("elsewhere")

    for id, context, target in (("a", LambdaContext(), "lambda://my-worker"), ("b", None, "poll://any@default")):
        driver.begin(id, workflow)
        handler(offer(driver), context)
        driver.offers.clear()
        assert driver.promise(f"{id}.1").tags[TARGET] == target


def test_thread_that_outlives_its_invocation_writes_nothing(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_FUNCTIONS", "2")
    held, over = Held(), threading.Event()
    written: list[Any] = []

    def lingers(ctx: Context) -> str:
        held.step(ctx)
        try:
            written.append(driver.tap.opened[0].apply(PromiseCreate("late", 10**13)))
        except StoreClosed as refused:
            written.append(refused)
        over.set()
        return "too late"

    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_run(lingers)
        yield ctx.run(lambda _: held.running.wait(PATIENCE))

    def gone(request: Request | str) -> Response | None:
        if not isinstance(request, TaskAcquire):
            raise StoreError("no table any more")
        return None

    driver.tap.answer = gone
    driver.begin("w", workflow)
    with pytest.raises(StoreError, match="no table any more"):
        handler_of(driver)(offer(driver), LambdaContext())
    driver.tap.answer = lambda _: None
    held.enough.set()

    assert over.wait(PATIENCE)
    assert isinstance(written[0], StoreClosed)
    assert driver.ids() == ["w"]


def test_function_url_has_the_message_in_its_body(driver: Driver, handler: LambdaHandler) -> None:
    for encoded in (False, True):
        driver.offers.clear()
        driver.begin(f"w{encoded}", double, 2)
        driver.create(f"x{encoded}", {"func": "absent"})
        for expected in ("completed", "released"):
            status, reply = reply_of(handler(over_http(offer(driver), encoded=encoded), LambdaContext()))
            assert (status, reply["status"]) == (200, expected)


def test_function_url_answers_post_only(handler: LambdaHandler) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        response = handler(over_http(execute("w"), method=method), LambdaContext())
        assert reply_of(response) == (405, {"error": f"a worker is sent its tasks by POST, not {method}"})


def test_push_token_is_required_of_http_requests(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.setenv("RESONATE_PUSH_TOKEN", "s3cret")
    handler = handler_of(driver)
    driver.begin("w", double, 2)
    event = over_http(offer(driver))
    for shown in (None, "", "s3cret", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "Bearer \u00e9"):
        with subtests.test(shown):
            headers = None if shown is None else {"authorization": shown}
            assert reply_of(handler(event | {"headers": headers}, LambdaContext())) == (401, {"error": "Unauthorized"})
            assert present(driver.task("w")).state == "pending"

    signed = over_http(execute("w"))
    signed["requestContext"]["authorizer"] = {"iam": {"accountId": "1"}}
    shown = [event | {"headers": {name: "Bearer s3cret"}} for name in ("authorization", "Authorization")]
    for accepted in (*shown, signed):
        assert reply_of(handler(accepted, LambdaContext()))[0] == 200
    assert handler(execute("w"), LambdaContext()) == {"status": "lost"}
    assert driver.finish("w") == 4

    monkeypatch.setenv("RESONATE_PUSH_TOKEN", "")
    assert reply_of(handler_of(driver)(over_http(execute("w")), LambdaContext())) == (200, {"status": "lost"})


def test_invalid_setting_of_a_handler_is_named_at_the_start(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text, message in (
        ("RESONATE_PUSH_TOKEN", "two words", "must be printable ASCII without spaces"),
        ("RESONATE_FUNCTIONS", "many", "must be a whole number of at least 1, got 'many'"),
        ("RESONATE_REQUESTS", "many", "must be a whole number of at least 1, got 'many'"),
    ):
        with monkeypatch.context() as patched:
            patched.setenv(name, text)
            with pytest.raises(SettingsError, match=f"{name} {message}"):
                handler_of(driver)


EXPECTED = 'expected an execute message {"kind": "execute"'
MALFORMED: list[tuple[Any, str]] = [
    ({}, "a worker accepts messages of the kind 'execute', not None"),
    ({"kind": "unblock", "data": {}}, "a worker accepts messages of the kind 'execute', not 'unblock'"),
    ({"kind": "execute"}, EXPECTED),
    ({"kind": "execute", "data": None}, EXPECTED),
    ({"kind": "execute", "data": {"task": "w"}}, EXPECTED),
    ({"kind": "execute", "data": {"task": {"id": "w"}}}, EXPECTED),
    ({"kind": "execute", "data": {"task": {"id": 5, "version": 0}}}, EXPECTED),
    ({"kind": "execute", "data": {"task": {"id": "w", "version": "0"}}}, EXPECTED),
    ({"kind": "execute", "data": {"task": {"id": "w", "version": True}}}, EXPECTED),
    ([], EXPECTED),
    ("text", EXPECTED),
]


def test_message_that_offers_no_task_is_refused(
    driver: Driver, handler: LambdaHandler, subtests: pytest.Subtests
) -> None:
    failed = {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    for message, error in MALFORMED:
        with subtests.test(str(message)):
            status, reply = reply_of(handler(over_http(json.dumps(message)), LambdaContext()))
            assert status == 400
            assert reply["error"].startswith(error)
            assert handler(batch(json.dumps(message)), LambdaContext()) == failed
            with pytest.raises(MalformedEvent) as refused:
                offer_of(message)
            assert str(refused.value).startswith(error)
            if isinstance(message, dict):
                with pytest.raises(MalformedEvent):
                    handler(message, LambdaContext())
            assert driver.tap.requests == []


def test_body_that_cannot_be_read_is_a_bad_request(handler: LambdaHandler, subtests: pytest.Subtests) -> None:
    not_utf8 = base64.b64encode(b"\xff").decode()
    cases: list[tuple[Any, str]] = [
        (over_http(None), "the request has no body: POST an execute message"),
        (over_http(""), "the request has no body: POST an execute message"),
        (over_http("{not json"), "the message is not JSON: "),
        (over_http("{not json", encoded=True), "the message is not JSON: "),
        ({**over_http(execute("w")), "isBase64Encoded": True}, "the body is not base64: "),
        ({**over_http(""), "body": not_utf8, "isBase64Encoded": True}, "the message is not JSON: "),
    ]
    for event, error in cases:
        with subtests.test(str(event["body"])):
            status, reply = reply_of(handler(event, LambdaContext()))
            assert status == 400
            assert reply["error"].startswith(error)


def test_event_that_is_not_an_object_is_refused(handler: LambdaHandler) -> None:
    for event in (None, "text", 5, []):
        with pytest.raises(MalformedEvent, match=f"expected an event object, got {type(event).__name__}"):
            handler(event, LambdaContext())


def test_batch_reports_only_the_messages_that_failed(driver: Driver, handler: LambdaHandler) -> None:
    def fails(request: Request | str) -> Response | None:
        if "bad" in str(request):
            raise StoreError("throttled")
        if "poison" in str(request):
            raise RuntimeError("unexpected")
        return None

    driver.tap.answer = fails
    for id in ("good", "bad", "poison", "better"):
        driver.begin(id, double, 2)
    good, bad, poison, better = (offer(driver) for _ in range(4))
    event = batch(good, "{not json", bad, poison, execute("unknown"), better, good)
    event["Records"].append({"messageId": "empty"})

    reply = handler(event, LambdaContext())

    assert reply == {"batchItemFailures": [{"itemIdentifier": id} for id in ("m1", "m2", "m3", "empty")]}
    states = [driver.promise(id).state for id in ("good", "bad", "poison", "better")]
    assert states == ["resolved", "pending", "pending", "resolved"]


def test_records_that_are_not_an_sqs_batch_are_refused(handler: LambdaHandler) -> None:
    batches: list[Any] = [[], None, "text", [5], [{"body": "no message id"}], {"messageId": "m"}]
    for records in batches:
        with pytest.raises(MalformedEvent, match="expected a batch of SQS messages under 'Records'"):
            handler({"Records": records}, LambdaContext())


def test_sample_events_are_accepted(handler: LambdaHandler, subtests: pytest.Subtests) -> None:
    files = sorted(EVENTS.glob("worker*.json"))
    assert files
    for file in files:
        with subtests.test(file.name):
            reply = handler(json.loads(file.read_text()), LambdaContext())
            assert reply == {"status": "lost"} or reply_of(reply) == (200, {"status": "lost"})


def describes(_ctx: Context, number: int) -> int:
    return number


def test_describe_event_is_answered_with_the_functions(driver: Driver, handler: LambdaHandler) -> None:
    driver.registry.add(describes, "f")
    functions = handler({"kind": "describe"})["functions"]
    assert [each["name"] for each in functions] == ["f"]
    assert functions == descriptions_of(driver.registry)


def test_closed_handler_ends_its_threads(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_FUNCTIONS", "2")

    async def flow(ctx: Context) -> int:
        return await (await ctx.begin_run(double, 21))

    before = set(threading.enumerate())
    driver.begin("w", flow)
    handler = handler_of(driver)
    assert handler(offer(driver), LambdaContext()) == {"status": "completed"}
    started = set(threading.enumerate()) - before
    assert started
    handler.close()

    for thread in started:
        thread.join(PATIENCE)
    assert not [thread for thread in started if thread.is_alive()]
