"""The stack in memory, as a test of a user's would use it."""

import threading
from collections import Counter
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from resonate import Context
from resonate.errors import PayloadTooLargeError, ResonateCanceledError, ResonateStoreError, ResonateTimedoutError
from resonate.retry_policies import Constant
from resonate.testing import MemoryStack, Stuck
from resonate_store.interface import StoreError
from resonate_store.model.clock import ManualClock, ambient
from resonate_store.model.requests import PromiseCreate
from tests.unit.sdk.testing import programs
from tests.unit.sdk.testing.programs import (
    Flow,
    approval,
    book,
    branching,
    charge,
    notify,
    order,
    shop,
    stubborn,
    trial,
)

DAY = 86_400_000


@pytest.fixture
def stack() -> MemoryStack:
    return MemoryStack(shop, programs.warehouse)


# Running


def test_a_workflow_runs_through_whatever_it_waits_for(stack: MemoryStack) -> None:
    began = stack.clock.now()

    assert stack.run(trial, "ada") == "charged 9 EUR"
    assert stack.clock.now() == began + 30 * DAY
    assert stack.invocations == Counter(shop=2), "it left the worker and was replayed from its beginning"
    assert stack.requests["promise.record"] == 2
    assert stack.requests.total() == 8


def test_what_a_function_belongs_to_is_served_without_being_named() -> None:
    assert MemoryStack().run(trial, "ada") == "charged 9 EUR"


def test_a_plain_function_is_registered_by_running_it() -> None:
    def double(ctx: Context, n: int) -> Flow:
        yield ctx.sleep(1.5)
        return 2 * n

    stack = MemoryStack()
    assert [stack.run(double, 2), stack.run("double", 3), stack.run(double, n=4)] == [4, 6, 8]


def test_a_name_that_nobody_has_registered_is_refused_with_those_that_are(stack: MemoryStack) -> None:
    with pytest.raises(ValueError, match="has registered nothing_like_it; it knows approval, book, branching"):
        stack.run("nothing_like_it")
    with pytest.raises(ValueError, match="the id is empty"):
        stack.run(trial, "ada", id="")


def test_starting_goes_as_far_as_it_gets_without_time(stack: MemoryStack) -> None:
    handle = stack.start(trial, "ada", id="t1")

    assert handle.id == "t1"
    assert not handle.done()
    assert [record.state for record in stack.history("t1")] == ["pending", "resolved", "pending"]
    with pytest.raises(TimeoutError):
        handle.result(timeout=60)
    stack.advance(weeks=4, days=1, hours=23, minutes=58, seconds=59.9)
    assert not handle.done()
    stack.advance(seconds=0.1)
    assert handle.done()
    assert (handle.result(), stack.result("t1")) == ("charged 9 EUR", "charged 9 EUR")


def test_an_id_that_exists_is_attached_to(stack: MemoryStack) -> None:
    assert stack.run(trial, "ada", id="t1") == stack.run(trial, "ada", id="t1")
    assert stack.invocations == Counter(shop=2)


def test_ids_that_are_not_given_count(stack: MemoryStack) -> None:
    assert [stack.start(trial, "ada").id, stack.start(approval).id, stack.start(trial, "bob").id] == [
        "trial-1",
        "approval-1",
        "trial-2",
    ]


def test_options_reach_the_execution(stack: MemoryStack) -> None:
    with pytest.raises(ResonateTimedoutError):
        stack.options(timeout=60, tags={"k": "v"}).run(approval, id="a1")
    assert stack.history("a1").root.tags["k"] == "v"


def test_results_and_arguments_travel_as_they_do_elsewhere(stack: MemoryStack) -> None:
    def pair(_: Context, items: tuple[int, ...]) -> tuple[int, ...]:
        return (*items, 3)

    assert stack.run(pair, (1, 2)) == (1, 2, 3)
    assert stack.result("pair-1") == [1, 2, 3]


def test_an_error_comes_out_as_itself(stack: MemoryStack) -> None:
    def failing(_: Context) -> Flow:
        raise KeyError("tea")
        yield

    with pytest.raises(KeyError, match="tea"):
        stack.run(failing)


def test_the_same_test_does_the_same_every_time() -> None:
    histories = []
    for _ in range(2):
        stack = MemoryStack()
        stack.run(branching)
        histories.append((stack.history("branching-1"), stack.requests, stack.invocations, stack.clock.now()))
    assert histories[0] == histories[1]


def test_no_thread_is_started_and_the_time_is_given_back(stack: MemoryStack) -> None:
    before, clock = threading.active_count(), ambient()
    seen: list[int] = []

    def look(_: Context) -> None:
        seen.append(ambient().now())

    stack.advance(days=1)
    stack.run(look)
    stack.run(branching)
    assert seen[0] == ManualClock().now() + DAY, "functions see the stack's time"
    assert (threading.active_count(), ambient()) == (before, clock)


def test_a_function_that_takes_long_is_followed_by_another_invocation() -> None:
    def slow(_: Context) -> None:
        ambient().sleep(200_000)

    def laborious(ctx: Context) -> Flow:
        for _ in range(3):
            yield ctx.run(slow)
        return "done"

    stack = MemoryStack(worker_timeout=300)
    assert stack.run(laborious) == "done"
    assert stack.invocations == Counter(default=2)


# Waiting for somebody


def test_a_promise_is_settled_from_outside(stack: MemoryStack) -> None:
    one, two, three = (stack.start(approval, id=id) for id in ("a1", "a2", "a3"))
    stack.resolve("a1.1", {"yes": True})
    stack.reject("a2.1", ValueError("no"))
    stack.cancel("a3.1")

    assert one.result() == {"yes": True}
    with pytest.raises(ValueError, match="no"):
        two.result()
    with pytest.raises(ResonateCanceledError):
        three.result()
    with pytest.raises(AssertionError, match=r"a1\.1 is resolved already"):
        stack.resolve("a1.1")
    with pytest.raises(AssertionError, match="there is no promise a4"):
        stack.resolve("a4")


def test_what_somebody_has_to_do_is_told(stack: MemoryStack) -> None:
    with pytest.raises(
        Stuck, match=r"a1\.1: a promise that somebody has to settle: stack\.resolve\('a1\.1', value\)"
    ) as stuck:
        stack.run(approval, id="a1")
    assert (stuck.value.id, stuck.value.waits) == ("a1", ("a1.1",))
    with pytest.raises(AssertionError, match=r"a1 is still pending\s+a1\.1: a promise"):
        stack.result("a1")


def test_a_deadline_that_was_given_is_waited_for(stack: MemoryStack) -> None:
    began = stack.clock.now()
    with pytest.raises(ResonateTimedoutError):
        stack.run(approval, 3600)
    assert stack.clock.now() == began + 3_600_000


def test_what_waits_for_an_execution_that_waits_is_told_of_the_end_of_it(stack: MemoryStack) -> None:
    def above(ctx: Context) -> Flow:
        return (yield ctx.rpc("approval").options(target="shop"))

    with pytest.raises(Stuck) as stuck:
        stack.run(above, id="w1")
    assert stuck.value.waits == ("w1.1.1",)
    stack.resolve("w1.1.1", 5)
    assert stack.result("w1") == 5


def test_days_limit_how_far_time_goes(stack: MemoryStack) -> None:
    stack.start(trial, "ada", id="t1")
    with pytest.raises(Stuck, match=r"the next thing is due at 2025-07-15 15:06:40\. It waits for\s+t1\.2: a timer"):
        stack.run_until_complete("t1", days=29)
    assert stack.run_until_complete("t1", days=30).state == "resolved"


def test_an_execution_that_is_not_there_is_not_waited_for(stack: MemoryStack) -> None:
    with pytest.raises(Stuck, match="there is no promise nothing"):
        stack.run_until_complete("nothing")
    with pytest.raises(ResonateStoreError, match="not found"):
        stack.history("nothing")


def test_any_promise_can_be_waited_for(stack: MemoryStack) -> None:
    stack.store.apply(PromiseCreate("t", stack.clock.now() + 5000, tags={"resonate:timer": "true"}))
    assert stack.run_until_complete("t").settled_at == stack.clock.now()


def test_a_halted_task_is_told_with_its_reason(stack: MemoryStack) -> None:
    runs: list[int] = []

    def erratic(ctx: Context) -> Flow:
        runs.append(1)
        step: Any = notify if len(runs) == 1 else charge
        yield ctx.run(step, 1)
        yield ctx.sleep(60)

    with pytest.raises(Stuck, match=r"its task is halted: .*was run notify when it first ran and is now run charge"):
        stack.run(erratic)


# What is too large for a deployment


def test_what_a_deployment_would_refuse_for_its_size_is_refused(stack: MemoryStack) -> None:
    large = "x" * 6_000_000

    def bulky(_: Context, text: str) -> str:
        return text * 6_000_000

    def above(ctx: Context) -> Flow:
        refused: list[str] = []
        for command in (ctx.run(bulky, "x"), ctx.rpc("charge", large).options(target="shop")):
            try:
                yield command
            except PayloadTooLargeError as error:
                refused.append(str(error))
        return refused

    result, argument = stack.run(above, id="w1")
    assert "the value of promise 'w1.1' has 8000004 bytes, encoded, and 5242880 is the limit" in result
    assert "the param of promise 'w1.2'" in argument
    with pytest.raises(PayloadTooLargeError, match="the param of promise 'w2'"):
        stack.start(trial, large, id="w2")


# Retries without end


def bad(_: Context) -> None:
    raise KeyError("typo")


def typing(ctx: Context) -> Flow:
    yield ctx.run(notify, "before")
    yield ctx.run(bad)


def test_a_step_that_always_fails_is_named_with_its_error(stack: MemoryStack) -> None:
    began = stack.clock.now()
    with pytest.raises(Stuck, match=r"w1\.2: bad has failed 1\d\d times, at last with KeyError\('typo'\)") as stuck:
        stack.run(typing, id="w1")
    assert stuck.value.waits == ("w1.2",)
    assert stack.clock.now() < began + DAY

    with pytest.raises(Stuck, match="w2\\.2: bad has failed"):
        stack.start(typing, id="w2").result()
    with pytest.raises(Stuck, match="the next thing is due at"):
        stack.run_until_complete("w2", days=0.1)
    assert len(stack.history("w2")) > 250, "whoever says how long is let wait"


def test_a_step_that_somebody_else_calls_is_named_too(stack: MemoryStack) -> None:
    stack.register(typing, group="others")

    def above(ctx: Context) -> Flow:
        return (yield ctx.rpc("typing").options(target="others"))

    with pytest.raises(Stuck, match=r"w1\.1\.2: bad has failed"):
        stack.run(above, id="w1")


def test_a_workflow_that_is_tried_again_for_ever_is_named(stack: MemoryStack) -> None:
    def hasty(ctx: Context) -> Flow:
        yield ctx.run(notify, "x")
        raise LookupError("gone")

    def above(ctx: Context) -> Flow:
        yield ctx.run(hasty).options(retry_policy=Constant(3600))

    with pytest.raises(Stuck, match=r"w1\.1: hasty has failed 1\d\d times, at last with LookupError\('gone'\)"):
        stack.run(above, id="w1")


@pytest.mark.parametrize("delay", [0, 0.1])
def test_a_step_that_fails_all_the_time_keeps_no_test_from_its_end(stack: MemoryStack, delay: float) -> None:
    def impatient(ctx: Context) -> Flow:
        yield ctx.run(bad).options(retry_policy=Constant(delay))

    handle = stack.start(impatient, id="w1")
    with pytest.raises(Stuck, match=r"w1\.1: bad has failed \d+ times, at last with KeyError"):
        handle.result()


@pytest.mark.parametrize("failures", [99, 250])
def test_a_step_is_let_fail_while_something_else_is_due(stack: MemoryStack, failures: int) -> None:
    tried: list[int] = []

    def moody(_: Context) -> str:
        tried.append(1)
        if len(tried) <= failures:
            raise ConnectionError
        return "at last"

    def above(ctx: Context) -> Flow:
        step = yield ctx.begin_run(moody).options(retry_policy=Constant(30))
        if failures > 100:
            yield ctx.sleep(86_400)
        return (yield step)

    assert stack.run(above) == "at last"


def test_a_step_is_let_fail_until_a_deadline_that_was_given(stack: MemoryStack) -> None:
    began = stack.clock.now()

    def above(ctx: Context) -> Flow:
        yield ctx.run(bad).options(timeout=7200)

    with pytest.raises(ResonateTimedoutError):
        stack.options(timeout=7200).run(typing)
    assert stack.clock.now() == began + 7_200_000
    with pytest.raises((ResonateTimedoutError, KeyError)):
        stack.run(above)


# Others


def test_groups_are_served_by_their_programs_and_strangers_are_mocked(stack: MemoryStack) -> None:
    ship = Mock(return_value="on its way")
    stack.mock("ship", ship, target="carrier")

    assert stack.run(order, "tea") == "tea from B4, on its way"
    ship.assert_called_once_with("tea from B4", fast=True)
    assert stack.invocations == Counter(shop=3, warehouse=1, carrier=1)


def test_whom_nobody_serves_is_told_at_once(stack: MemoryStack) -> None:
    began = stack.clock.now()
    with pytest.raises(Stuck, match=r"o1\.2: offered to poll://any@carrier, which nobody serves: register ship, or"):
        stack.run(order, "tea", id="o1")
    assert stack.clock.now() == began
    stack.mock("ship", lambda what, **_: f"{what}!", target="carrier")
    assert stack.run_until_complete("o1").state == "resolved", "the offer is repeated"


def test_a_deadline_of_a_call_that_nobody_serves_passes(stack: MemoryStack) -> None:
    def impatient(ctx: Context) -> Flow:
        try:
            yield ctx.rpc("ship").options(target="carrier", timeout=600)
        except ResonateTimedoutError:
            return "in vain"

    assert stack.run(impatient) == "in vain"


def test_a_mock_without_a_target_serves_everybody_who_has_nothing_better(stack: MemoryStack) -> None:
    stack.mock("ship", lambda *_, **__: "shipped")
    stack.mock("pick", lambda _: "never called")
    assert stack.run(order, "tea") == "tea from B4, shipped"


def test_a_mock_may_fail(stack: MemoryStack) -> None:
    stack.mock("ship", Mock(side_effect=PermissionError("no entry")), target="carrier")
    with pytest.raises(PermissionError, match="no entry"):
        stack.run(order, "tea")


def test_a_mock_may_be_async(stack: MemoryStack) -> None:
    ship = AsyncMock(return_value="shipped")
    stack.mock("ship", ship, target="carrier")
    assert stack.run(order, "tea") == "tea from B4, shipped"
    ship.assert_awaited_once_with("tea from B4", fast=True)


def test_functions_are_registered_in_groups_and_at_addresses() -> None:
    def caller(ctx: Context, target: str) -> Flow:
        return (yield ctx.rpc("ship").options(target=target))

    def ship(ctx: Context) -> str:
        return f"shipped by {ctx.get_dependency('who')}"

    stack = MemoryStack(dependencies={"who": "nobody"})
    stack.set_dependency("who", "a function")
    stack.register(ship, group="lambda://carrier:live")
    assert stack.run(caller, "lambda://carrier:live") == "shipped by a function"
    with pytest.raises(ValueError, match="already registered"):
        stack.register(ship)


def test_a_stacks_dependencies_come_before_a_programs(stack: MemoryStack) -> None:
    stack.set_dependency("currency", "USD")
    assert stack.run(trial, "ada", 1) == "charged 9 USD"


def test_programs_outside_use_the_same_store(stack: MemoryStack) -> None:
    client = stack.client(group="gateway")
    handle = client.options(target="shop").begin_rpc("a1", "approval")
    client.promises.resolve("a1.1", data='"yes"')
    assert handle.result(0) == "yes"
    client.stop()


# Trouble


def test_a_step_fails_as_often_as_told_and_is_retried(stack: MemoryStack) -> None:
    point = stack.fail(charge, error=ConnectionError("no route"), times=2)
    assert stack.run(stubborn, id="s1") == "charged 1 EUR"
    assert (point.hits, point.left) == (2, 0)
    assert [record.id for record in stack.history("s1")] == ["s1", "s1.1", "s1.1~1", "s1.1~2"]


def test_a_step_that_fails_for_good_fails_its_workflow(stack: MemoryStack) -> None:
    stack.fail("s1.1", error=ConnectionError, times=6)
    with pytest.raises(ConnectionError):
        stack.run(stubborn, id="s1")
    stack.clear()
    stack.fail("charge", times=6)
    with pytest.raises(RuntimeError, match="charge fails in this test"):
        stack.run(stubborn, id="s2")


@pytest.mark.parametrize(
    ("place", "runs"),
    [
        ({"before": "charge"}, 1),
        ({"after": charge}, 2),
        ({"before": "promise.record", "id": "t1.3"}, 2),
        ({"after": "promise.record", "id": "t1.3"}, 1),
        ({"before": "task.fulfill"}, 1),
        ({"after": "task.suspend"}, 1),
        ({"before": "task.suspend"}, 1),
        ({"after": "task.acquire"}, 1),
        ({"after": "children"}, 1),
        ({"before": "t1.1"}, 1),
    ],
)
def test_a_worker_dies_anywhere_and_another_goes_on(
    stack: MemoryStack, monkeypatch: pytest.MonkeyPatch, place: dict[str, Any], runs: int
) -> None:
    charges: list[int] = []

    def counted(_: Context, amount: int) -> str:
        charges.append(amount)
        return f"charged {amount}"

    counted.__name__ = "charge"
    monkeypatch.setattr(programs, "charge", counted)
    point = stack.crash(**place)

    assert stack.run(trial, "ada", id="t1") == "charged 9"
    assert point.hits == 1
    assert len(charges) == runs


@pytest.mark.parametrize(
    "place",
    [
        {"before": "book"},
        {"before": "chapter"},
        {"before": "fetch"},
        {"after": "fetch"},
        {"after": "promise.create", "id": "b1.2"},
        {"after": "task.suspend"},
    ],
)
def test_a_worker_dies_in_async_functions_and_another_goes_on(stack: MemoryStack, place: dict[str, Any]) -> None:
    point = stack.crash(**place)

    assert stack.run(book, id="b1") == ["page 0", "page 1, page 2", "page 3, page 4"]
    assert point.hits == 1


def test_an_async_step_fails_and_is_retried(stack: MemoryStack) -> None:
    point = stack.fail("fetch", error=ConnectionError, times=2)
    assert stack.run(book)[0] == "page 0"
    assert point.hits == 2


def test_what_an_async_workflow_starts_comes_after_it_has_been_called(stack: MemoryStack) -> None:
    """It has not run when its first command is issued, so it is not killed after that."""
    point = stack.crash(after="chapter")
    stack.run(book)
    assert point.hits == 0


def test_a_store_fails_and_the_task_is_tried_again(stack: MemoryStack) -> None:
    point = stack.fail("promise.record", error=StoreError("throttled"), times=3)
    assert stack.run(trial, "ada") == "charged 9 EUR"
    assert point.hits == 3


def test_a_crash_needs_one_place(stack: MemoryStack) -> None:
    wrong: list[dict[str, Any]] = [{}, {"before": "a", "after": "b"}]
    for places in wrong:
        with pytest.raises(TypeError, match="needs one place"):
            stack.crash(**places)
    with pytest.raises(ValueError, match="at least once"):
        stack.fail("charge", times=0)


def test_messages_come_twice_and_nothing_happens_twice(stack: MemoryStack) -> None:
    stack.run(branching, id="b1")
    undisturbed = [(record.id, record.state, record.value) for record in stack.history("b1")]
    stack.clear()
    stack.duplicate_messages()

    stack.run(branching, id="b1")
    assert [(record.id, record.state, record.value) for record in stack.history("b1")] == undisturbed
    assert stack.invocations["shop"] % 2 == 0
    stack.duplicate_messages(False)
    stack.reset_counts()
    stack.run(stubborn)
    assert stack.invocations == Counter(shop=1)


def test_messages_that_get_lost_are_sent_again(stack: MemoryStack) -> None:
    stack.lose_messages(2)
    began = stack.clock.now()
    assert stack.run(notify, "hello") == "told: hello"
    assert stack.clock.now() == began + 90_000, "after 30 seconds, and after 60 more"
    stack.lose_messages()
    stack.start(notify, "hello", id="n2")
    with pytest.raises(Stuck):
        stack.run_until_complete("n2", days=1)
    stack.lose_messages(0)
    assert stack.run_until_complete("n2").state == "resolved"
    with pytest.raises(ValueError, match="not negative"):
        stack.lose_messages(-1)


def test_clearing_forgets_all_but_the_programs(stack: MemoryStack) -> None:
    stack.mock("ship", lambda *_, **__: "shipped")
    stack.start(trial, "ada")
    stack.fail("charge", times=99)
    stack.duplicate_messages()
    stack.clear()

    assert (stack.requests, stack.invocations, stack.next_event_at()) == (Counter(), Counter(), None)
    assert stack.run(stubborn) == "charged 1 EUR"
    assert stack.invocations == Counter(shop=1)
    with pytest.raises(Stuck, match="nobody serves"):
        stack.run(order, "tea")
