"""What an execution waits for: errors that name it, and retries without end."""

from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.errors import ResonateStoreError, ResonateTimedoutError
from resonate.retry_policies import Constant
from resonate.testing import MemoryStack, Stuck
from tests.support.steps import caught, runs
from tests.unit.sdk.testing.programs import Flow, approval, charge, notify, order, trial

DAY = 86_400_000


def test_stuck_names_the_promise_that_a_test_has_to_settle(stack: MemoryStack) -> None:
    message = r"a1\.1: a promise that somebody has to settle: stack\.resolve\('a1\.1', value\)"
    with pytest.raises(Stuck, match=message) as stuck:
        stack.run(approval, id="a1")
    assert (stuck.value.id, stuck.value.waits) == ("a1", ("a1.1",))
    with pytest.raises(AssertionError, match=r"a1 is still pending\s+a1\.1: a promise"):
        stack.result("a1")


def calls(name: str, group: str) -> Callable[..., Flow]:
    """Return a workflow that calls a function of a group."""

    def above(ctx: Context) -> Flow:
        return (yield ctx.rpc(name).options(target=group))

    return above


def test_stuck_names_the_last_promise_of_a_chain(stack: MemoryStack) -> None:
    with pytest.raises(Stuck) as stuck:
        stack.run(calls("approval", "shop"), id="w1")
    assert stuck.value.waits == ("w1.1.1",)
    stack.resolve("w1.1.1", 5)
    assert stack.result("w1") == 5


def test_stuck_names_the_timer_beyond_the_limit_of_days(stack: MemoryStack) -> None:
    stack.start(trial, "ada", id="t1")
    with pytest.raises(Stuck, match=r"the next event is due at 2025-07-15 15:06:40\. It waits for\s+t1\.2: a timer"):
        stack.run_until_complete("t1", days=29)
    assert stack.run_until_complete("t1", days=30).state == "resolved"


def ask_for_a_day(ctx: Context) -> Flow:
    return (yield (yield ctx.promise(timeout=86_400)))


def test_deadline_of_a_promise_within_the_days_is_reached(stack: MemoryStack) -> None:
    stack.start(ask_for_a_day, id="w1")

    with pytest.raises(Stuck, match=r"w1 has no outcome within the given time; the next event .*\s.* its deadline is"):
        stack.run_until_complete("w1", days=0.5)
    assert stack.run_until_complete("w1", days=1).state == "rejected"
    with pytest.raises(ResonateTimedoutError):
        stack.result("w1")


@pytest.mark.parametrize("days", [None, 300, 400])
def test_stuck_names_the_default_deadline_before_a_longer_sleep(stack: MemoryStack, days: float | None) -> None:
    def nap(ctx: Context) -> Flow:
        yield ctx.sleep(400 * 86_400)

    stack.start(nap, id="w1")
    deadline = r"w1 has no outcome before it times out: nothing happens before its deadline, 2026-06-15 15:06:40\."
    with pytest.raises(Stuck, match=deadline):
        stack.run_until_complete("w1", days=days)


def test_stuck_at_once_without_the_execution(stack: MemoryStack) -> None:
    with pytest.raises(Stuck, match="there is no promise nothing"):
        stack.run_until_complete("nothing")
    with pytest.raises(ResonateStoreError, match="not found"):
        stack.history("nothing")


def test_stuck_names_the_reason_of_a_halted_task(stack: MemoryStack) -> None:
    runs: list[int] = []

    def erratic(ctx: Context) -> Flow:
        runs.append(1)
        step: Any = notify if len(runs) == 1 else charge
        yield ctx.run(step, 1)
        yield ctx.sleep(60)

    with pytest.raises(Stuck, match=r"its task is halted: .*was run notify when it first ran and is now run charge"):
        stack.run(erratic)


def test_stuck_at_once_if_a_call_has_no_worker(stack: MemoryStack) -> None:
    began = stack.clock.now()
    with pytest.raises(Stuck, match=r"o1\.2: offered to poll://any@carrier, which nobody serves: register ship, or"):
        stack.run(order, "tea", id="o1")
    assert stack.clock.now() == began
    stack.mock("ship", lambda what, **_: f"{what}!", target="carrier")
    assert stack.run_until_complete("o1").state == "resolved", "the offer is repeated"


def test_call_without_a_worker_times_out(stack: MemoryStack) -> None:
    def impatient(ctx: Context) -> Flow:
        call = ctx.rpc("ship").options(target="carrier", timeout=600)
        return str((yield from caught(call, ResonateTimedoutError)))

    assert "timedout" in stack.run(impatient)


def bad(_: Context) -> None:
    raise KeyError("typo")


def typing(ctx: Context) -> Flow:
    yield ctx.run(notify, "before")
    yield ctx.run(bad)


def test_stuck_names_a_step_that_fails_without_end(stack: MemoryStack) -> None:
    began = stack.clock.now()
    with pytest.raises(Stuck, match=r"w1\.2: bad has failed 1\d\d times, at last with KeyError\('typo'\)") as stuck:
        stack.run(typing, id="w1")
    assert stuck.value.waits == ("w1.2",)
    assert stack.clock.now() < began + DAY

    with pytest.raises(Stuck, match="w2\\.2: bad has failed"):
        stack.start(typing, id="w2").result()
    with pytest.raises(Stuck, match="has no outcome within the given time; the next event is due at"):
        stack.run_until_complete("w2", days=0.1)
    assert len(stack.history("w2")) > 250, "a test with a deadline of its own waits so long"


def test_stuck_names_a_failing_step_of_another_execution(stack: MemoryStack) -> None:
    stack.register(typing, group="others")
    with pytest.raises(Stuck, match=r"w1\.1\.2: bad has failed"):
        stack.run(calls("typing", "others"), id="w1")


def test_stuck_names_a_workflow_that_fails_without_end(stack: MemoryStack) -> None:
    def hasty(ctx: Context) -> Flow:
        yield ctx.run(notify, "x")
        raise LookupError("gone")

    with pytest.raises(Stuck, match=r"w1\.1: hasty has failed 1\d\d times, at last with LookupError\('gone'\)"):
        stack.run(runs(hasty, retry_policy=Constant(3600)), id="w1")


def test_stuck_names_a_marked_step_that_fails_without_end(stack: MemoryStack) -> None:
    with pytest.raises(Stuck, match=r"w1\.1: bad has failed 1\d\d times, at last with KeyError"):
        stack.run(runs(bad, at_most_once=True, retry_policy=Constant(3600)), id="w1")


def test_stuck_names_a_failing_step_with_short_delays(stack: MemoryStack) -> None:
    def impatient(ctx: Context, delay: float) -> Flow:
        yield ctx.run(bad).options(retry_policy=Constant(delay))

    for id, delay in (("w1", 0), ("w2", 0.1)):
        handle = stack.start(impatient, delay, id=id)
        with pytest.raises(Stuck, match=rf"{id}\.1: bad has failed \d+ times, at last with KeyError"):
            handle.result()
        stack.clear()


def test_failing_step_is_retried_while_a_timer_is_due(stack: MemoryStack) -> None:
    tried: list[int] = []

    def moody(_: Context, failures: int) -> str:
        tried.append(1)
        if len(tried) <= failures:
            raise ConnectionError
        return "at last"

    def above(ctx: Context, failures: int) -> Flow:
        step = yield ctx.begin_run(moody, failures).options(retry_policy=Constant(30))
        if failures > 100:
            yield ctx.sleep(86_400)
        return (yield step)

    for failures in (99, 250):
        tried.clear()
        assert stack.run(above, failures) == "at last"
        assert len(tried) == failures + 1


def test_failing_step_is_retried_until_a_given_deadline(stack: MemoryStack) -> None:
    began = stack.clock.now()
    with pytest.raises(ResonateTimedoutError):
        stack.options(timeout=7200).run(typing)
    assert stack.clock.now() == began + 7_200_000
    with pytest.raises((ResonateTimedoutError, KeyError)):
        stack.run(runs(bad, timeout=7200))
