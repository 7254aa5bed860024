"""Interceptors of a program: headers of executions, and code around attempts, in both spellings."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateStoreError
from resonate.interceptors import MAX_HEADERS_BYTES, InboundCall, Interceptor, OutboundCall
from resonate.retry_policies import Constant
from resonate_store.model.requests import PromiseGet
from tests.support.driver import Driver
from tests.support.present import present
from tests.support.serving import Serving
from tests.support.ways import always_three_ways, three_ways

Flow = Generator[Any, Any, Any]

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")
"""The tenant for whom the code runs."""


class Tenants(Interceptor):
    """Passes the tenant on in a header, and notes what it sees.

    Attributes:
        created: the ids, callers and headers of the executions that were created.
        entered: what ran: its id, kind, attempt, and how it ended.
    """

    def __init__(self) -> None:
        self.created: list[tuple[str, str | None, str]] = []
        self.entered: list[tuple[str, str, int, str]] = []

    def outbound(self, call: OutboundCall) -> None:
        if tenant.get() != "nobody":
            call.headers["tenant"] = tenant.get()
        call.tags["team"] = "blue"
        self.created.append((call.id, call.caller, call.headers.get("tenant", "")))

    @contextmanager
    def inbound(self, call: InboundCall) -> Iterator[None]:
        token = tenant.set(call.headers.get("tenant", "nobody"))
        ended = "returned"
        try:
            yield
        except BaseException as error:
            ended = type(error).__name__
            raise
        finally:
            tenant.reset(token)  # raises an error in other contextvars than those of `set`
            self.entered.append((call.id, call.kind, call.attempt, ended))


def who(ctx: Context) -> str:
    return f"{tenant.get()} {ctx.info.headers['tenant']}"


async def who_async(ctx: Context) -> str:
    return f"{tenant.get()} {ctx.info.headers['tenant']}"


def nested(ctx: Context) -> Flow:
    seen = yield ctx.run(who)
    yield ctx.sleep(1.1)
    return [seen, tenant.get()]


async def nested_async(ctx: Context) -> list[str]:
    seen = await ctx.run(who)
    await ctx.sleep(1.1)
    return [seen, tenant.get()]


def child(ctx: Context) -> Flow:
    return [tenant.get(), (yield ctx.run(who))]


def flow(ctx: Context) -> Flow:
    got = [tenant.get(), (yield ctx.run(who)), (yield ctx.run(who_async))]
    begun = [(yield ctx.begin_run(nested)), (yield ctx.begin_run(nested_async))]
    got.append((yield ctx.rpc("child")))
    yield ctx.time.time()
    for promise in begun:
        got.append((yield promise))
    return [*got, tenant.get()]


async def flow_async(ctx: Context) -> Any:
    got = [tenant.get(), await ctx.run(who), await ctx.run(who_async)]
    begun = [await ctx.begin_run(nested), await ctx.begin_run(nested_async)]
    got.append(await ctx.rpc("child"))
    await ctx.time.time()
    for promise in begun:
        got.append(await promise)
    return [*got, tenant.get()]


FLOWS = [flow, flow_async]
ACME = "acme acme"
EXPECTED = ["acme", ACME, ACME, ["acme", ACME], [ACME, "acme"], [ACME, "acme"], "acme"]
Connect = Callable[..., Resonate]


def tags_of(resonate: Resonate, id: str) -> dict[str, str]:
    return present(resonate.store.apply(PromiseGet(id)).promise).tags


@pytest.mark.parametrize("function", FLOWS)
@always_three_ways
def test_headers_reach_steps_children_and_replays(connect: Connect, function: Callable[..., Any]) -> None:
    tenants = Tenants()
    resonate = connect(workers=4, interceptors=[tenants])
    for each in (function, child):
        resonate.register(each)

    before = tenant.set("acme")
    try:
        handle = resonate.begin_rpc("w", function)
    finally:
        tenant.reset(before)

    assert handle.result() == EXPECTED
    assert tenant.get() == "nobody"
    # What is recorded is not created again, although the sleeps suspend the workflow, which is then replayed.
    assert tenants.created == [("w", None, "acme"), ("w.5", "w", "acme")]
    assert tags_of(resonate, "w.5")["resonate:header:tenant"] == "acme"
    assert tags_of(resonate, "w.5")["team"] == "blue"
    assert "resonate:header:tenant" not in tags_of(resonate, "w.1")
    steps = [entry for entry in tenants.entered if entry[0] in ("w.1", "w.2", "w.3.1", "w.4.1", "w.5.1")]
    assert sorted(steps) == [
        ("w.1", "step", 1, "returned"),
        ("w.2", "async", 1, "returned"),
        ("w.3.1", "step", 1, "returned"),
        ("w.4.1", "step", 1, "returned"),
        ("w.5.1", "step", 1, "returned"),
    ]
    assert "w.6" not in {id for id, *_ in tenants.entered}, "a step of the SDK itself"
    assert tenants.entered[-1] == ("w", "async" if function is flow_async else "workflow", 1, "returned")


@pytest.mark.parametrize("function", FLOWS)
def test_headers_travel_over_http(serving: Serving, function: Callable[..., Any]) -> None:
    resonate = Resonate.remote(url=f"http://127.0.0.1:{serving.port}", group="default", interceptors=[Tenants()])
    try:

        @resonate.register
        def parent(ctx: Context) -> Flow:
            return [tenant.get(), (yield ctx.run(who)), (yield ctx.rpc("child"))]

        @resonate.register
        async def parent_async(ctx: Context) -> list[Any]:
            return [tenant.get(), await ctx.run(who), await ctx.rpc("child")]

        resonate.register(child)
        resonate.start()
        serving.wait_for_stream("default")  # this server does not repeat a message to a stream that opens later
        before = tenant.set("acme")
        try:
            called = parent_async if function is flow_async else parent
            assert resonate.rpc("w", called) == ["acme", ACME, ["acme", ACME]]
        finally:
            tenant.reset(before)
        assert tags_of(resonate, "w")["resonate:header:tenant"] == "acme"
    finally:
        resonate.stop()


@three_ways
def test_headers_are_inherited_without_interceptors(connect: Connect) -> None:
    resonate = connect(workers=1)

    @resonate.register
    def parent(ctx: Context) -> Flow:
        called = yield ctx.rpc("headers")
        given = yield ctx.rpc("headers").options(tags={"resonate:header:lang": "de"})
        detached = yield ctx.detached("headers")
        return [dict(ctx.info.headers), called, given, (yield detached)]

    @resonate.register
    def headers(ctx: Context) -> dict[str, str]:
        return dict(ctx.info.headers)

    own = {"lang": "en"}
    got = resonate.options(tags={"resonate:header:lang": "en"}).rpc("w", parent)

    assert got == [own, own, {"lang": "de"}, own]


@three_ways
def test_continued_execution_keeps_its_headers(connect: Connect) -> None:
    resonate = connect(workers=1, interceptors=[Tenants()])

    @resonate.register
    def again(ctx: Context, left: int) -> Flow:
        yield ctx.run(who)
        return ctx.continue_as(left - 1) if left else ctx.info.headers["tenant"]

    before = tenant.set("acme")
    try:
        handle = resonate.begin_rpc("w", again, 2)
    finally:
        tenant.reset(before)

    assert handle.result() == "acme"


def test_headers_of_an_existing_execution_stay(connect: Connect) -> None:
    resonate = connect(interceptors=[Tenants()])
    resonate.register(child)
    for name in ("acme", "other"):
        before = tenant.set(name)
        try:
            assert resonate.run("w", child) == ["acme", ACME]
        finally:
            tenant.reset(before)


def test_schedules_do_not_ask_interceptors(connect: Connect) -> None:
    tenants = Tenants()
    resonate = connect(interceptors=[tenants])
    resonate.register(child)

    resonate.schedule("daily", child, "0 7 * * *")

    assert tenants.created == []


def test_interceptor_of_a_step_sees_each_attempt(driver: Driver) -> None:
    tenants = Tenants()
    driver.registry.interceptors = (tenants,)

    def flaky(ctx: Context) -> int:
        if ctx.info.attempt < 3:
            raise ValueError("not yet")
        return ctx.info.attempt

    def parent(ctx: Context) -> Flow:
        return (yield ctx.run(flaky).options(retry_policy=Constant(1)))

    assert driver.run("w", parent) == 3
    steps = [entry for entry in tenants.entered if entry[0] == "w.1"]
    assert [(attempt, ended) for _, _, attempt, ended in steps] == [
        (1, "ValueError"),
        (2, "ValueError"),
        (3, "returned"),
    ]


def test_first_interceptor_is_outermost(connect: Connect) -> None:
    order: list[str] = []

    class Named(Interceptor):
        """Notes when it begins and ends."""

        def __init__(self, name: str) -> None:
            self.name = name

        def outbound(self, call: OutboundCall) -> None:
            call.headers["path"] = call.headers.get("path", "") + self.name

        @contextmanager
        def inbound(self, call: InboundCall) -> Iterator[None]:
            order.append(f"{self.name}{call.headers['path']}")
            yield
            order.append(f"/{self.name}")

    resonate = connect(interceptors=[Named("a"), Interceptor(), Named("b")])

    @resonate.register
    def step(_: Context) -> None:
        order.append("step")

    resonate.run("w", step)
    assert order == ["aab", "bab", "step", "/b", "/a"]


def test_interceptor_with_wrong_headers_is_refused(connect: Connect, subtests: pytest.Subtests) -> None:
    given: dict[str, Any] = {}

    class Wrong(Interceptor):
        """Sets what the case gives."""

        def outbound(self, call: OutboundCall) -> None:
            call.headers.update(given)

    resonate = connect(interceptors=[Wrong()])
    resonate.register(child)
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"n": 1}, TypeError, r"Wrong must set headers of `str` to `str`, got 'n': 1"),
        ({"": "x"}, ValueError, "without a name"),
        ({"big": "é" * (MAX_HEADERS_BYTES // 2)}, ValueError, f"have {MAX_HEADERS_BYTES + 3} bytes"),
    ]
    for headers, error, text in cases:
        with subtests.test(headers=list(headers)):
            given.clear()
            given.update(headers)
            with pytest.raises(error, match=text):
                resonate.run("w", child)
            with pytest.raises(ResonateStoreError):
                resonate.get("w")
    no: Any = object()
    with pytest.raises(TypeError, match="interceptors must be objects of `Interceptor`"):
        Resonate.local(interceptors=[no])


def test_headers_cannot_be_changed_by_functions(connect: Connect) -> None:
    resonate = connect(interceptors=[Tenants()])

    @resonate.register
    def step(ctx: Context) -> str:
        headers: Any = ctx.info.headers
        with pytest.raises(TypeError):
            headers["x"] = "y"
        return "read only"

    assert resonate.run("w", step) == "read only"


def test_steps_beside_each_other_have_their_own_contextvars(connect: Connect) -> None:
    """Not even an interceptor that does not reset what it sets shows it to another function."""
    both = threading.Barrier(2)

    class Sloppy(Interceptor):
        """Sets the tenant to the id of the call, and does not reset it."""

        @contextmanager
        def inbound(self, call: InboundCall) -> Iterator[None]:
            tenant.set(call.id)
            yield

    resonate = connect(workers=4, interceptors=[Sloppy()])

    def step(_: Context) -> str:
        both.wait(10)
        return tenant.get()

    @resonate.register
    def parent(ctx: Context) -> Flow:
        first, second = (yield ctx.begin_run(step)), (yield ctx.begin_run(step))
        return [(yield first), (yield second), tenant.get()]

    assert resonate.run("w", parent) == ["w.1", "w.2", "w"]
    assert tenant.get() == "nobody"
