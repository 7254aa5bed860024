"""Calls have the attempts, pauses and headers of botocore."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.handlers import add_recursion_detection_header
from botocore.retries import quota, standard

from resonate_store.aws import calls as module
from resonate_store.aws.calls import RetryQuota, ServiceCalls, encoded
from resonate_store.aws.connections import CallLimits
from resonate_store.aws.credentials import credentials_of
from resonate_store.aws.dynamodb import DynamoClient
from resonate_store.aws.errors import AwsRefusal, AwsUnreachable, NoAwsCredentials
from resonate_store.aws.exchange import AwsRequest, AwsResponse, KeptConnectionEnded
from resonate_store.model.clock import ManualClock

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
T0 = 1_796_000_000_000


class Service:
    """Transport that returns or raises its answers in turn, and notes the requests."""

    def __init__(self, *answers: AwsResponse | Exception) -> None:
        self.answers = deque(answers)
        self.requests: list[AwsRequest] = []

    def __call__(self, request: AwsRequest) -> AwsResponse:
        self.requests.append(request)
        answer = self.answers.popleft() if self.answers else AwsResponse(200, {}, b"{}")
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(service: Service, clock: ManualClock | None = None, *, attempts: int = 3, **options: Any) -> DynamoClient:
    limits = CallLimits(1, 1, attempts)
    options = {"environment": CREDENTIALS, **options}
    return DynamoClient(
        ServiceCalls(
            "dynamodb",
            "us-east-1",
            "https://host",
            limits,
            transport=service,
            clock=clock or ManualClock(T0),
            **options,
        )
    )


def refused(code: str, status: int = 400, **headers: str) -> AwsResponse:
    body = {"__type": f"com.amazon.coral.service#{code}", "message": "why"}
    return AwsResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, encoded(body))


def test_transient_errors_are_those_of_botocore() -> None:
    throttled = standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES  # pyright: ignore[reportAttributeAccessIssue]
    transient = standard.TransientRetryableChecker

    assert set(throttled) == module.THROTTLING
    assert set(transient._TRANSIENT_ERROR_CODES) - module.THROTTLING == module.TRANSIENT  # pyright: ignore[reportAttributeAccessIssue]
    assert set(transient._TRANSIENT_STATUS_CODES) == module.TRANSIENT_STATUS  # pyright: ignore[reportAttributeAccessIssue]
    checker = standard.RetryQuotaChecker
    costs = (quota.RetryQuota.INITIAL_CAPACITY, checker._RETRY_COST, checker._THROTTLING_RETRY_COST)  # pyright: ignore[reportAttributeAccessIssue]
    assert costs == (RetryQuota.CAPACITY, RetryQuota.COST, RetryQuota.THROTTLING_COST)


def test_attempts_are_numbered_and_signed_anew() -> None:
    clock = ManualClock(T0)
    service = Service(refused("ThrottlingException"), ReadTimeoutError(endpoint_url="u"))
    clock.sleep = lambda milliseconds: clock.advance(1_000 + milliseconds) and None  # pyright: ignore[reportAttributeAccessIssue]

    assert client(service, clock).get_item() == {}
    assert [request.attempt for request in service.requests] == [1, 2, 3]
    assert len({request.headers["x-amz-date"] for request in service.requests}) == 3
    assert len({request.body for request in service.requests}) == 1


@pytest.mark.parametrize(
    ("failures", "longest"),
    [
        ([refused("InternalServerError", 500)], 25),
        ([refused("InternalServerError", 500)] * 2, 25 + 50),
        ([AwsUnreachable("gone")] * 2, 25 + 50),
        ([refused("ThrottlingException")] * 2, 1_000 + 2_000),
        ([AwsResponse(429, {}, b"")], 1_000),
    ],
)
def test_pauses_grow_and_are_random(failures: list[Any], longest: int) -> None:
    passed: set[int] = set()
    for _ in range(30):
        clock = ManualClock(T0)
        client(Service(*failures), clock, pause_ms=25).get_item()
        passed.add(clock.now() - T0)

    assert len(passed) > 5
    assert max(passed) <= longest


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [("300", 300, 300), ("60000", 5_000, 5_025), ("-1", 0, 25), ("soon", 0, 25), ("", 0, 25), ("9" * 5_000, 0, 25)],
)
def test_service_may_ask_for_a_longer_pause(asked: str, least: int, most: int) -> None:
    clock = ManualClock(T0)
    client(Service(refused("InternalServerError", 500, x_amz_retry_after=asked)), clock, pause_ms=25).get_item()

    assert least <= clock.now() - T0 <= most


def test_quota_ends_repetitions_and_successes_restore_it() -> None:
    service = Service(*[refused("InternalServerError", 500)] * 36)
    patient = client(service, attempts=100)
    with pytest.raises(AwsRefusal):
        patient.get_item()
    assert len(service.requests) == 1 + RetryQuota.CAPACITY // RetryQuota.COST

    service.answers.clear()
    service.answers.append(AwsUnreachable("gone"))
    with pytest.raises(AwsUnreachable):
        patient.get_item()
    for _ in range(RetryQuota.COST):
        patient.get_item()
    service.answers.append(AwsUnreachable("gone"))
    assert patient.get_item() == {}


@pytest.mark.parametrize(
    "error", [ClientError({"Error": {"Code": "ThrottlingException"}}, "GetItem"), ZeroDivisionError()]
)
def test_other_errors_of_a_transport_end_the_call(error: Exception) -> None:
    service = Service(error)
    with pytest.raises(type(error)) as raised:
        client(service).get_item()

    assert raised.value is error
    assert len(service.requests) == 1


def test_ended_kept_connection_costs_no_attempt_and_is_signed_anew() -> None:
    """Lambda may have frozen the process since the first signature, which is then too old."""
    clock = ManualClock(T0)

    class Frozen(Service):
        def __call__(self, request: AwsRequest) -> AwsResponse:
            clock.advance(3_600_000)
            return super().__call__(request)

    service = Frozen(KeptConnectionEnded("closed"))
    assert client(service, clock, attempts=1).get_item() == {}
    assert [request.attempt for request in service.requests] == [1, 1]
    assert [request.headers["x-amz-date"][9:11] for request in service.requests] == ["00", "01"]
    assert clock.now() == T0 + 2 * 3_600_000, "there was no pause"


def test_second_kept_connection_that_has_ended_is_a_failed_attempt() -> None:
    service = Service(*[KeptConnectionEnded("closed")] * 2)
    with pytest.raises(AwsUnreachable):
        client(service, attempts=1).get_item()
    assert len(service.requests) == 2


def test_text_of_credentials_has_no_secrets() -> None:
    credentials = credentials_of({**CREDENTIALS, "AWS_SESSION_TOKEN": "token"})

    assert f"{credentials}" == "AwsCredentials('AKIDEXAMPLE', ...)"


def test_cause_of_a_failure_is_kept() -> None:
    lost = ReadTimeoutError(endpoint_url="u")
    with pytest.raises(AwsUnreachable) as raised:
        client(Service(lost), attempts=1).get_item()

    assert raised.value.__cause__ is lost


@pytest.mark.parametrize(
    ("response", "code", "reason"),
    [
        (AwsResponse(400, {}, b'{"__type":"com.amazonaws.sqs#A","message":"m"}'), "A", "m"),
        (AwsResponse(400, {}, b'{"__type":"B:http://x","Message":"M"}'), "B", "M"),
        (AwsResponse(404, {"x-amzn-errortype": "C:http://x/"}, b'{"Message":"M"}'), "C", "M"),
        (AwsResponse(400, {"x-amzn-query-error": "AWS.Q.D;Sender"}, b'{"__type":"E"}'), "AWS.Q.D", ""),
        (AwsResponse(403, {}, b"forbidden"), "403", "forbidden"),
        (AwsResponse(403, {}, b'"forbidden"'), "403", "forbidden"),
        (AwsResponse(403, {}, b""), "403", ""),
    ],
)
def test_code_and_reason_are_found_where_services_put_them(response: AwsResponse, code: str, reason: str) -> None:
    with pytest.raises(AwsRefusal) as raised:
        client(Service(response)).get_item()

    assert (raised.value.code, raised.value.reason, raised.value.status) == (code, reason, response.status)


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Root=1-a;Parent=b;Sampled=0;Lineage=1:c:0"},
        {"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Root=1 \u00fc\n"},
        {"AWS_LAMBDA_FUNCTION_NAME": "", "_X_AMZN_TRACE_ID": "Root=1-a"},
        {"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": ""},
        {"AWS_LAMBDA_FUNCTION_NAME": "f"},
        {"_X_AMZN_TRACE_ID": "Root=1-a"},
    ],
)
def test_trace_header_is_that_of_botocore(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_LAMBDA_FUNCTION_NAME", "_X_AMZN_TRACE_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    params: dict[str, Any] = {"headers": {}}
    add_recursion_detection_header(params)
    service = Service()
    client(service, environment=CREDENTIALS | environment).get_item()
    headers = service.requests[0].headers

    assert headers.get("x-amzn-trace-id") == params["headers"].get("X-Amzn-Trace-Id")
    assert "trace" not in headers["authorization"]


def test_credentials_are_read_for_every_request() -> None:
    environment = dict(CREDENTIALS)
    service = Service()
    caller = client(service, environment=environment)
    caller.get_item()
    environment |= {"AWS_ACCESS_KEY_ID": "OTHER", "AWS_SESSION_TOKEN": "token"}
    caller.get_item()
    first, second = (request.headers for request in service.requests)

    assert "Credential=AKIDEXAMPLE/" in first["authorization"]
    assert "Credential=OTHER/" in second["authorization"]
    assert second["x-amz-security-token"] == "token"
    del environment["AWS_SECRET_ACCESS_KEY"]
    with pytest.raises(NoAwsCredentials):
        caller.get_item()


@pytest.mark.parametrize(
    ("url", "host", "sent"),
    [
        ("https://host", "host", "https://host/"),
        ("https://host:443/", "host", "https://host:443/"),
        ("http://host:443/", "host:443", "http://host:443/"),
        ("http://[::1]:8000/a/b/", "[::1]:8000", "http://[::1]:8000/a/b"),
    ],
)
def test_url_and_host_follow_the_endpoint(url: str, host: str, sent: str) -> None:
    service = Service()
    calls = ServiceCalls("dynamodb", "r", url, CallLimits(1, 1, 1), transport=service, environment=CREDENTIALS)
    DynamoClient(calls).get_item()

    assert (service.requests[0].headers["host"], service.requests[0].url) == (host, sent)


def test_lone_surrogates_travel_as_json_escapes() -> None:
    service = Service(AwsResponse(200, {}, b'{"a":"\\ud800"}'))
    answer = client(service).put_item(a="\ud800", b="\u00fc")

    assert json.loads(service.requests[0].body) == {"a": "\ud800", "b": "\u00fc"}
    assert answer == {"a": "\ud800"}
