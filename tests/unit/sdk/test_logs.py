from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import Any

import pytest
from msgspec.structs import replace

from resonate import Context, Resonate
from resonate.payloads import codec
from resonate.retry_policies import Constant
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import instant
from resonate_store.model.records import Claim, Value
from tests.support.driver import Driver, Flow
from tests.support.steps import ONCE, begun, caught, execute, runs
from tests.support.ways import three_ways


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="resonate")
    return caplog


def lines(log: pytest.LogCaptureFixture, level: int = 0) -> list[str]:
    return [each.getMessage() for each in log.records if each.name.startswith("resonate:") and each.levelno >= level]


def step(_: Context, n: int) -> int:
    return n


@three_ways
def test_workflow_logs_once_however_often_it_is_replayed(driver: Driver, log: pytest.LogCaptureFixture) -> None:
    def workflow(ctx: Context) -> Flow:
        ctx.logger.info("begun")
        yield ctx.run(step, 1)
        ctx.logger.info("after a step")
        yield ctx.run(inner)
        ctx.logger.info("after a workflow")
        yield ctx.run(inner_async)
        yield ctx.sleep(60)
        ctx.logger.info("after a sleep")
        promise = yield ctx.begin_rpc("step", 1)
        ctx.logger.info("with a promise")
        yield promise
        ctx.logger.info("after a promise")
        return (yield ctx.run(step, 2))

    def inner(ctx: Context) -> Flow:
        ctx.logger.info("inner begun")
        yield ctx.sleep(60)
        ctx.logger.info("inner done")

    async def inner_async(ctx: Context) -> None:
        ctx.logger.info("async begun")
        await ctx.sleep(60)
        ctx.logger.info("async done")

    driver.register(step)
    driver.run("w", workflow)
    assert [report.status for report in driver.reports].count("suspended") >= 3
    assert lines(log, logging.INFO) == [
        *("begun", "after a step", "inner begun", "inner done", "after a workflow", "async begun", "async done"),
        *("after a sleep", "with a promise", "after a promise"),
    ]


def fan_in(ctx: Context) -> Flow:
    for promise in (yield from begun(ctx.begin_rpc("step", n) for n in range(4))):
        ctx.logger.info("%s got %s", ctx.id, (yield promise))


async def fan_in_async(ctx: Context) -> None:
    promises = [await ctx.begin_rpc("step", n) for n in range(4)]
    for promise in promises:
        ctx.logger.info("%s got %s", ctx.id, await promise)


def fan_in_twice(ctx: Context) -> Flow:
    for promise in (yield from begun((ctx.begin_run(fan_in), ctx.begin_run(fan_in_async)))):
        yield promise
        ctx.logger.info("ended")


@pytest.mark.parametrize(("workflow", "nested"), [(fan_in, 0), (fan_in_async, 0), (fan_in_twice, 2)])
def test_fan_in_of_begun_promises_logs_each_line_once(
    driver: Driver, log: pytest.LogCaptureFixture, workflow: Any, nested: int
) -> None:
    driver.register(step)
    for root, order in (("v", [0, 1, 2, 3]), ("w", [3, 1, 0, 2])):
        log.clear()
        driver.reports.clear()
        ids = [f"{root}.{n}" for n in range(1, nested + 1)] or [root]
        driver.begin(root, workflow)
        driver.invoke()
        driver.offers.clear()
        for n in order:
            for id in ids:
                driver.settle(f"{id}.{n + 1}", n)
                driver.pass_time(1)
            driver.work()
        driver.finish(root)

        logged = lines(log, logging.INFO)
        assert sorted(logged) == sorted([f"{id} got {n}" for id in ids for n in range(4)] + ["ended"] * nested)
        assert len(driver.reports) > 2


@three_ways
def test_human_answers_under_own_ids_log_each_line_once(driver: Driver, log: pytest.LogCaptureFixture) -> None:
    def workflow(ctx: Context) -> Flow:
        ctx.logger.info("begun")
        yield ctx.run(lambda _: None).options(durable=False)
        ctx.logger.info("after a step that leaves no record")
        for n in range(3):
            promise = yield ctx.promise(id=f"approval-{n}")
            ctx.logger.info("asked %s", n)
            yield promise
            ctx.logger.info("answered %s", n)

    driver.begin("w", workflow)
    for n in range(3):
        driver.work()
        driver.settle(f"approval-{n}")
        driver.pass_time(1)
    driver.finish("w")

    assert lines(log, logging.INFO) == [
        "begun",
        "after a step that leaves no record",
        *[f"{what} {n}" for n in range(3) for what in ("asked", "answered")],
    ]


def generator(ctx: Context) -> Flow:
    ctx.logger.info("begun")
    yield (yield ctx.promise(id="asked"))
    ctx.logger.info("ended")


async def asynchronous(ctx: Context) -> None:
    ctx.logger.info("begun")
    await (await ctx.promise(id="asked"))
    ctx.logger.info("ended")


@pytest.mark.parametrize("inner", [generator, asynchronous])
def test_workflow_with_own_id_begun_late_logs_lines_once(
    driver: Driver, log: pytest.LogCaptureFixture, inner: Any
) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.sleep(60)
        yield ctx.run(inner).options(id="inner")
        ctx.logger.info("done")
        yield ctx.sleep(60)

    driver.start("w", workflow)
    driver.pass_time(60)
    driver.work()
    driver.settle("asked")
    driver.finish("w")

    assert lines(log, logging.INFO) == ["begun", "ended", "done"]


def test_large_result_read_anew_on_replay_logs_each_line_once(
    driver: Driver, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(step, 1)
        ctx.logger.info("large")
        yield ctx.sleep(60)
        ctx.logger.info("slept")
        yield ctx.sleep(60)

    children = driver.tap.children

    def claimed(id: str, separator: str = ".") -> list[Any]:
        found = children(id, separator)
        return [replace(each, value=Claim(key="k")) if each.id == "w.1" else each for each in found]

    monkeypatch.setattr(driver.tap, "children", claimed)
    driver.run("w", workflow)

    assert lines(log, logging.INFO) == ["large", "slept"]


@three_ways
def test_attempts_of_functions_are_logged(driver: Driver, log: pytest.LogCaptureFixture) -> None:
    def flaky(ctx: Context, _: str, *, last: int) -> str:
        if ctx.info.attempt < last:
            raise ValueError("not yet")
        return "done"

    def fails(_: Context) -> None:
        raise ValueError("never")

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(flaky, "a", last=2).options(retry_policy=Constant(delay=2.5))
        yield ctx.run(fails).options(retry_policy=ONCE)

    with pytest.raises(ValueError, match="never"):
        driver.run("w", workflow)
    told = [(each.levelname, each.name, each.getMessage()) for each in log.records if each.name[:9] == "resonate:"]
    retried = "ValueError: not yet. Function flaky('a', last=2) failed (retrying in 2.5s)"
    assert {
        ("DEBUG", "resonate:w:w", "Running function workflow()"),
        ("DEBUG", "resonate:w:w.1", "Running function flaky('a', last=2)"),
        ("DEBUG", "resonate:w:w.1", "Function flaky('a', last=2) succeeded with 'done'"),
        ("ERROR", "resonate:w:w.2", "ValueError: never. Function fails() failed"),
        ("ERROR", "resonate:w:w", "ValueError: never. Function workflow() failed"),
    } <= {*told}
    assert told.count(("WARNING", "resonate:w:w.1", retried)) == 1


@three_ways
def test_failures_log_tracebacks_first_and_last_and_a_later_deadline(
    driver: Driver, log: pytest.LogCaptureFixture
) -> None:
    def fails(_: Context) -> None:
        raise ValueError("not yet")

    with pytest.raises(ValueError, match="not yet"):
        driver.run("w", runs(fails, timeout=600, retry_policy=Constant(delay=2, max_retries=4)))
    until = instant(driver.promise("w.1").timeout_at)
    failures = [each for each in log.records if each.levelno >= logging.WARNING and "Function fails()" in each.message]
    assert [each.message.removeprefix("ValueError: not yet. Function fails() failed") for each in failures] == [
        " (retrying in 2.0s)",
        " (retrying in 2.0s)",
        f" (attempt 3; retrying in 2.0s, at most 2 more times, until {until})",
        f" (attempt 4; retrying in 2.0s, at most 1 more time, until {until})",
        "",
    ]
    shown = ["in fails" in logging.Formatter().format(each) for each in failures]
    assert shown == [True, False, False, False, True]


def test_arguments_that_do_not_fit_are_logged_without_our_frames(driver: Driver, log: pytest.LogCaptureFixture) -> None:
    driver.register(step)
    driver.create("w", {"func": "step", "args": ["x"]})
    driver.work()

    (record,) = [each for each in log.records if each.levelno >= logging.ERROR]
    message = "SignatureError: [305.00000] step: n: expected int, got str. Function step('x') failed"
    assert record.getMessage() == message
    assert record.exc_info is None
    assert codec.decode_error(driver.promise("w")).__notes__ == ["Causes and way out: resonate explain SignatureError"]


class Rot:
    """A poor encoder."""

    def encode(self, obj: object) -> str:
        return repr(obj)[::-1]

    def decode(self, obj: str | None) -> object:
        return obj


class Envelope:
    """A poor encryptor."""

    def encrypt(self, value: Value, context: str) -> Value:  # noqa: ARG002
        return replace(value, data=(value.data or "")[::-1])

    def decrypt(self, value: Value, context: str) -> Value:
        return self.encrypt(value, context)


def charge(_: Context, card: str, *, fails: bool) -> str:
    if fails:
        raise ValueError(f"{card} is blocked")
    return f"{card} was charged"


def pay(ctx: Context, card: str, reversed: bool = False) -> Flow:
    encoder = Rot() if reversed else None
    yield ctx.run(charge, card, fails=False).options(encoder=encoder)
    failing = ctx.run(charge, card, fails=True).options(encoder=encoder, retry_policy=Constant(0, 1))
    assert isinstance((yield from caught(failing, Exception)), Exception)
    return "told"


TOLD = [
    "Running function charge(...)",
    "Function charge(...) succeeded",
    "Running function charge(...)",
    "ValueError. Function charge(...) failed (retrying in 0.0s)",
    "Running function charge(...)",
    "ValueError. Function charge(...) failed",
]


@three_ways
def test_log_hides_values_of_a_function_with_an_encoder(driver: Driver, log: pytest.LogCaptureFixture) -> None:
    driver.run("w", pay, "4000", reversed=True)

    assert [line for line in lines(log) if "charge" in line] == TOLD


@pytest.mark.parametrize("on_lambda", [False, True])
def test_log_hides_values_of_an_encrypting_client(log: pytest.LogCaptureFixture, on_lambda: bool) -> None:
    resonate = Resonate(store=MemoryStore(), encryptor=Envelope(), log_level="DEBUG")
    resonate.register(pay)
    if on_lambda:
        resonate.options(target="elsewhere").begin_rpc("w", pay, "4000")
        assert resonate.handler()(execute("w"), None)["status"] == "completed"
    else:
        assert resonate.run("w", pay, "4000") == "told"
    resonate.stop()

    told = lines(log)
    assert [line for line in told if "charge" in line] == TOLD
    assert not [line for line in told if "4000" in line]


class Number(int):
    """Like an enum's member, it is shown by its own class."""


class deque:
    """Has the name of a type that the log shows part by part."""

    def __len__(self) -> int:
        raise LookupError


HUGE = 10**5000


UNPRINTABLE: list[Any] = [HUGE, [HUGE], {"n": (HUGE,)}, Number(HUGE), deque()]


@three_ways
def test_value_that_cannot_be_printed_does_not_fail_attempts(
    driver: Driver, log: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    def fails(*_args: Any, **_kwargs: Any) -> None:
        raise KeyError("k")

    def returns(_: Context, case: int) -> Any:
        return UNPRINTABLE[case]

    def workflow(ctx: Context, case: int) -> Flow:
        yield ctx.run(returns, case).options(durable=False)
        yield ctx.run(fails, UNPRINTABLE[case], n=UNPRINTABLE[case]).options(retry_policy=Constant(0, 1))

    for case in range(len(UNPRINTABLE)):
        with subtests.test(case=case):
            log.clear()
            with pytest.raises(KeyError, match="k"):
                driver.run(f"w{case}", workflow, case)
            assert len([line for line in lines(log) if line.startswith("KeyError: 'k'. Function fails(")]) == 2
    assert [report.status for report in driver.reports] == ["completed"] * len(UNPRINTABLE)


@three_ways
def test_log_cuts_long_values_and_survives_bad_reprs(driver: Driver, log: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise OSError

    def talks(_: Context, *_args: object) -> object:
        return "v" * 1000

    driver.run("w", runs(talks, Broken(), list(range(10_000))))
    (began,) = [line for line in lines(log) if line.startswith("Running function talks(")]
    (ended,) = [line for line in lines(log) if line.startswith("Function talks(")]
    assert re.match(r"Running function talks\(<Broken instance at 0x\w+>, \[0, 1, 2,", began)
    assert len(began) == len("Running function talks()") + 100
    assert len(ended.partition(" succeeded with ")[2]) == 100


def test_asyncio_is_not_loaded_for_generators() -> None:
    program = (
        "import sys; from resonate import Resonate\n"
        "def f(ctx): return 1\n"
        "r = Resonate.local(); r.register(f); r.run('a', f); r.stop(); print('asyncio' in sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert completed.stdout == "False\n"


@three_ways
def test_command_that_is_not_yielded_is_logged(driver: Driver, log: pytest.LogCaptureFixture) -> None:
    def forgets(ctx: Context) -> Flow:
        ctx.run(step, 1)
        yield ctx.sleep(60)
        ctx.begin_rpc("step", 2)
        yield ctx.run(step, 3)

    def plain(ctx: Context) -> None:
        ctx.run(step, 1)

    async def awaits(ctx: Context) -> int:
        ctx.sleep(1)
        return await ctx.run(step, 2)

    def workflow(ctx: Context) -> Flow:
        for func in (forgets, plain, awaits):
            yield (yield ctx.begin_run(func))
        commands = [ctx.run(step, n) for n in range(3)]
        for command in commands:  # noqa: UP028 - a list is no generator
            yield command

    driver.run("w", workflow)
    assert sorted(line for line in lines(log, logging.WARNING)) == [
        f"Function {func.__name__} made {count} than it yielded ({__file__}:{func.__code__.co_firstlineno}): write"
        " `yield ctx.run(...)`, or `await` where it is async; `resonate lint` finds the line"
        for func, count in ((awaits, "1 more command"), (forgets, "2 more commands"), (plain, "1 more command"))
    ]
