"""Attempts of functions: their pauses, timers and numbers, across suspensions and processes."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from resonate import Context
from resonate.errors import PayloadError, ProgramError
from resonate.retry_policies import Constant, Linear
from resonate.workflow.commands import state_of
from resonate.workflow.options import Options
from resonate_store.model.records import Value
from resonate_store.model.tags import DELAY, ORIGIN, TARGET, TIMER
from tests.support.driver import Driver, Drivers, Flow
from tests.support.steps import ONCE, Diary, Flaky, caught, double, gathered, runs
from tests.support.ways import always_three_ways, three_ways


@always_three_ways
def test_long_pause_is_a_timer_promise_with_the_error(driver: Driver) -> None:
    flaky = Flaky(driver, failures=2, error=ValueError("the reason"))
    assert driver.start("w", runs(flaky.step, retry_policy=Constant(delay=3600))) == ["suspended"]
    assert driver.ids() == ["w", "w.1", "w.1~1"]
    timer = driver.promise("w.1~1")
    assert (timer.tags[TIMER], timer.timeout_at) == ("true", driver.after(3600))
    assert timer.param != Value()

    assert driver.finish("w") == "ok"
    assert driver.ids() == ["w", "w.1", "w.1~1", "w.1~2"]
    assert flaky.times == [0, 3600, 7200]


@three_ways
def test_short_pause_leaves_no_record(driver: Driver) -> None:
    flaky = Flaky(driver, failures=2)

    assert driver.run("w", runs(flaky.step, retry_policy=Constant(delay=1))) == "ok"
    assert driver.ids() == ["w", "w.1"]
    assert len(driver.reports) == 1


@three_ways
def test_pause_begins_when_the_attempt_has_failed(driver: Driver) -> None:
    begun: list[float] = []

    def slow(_: Context) -> None:
        begun.append(driver.elapsed())
        driver.clock.sleep(5_000)
        if len(begun) < 4:
            raise ValueError("again")

    def workflow(ctx: Context) -> Flow:
        policy = Constant(delay=1 if len(begun) < 2 else 10)
        yield ctx.run(slow).options(retry_policy=policy)

    driver.run("w", workflow)

    assert begun == [0, 6, 12, 18]


@three_ways
def test_pauses_of_several_steps_pass_together(driver: Driver) -> None:
    flaky = [Flaky(driver, failures=2) for _ in range(3)]

    def workflow(ctx: Context) -> Flow:
        policies = (Constant(delay=delay) for delay in (10, 20, 30))
        steps = zip(flaky, policies, strict=True)
        return (yield from gathered(ctx.begin_run(each.step).options(retry_policy=policy) for each, policy in steps))

    assert driver.run("w", workflow) == ["ok"] * 3

    assert [each.times for each in flaky] == [[0, 10, 20], [0, 20, 40], [0, 30, 60]]


@three_ways
def test_worker_is_released_every_100_failed_attempts(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, durable: bool) -> Flow:
        return (yield ctx.run(flaky.step).options(retry_policy=Constant(delay=0), durable=durable))

    for id, durable, timers, invocations in (("w", True, ["w.1", "w.1~100", "w.1~200"], 3), ("x", False, [], 1)):
        with subtests.test(durable=durable):
            flaky, before = Flaky(driver, failures=250), len(driver.reports)
            assert driver.run(id, workflow, durable) == "ok"
            assert flaky.times[::50] == pytest.approx([0, 0, 2, 2, 4, 4], abs=2 * driver.lateness)
            assert len(flaky.times) == 251, "no attempt is lost or repeated"
            assert [each for each in driver.ids() if each.startswith(id)] == [id, *timers]
            assert len(driver.reports) == before + invocations


@three_ways
def test_pause_after_100_attempts_does_not_pass_the_timeout(driver: Driver) -> None:
    flaky = Flaky(driver, failures=120)

    assert driver.run("w", runs(flaky.step, retry_policy=Constant(delay=0.01), timeout=2)) == "ok"
    assert flaky.times[-1] == pytest.approx(1.2, abs=0.1)


def test_retry_timer_that_passes_before_the_suspension_ends_no_invocation(driver: Driver) -> None:
    flaky = Flaky(driver, failures=1)

    def workflow(ctx: Context) -> Flow:
        call = yield ctx.begin_run(flaky.step).options(retry_policy=Constant(delay=10))
        yield ctx.run(lambda _: driver.clock.sleep(30_000))
        return (yield call)

    assert driver.run("w", workflow) == "ok"
    assert (flaky.times, len(driver.reports)) == ([0, 30], 1)


@three_ways
def test_retried_step_with_an_overridden_id_keeps_its_count(driver: Driver) -> None:
    flaky = Flaky(driver, failures=3)

    assert driver.run("w", runs(flaky.step, id="mine", retry_policy=Constant(delay=10))) == "ok"
    assert flaky.attempts == [1, 2, 3, 4]
    assert flaky.times == [0, 10, 20, 30]


@three_ways
def test_plain_root_is_retried_across_invocations(driver: Driver) -> None:
    flaky = Flaky(driver, failures=4)
    driver.registry.add(flaky.step, "root")
    driver.create("r", {"func": "root"})

    assert driver.finish("r") == "ok"
    assert flaky.times == [0, 2, 6, 14, 30]
    assert flaky.attempts == [1, 2, 3, 4, 5]
    assert driver.ids() == ["r", *(f"r.0~{n}" for n in range(1, 5))]


@three_ways
def test_delayed_root_is_retried_with_pauses(driver: Driver) -> None:
    flaky = Flaky(driver, failures=2)
    driver.registry.add(flaky.step, "root")
    driver.create("r", {"func": "root"}, tags={DELAY: str(driver.after(100))})

    assert driver.finish("r") == "ok"
    assert flaky.times == [100, 102, 106]
    tags = driver.promise("r.0~2").tags
    assert (tags[ORIGIN], {TARGET, DELAY} & tags.keys()) == ("r", set()), "no worker is invoked for a retry timer"


@three_ways
def test_result_that_cannot_be_encoded_rejects_without_a_retry(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        return (yield from caught(ctx.run(diary.step("step", {"rows": [1, object()]})), PayloadError)).mesg

    def root(_: Context) -> Flow:
        return object()
        yield

    message = driver.run("w", workflow)

    assert message.startswith("the result of step cannot travel: result['rows'][1] is an object")
    assert diary == ["step"]
    assert driver.promise("w.1").state == "rejected"
    with pytest.raises(PayloadError, match="the result of root cannot travel"):
        driver.run("r", root)


def test_step_that_returns_generator_is_final_and_says_so(driver: Driver) -> None:
    def nested(ctx: Context) -> Flow:
        yield ctx.sleep(1)

    with pytest.raises(ProgramError, match=r"<lambda> returned the generator nested.*ctx\.run\(nested"):
        driver.run("w", runs(lambda ctx: nested(ctx)))
    assert driver.elapsed() == 0


def test_exit_is_retried_as_the_policy_of_its_step_says(driver: Driver) -> None:
    flaky = Flaky(driver, 1, SystemExit(3))

    assert driver.run("w", runs(flaky.step, retry_policy=Constant(0, 1))) == "ok"
    assert flaky.attempts == [1, 2]


@always_three_ways
def test_workflow_is_retried_from_the_top_with_new_children(driver: Driver, diary: Diary) -> None:
    attempts: list[int] = []

    def attempt(ctx: Context) -> Flow:
        number = ctx.info.attempt
        yield ctx.run(diary.step(f"work{number}"))
        yield ctx.sleep(5)
        error = None if number == 3 else ValueError("again")
        yield ctx.run(diary.step(f"fail{number}", error=error)).options(retry_policy=ONCE)
        attempts.append(number)
        return ctx.id

    def workflow(ctx: Context, delay: float) -> Flow:
        return (yield ctx.run(attempt).options(retry_policy=Constant(delay=delay)))

    for id, delay in (("w", 0.5), ("x", 10)):
        assert driver.run(id, workflow, delay) == f"{id}.1"
        assert {f"{id}.1.{n}" for n in range(1, 10)} < set(driver.ids())
    assert diary == ["work1", "fail1", "work2", "fail2", "work3", "fail3"] * 2
    assert attempts == [3, 3]


@three_ways
def test_short_and_long_pauses_of_a_workflow_each_pass_once(driver: Driver) -> None:
    began: list[tuple[int, float]] = []

    def attempt(ctx: Context) -> Flow:
        if not driver.store.record(f"w.1.{state_of(ctx).count + 1}"):
            began.append((ctx.info.attempt, driver.elapsed()))
        yield ctx.run(double, ctx.info.attempt)
        if ctx.info.attempt < 5:
            raise ValueError("again")
        return ctx.info.attempt

    assert driver.run("w", runs(attempt, retry_policy=Linear(delay=0.5))) == 5
    assert [attempt for attempt, _ in began] == [1, 2, 3, 4, 5]
    assert [at for _, at in began] == pytest.approx([0, 0.5, 1.5, 3, 5], abs=driver.lateness)


@three_ways
def test_default_policies_retry_steps_but_not_workflows(driver: Driver) -> None:
    """`test_retries.py` has the default policy of plain steps."""
    calls: list[str] = []

    async def flaky_step(ctx: Context) -> int:
        await asyncio.sleep(0)
        calls.append("step")
        if calls.count("step") < 3:
            raise ValueError("not yet")
        return ctx.info.attempt

    async def asynchronous(ctx: Context) -> None:
        await ctx.run(double, 1)
        calls.append("async")
        raise ValueError("never")

    def generator(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        calls.append("generator")
        raise ValueError("never")

    def workflow(ctx: Context) -> Flow:
        attempt = yield ctx.run(flaky_step)
        one = yield from caught(ctx.run(asynchronous), ValueError)
        return [attempt, str(one), str((yield from caught(ctx.run(generator), ValueError)))]

    assert driver.run("w", workflow) == [3, "never", "never"]
    assert calls == [*["step"] * 3, "async", "generator"]
    assert driver.elapsed() >= 2 + 4, "the pauses of the default policy"


@three_ways
def test_retried_async_workflow_continues_with_its_numbers(driver: Driver) -> None:
    steps: list[str] = []

    def step(ctx: Context) -> None:
        steps.append(ctx.id)

    async def inner(ctx: Context) -> str:
        await ctx.run(step)
        if ctx.info.attempt < 3:
            raise ValueError("not yet")
        return ctx.id

    async def workflow(ctx: Context) -> str:
        return await ctx.run(inner).options(retry_policy=Constant(delay=60))

    assert driver.run("w", workflow) == "w.1"
    assert steps == ["w.1.1", "w.1.2", "w.1.3"]
    assert [report.status for report in driver.reports] == ["suspended", "suspended", "completed"]


def test_policy_of_the_caller_holds_for_the_root_run_here(drivers: Drivers) -> None:
    for is_workflow in (True, False):
        driver = drivers()
        flaky = Flaky(driver, failures=2)
        root = runs(flaky.step, retry_policy=ONCE) if is_workflow else flaky.step
        driver.begin_here("r", root, options=Options(retry_policy=Constant(delay=0.5)))
        assert driver.finish("r") == "ok"
        assert flaky.times == [0, 0.5, 1]


def test_policy_of_the_caller_holds_after_a_suspension(drivers: Drivers, subtests: pytest.Subtests) -> None:
    attempts: list[int] = []

    def fail(ctx: Context) -> None:
        attempts.append(ctx.info.attempt)
        raise ValueError(f"attempt {ctx.info.attempt}")

    def generator(ctx: Context) -> Flow:
        if ctx.info.attempt > 1:
            yield ctx.sleep(5)
        fail(ctx)

    async def later(ctx: Context) -> None:
        await ctx.sleep(5)
        fail(ctx)

    for func, delay in itertools.product((fail, generator, later), (0, 0.5, 1.5)):
        with subtests.test(func.__name__, delay=delay):
            attempts.clear()
            driver = drivers()
            driver.begin_here("r", func, options=Options(retry_policy=Constant(delay, max_retries=2)))
            with pytest.raises(ValueError, match="attempt 3"):
                driver.finish("r")
            assert attempts[-1] == 3
            assert not driver.worker.options, "the policy of a settled call is forgotten"


def test_worker_without_the_callers_policy_continues_with_the_attempt_reached(
    drivers: Drivers, subtests: pytest.Subtests
) -> None:
    def fail_early(attempt: int) -> None:
        if attempt < 3:
            raise ValueError("an old error")

    def generator(ctx: Context) -> Flow:
        yield ctx.run(double, ctx.info.attempt)
        fail_early(ctx.info.attempt)
        yield (yield ctx.promise(id="approval"))
        raise KeyError(f"attempt {ctx.info.attempt}")

    async def coroutine(ctx: Context) -> None:
        await ctx.run(double, ctx.info.attempt)
        fail_early(ctx.info.attempt)
        await (await ctx.promise(id="approval"))
        raise KeyError(f"attempt {ctx.info.attempt}")

    for func, delay in itertools.product((generator, coroutine), (0, 0.5, 1.5)):
        with subtests.test(func.__name__, delay=delay):
            driver = drivers()
            driver.begin_here("r", func, options=Options(retry_policy=Constant(delay)))
            while not driver.store.record("approval"):
                driver.pass_time(1)
                driver.work()
            driver.worker.options.clear()  # as in another process
            driver.settle("approval", "yes")
            with pytest.raises(KeyError, match="attempt 3"):
                driver.finish("r")


@always_three_ways
def test_nondurable_step_leaves_no_record_and_runs_again_on_replay(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        one = yield ctx.run(diary.step("run", object())).options(durable=False)
        two = yield (yield ctx.begin_run(diary.step("begin_run", 2)).options(durable=False))
        yield ctx.sleep(10)
        return [type(one).__name__, two]

    assert driver.run("w", workflow) == ["object", 2]
    assert diary == ["run", "begin_run"] * 2
    assert driver.ids() == ["w", "w.3"]


@three_ways
def test_nondurable_step_is_retried_in_the_worker(driver: Driver) -> None:
    flaky = Flaky(driver, failures=2)

    assert driver.run("w", runs(flaky.step, durable=False, retry_policy=Constant(delay=10))) == "ok"
    assert (flaky.times, len(driver.reports), driver.ids()) == ([0, 10, 20], 1, ["w"])


@three_ways
def test_steps_of_a_nondurable_workflow_are_durable(driver: Driver, diary: Diary) -> None:
    def inner(ctx: Context) -> Flow:
        one = yield ctx.run(diary.step("one", 1))
        yield ctx.sleep(10)
        return one + (yield ctx.run(diary.step("two", 2)))

    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.run(inner).options(durable=False)), (yield ctx.sleep(10))]

    assert driver.run("w", workflow) == [3, None]
    assert diary == ["one", "two"]
    assert "w.1" not in driver.ids()
