"""Spans, as an exporter gets them, of workflows that are suspended, replayed and continued by other handlers."""

import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags

from resonate import Context, Resonate
from resonate.payloads import codec
from resonate.retry_policies import Never
from resonate.testing import MemoryStack
from resonate.tracing import Spans, TracePropagation, context_of
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseSettle
from resonate_store.model.tags import TARGET
from tests.support.present import present
from tests.support.steps import execute

NIGHT = 1_735_689_600_000


def step(_ctx: Context, n: int) -> int:
    return n


def fail(_ctx: Context) -> None:
    raise ValueError("no")


def inner(ctx: Context) -> Generator[Any, Any, int]:
    return (yield ctx.run(step, 2))


def order(ctx: Context) -> Generator[Any, Any, int]:
    one = yield ctx.run(step, 1)
    two = yield ctx.run(inner)
    answer = yield ctx.promise()
    yield answer
    return one + two


def failing(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.run(fail).options(retry_policy=Never())


NAMES = {"w1.1": "step", "w1.2.1": "step", "w1.2": "inner", "w1": "order"}
"""Names of the spans of an order, by promise."""


class Deployment:
    """A store, and a new handler for each invocation, as if each had its own process."""

    def __init__(self) -> None:
        self.clock = ManualClock(NIGHT)
        self.store = MemoryStore(self.clock)
        self.exporter = InMemorySpanExporter()

    def create(self, id: str, function: str) -> None:
        param = codec.encode({"func": function}, "the arguments")
        tags = {TARGET: "https://worker.example.com/", "resonate:func": function}
        assert self.store.apply(PromiseCreate(id, NIGHT + 86_400_000, param, tags)).ok

    def invoke(self, id: str, version: int) -> Any:
        resonate = Resonate(store=self.store)
        for function in (order, failing):
            resonate.register(function)
        handler = resonate.handler(span_processor=SimpleSpanProcessor(self.exporter))
        return handler(execute(id, version), None)

    def spans(self) -> dict[str, ReadableSpan]:
        """By promise id; each is there once."""
        finished = self.exporter.get_finished_spans()
        found = {str((span.attributes or {})["resonate.promise.id"]): span for span in finished}
        assert len(found) == len(finished)
        return found


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def test_trace_survives_suspension_and_replay(deployment: Deployment) -> None:
    deployment.create("w1", "order")
    assert deployment.invoke("w1", 0) == {"status": "suspended"}
    deployment.clock.sleep(60_000)
    deployment.store.apply(PromiseSettle("w1.3", "resolved"))
    assert deployment.invoke("w1", 1) == {"status": "completed"}

    spans = deployment.spans()
    whole = spans["w1"]

    assert (whole.start_time, whole.end_time) == (NIGHT * 1_000_000, (NIGHT + 60_000) * 1_000_000)
    assert whole.status.status_code is StatusCode.OK
    assert {id: span.name for id, span in spans.items()} == NAMES
    assert {span.context.trace_id for span in spans.values() if span.context} == {context_of("w1", "w1").trace_id}
    parents = {id: span.parent.span_id if span.parent else None for id, span in spans.items()}
    own = {id: span.context.span_id for id, span in spans.items() if span.context}
    assert parents == {"w1.1": own["w1"], "w1.2.1": own["w1.2"], "w1.2": own["w1"], "w1": None}


def tenant_in_baggage(_ctx: Context) -> list[Any]:
    current = trace.get_current_span().get_span_context()
    return [baggage.get_baggage("tenant"), current.trace_id, current.span_id]


def traced(ctx: Context) -> Generator[Any, Any, Any]:
    here = trace.get_current_span().get_span_context()
    yield ctx.sleep(60)
    inside = yield ctx.run(tenant_in_baggage)
    called = yield ctx.rpc("tenant_in_baggage")
    detached = yield ctx.detached("tenant_in_baggage")
    return [here.span_id, inside, called, (yield detached), detached.id]


def test_trace_context_and_baggage_are_passed_on() -> None:
    """Programs over two groups, as if each were a service of its own."""
    stack = MemoryStack()
    programs = [Resonate.local(group=group, interceptors=[TracePropagation()]) for group in ("default", "client")]
    programs[0].register(traced)
    programs[0].register(tenant_in_baggage)
    stack.serve(programs[0])
    client = stack.client(registry=programs[1].registry)
    sent = SpanContext(trace_id=7, span_id=8, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    token = context.attach(
        trace.set_span_in_context(NonRecordingSpan(sent), baggage.set_baggage("tenant", "acme", context.Context()))
    )
    try:
        handle = client.begin_rpc("w1", "traced")
    finally:
        context.detach(token)
    stack.run_until_complete("w1")

    here, inside, called, apart, id = handle.result(0)
    root, own = context_of("w1", "w1"), context_of(id, id)
    assert here == root.span_id
    assert inside == ["acme", root.trace_id, context_of("w1", "w1.2").span_id]
    assert called == ["acme", root.trace_id, context_of("w1", "w1.3").span_id]
    assert apart == ["acme", own.trace_id, own.span_id]
    assert not trace.get_current_span().get_span_context().is_valid

    exporter = InMemorySpanExporter()
    spans = Spans(SimpleSpanProcessor(exporter))
    for each in ("w1", "w1.3", id):
        spans.settled(present(stack.store.apply(PromiseGet(each)).promise))
    linked = {
        str((span.attributes or {})["resonate.promise.id"]): [link.context.span_id for link in span.links]
        for span in exporter.get_finished_spans()
    }
    # A call below its caller has a parent; a detached one begins a trace of its own.
    assert linked == {"w1": [sent.span_id], "w1.3": [], id: [root.span_id]}


def test_spans_of_failed_calls_have_status_error(deployment: Deployment) -> None:
    deployment.create("w1", "failing")
    deployment.invoke("w1", 0)

    statuses = {id: span.status.status_code for id, span in deployment.spans().items()}
    assert statuses == dict.fromkeys(("w1.1", "w1"), StatusCode.ERROR)


def test_span_ids_follow_from_promise_ids() -> None:
    assert context_of("w1", "w1.1") == context_of("w1", "w1.1")
    assert context_of("w1", "w1.1").span_id != context_of("w1", "w1.2").span_id
    assert context_of("w1", "w1.1").trace_id != context_of("w2", "w1.1").trace_id
    assert context_of("w1", "w1.1").is_valid


def test_without_a_processor_opentelemetry_is_not_loaded() -> None:
    program = "import sys, resonate; resonate.Resonate().handler(); print('opentelemetry' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
