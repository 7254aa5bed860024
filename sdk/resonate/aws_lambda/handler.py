"""Lambda handler of a worker (docs/protocol.md 6).

One invocation is offered one task, or a batch of tasks. It acquires the task with a lease that outlives the invocation,
runs it, and returns how the run ended. It accepts these events:

- the execute message itself (an asynchronous invoke, `sam local invoke`);
- an event of a function URL or of API Gateway v2, with the message as its body;
- an SQS batch of messages;
- `{"kind": "describe"}`: it answers `{"functions": [...]}`, the descriptions of its functions, and runs nothing.

If `RESONATE_PUSH_TOKEN` is set, an HTTP event must have it as its bearer token, or be signed with IAM.

If `RESONATE_PIN_ALIAS` names an alias, executions are pinned: the first acquisition of a task that an invocation has
offered notes the version of this function (docs/rules.md N1).

With less than `RESERVE_MS` left no further function is started, and the task is released with `handover`. A step that
outlives its timeout continues in its thread, which is left behind. At the end of the invocation its store is closed. So
a thread that Lambda freezes and resumes cannot write (docs/rules.md R16).
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, cast

import msgspec

from resonate.aws_lambda.telemetry import LogFields, ObservedStore, counts_of
from resonate.worker.abandoned import Exhausted, abandoned
from resonate.worker.async_functions import AsyncFunctions
from resonate.worker.lease import Lease
from resonate.worker.resources import Resources
from resonate.worker.task_run import Report
from resonate.worker.worker import Worker
from resonate.workflow.options import DEFAULT_TARGET
from resonate.workflow.registry import Registry
from resonate_store.delivery.metrics import Metrics
from resonate_store.documented import Documented
from resonate_store.interface import Store, StoreError
from resonate_store.model.addresses import FunctionVersion, expand
from resonate_store.model.clock import Clock
from resonate_store.model.execution_requests import Holder
from resonate_store.model.records import PromiseView, Task
from resonate_store.settings import groups_of, is_by_stream, number_of, pin_alias_of, push_token_of

if TYPE_CHECKING:
    from resonate.threads import Pool
    from resonate.tracing import Spans

RESERVE_MS = 5_000
"""The last part of an invocation, in which no function is started; at most a fifth of the invocation."""
LEASE_MARGIN_MS = 5_000
"""How long a lease lasts after the end of the invocation that holds it."""
THREADS = 8
"""Maximum number of functions started by `begin_run`, and of store requests, that run at the same time.

The environment variables `RESONATE_FUNCTIONS` and `RESONATE_REQUESTS` override it.
"""
DEFAULT_TIME_MS = 900_000
"""The time limit of an invocation without a Lambda context."""

logger = logging.getLogger("resonate.lambda")


_STARTS = ": a program starts an execution by resonate.begin_rpc or `resonate invoke`, other events by triggers"


class MalformedEvent(Documented, ValueError):
    """The event does not contain an execute message."""


class Offer(NamedTuple):
    """Task that an execute message offers."""

    id: str
    version: int


class LambdaHandler:
    """Handler that Lambda calls with an event and a context.

    Returns:
        For the message itself `{"status": "completed" | "suspended" | "released" | "lost" | "halted"}`, with `"error"`
        if there is one. For an HTTP event a 200 response with that body, or a 4xx or 5xx response with `{"error":
        ...}`. For an SQS batch its partial failures.

    Raises:
        MalformedEvent: the event does not contain an execute message.
        StoreError: the store cannot answer. Lambda then retries an asynchronous invoke or a batch.
        Exhausted: too many threads are left behind. On Lambda the process ends instead, and is replaced.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        dependencies: Mapping[str, Any],
        clock: Clock,
        pid: str,
        spans: Spans | None = None,
        *,
        group: str | None = None,
        private: bool = False,
    ) -> None:
        self._store = store
        self._registry = registry
        self._dependencies = dependencies
        self._clock = clock
        self._pid = pid
        self._spans = spans
        self._group = group
        self._private = private
        self._metrics = Metrics()
        self._log_fields = LogFields()
        self._log_fields.install(os.environ)
        self._functions = _pool("RESONATE_FUNCTIONS")
        self._requests = _pool("RESONATE_REQUESTS")
        self._steps = _steps()
        self._push_token = push_token_of(os.environ)
        self._groups = groups_of(os.environ) or {}
        self._pin_alias = pin_alias_of(os.environ)
        self._version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "")
        self._counts_starts = not is_by_stream(os.environ)
        self._async_functions = AsyncFunctions()

    def __call__(self, event: Any, context: Any = None) -> Any:
        if not isinstance(event, dict):
            raise MalformedEvent(f"expected an event object, got {type(event).__name__}")
        content = cast("dict[str, Any]", event)
        if "Records" in content:
            return self._batch(content["Records"], context)
        if "requestContext" in content:
            return self._over_http(content, context)
        if content.get("kind") == "describe":
            from resonate.worker.descriptions import descriptions_of  # here, because only the console asks for it

            return {"functions": descriptions_of(self._registry)}
        return _shown(self._work(offer_of(content), context))

    def close(self) -> None:
        """End the threads of this handler. Call it after its last invocation, in a process that replaces its code."""
        for pool in (self._functions, self._requests, self._steps):
            if pool is not None:
                pool.shutdown(wait=False)
        self._async_functions.stop()

    def _work(self, offer: Offer, context: Any, *, counts_start: bool = True, invoked: bool = True) -> Report:
        if abandoned.full:
            if "AWS_LAMBDA_RUNTIME_API" in os.environ:
                raise SystemExit(str(abandoned))  # Lambda then starts a new environment
            raise Exhausted(str(abandoned))
        opened = self._store.open()
        whole_ms = _remaining_ms(context)
        try:
            counts_start = counts_start and self._counts_starts
            report = first = self._run(opened, offer, context, whole_ms, counts_start=counts_start, invoked=invoked)
            while report.caller is not None:
                report = self._run(opened, report.caller, context, whole_ms)
            return first
        finally:
            opened.close()
            self._log_fields.ended()
            if self._spans is not None:
                self._spans.flush()

    def _run(
        self,
        opened: Store,
        task: Offer | tuple[Task, PromiseView],
        context: Any,
        whole_ms: int,
        *,
        counts_start: bool = False,
        invoked: bool = False,
    ) -> Report:
        """Run a task that was offered, or one that the run before has acquired.

        Args:
            opened: the store of this invocation.
            task: the offer, or the acquired task and its promise.
            context: Lambda's context.
            whole_ms: the time that this invocation had for its first task.
            counts_start: whether the start of an execution is counted here, and not by the dispatcher.
            invoked: whether the offer was an invocation, so that later offers can invoke this version.
        """
        remaining_ms = _remaining_ms(context)
        now = self._clock.now()
        id, version = (task.id, task.version) if isinstance(task, Offer) else (task[0].id, task[0].version)
        self._log_fields.offered(id, version)
        spans = self._spans
        store = ObservedStore(opened, self._log_fields, spans.settled if spans is not None else None)
        name = getattr(context, "function_name", None)
        resources = Resources(
            store,
            self._clock,
            functions=self._functions,
            steps=self._steps,
            requests=self._requests,
            async_functions=self._async_functions,
        )
        worker = Worker(
            resources,
            self._registry,
            self._dependencies,
            self._pid,
            default_target=self._default_target(name),
            group=None if name else self._group,  # calls without a target go to this Lambda function
            runs_as=self._function_version(name),
            pins=invoked and self._pin_alias is not None,
            private=self._private,
        )
        ttl_ms = remaining_ms + LEASE_MARGIN_MS
        deadline = now + remaining_ms - min(RESERVE_MS, remaining_ms // 5)
        resources.successor = lambda: self._successor(name, context, whole_ms)
        if isinstance(task, Offer):
            report = worker.run(id, version, ttl_ms, deadline)
        else:
            store.acquired(task[0])
            report = worker.run_acquired(*task, deadline, Lease(id, version, now, task[0].ttl or ttl_ms))
        held = version if store.task is None else store.task.version  # the acquisition has incremented it
        logger.info("task %s version %d: %s", id, held, report.status)
        counts = counts_of(store, report.status, report.error)
        if counts_start and store.starts:
            counts["ExecutionsStarted"] = 1
        self._metrics.write(counts, self._clock.now(), task_id=id)
        return report

    def _default_target(self, name: str | None) -> str:
        """Return where calls without a target go: this function, by its alias if executions are pinned."""
        if not name:
            return DEFAULT_TARGET
        return f"lambda://{name}:{self._pin_alias}" if self._pin_alias else f"lambda://{name}"

    def _function_version(self, name: str | None) -> FunctionVersion | None:
        """Return the published version that this process runs. It is None for `$LATEST`, which changes its code."""
        return FunctionVersion(name, self._version) if name and self._version.isdecimal() else None

    def _successor(self, name: str | None, context: Any, whole_ms: int) -> Holder | None:
        """Return this function as the next holder of a caller's task, if at least half of its time is left."""
        remaining_ms = _remaining_ms(context)
        if name is None or 2 * remaining_ms < whole_ms:
            return None
        arn: str = getattr(context, "invoked_function_arn", None) or ""
        # An alias or a version can have other code than the function without it, which cannot continue its workflows.
        qualifier = ":".join(arn.split(":")[7:])
        own = (f"lambda://{name}:{qualifier}" if qualifier else f"lambda://{name}", f"lambda://{arn}")
        if (version := self._function_version(name)) is not None:
            own += (version.address,)
        groups = [expand(group) for group, address in self._groups.items() if address in own]
        return Holder(self._pid, remaining_ms + LEASE_MARGIN_MS, (*own, *groups))

    def _over_http(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            method = event["requestContext"].get("http", {}).get("method", "POST")
            if method != "POST":
                return _http(405, {"error": f"a worker is sent its tasks by POST, not {method}"})
            if not self._is_ours(event):
                return _http(401, {"error": "Unauthorized"})
            # The dispatcher posts such offers, and has counted the start.
            return _http(200, _shown(self._work(offer_of(_body(event)), context, counts_start=False, invoked=False)))
        except MalformedEvent as error:
            return _http(400, {"error": str(error)})
        except Exhausted as error:
            return _http(503, {"error": str(error)})
        except StoreError as error:
            logger.error("%s", error)
            return _http(500, {"error": f"Handler failed: {error}"})

    def _is_ours(self, event: dict[str, Any]) -> bool:
        """Return whether a request may invoke this worker. Without a push token, any request may.

        A request that AWS has authenticated needs no token.
        """
        authorizer: dict[str, Any] = event["requestContext"].get("authorizer") or {}
        if self._push_token is None or authorizer.get("iam"):
            return True
        import hmac  # here, because only workers with a push token need it

        headers: dict[str, Any] = event.get("headers") or {}
        shown = next((text for name, text in headers.items() if name.lower() == "authorization"), "")
        return hmac.compare_digest(str(shown).encode(), f"Bearer {self._push_token}".encode())

    def _batch(self, records: Any, context: Any) -> dict[str, Any]:
        if not _is_batch(records):
            raise MalformedEvent(f"expected a batch of SQS messages under 'Records'{_STARTS}")
        failures: list[dict[str, str]] = []
        for record in records:
            try:
                self._work(offer_of(_parsed(record.get("body"))), context, invoked=False)
            except Exception as error:  # the failure of one message must not make SQS repeat the whole batch
                expected = isinstance(error, (MalformedEvent, Exhausted, StoreError))
                logger.error("message %s: %s", record.get("messageId"), error, exc_info=None if expected else error)
                failures.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failures}


def _is_batch(records: Any) -> TypeGuard[list[dict[str, Any]]]:
    if not isinstance(records, list) or not records:
        return False
    return all(isinstance(record, dict) and "messageId" in record for record in cast("list[Any]", records))


def _pool(name: str) -> Pool | None:
    from resonate.threads import Pool

    width = number_of(os.environ, name, THREADS)
    return Pool(width, name.lower()) if width > 1 else None


def _steps() -> Pool:
    """Return the pool for steps with a timeout. An invocation runs one at a time, but may leave threads behind."""
    from resonate.threads import STEP_THREADS, Pool

    return Pool(STEP_THREADS, "resonate-step")


def offer_of(message: Any) -> Offer:
    """Return the task that an execute message offers.

    Raises:
        MalformedEvent: it is not an execute message.
    """
    if isinstance(message, dict):
        content = cast("dict[str, Any]", message)
        kind = content.get("kind")
        if kind != "execute":
            raise MalformedEvent(f"a worker accepts messages of the kind 'execute', not {kind!r}{_STARTS}")
        data = content.get("data")
        task = cast("dict[str, Any]", data).get("task") if isinstance(data, dict) else None
        if isinstance(task, dict):
            id, version = cast("dict[str, Any]", task).get("id"), cast("dict[str, Any]", task).get("version")
            if isinstance(id, str) and isinstance(version, int) and not isinstance(version, bool):
                return Offer(id, version)
    raise MalformedEvent(
        "expected an execute message"
        ' {"kind": "execute", "head": {}, "data": {"task": {"id": string, "version": number}}}'
    )


def _body(event: dict[str, Any]) -> Any:
    body = event.get("body")
    if not isinstance(body, str) or not body:
        raise MalformedEvent("the request has no body: POST an execute message")
    if event.get("isBase64Encoded"):
        try:
            body = base64.b64decode(body, validate=True)
        except ValueError as error:
            raise MalformedEvent(f"the body is not base64: {error}") from None
    return _parsed(body)


def _parsed(body: Any) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise MalformedEvent(f"the message is not JSON: {error}") from None


def _remaining_ms(context: Any) -> int:
    tell = getattr(context, "get_remaining_time_in_millis", None)
    return DEFAULT_TIME_MS if tell is None else int(tell())


def _shown(report: Report) -> dict[str, str]:
    return {"status": report.status} if report.error is None else {"status": report.status, "error": report.error}


def _http(status: int, body: dict[str, str]) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": msgspec.json.encode(body).decode(),
    }
