"""Calls of one service: each attempt is signed and sent, and another attempt follows a failure that may pass.

The failures that may pass, the number of attempts and the pauses are those of botocore's mode `standard`.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, urlsplit

import msgspec

from resonate_store.aws.connections import CallLimits, Connections
from resonate_store.aws.credentials import credentials_of
from resonate_store.aws.errors import AwsError, AwsRefusal, AwsUnreachable, aws_error
from resonate_store.aws.exchange import AwsRequest, AwsResponse, KeptConnectionEnded, Transport
from resonate_store.aws.signature import AwsSigner
from resonate_store.model.clock import Clock, SystemClock

THROTTLING: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
TRANSIENT: Final = frozenset({"RequestTimeout", "RequestTimeoutException"})
TRANSIENT_STATUS: Final = frozenset({500, 502, 503, 504})
_TOO_MANY_REQUESTS: Final = 429

_THROTTLING_PAUSE_MS: Final = 1_000
_MAX_PAUSE_MS: Final = 20_000
_MAX_ADDITIONAL_PAUSE_MS: Final = 5_000
"""How much longer a pause may become because the service asks for it."""
_MAX_PAUSE_DIGITS: Final = 9

T = TypeVar("T")
Verify = Callable[[AwsResponse], None]
"""Checks a response of a service. It raises `DamagedResponse` if the service has sent something else."""


class DamagedResponse(AwsUnreachable):
    """Raised if a complete response is damaged, or shows that the request was."""


class RetryQuota:
    """Budget of further attempts, so that a service that fails does not get many more requests than before."""

    CAPACITY: Final = 500
    COST: Final = 14
    THROTTLING_COST: Final = 5

    def __init__(self) -> None:
        self._left = self.CAPACITY

    def take(self, throttled: bool) -> int:
        """Take the cost of one more attempt, and return it; 0 if too little is left. Threads may take the same rest."""
        cost = self.THROTTLING_COST if throttled else self.COST
        if cost > self._left:
            return 0
        self._left -= cost
        return cost

    def give(self, amount: int) -> None:
        """Give an amount back, after a success."""
        self._left = min(self.CAPACITY, self._left + amount)


class ServiceCalls:
    """Caller of one service at one endpoint. Threads may share it.

    Args:
        service: the service's name.
        region: the region that requests are signed for.
        url: the endpoint.
        limits: timeouts and attempts.
        transport: sends a request; None means over the network.
        verify: checks every response.
        pause_ms: the longest pause before the second attempt, in milliseconds. It doubles with every further attempt.
        clock: the time of signatures and pauses. By default it is the machine's clock, and not the ambient one, because
            AWS compares the time of a signature with its own.
        environment: contains the credentials.
    """

    def __init__(
        self,
        service: str,
        region: str,
        url: str,
        limits: CallLimits,
        *,
        transport: Transport | None = None,
        verify: Verify | None = None,
        pause_ms: int = 50,
        clock: Clock | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        parts = urlsplit(url)
        usual_port = {"http": 80, "https": 443}[parts.scheme]
        bare = (parts.hostname or "") if ":" not in (parts.hostname or "") else f"[{parts.hostname}]"
        self._host = bare if parts.port in (None, usual_port) else f"{bare}:{parts.port}"
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._prefix = parts.path.rstrip("/")
        self._service = service
        self._limits = limits
        self._pause_ms = pause_ms
        self._clock = clock or SystemClock()
        self._chance = random.SystemRandom().random  # forked processes have different pauses
        self._environment = environment
        self._signer = AwsSigner(service, region, self._clock)
        self._verify = verify
        self._send = transport or Connections(url, limits)
        self._quota = RetryQuota()

    def call(
        self,
        operation: str,
        headers: Mapping[str, str],
        body: bytes,
        read: Callable[[AwsResponse], T],
        *,
        path: str = "",
    ) -> T:
        """Call an operation, and return the result of `read` for its response.

        Args:
            operation: its name in the service's API.
            headers: the headers of the operation, by lower-case name.
            body: the body of the request.
            read: reads a successful response. It may raise `DamagedResponse`.
            path: the encoded path of the operation, after that of the endpoint.

        Raises:
            AwsUnreachable: the last attempt got no complete and undamaged response.
            AwsRefusal: the service answered with an error.
            AwsError: the request cannot be sent.
        """
        attempt, taken = 1, 0
        while True:
            response: AwsResponse | None = None
            try:
                response = self._respond(operation, headers, body, path, attempt)
                if self._verify is not None:
                    self._verify(response)
                if response.status < 300:
                    outcome = read(response)
                    self._quota.give(taken or 1)
                    return outcome
                failure: AwsError = _refusal_of(operation, response)
            except Exception as error:
                unreachable = aws_error(error)
                if not isinstance(unreachable, AwsUnreachable):
                    raise
                failure = unreachable
                if failure is not error:
                    failure.__cause__ = error
            throttled = _is_throttling(failure)
            if attempt == self._limits.attempts or not (throttled or _is_transient(failure)):
                raise failure
            taken = self._quota.take(throttled)
            if not taken:
                raise failure
            self._clock.sleep(self._pause_after(attempt, throttled, response))
            attempt += 1

    def _respond(self, operation: str, headers: Mapping[str, str], body: bytes, path: str, attempt: int) -> AwsResponse:
        """Return the response of one attempt.

        If a kept connection has ended, the request is sent again in the same attempt: the service does not refuse it.
        The service may have carried it out. This is harmless, because writes carry a condition or a token, and a second
        message or invocation does no harm. The request is signed anew, because Lambda may have frozen this process for
        hours since the first signature.
        """
        try:
            return self._send(self._request(operation, headers, body, path, attempt))
        except KeptConnectionEnded:
            return self._send(self._request(operation, headers, body, path, attempt))

    def _request(self, operation: str, headers: Mapping[str, str], body: bytes, path: str, attempt: int) -> AwsRequest:
        path = self._prefix + path or "/"
        needed = {"host": self._host, **headers}
        signed = self._signer.sign(path, needed, body, credentials_of(self._environment))
        if "AWS_LAMBDA_FUNCTION_NAME" in self._environment:
            trace = self._environment.get("_X_AMZN_TRACE_ID")
            if trace:
                # The ids of X-Ray, and the lineage from which Lambda detects a loop of invocations.
                signed["x-amzn-trace-id"] = quote(trace, safe="-=;:+&[]{}\"',")
        return AwsRequest(self._service, operation, attempt, self._origin + path, signed, body)

    def _pause_after(self, attempt: int, throttled: bool, response: AwsResponse | None) -> int:
        """Return the milliseconds to wait after an attempt."""
        base = _THROTTLING_PAUSE_MS if throttled else self._pause_ms
        pause = int(self._chance() * min(base * 2 ** (attempt - 1), _MAX_PAUSE_MS))
        asked = "" if response is None else response.headers.get("x-amz-retry-after", "")
        if not (asked.isascii() and asked.isdigit() and len(asked) <= _MAX_PAUSE_DIGITS):
            return pause
        return max(pause, min(int(asked), pause + _MAX_ADDITIONAL_PAUSE_MS))


def _refusal_of(operation: str, response: AwsResponse) -> AwsRefusal:
    try:
        content: Any = _parsed(response.body) if response.body else {}
    except ValueError:
        content = response.body.decode(errors="replace")
    answer = cast("dict[str, Any]", content) if isinstance(content, dict) else {"message": str(content)}
    reason = answer.get("message") or answer.get("Message") or ""
    return AwsRefusal(operation, _code_of(response, answer), str(reason), response.status, answer)


def _code_of(response: AwsResponse, answer: Mapping[str, Any]) -> str:
    """Return the code of an error. The three services put it in different places."""
    queried = response.headers.get("x-amzn-query-error")
    if queried:
        return queried.partition(";")[0]
    named = response.headers.get("x-amzn-errortype") or answer.get("__type") or answer.get("code")
    if not named:
        return str(response.status)
    return str(named).partition(":")[0].rpartition("#")[2]


def _is_throttling(failure: AwsError) -> bool:
    return isinstance(failure, AwsRefusal) and (failure.code in THROTTLING or failure.status == _TOO_MANY_REQUESTS)


def _is_transient(failure: AwsError) -> bool:
    if isinstance(failure, AwsRefusal):
        return failure.code in TRANSIENT or failure.status in TRANSIENT_STATUS
    return isinstance(failure, AwsUnreachable)


def encoded(value: Any) -> bytes:
    """Return a value as JSON."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # The value has a lone surrogate. The service refuses it, with its own error.
        return json.dumps(value, separators=(",", ":")).encode()


def decoded(response: AwsResponse) -> dict[str, Any]:
    """Return the JSON object in a response.

    Raises:
        DamagedResponse: the body is not a JSON object.
    """
    try:
        content = _parsed(response.body)
    except ValueError as error:
        raise DamagedResponse(f"a response is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DamagedResponse("a response is not a JSON object")
    return cast("dict[str, Any]", content)


def _parsed(body: bytes) -> Any:
    """Return JSON as values.

    Raises:
        ValueError: the body is not JSON, or is nested too deeply.
    """
    try:
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return json.loads(body)  # it accepts lone surrogates
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
