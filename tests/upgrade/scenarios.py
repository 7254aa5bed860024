"""Scenarios of the fixtures: how each execution begins before an upgrade, and how it ends after it.

`begin` runs when fixtures are written, `conclude` when they are resumed. The test compares the outcome of `conclude`
with the literal `result`. Texts that end in "then" were recorded by the release that wrote the fixture, texts that end
in "now" by the release that resumed it.

A scenario with fixtures is not changed. New stored forms get a scenario at the end.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from botocore.exceptions import EndpointConnectionError

from resonate.errors import ResonateStoreError
from resonate.operations.forking import fork
from resonate.payloads import codec
from resonate.retry_policies import Constant
from resonate.schedules import Schedules
from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_store.model.execution_requests import PromiseCancel, TaskRepin
from resonate_store.model.records import Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterListener,
    PromiseSettle,
    TaskAcquire,
    TaskContinue,
    TaskHalt,
    TaskRelease,
)
from resonate_store.model.schedule_requests import SchedulePause, ScheduleResume
from resonate_store.model.tags import DELAY, EXTERNAL, IDEMPOTENCY_KEY, TARGET
from tests.upgrade import conditions, workflows
from tests.upgrade.stacks import (
    LISTENER,
    RECEIVER,
    Substrate,
    TableStack,
    apply,
    ask,
    begin_here,
    begin_there,
    encrypted_store,
    outcome,
    promise_of,
    record_of,
    records_of,
    remote_store,
    settle_alone,
    settle_and_die,
    work,
)

DAY = 86_400
HOUR = 3_600
SECOND = 1_000
LARGE = 24_700
"""Characters of a text whose payload is a little more than 32 KiB, above which a value goes to S3."""

Act = Callable[[Substrate], Any]


@dataclass(frozen=True)
class Scenario:
    """One execution, or several that belong together.

    Attributes:
        id: names the fixture, and the execution unless `begin` does it otherwise.
        begin: brings it to where the fixture holds it.
        conclude: takes it from there to its end, and returns what became of it.
        result: what that has to be.
        histories: the executions whose histories are kept.
        substrates: where it can be.
        section: the part of this module that has it.
    """

    id: str
    begin: Act
    conclude: Act
    result: Any
    histories: tuple[str, ...]
    substrates: tuple[str, ...]
    section: str


SCENARIOS: dict[str, Scenario] = {}
SECTIONS: list[str] = []


def section(name: str) -> None:
    """Begin a section, whose scenarios are resumed by one test."""
    SECTIONS.append(name)


def scenario(
    id: str,
    begin: Act,
    conclude: Act | None = None,
    *,
    result: Any,
    histories: tuple[str, ...] = (),
    substrates: tuple[str, ...] = ("sqlite", "dynamodb"),
) -> None:
    """Add a scenario. Without `conclude`, time passes until its execution has ended."""
    assert id not in SCENARIOS, f"there are two scenarios {id}"
    SCENARIOS[id] = Scenario(id, begin, conclude or ended(id), result, histories, substrates, SECTIONS[-1])


def execution(
    id: str,
    workflow: str,
    *args: Any,
    then: Act = lambda _: None,
    conclude: Act | None = None,
    result: Any,
    timeout: float | None = None,
) -> None:
    """Add a scenario of one execution of a workflow, whose history is kept.

    Args:
        id: names the scenario and the execution.
        workflow: the function, by name.
        args: its arguments.
        then: called before the fixture is written.
        conclude: see `Scenario`.
        result: see `Scenario`.
        timeout: seconds that the execution may take.
    """

    def begin(stack: Substrate) -> None:
        stack.options(timeout=timeout).start(workflow, *args, id=id)
        then(stack)

    scenario(id, begin, conclude, result=result, histories=(id,))


def ended(*ids: str) -> Act:
    """Let time pass until these executions have ended. Return their outcomes, or the outcome of a single one."""

    def conclude(stack: Substrate) -> Any:
        for id in ids:
            stack.run_until_complete(id, days=400)
        found = [outcome(stack, id) for id in ids]
        return found if len(found) > 1 else found[0]

    return conclude


def in_turn(*acts: Act) -> Act:
    """Call these in turn. Return the result of the last one."""

    def act(stack: Substrate) -> Any:
        result = None
        for each in acts:
            result = each(stack)
        return result

    return act


def resolved(id: str, value: Any) -> Act:
    return lambda stack: stack.resolve(id, value)


def passing(**span: float) -> Act:
    """Let time pass. The arguments are those of `timedelta`."""
    return lambda stack: stack.advance(**span)


def broken(*steps: str) -> Act:
    return lambda _: conditions.broken.update(steps)


def carried(stack: Substrate, id: str, value: Any) -> dict[str, Any]:
    """Answer a call as the worker of another team over HTTP. Return the call."""
    return answered(stack, id, "resolved", {"data": codec.encode(value, "a value").data})


def answered(stack: Substrate, id: str, state: str, value: dict[str, Any]) -> dict[str, Any]:
    """Answer a call as a worker in any language. Return the call."""
    version = record_of(stack, id).task.version
    found = ask(stack, "task.acquire", id=id, version=version, pid="carrier-1", ttl=60_000)
    settle = {"id": id, "state": state, "value": value}
    action = {"kind": "promise.settle", "head": {"corrId": "c2", "version": "2026-04-01"}, "data": settle}
    ask(stack, "task.fulfill", id=id, version=version + 1, action=action)
    param = found["promise"]["param"]
    return codec.decode(Value(param.get("headers"), param.get("data")))


def text_of(value: Any) -> str:
    """Return JSON in base64."""
    return base64.b64encode(json.dumps(value).encode()).decode()


section("sleeps")

execution("sleep", "sleeper", 30.0 * DAY, result=["before then", "after now"])
execution("sleep-short", "sleeper", 2 * 60.0, result=["before then", "after now"])
execution("sleep-async", "async_sleeper", 30.0 * DAY, result=["before then", "after now"])
execution("sleep-again", "two_naps", then=passing(hours=2), result=["between then", "after now"])


def downtime(stack: Substrate) -> Any:
    """Let the timer become due while nothing runs."""
    stack.clock.sleep(90 * DAY * SECOND)
    return ended("sleep-overdue")(stack)


execution("sleep-overdue", "sleeper", 30.0 * DAY, conclude=downtime, result=["before then", "after now"])

section("calls")


def shipped(stack: Substrate) -> Any:
    call = carried(stack, "rpc.2", "tracked")
    return [call, ended("rpc")(stack)]


execution(
    "rpc",
    "calling",
    then=passing(hours=1),  # Its offers are rare by now.
    conclude=shipped,
    result=[
        {"func": "ship", "args": ["tea"], "kwargs": {"count": 2}, "version": 1},
        ["order then", "tracked"],
    ],
)
execution(
    "rpc-nested",
    "calling_here",
    then=passing(hours=2),
    result=[["before then", "after then"], ["before then", "after now"]],
)
execution(
    "promise",
    "approval",
    12,
    conclude=in_turn(
        lambda stack: codec.decode(promise_of(stack, "promise.2").param),
        resolved("promise.2", {"approved": True}),
        ended("promise"),
    ),
    result=["asked then", {"approved": True}],
)
execution(
    "promise-rejected",
    "approval",
    13,
    conclude=in_turn(
        lambda stack: stack.reject("promise-rejected.2", ValueError("too much")), ended("promise-rejected")
    ),
    result=["asked then", "ValueError: too much"],
)
execution(
    "promise-cancelled",
    "approval",
    14,
    conclude=in_turn(lambda stack: stack.cancel("promise-cancelled.2"), ended("promise-cancelled")),
    result=["asked then", "ResonateCanceledError"],
)
execution(
    "promise-timeout",
    "approval",
    15,
    result=["asked then", "ResonateTimedoutError"],
)


def two_wait(stack: Substrate) -> None:
    stack.start("shared", id="shared-a")
    stack.start("shared", id="shared-b")


scenario(
    "promise-shared",
    two_wait,
    in_turn(resolved("shared/weather.2026", "fine"), ended("shared-a", "shared-b")),
    result=["the weather is fine", "the weather is fine"],
    histories=("shared-a", "shared-b"),
)
execution(
    "begun",
    "begun",
    conclude=in_turn(lambda stack: carried(stack, "begun.4", "shipped"), ended("begun")),
    result=["local then", ["before then", "after now"], ["before then", "after now"], "shipped"],
)
execution("unawaited", "unawaited", result="returned then")
execution(
    "detached",
    "detaching",
    conclude=ended("detached", "detached.1", "detached-by-name"),
    result=[["detached.1", "detached-by-name"], ["before then", "after now"], ["before then", "after now"]],
)
execution("detached-awaited", "awaiting_detached", result=["before then", "after now"])

section("nesting")

execution(
    "nested",
    "nesting",
    2,
    result=[
        ["done first then", "done second then"],
        [
            ["done first then", "done second then"],
            [
                ["done first then", "done second then"],
                ["below first then", "below second now"],
                ["async first now", "async second now"],
            ],
            ["async first now", "async second now"],
        ],
        ["async first now", "async second now"],
    ],
)
execution(
    "nested-async",
    "async_nesting",
    then=passing(days=16),
    result=[
        ["done first then", "done second then"],
        ["below first then", "below second now"],
        ["begun first then", "begun second then"],
    ],
)

section("ids")

execution(
    "ids",
    "overriding",
    then=passing(minutes=1),
    conclude=in_turn(passing(days=31), resolved("own/promise", "settled"), ended("ids")),
    result=[
        "ran then",
        ["nested first then", "nested second then"],
        8,
        "begun then",
        ["sleeping first then", "sleeping second now"],
        ["before then", "after now"],
        "settled",
    ],
)
execution("id of/many.kinds #1 ☕", "sleeper", 30.0 * DAY, result=["before then", "after now"])


def keys_hold(stack: Substrate) -> Any:
    stack.resolve("keys.3", "this")
    found = ended("keys")(stack)
    with suppress(ResonateStoreError):  # the key of the execution is another one
        begin_there(stack, stack.client().options(target="worker", idempotency_key="another"), "keys", "keyed")
    existing = promise_of(stack, "keys")
    tags = [promise_of(stack, f"keys.{n}").tags.get("resonate:idempotency-key") for n in (1, 2, 3, 4)]
    return [found, existing.tags["resonate:idempotency-key"], tags]


def begin_with_key(stack: Substrate) -> None:
    client = stack.client().options(target="worker", idempotency_key="root-key", tags={"tenant": "a"})
    begin_there(stack, client, "keys", "keyed")


scenario(
    "keys",
    begin_with_key,
    keys_hold,
    result=[["ran then", 16, "made then", "this"], "root-key", ["run-key", "rpc-key", "promise-key", "key of keys.4"]],
    histories=("keys",),
)
execution("not-durable", "fleeting", result=["kept then", "lost now"])


def begin_version_2(stack: Substrate) -> None:
    stack.options(version=2).start("versioned", id="versions")


scenario("versions", begin_version_2, result=["version 1 now", "version 2 now"], histories=("versions",))


def settle_encoded(stack: Substrate) -> Any:
    """Settle the promise and the call with values of their encoders."""
    param = promise_of(stack, "encoder.3").param
    for id, encoder, value in (
        ("encoder.2", workflows.JsonEncoder(), {"yes": True}),
        ("encoder.3", workflows.Shouting(), ["Echo"]),
    ):
        apply(stack, PromiseSettle(id, "resolved", codec.encode(value, "a value", encoder=encoder)))
    call = codec.decode(param, encoder=workflows.Shouting())
    return [call, ended("encoder")(stack)]


execution(
    "encoder",
    "encoding",
    conclude=settle_encoded,
    result=[
        {"func": "echo", "args": [{"b": 2}], "kwargs": {}, "version": 1},
        ["written then", {"yes": True}, ["Echo"]],
    ],
)

section("retries")


def repaired(stack: Substrate, *ids: str) -> Any:
    conditions.broken.clear()
    return ended(*ids)(stack)


execution(
    "retry",
    "retrying",
    100,
    then=passing(hours=2.5),
    conclude=lambda stack: repaired(stack, "retry"),
    result=["first then", "charged 9 in attempt 4 now"],
)


def exhausted(stack: Substrate) -> Any:
    found = ended("retry-exhausted")(stack)
    return [found, conditions.runs["retry-exhausted.2"]]


execution(
    "retry-exhausted",
    "retrying",
    5,
    then=passing(hours=2.5),
    conclude=exhausted,
    result=[["first then", "ConnectionError: no route, attempt 6"], 3],
)
execution(
    "retry-begun",
    "retrying_begun",
    then=passing(minutes=3.5),
    conclude=lambda stack: repaired(stack, "retry-begun"),
    result=["charged 1 in attempt 4 now", "charged 2 in attempt 5 now"],
)
execution(
    "retry-series",
    "retrying_series",
    conclude=lambda stack: repaired(stack, "retry-series"),
    result="charged 3 in attempt 101 now",
)
execution(
    "retry-workflow",
    "retrying_workflow",
    then=passing(hours=1.5),
    conclude=lambda stack: repaired(stack, "retry-workflow"),
    result=[
        ["attempt 3 now", "charged 4 in attempt 1 now"],
        ["async attempt 3 now", "charged 5 in attempt 1 now"],
    ],
)
execution(
    "retry-plain",
    "plain",
    7,
    then=passing(minutes=1),
    conclude=lambda stack: repaired(stack, "retry-plain"),
    result="charged 7 in attempt 7 now",
)


def begin_fragile(stack: Substrate) -> None:
    begin_here(stack, "retry-root", "fragile", retry_policy=Constant(delay=HOUR, max_retries=1))


scenario(
    "retry-root",
    begin_fragile,
    lambda stack: repaired(stack, "retry-root"),
    result=["attempt 2 now", "charged 4 in attempt 1 now"],
    histories=("retry-root",),
)


def begin_impatient(stack: Substrate) -> None:
    """Begin a root that is retried at once. Its first attempt is recorded, and its second one sleeps."""
    begin_here(stack, "retry-noted", "second_thoughts", retry_policy=Constant(delay=0.5, max_retries=3))


scenario(
    "retry-noted",
    begin_impatient,
    result=["attempt 2 then", "after now in attempt 2"],
    histories=("retry-noted",),
)

section("tasks")


def begin_in_process(stack: Substrate) -> None:
    begin_here(stack, "here", "sleeper", 30.0 * DAY)


scenario("here", begin_in_process, result=["before then", "after now"], histories=("here",))


def unacquired(stack: Substrate) -> None:
    stack.lose_messages()
    stack.start("sleeper", 60.0, id="unacquired")
    stack.advance(minutes=10)
    stack.lose_messages(0)


scenario("unacquired", unacquired, result=["before now", "after now"], histories=("unacquired",))


def delayed(stack: Substrate) -> None:
    at = stack.clock.now() + 5 * DAY * SECOND
    stack.options(tags={DELAY: str(at)}).start("sleeper", 60.0, id="delayed")


def held_back(stack: Substrate) -> Any:
    stack.advance(days=4, hours=22)
    early = dict(conditions.runs)
    return [early, ended("delayed")(stack)]


scenario("delayed", delayed, held_back, result=[{}, ["before now", "after now"]], histories=("delayed",))


def killed(stack: Substrate) -> None:
    """Let the worker die after a recorded step, during its lease."""
    stack.crash(before="task.suspend", id="acquired")
    stack.start("sleeper", 30.0 * DAY, id="acquired")


scenario("acquired", killed, result=["before then", "after now"], histories=("acquired",))


def killed_repeatedly(stack: Substrate) -> None:
    stack.crash(before="stamp", times=100)
    stack.start("sleeper", 60.0, id="attempts")
    stack.advance(minutes=18)


def attempts_left(stack: Substrate) -> Any:
    """Let it fail until it is halted. The failures before the upgrade count."""
    failures = stack.crash(before="stamp", times=100)
    for _ in range(20):
        stack.advance(minutes=20)
    halted = record_of(stack, "attempts").task
    failures.left = 0
    return [halted.state, halted.attempts, in_turn(continued("attempts"))(stack)]


def killed_ten_times(stack: Substrate) -> None:
    stack.crash(before="stamp", times=10)
    stack.start("sleeper", 60.0, id="halted")
    for _ in range(40):
        stack.advance(minutes=20)


def continued(id: str) -> Act:
    def conclude(stack: Substrate) -> Any:
        apply(stack, TaskContinue(id))
        return ended(id)(stack)

    return conclude


scenario(
    "attempts",
    killed_repeatedly,
    attempts_left,
    result=["halted", 10, ["before now", "after now"]],
    histories=("attempts",),
)
scenario("halted", killed_ten_times, continued("halted"), result=["before now", "after now"], histories=("halted",))


def halted_by_request(stack: Substrate) -> None:
    stack.start("sleeper", 60.0, id="halted-by-request")
    apply(stack, TaskHalt("halted-by-request", reason="a bug in the second step"))
    stack.advance(minutes=5)


scenario(
    "halted-by-request",
    halted_by_request,
    continued("halted-by-request"),
    result=["before then", "after now"],
    histories=("halted-by-request",),
)


def halted_by_other_code(stack: Substrate) -> None:
    stack.start("changed", id="halted-changed")
    stack.advance(hours=1, minutes=1)
    conditions.detour = True
    stack.advance(hours=1)


scenario(
    "halted-changed",
    halted_by_other_code,
    continued("halted-changed"),
    result=["first then", "second then"],
    histories=("halted-changed",),
)


def unresumed(stack: Substrate) -> None:
    """Settle the promise that it awaits, without resuming its task."""
    stack.start("approval", 1, id="unresumed")
    settle_alone(stack, PromiseSettle("unresumed.2", "resolved", codec.encode("yes", "a value")))


scenario("unresumed", unresumed, result=["asked then", "yes"], histories=("unresumed",))


def resumed(stack: Substrate) -> None:
    """Settle the promise that it awaits, and lose the offer of its task."""
    stack.start("approval", 1, id="resumed")
    stack.lose_messages()
    stack.resolve("resumed.2", "yes")
    stack.lose_messages(0)


scenario("resumed", resumed, result=["asked then", "yes"], histories=("resumed",))


def given_back(stack: Substrate) -> None:
    """Release the task three times with an error that is not of the workflow."""
    stack.lose_messages()
    stack.start("sleeper", 60.0, id="given-back")
    for version in range(3):
        apply(stack, TaskAcquire("given-back", version, "p1", 60_000))
        apply(stack, TaskRelease("given-back", version + 1, error="the disk is full"))
        stack.advance(minutes=1)
    stack.lose_messages(0)


scenario("given-back", given_back, result=["before now", "after now"], histories=("given-back",))


def listening(stack: Substrate) -> None:
    """Create a promise with a listener, and another one whose settlement was not delivered to its listener."""
    later = stack.clock.now() + 30 * DAY * SECOND
    for id in ("heard-later", "unheard"):
        apply(stack, PromiseCreate(id, later))
        apply(stack, PromiseRegisterListener(id, LISTENER))
    settle_and_die(stack, PromiseSettle("unheard", "resolved", codec.encode("done", "a value")))


def heard(stack: Substrate) -> Any:
    stack.advance(minutes=3)
    stack.resolve("heard-later", 5)
    stack.advance(minutes=3)
    return stack.heard


scenario(
    "listeners",
    listening,
    heard,
    result=[(LISTENER, "unblock", "unheard"), (LISTENER, "unblock", "heard-later")],
)


def push(stack: Substrate) -> None:
    """Create a task of an HTTP worker, and a settled promise with an HTTP listener. No message is posted."""
    if isinstance(stack, TableStack):
        stack.hold_pushes()
    later = stack.clock.now() + 30 * DAY * SECOND
    apply(stack, PromiseCreate("pushed-task", later, tags={TARGET: RECEIVER}))
    apply(stack, PromiseCreate("pushed-promise", later))
    apply(stack, PromiseRegisterListener("pushed-promise", RECEIVER))
    request = PromiseSettle("pushed-promise", "resolved", codec.encode("done", "a value"))
    if isinstance(stack, TableStack):
        apply(stack, request)
    else:
        settle_and_die(stack, request)


def pushed(stack: Substrate) -> Any:
    stack.pump()
    return sorted(set(stack.heard))


scenario("pushes", push, pushed, result=[(RECEIVER, "execute", "pushed-task"), (RECEIVER, "unblock", "pushed-promise")])

section("ends")


def end_in_every_way(stack: Substrate) -> None:
    stack.run("double", 21, id="end-resolved")
    stack.start("failing", "own", id="end-rejected")
    stack.start("approval", 1, id="end-cancelled")
    stack.cancel("end-cancelled")
    stack.options(timeout=60).start("approval", 1, id="end-timedout")
    stack.advance(minutes=2)
    stack.options(timeout=5 * DAY).start("approval", 1, id="end-later")


def ends_are_kept(stack: Substrate) -> Any:
    found = [outcome(stack, f"end-{how}") for how in ("resolved", "rejected", "cancelled", "timedout")]
    stack.run_until_complete("end-later")
    return [*found, outcome(stack, "end-later")]


scenario(
    "ends",
    end_in_every_way,
    ends_are_kept,
    result=[
        42,
        "OutOfStock: own then",
        "ResonateCanceledError",
        "ResonateTimedoutError",
        "ResonateTimedoutError",
    ],
    histories=("end-resolved", "end-rejected", "end-cancelled", "end-timedout"),
)


def begin_expiring(stack: Substrate) -> None:
    """End an execution, and delete a part of it after its retention."""
    assert isinstance(stack, TableStack)
    stack.run("nesting", 0, id="expiring")
    stack.expires = True
    stack.hold_pushes()
    with patch("resonate_infra.deployed.dispatch.MAX_DELETIONS", 4):
        stack.advance(days=31)


def deleted(stack: Substrate) -> Any:
    before = len(records_of(stack))
    stack.advance(minutes=5)
    return [before, records_of(stack)]


scenario("expiring", begin_expiring, deleted, result=[7, []], substrates=("dynamodb",))

section("values")


def cancel_one(stack: Substrate) -> None:
    stack.advance(minutes=2)
    stack.cancel("catching-cancelled")


execution(
    "errors",
    "catching",
    then=cancel_one,
    result=[
        "ValueError: value then",
        "KeyError: 'key then'",
        "FileNotFoundError: [Errno 2] os then: 'missing.txt'",
        "OutOfStock: own then",
        "another error: gone then",
        "('attributes then', 402) 9.90 b'\\x00\\xff' ValueError('too little') {'card': '1234', 'tries': [1, 2]}",
        "RuntimeError: wrapped because of ValueError: cause then",
        "several: ValueError: group then, KeyError: 'group then'",
        "TypeError: note then, True",
        "OutOfStock: own then",
        "another error: gone then",
        "ResonateTimedoutError",
        "ResonateCanceledError",
    ],
)


def begin_typed(stack: Substrate) -> None:
    client = stack.client().options(target="worker")
    begin_there(stack, client, "values", "typed", workflows.ORDER, workflows.Colour.BLUE)


def order_with(items: str) -> str:
    head = "12345678-1234-5678-1234-567812345678 2026-11-29T12:30:15.250000+00:00 2026-12-24"
    return f"{head} [{items}] b'\\x00\\xffphoto' Point(1, 2.5) {{'naïve': 'é ☕'}}"


scenario(
    "values",
    begin_typed,
    result=[
        order_with("tea 12.50 RED"),
        order_with("tea 12.50 RED, tax then 0.07 BLUE"),
        "2026-11-29T12:30:15.250000+00:00",
        "12.57",
        ["BLUE", "RED"],
        "BLUE",
        order_with("tea 12.50 RED, tax then 0.07 BLUE"),
    ],
    histories=("values",),
)
execution(
    "values-json",
    "peculiar",
    result="[[inf, -inf, nan, 1e+300, None], ['__INF__', 'plain'], None, {'': [], 'nested': {'a': [1, {'b': True}]},"
    " 'big': 1152921504606846976, 'text': 'naïve é ☕ \\x00'}]",
)
execution("recorded", "recording", result=[1_750_000_000.0, 3, 0.25, 11, 5])


def begin_large(stack: Substrate) -> None:
    """The worker stores its large result, and does not get to confirm the claim on it.

    A SQLite file keeps all values alike, so they need not be large there.
    """
    if not isinstance(stack, TableStack):
        stack.start("large", "x" * 1_000, 1_000, id="large")
        return
    confirmations = 0

    def fault(moment: Moment, call: CountedCall) -> None:
        nonlocal confirmations
        if moment == "before" and call.caller == "WorkerFunction" and call.operation == "DeleteObjectTagging":
            confirmations += 1
            if confirmations > 1:  # the first is that of the argument
                raise EndpointConnectionError(endpoint_url="https://s3.amazonaws.com")

    stack.cloud.fault = fault
    stack.start("large", "x" * LARGE, LARGE, id="large")
    stack.cloud.fault = None


scenario("large", begin_large, result=[True, "x", True, "y"], histories=("large",))

section("clients")


def begin_over_http(stack: Substrate) -> None:
    """Create a call as a client in another language: without version and keyword arguments, with its own tags."""
    param = codec.encode({"func": "sleeper", "args": [30.0 * DAY]}, "a call")
    tags = {TARGET: "poll://any@worker", "resonate:scope": "global", "by": "hand"}
    ask(
        stack,
        "promise.create",
        id="http",
        timeoutAt=stack.clock.now() + 90 * DAY * SECOND,
        param={"headers": {"content-type": "application/json"}, "data": param.data},
        tags=tags,
    )


def read_over_http(stack: Substrate) -> Any:
    stack.run_until_complete("http")
    promise = ask(stack, "promise.get", id="http")["promise"]
    return [promise["state"], codec.decode(Value(data=promise["value"]["data"])), promise["param"]["headers"]]


scenario(
    "http",
    begin_over_http,
    read_over_http,
    result=["resolved", ["before then", "after now"], {"content-type": "application/json"}],
    histories=("http",),
)


def begin_elsewhere(stack: Substrate) -> None:
    """Run the task by a worker over HTTP."""
    stack.options(target="lambda://elsewhere").start("nesting", 0, id="http-worker")
    work(stack, remote_store(stack), "http-worker")


def conclude_elsewhere(stack: Substrate) -> Any:
    stack.clock.sleep(31 * DAY * SECOND)
    stack.advance(minutes=2)
    work(stack, remote_store(stack), "http-worker")
    return outcome(stack, "http-worker")


scenario(
    "http-worker",
    begin_elsewhere,
    conclude_elsewhere,
    result=[
        ["done first then", "done second then"],
        ["below first then", "below second now"],
        ["async first now", "async second now"],
    ],
    histories=("http-worker",),
)


def begin_official(stack: Substrate) -> None:
    """Run a task as a worker of an official SDK, whose children have a colon. It sleeps on the second one."""
    ends = stack.clock.now() + 30 * DAY * SECOND
    tags = {TARGET: "lambda://typescript", "resonate:scope": "global"}
    ask(stack, "promise.create", id="official", timeoutAt=2 * ends, tags=tags, param={"data": "e30="})
    ask(stack, "task.acquire", id="official", version=0, pid="node-1", ttl=60_000)
    lineage = {"resonate:root": "official", "resonate:origin": "official", "resonate:parent": "official"}

    def fenced(kind: str, data: dict[str, Any]) -> None:
        action = {"kind": kind, "head": {"corrId": "c2", "version": "2026-04-01"}, "data": data}
        ask(stack, "task.fence", id="official", version=1, action=action)

    step = {"id": "official:1", "timeoutAt": ends, "tags": {**lineage, "resonate:scope": "local"}, "param": {}}
    fenced("promise.create", step)
    fenced("promise.settle", {"id": "official:1", "state": "resolved", "value": {"data": "NDI="}})
    nap = {"id": "official:2", "timeoutAt": ends, "tags": {**lineage, "resonate:timer": "true"}, "param": {}}
    fenced("promise.create", nap)
    waits = {"awaited": "official:2", "awaiter": "official"}
    actions = [{"kind": "promise.register_callback", "head": {"corrId": "c2", "version": "2026-04-01"}, "data": waits}]
    ask(stack, "task.suspend", id="official", version=1, actions=actions)


def conclude_official(stack: Substrate) -> Any:
    stack.clock.sleep(31 * DAY * SECOND)
    stack.advance(minutes=2)
    found = ask(stack, "task.acquire", id="official", version=1, pid="node-2", ttl=60_000)
    return sorted((each["id"], each["state"], each["value"].get("data")) for each in found["preload"])


scenario(
    "official",
    begin_official,
    conclude_official,
    result=[("official:1", "resolved", "NDI="), ("official:2", "resolved", None)],
)


def begin_strangers(stack: Substrate) -> None:
    stack.start("calling_strangers", id="strangers")
    typescript = {"__type": "error", "name": "Error", "message": "typescript: no tea", "stack": "Error: no tea"}
    answered(stack, "strangers.1", "rejected", {"data": text_of(typescript)})
    answered(stack, "strangers.2", "rejected", {"data": text_of({"__type": "error", "message": "python: no tea"})})
    answered(stack, "strangers.3", "rejected", {"data": text_of("just: a text")})
    value = {"headers": {"content-type": "application/json"}, "data": text_of({"limit": "__INF__"})}
    answered(stack, "strangers.4", "resolved", value)


scenario(
    "strangers",
    begin_strangers,
    result=["another error: no tea", "another error: no tea", "another error: a text", {"limit": math.inf}],
    histories=("strangers",),
)


def begin_registered(stack: Substrate) -> None:
    """Register a callback before the task is acquired. The task also awaits another promise."""
    later = stack.clock.now() + 30 * DAY * SECOND
    apply(stack, PromiseCreate("registered", later, tags={TARGET: "lambda://elsewhere"}))
    for id in ("registered-a", "registered-b"):
        apply(stack, PromiseCreate(id, later))
    ask(stack, "promise.register_callback", awaited="registered-a", awaiter="registered")
    ask(stack, "task.acquire", id="registered", version=0, pid="node-1", ttl=60_000)
    waits = {"awaited": "registered-b", "awaiter": "registered"}
    register = {"kind": "promise.register_callback", "head": {"corrId": "c2", "version": "2026-04-01"}, "data": waits}
    ask(stack, "task.suspend", id="registered", version=1, actions=[register])


def conclude_registered(stack: Substrate) -> Any:
    stack.resolve("registered-a", 1)
    found = [record_of(stack, "registered").task.state]
    carried(stack, "registered", "done")
    return [*found, outcome(stack, "registered")]


scenario("registered", begin_registered, conclude_registered, result=["pending", "done"])


def begin_by_hand(stack: Substrate) -> None:
    promises = stack.client().promises
    later = stack.clock.now() + 30 * DAY * SECOND
    made = promises.create(
        "by-hand", later, ikey="k1", headers={"a": "b"}, data='{"n": 1}', tags={"t": "u", EXTERNAL: "true"}
    )
    promises.create("by-hand-settled", later, ikey="k2")
    promises.resolve("by-hand-settled", ikey="k3", headers={"c": "d"}, data='"yes"')
    assert made.pending


def conclude_by_hand(stack: Substrate) -> Any:
    promises = stack.client().promises
    later = stack.clock.now() + 30 * DAY * SECOND
    pending = promises.create("by-hand", later, ikey="k1")
    settled = promises.resolve("by-hand-settled", ikey="k3", data='"again"')
    return [
        [pending.state, pending.ikey_for_create, pending.param.headers, pending.param.data, pending.tags["t"]],
        [settled.state, settled.ikey_for_complete, settled.value.headers, settled.value.data],
    ]


scenario(
    "by-hand",
    begin_by_hand,
    conclude_by_hand,
    result=[["PENDING", "k1", {"a": "b"}, '{"n": 1}', "u"], ["RESOLVED", "k3", {"c": "d"}, '"yes"']],
)


def begin_encrypted(stack: Substrate) -> None:
    store = encrypted_store(stack)
    client = stack.client(store=store).options(target="lambda://elsewhere")
    begin_there(stack, client, "encrypted", "approval", 5)
    work(stack, store, "encrypted")


def conclude_encrypted(stack: Substrate) -> Any:
    store = encrypted_store(stack)
    assert store.apply(PromiseSettle("encrypted.2", "resolved", codec.encode("yes", "a value"))).ok
    stack.pump()
    work(stack, store, "encrypted")
    promise = store.apply(PromiseGet("encrypted")).promise
    asked = store.apply(PromiseGet("encrypted.2")).promise
    assert promise is not None
    assert asked is not None
    return [codec.outcome_of(promise), codec.decode(asked.param)]


scenario("encrypted", begin_encrypted, conclude_encrypted, result=[["asked then", "yes"], {"amount": 5}])

section("schedules")


def occurrences(stack: Substrate, id: str) -> list[tuple[str, Any]]:
    """Return the instants and outcomes of the occurrences of a schedule that have ended."""
    found = sorted(record.id for record in records_of(stack) if record.tags.get("resonate:schedule") == id)
    return [(each.rpartition(".")[2], outcome(stack, each)) for each in found if not promise_of(stack, each).pending]


def define(stack: Substrate, id: str, func: str, cron: str, *args: Any, **options: Any) -> None:
    client = stack.client().options(target="worker", **options)
    client.schedule(id, func, cron, *args)
    client.stop()
    stack.pump()


def begin_schedule(stack: Substrate) -> None:
    define(stack, "schedule", "double", "30 4 * * *", 4, timezone="Europe/Berlin", timeout=HOUR)


def schedule_goes_on(stack: Substrate) -> Any:
    stack.advance(days=3)
    return occurrences(stack, "schedule")


scenario(
    "schedule",
    begin_schedule,
    schedule_goes_on,
    result=[("1750041000000", 80), ("1750127400000", 80), ("1750213800000", 80)],
)


def begin_under_way(stack: Substrate) -> None:
    """Create a schedule with an occurrence that sleeps, and one that was skipped because of it."""
    define(stack, "schedule-running", "sleeper", "@hourly", 3 * HOUR + 60.0, overlap="skip", catch_up="latest")
    stack.advance(hours=2)


def under_way_goes_on(stack: Substrate) -> Any:
    before = Schedules(stack.store, stack.clock).get("schedule-running")
    stack.advance(hours=9)
    return [before.last_promise, before.skipped_at, occurrences(stack, "schedule-running")]


scenario(
    "schedule-running",
    begin_under_way,
    under_way_goes_on,
    result=[
        "schedule-running.1750003200000",
        1_750_006_800_000,
        [
            ("1750003200000", ["before then", "after now"]),
            ("1750017600000", ["before now", "after now"]),
            ("1750032000000", ["before now", "after now"]),
        ],
    ],
)


def begin_missed(stack: Substrate) -> None:
    for catch_up in ("all", "latest", "none"):
        define(stack, f"schedule-missed-{catch_up}", "double", "0 0 1,15 * MON", 4, catch_up=catch_up)


def missed(stack: Substrate) -> Any:
    """Let three weeks pass in which nothing runs."""
    stack.clock.sleep(21 * DAY * SECOND)
    stack.advance(minutes=5)
    return [occurrences(stack, f"schedule-missed-{catch_up}") for catch_up in ("all", "latest", "none")]


scenario(
    "schedule-missed",
    begin_missed,
    missed,
    result=[
        [("1750032000000", 80), ("1750636800000", 80), ("1751241600000", 80), ("1751328000000", 80)],
        [("1751328000000", 80)],
        [],
    ],
)


def begin_paused(stack: Substrate) -> None:
    schedules = Schedules(stack.store, stack.clock)
    schedules.create(
        "schedule-paused",
        "0 */6 * * *",
        "{{.id}}/{{.timestamp}}",
        DAY * SECOND,
        ikey="defined-once",
        description="counts the stock",
        tags={"team": "stock"},
        promise_headers={"h": "i"},
        promise_data='{"func": "double", "args": [6], "kwargs": {}, "version": 1}',
        promise_tags={TARGET: "poll://any@worker"},
    )
    stack.pump()
    apply(stack, SchedulePause("schedule-paused"))
    stack.advance(days=1)


def unpaused(stack: Substrate) -> Any:
    schedules = Schedules(stack.store, stack.clock)
    before = schedules.get("schedule-paused")
    apply(stack, ScheduleResume("schedule-paused"))
    stack.advance(hours=12)
    ids = sorted(record.id for record in records_of(stack))
    return [before.paused, before.description, before.tags, before.ikey, [(id, outcome(stack, id)) for id in ids]]


scenario(
    "schedule-paused",
    begin_paused,
    unpaused,
    result=[
        True,
        "counts the stock",
        {"team": "stock"},
        "defined-once",
        [("schedule-paused/1750096800000", 120), ("schedule-paused/1750118400000", 120)],
    ],
)

section("2026-11-30")


def begin_refused(stack: Substrate) -> None:
    """Create promises with other idempotency keys and the ids of three of its calls."""
    later = stack.clock.now() + 90 * DAY * SECOND
    for id in ("taken/promise", "taken/begun", "taken/awaited"):
        apply(stack, PromiseCreate(id, later, tags={IDEMPOTENCY_KEY: "theirs"}))
    stack.options(target="lambda://elsewhere").start("refusing", id="refused")
    work(stack, stack.store, "refused", parallel=True)
    stack.advance(minutes=2)
    work(stack, stack.store, "refused")


def conclude_refused(stack: Substrate) -> Any:
    stack.clock.sleep(31 * DAY * SECOND)
    stack.advance(minutes=2)
    work(stack, stack.store, "refused")
    return outcome(stack, "refused")


scenario(
    "refused",
    begin_refused,
    conclude_refused,
    result=[
        "ResonateStoreError at the promise",
        "ResonateStoreError at the next wait",
        "ResonateStoreError at the call",
        ["before then", "after then"],
    ],
    histories=("refused",),
)


def begin_timed(stack: Substrate) -> None:
    """Run the task by a worker over HTTP, which stores the duration of its step."""
    conditions.wait = stack.clock.sleep
    stack.options(target="lambda://elsewhere").start("timed", id="timed")
    work(stack, remote_store(stack), "timed")


def conclude_timed(stack: Substrate) -> Any:
    stack.clock.sleep(31 * DAY * SECOND)
    stack.advance(minutes=2)
    work(stack, remote_store(stack), "timed")
    return outcome(stack, "timed")


scenario("timed", begin_timed, conclude_timed, result=["lasted then", "after now"], histories=("timed",))


def begin_kept(stack: Substrate) -> None:
    """Register a callback explicitly in the first attempt, and suspend the second attempt on another promise."""
    later = stack.clock.now() + 30 * DAY * SECOND
    apply(stack, PromiseCreate("kept", later, tags={TARGET: "lambda://elsewhere"}))
    for id in ("kept-a", "kept-b", "kept-c"):
        apply(stack, PromiseCreate(id, later))
    for version, awaited in enumerate(("kept-b", "kept-c"), start=1):
        ask(stack, "task.acquire", id="kept", version=version - 1, pid="node-1", ttl=60_000)
        if version == 1:
            ask(stack, "promise.register_callback", awaited="kept-a", awaiter="kept")
        waits = {"awaited": awaited, "awaiter": "kept"}
        head = {"corrId": "c2", "version": "2026-04-01"}
        register = {"kind": "promise.register_callback", "head": head, "data": waits}
        ask(stack, "task.suspend", id="kept", version=version, actions=[register])
        if version == 1:
            stack.resolve("kept-b", 1)


def conclude_kept(stack: Substrate) -> Any:
    before = record_of(stack, "kept").task.state
    stack.resolve("kept-a", 1)
    resumed = record_of(stack, "kept").task.state
    carried(stack, "kept", "done")
    return [before, resumed, outcome(stack, "kept")]


scenario("kept", begin_kept, conclude_kept, result=["suspended", "pending", "done"])


def conclude_distracted(stack: Substrate) -> Any:
    """Settle the promise while the workflow sleeps. Only the end of the sleep resumes it."""
    stack.resolve("distracted.1", "meanwhile")
    asleep = record_of(stack, "distracted").task.state
    return [asleep, ended("distracted")(stack)]


execution(
    "distracted",
    "distracted",
    conclude=conclude_distracted,
    result=["suspended", ["before then", "meanwhile", "after now"]],
)


execution(
    "several",
    "several",
    then=lambda stack: stack.advance(minutes=2),
    result=["fast", "fast then", {"a": "a then", "b": "b then"}, "late then", ["x then", "y then"], ["z now"]],
)


def cancel_and_work(stack: Substrate) -> None:
    """Cancel the execution. Its workflow compensates before the upgrade, and ends after it."""
    apply(stack, PromiseCancel("interrupted", "stop"))
    stack.advance(minutes=2)


execution("interrupted", "interrupted", then=cancel_and_work, result=["stop", "end now"])


execution("limited", "limited", result=[True, "marked then", True, "after now"])
execution("endless", "endless", result="round 3 now")


def said(*texts: str) -> Act:
    """Send messages to the execution `chatting`."""

    def act(stack: Substrate) -> None:
        for text in texts:
            stack.send("chatting", "chat", text, idempotency_key=text)

    return act


def unread(stack: Substrate) -> None:
    stack.send("chatting", "unread", "nothing", idempotency_key="unread")


def conclude_chatting(stack: Substrate) -> Any:
    """Repeat a message, which is not accepted again, and send the last one."""
    before = stack.published("chatting")
    said("hello", "last")(stack)
    return [before, ended("chatting")(stack)]


execution(
    "chatting",
    "chatting",
    then=in_turn(said("hello"), unread),
    conclude=conclude_chatting,
    result=[{"count": 1}, ["hello", "before then", "mine", "last", "after now"]],
)


def begin_pinned(stack: Substrate) -> None:
    """Acquire the task as a version of a function does, and die."""
    stack.lose_messages()
    stack.start("sleeper", 60.0, id="pinned")
    apply(stack, TaskAcquire("pinned", 0, "p1", 60_000, "lambda://gone:7"))
    stack.lose_messages(0)


def conclude_pinned(stack: Substrate) -> Any:
    """Move the execution to the code of its target."""
    pinned = record_of(stack, "pinned").pinned
    apply(stack, TaskRepin("pinned", unpin=True))
    return [pinned, ended("pinned")(stack)]


scenario("pinned", begin_pinned, conclude_pinned, result=["lambda://gone:7", ["before now", "after now"]])


def begin_fork(stack: Substrate) -> None:
    """Fork an execution that has failed and compensated, with another argument, and let it run until it sleeps."""
    stack.start("forked", id="source")
    stack.run_until_complete("source", days=1)
    fork(stack.store, "source", new_id="forked", args=[True], clock=stack.clock)
    stack.advance(minutes=2)


scenario(
    "forked",
    begin_fork,
    None,
    result=["paid then", 8, "source", "after now"],
    histories=("forked",),
)
