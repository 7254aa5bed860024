"""OpenTelemetry: spans for executions and steps, and trace context and baggage that calls pass on.

    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resonate = Resonate(interceptors=[TracePropagation()])
    handler = resonate.handler(span_processor=BatchSpanProcessor(exporter))

A workflow outlives the processes that run it, so no process can keep a span open for it. A span is made from the stored
promise when the promise is settled. It begins when the promise was created, however many invocations and suspensions
ago. Trace and span ids are hashes of promise ids, so all parts of an execution are in one trace. The parent of a step
is the workflow that called it, although the workflow's span is made later. Replay does not settle promises, so it does
not make spans.

Needs the extra `otel`. Without a span processor this module is not imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from resonate.interceptors import InboundCall, Interceptor, OutboundCall, headers_of
from resonate_store.model.ids import origin
from resonate_store.model.records import PromiseView
from resonate_store.model.tags import FUNC, ORIGIN, PARENT, SCOPE

_SCOPE = InstrumentationScope("resonate")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Spans:
    """Source of spans: makes one for every settled promise.

    Args:
        processor: receives the spans; it samples, batches and exports them.
        resource: describes this process in the spans; by default it is read from the environment variables
            `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`.
    """

    def __init__(self, processor: SpanProcessor, resource: Resource | None = None) -> None:
        self._processor = processor
        self._resource = resource or Resource.create()

    def settled(self, promise: PromiseView) -> None:
        """Pass the span of a promise that this process has settled to the processor."""
        tags = promise.tags
        root = tags.get(ORIGIN) or origin(promise.id)
        parent = tags.get(PARENT, promise.id)
        # A root begins a trace of its own, even if a workflow of another execution called it.
        inside = parent != promise.id and root != promise.id
        failed = promise.state != "resolved"
        ended = promise.settled_at if promise.settled_at is not None else promise.timeout_at
        self._processor.on_end(
            ReadableSpan(
                name=tags.get(FUNC) or promise.id,
                context=context_of(root, promise.id),
                parent=context_of(root, parent) if inside else None,
                resource=self._resource,
                attributes={
                    "resonate.promise.id": promise.id,
                    "resonate.promise.state": promise.state,
                    "resonate.origin": root,
                    "resonate.parent": parent,
                },
                links=() if inside else _links(headers_of(tags)),
                kind=SpanKind.INTERNAL if tags.get(SCOPE) == "local" else SpanKind.CONSUMER,
                status=Status(StatusCode.ERROR, promise.state) if failed else Status(StatusCode.OK),
                start_time=promise.created_at * 1_000_000,
                end_time=max(ended, promise.created_at) * 1_000_000,
                instrumentation_scope=_SCOPE,
            )
        )

    def flush(self) -> None:
        """Export the spans that wait: Lambda may not resume this process after the invocation."""
        self._processor.force_flush()


class TracePropagation(Interceptor):
    """Interceptor that passes trace context and baggage on, by the global propagators of OpenTelemetry.

    The headers of an execution have the trace context and the baggage of its caller. In a function, the current span is
    that of the function (`context_of`), so spans of the function's own code are its children. The baggage is there too.
    The span of an execution that a client has started has a link to the client's span.
    """

    def outbound(self, call: OutboundCall) -> None:
        propagate.inject(call.headers)

    @contextmanager
    def inbound(self, call: InboundCall) -> Generator[None, None, None]:
        caller = propagate.extract(call.headers)
        span = NonRecordingSpan(context_of(call.execution_id, call.id))
        token = context.attach(trace.set_span_in_context(span, caller))
        try:
            yield
        finally:
            context.detach(token)


def _links(headers: Mapping[str, str]) -> tuple[Link, ...]:
    """Return a link to the span of the caller, if it is in the headers of the execution."""
    caller = trace.get_current_span(propagate.extract(headers, context=context.Context())).get_span_context()
    return (Link(caller),) if caller.is_valid else ()


def context_of(root: str, id: str) -> SpanContext:
    """Return the context of the span of the promise `id`, in the trace of the execution `root`.

    Spans that you make with it as their parent become children of the step.

    Args:
        root: the id of the execution.
        id: the id of the step's promise: `ctx.id` inside the step.
    """
    return SpanContext(trace_id=_number(root, 16), span_id=_number(id, 8), is_remote=False, trace_flags=_SAMPLED)


def _number(id: str, size: int) -> int:
    """Return a number of `size` bytes that is derived from an id. It is not zero, which would mean "no id"."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=size).digest(), "big") or 1
