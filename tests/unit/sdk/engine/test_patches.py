"""Patches: an execution that has passed the changed code keeps the old one, and every other has the new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.errors import ResonateHaltedError, ResonateStoreError
from resonate.retry_policies import Constant
from resonate.testing.faults import Killed
from resonate.worker.resources import Resources
from resonate_store.model.requests import PromiseRecord, Request
from resonate_store.model.tags import AFTER, KIND, NAME
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.driver import Driver, Drivers, Flow
from tests.support.steps import caught, runs
from tests.support.ways import always_three_ways, three_ways
from tests.support.wire import URL, Line

MARKER = "w.patch~taxes-2"


def named(name: str) -> Callable[..., str]:
    def step(_: Context) -> str:
        return name

    step.__name__ = step.__qualname__ = name
    return step


first, old, new, last = (named(name) for name in ("first", "old", "new", "last"))


def before(ctx: Context) -> Flow:
    """The code before the change."""
    yield ctx.run(first)
    yield ctx.sleep(60)
    taxes = yield ctx.run(old)
    yield ctx.sleep(60)
    return [taxes, (yield ctx.run(last))]


def after(ctx: Context) -> Flow:
    yield ctx.run(first)
    yield ctx.sleep(60)
    if (yield ctx.patched("taxes-2")):
        taxes = yield ctx.run(new)
        yield ctx.run(new)
    else:
        taxes = yield ctx.run(old)
    yield ctx.sleep(60)
    return [taxes, (yield ctx.run(last))]


async def after_async(ctx: Context) -> Any:
    await ctx.run(first)
    await ctx.sleep(60)
    if await ctx.patched("taxes-2"):
        taxes = await ctx.run(new)
        await ctx.run(new)
    else:
        taxes = await ctx.run(old)
    await ctx.sleep(60)
    return [taxes, await ctx.run(last)]


def afterwards(ctx: Context) -> Flow:
    """The code after the time of the old code."""
    yield ctx.run(first)
    yield ctx.sleep(60)
    yield ctx.deprecate_patch("taxes-2")
    taxes = yield ctx.run(new)
    yield ctx.run(new)
    yield ctx.sleep(60)
    return [taxes, (yield ctx.run(last))]


async def afterwards_async(ctx: Context) -> Any:
    await ctx.run(first)
    await ctx.sleep(60)
    await ctx.deprecate_patch("taxes-2")
    taxes = await ctx.run(new)
    await ctx.run(new)
    await ctx.sleep(60)
    return [taxes, await ctx.run(last)]


SPELLINGS = {"generator": (after, afterwards), "async": (after_async, afterwards_async)}


def with_patches(workflow: Callable[..., Flow], patches: bool) -> Callable[..., Flow]:
    """Return a workflow before or after its change."""

    def changed(ctx: Context) -> Flow:
        return (yield from workflow(ctx, patches))

    return changed


def suspended_in(driver: Driver, sleeps: int, workflow: Callable[..., Any] = before) -> None:
    """Bring an execution to its first or second sleep."""
    driver.serve("w", w=workflow)
    if sleeps == 2:
        driver.settle("w.2")
        driver.work()
        assert "w.4" in driver.ids()


@always_three_ways
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_patch_is_of_executions_that_have_not_passed_it(
    driver: Driver, spelling: str, subtests: pytest.Subtests
) -> None:
    patched, _ = SPELLINGS[spelling]
    with subtests.test("new"):
        driver.deploy(w=patched)
        driver.create("new", {"func": "w"})
        assert driver.finish("new") == ["new", "last"]
        marker = driver.record("new.patch~taxes-2")
        assert (marker.tags[KIND], marker.tags[NAME], marker.tags[AFTER]) == ("patch", "taxes-2", "2")
        assert driver.ids() == ["new", *(f"new.{n}" for n in range(1, 7)), "new.patch~taxes-2"]
    for id, passed in (("before", False), ("beyond", True)):
        with subtests.test(id):
            driver.deploy(w=before)
            driver.create(id, {"func": "w"})
            driver.work()
            if passed:
                driver.settle(f"{id}.2")
                driver.work()
            driver.deploy(w=patched)
            assert driver.finish(id) == [("old" if passed else "new"), "last"]
            assert (f"{id}.patch~taxes-2" in driver.ids()) == (not passed)


@three_ways
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_deprecated_patch_replays_with_and_without_its_marker(driver: Driver, spelling: str) -> None:
    patched, deprecated = SPELLINGS[spelling]
    suspended_in(driver, 2, patched)
    driver.deploy(w=deprecated)
    assert driver.finish("w") == ["new", "last"]

    driver.create("v", {"func": "w"})
    assert driver.finish("v") == ["new", "last"]
    assert "v.patch~taxes-2" not in driver.ids()


def test_deprecated_patch_does_not_hide_old_code(driver: Driver) -> None:
    suspended_in(driver, 2)
    driver.deploy(w=afterwards)
    with pytest.raises(ResonateHaltedError, match=r"w\.3 was run old when it first ran and is now run new"):
        driver.finish("w")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_marker_costs_one_write_and_no_read(driver: Driver, spelling: str) -> None:
    driver.deploy(w=SPELLINGS[spelling][0])
    driver.create("w", {"func": "w"})
    driver.work()
    driver.tap.requests.clear()
    driver.settle("w.2")
    driver.work()
    kinds = driver.tap.kinds()
    assert kinds == ["task.acquire", "children:w", *["promise.record"] * 3, "promise.create", "task.suspend"]
    assert next(request.id for request in driver.tap.requests if isinstance(request, PromiseRecord)) == MARKER

    driver.tap.requests.clear()
    driver.finish("w")
    assert driver.tap.kinds() == ["task.acquire", "children:w", "promise.record", "task.fulfill"]


@pytest.mark.parametrize("over", ["memory", "http", "other server"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_kill_at_each_request_keeps_the_answer(
    drivers: Drivers, spelling: str, over: str, subtests: pytest.Subtests
) -> None:
    """No command is recorded before the marker, so the next worker gets the same answer."""
    hits = 0
    for moment in ("before", "after"):
        for position in range(30):
            driver = drivers()
            left = position
            if over != "memory":
                line = Line(driver.store, old=over != "http")
                post = line.post

                def send(body: bytes, headers: Any, timeout: float, post: Any = post) -> Reply:
                    die("before")
                    answer = post(body, headers, timeout)
                    die("after")
                    return answer

                store = HttpStore(URL, clock=driver.clock, jitter=lambda: 0.0, post=send)
                driver.use(Resources(store, driver.clock))

            def die(at: str, moment: str = moment) -> None:
                nonlocal left
                if at == moment:
                    left -= 1
                    if left == -1:
                        raise Killed

            def tapped(_: Request | str) -> None:
                die("before")

            driver.tap.answer = tapped  # type: ignore[assignment]
            driver.tap.after = lambda _: die("after")
            suspended: list[str] = []
            with subtests.test(moment=moment, position=position):
                driver.deploy(w=SPELLINGS[spelling][0])
                driver.create("w", {"func": "w"})
                outcome: Any = None
                try:
                    outcome = driver.finish("w")
                except Killed:
                    hits += 1
                    suspended = driver.ids()
                    outcome = driver.finish("w")
                assert outcome == ["new", "last"]
                assert driver.ids() == ["w", *(f"w.{n}" for n in range(1, 7)), MARKER]
                if "w.3" in suspended:
                    assert MARKER in suspended, "the answer is recorded before what follows from it"
    assert hits > 20


def test_marker_without_a_command_after_it_keeps_the_answer(driver: Driver) -> None:
    """The worker dies after the marker. Between the two, the number of the marker is not taken by a command."""
    suspended_in(driver, 1)

    def die(request: Request | str) -> None:
        if getattr(request, "id", "") == MARKER:
            driver.tap.after = lambda _: None
            raise Killed

    driver.tap.after = die
    driver.deploy(w=after)
    driver.settle("w.2")
    with pytest.raises(Killed):
        driver.work()
    assert driver.ids() == ["w", "w.1", "w.2", MARKER]

    assert driver.finish("w") == ["new", "last"]


@three_ways
def test_patch_is_asked_at_several_places(driver: Driver) -> None:
    """Each place that the execution had passed stays old, and each other is new, in every replay."""
    asked: list[list[bool]] = []

    def loop(ctx: Context, patches: bool) -> Flow:
        answers = []
        for n in range(6):
            has = patches and (yield ctx.patched("taxes-2"))
            answers.append(has)
            yield ctx.run(new if has else old)
            if n in (2, 4):
                yield ctx.sleep(60)
        asked.append(answers)
        return [(yield ctx.patched("taxes-2")), *answers]

    driver.serve("w", w=with_patches(loop, False))
    driver.deploy(w=with_patches(loop, True))
    expected = [False, False, False, True, True, True]

    assert driver.finish("w") == [True, *expected]
    assert asked == [expected]
    assert driver.record(MARKER).tags[AFTER] == "4"


@three_ways
def test_nested_workflows_have_patches_of_their_own(driver: Driver) -> None:
    def nested(ctx: Context, patches: bool) -> Flow:
        yield ctx.sleep(60)
        has = patches and (yield ctx.patched("taxes-2"))
        return (yield ctx.run(new if has else old))

    def workflow(ctx: Context, patches: bool) -> Flow:
        found = []
        for _ in range(3):
            found.append((yield ctx.run(nested, patches)))
        return found

    driver.serve("w", w=with_patches(workflow, False))
    driver.settle("w.1.1")
    driver.work()
    driver.deploy(w=with_patches(workflow, True))

    assert driver.finish("w") == ["old", "new", "new"]
    assert [id for id in driver.ids() if "patch" in id] == ["w.2.patch~taxes-2", "w.3.patch~taxes-2"]


@three_ways
def test_workflow_waiting_at_an_own_id_keeps_the_old_code(driver: Driver) -> None:
    """A pending promise with an id of its own has no record at its number."""

    def waits(ctx: Context, patches: bool) -> Flow:
        yield ctx.run(first)
        has = patches and (yield ctx.patched("taxes-2"))
        if has:
            yield ctx.run(new)
        answer = yield (yield ctx.promise(id="approval"))
        return [has, answer, (yield ctx.run(last))]

    driver.serve("w", w=with_patches(waits, False))
    driver.deploy(w=with_patches(waits, True))
    driver.settle("approval", "yes")
    assert driver.finish("w") == [False, "yes", "last"]

    driver.create("v", {"func": "w"})
    assert driver.finish("v") == [True, "yes", "last"]


@three_ways
def test_retried_workflow_has_the_patch_from_its_first_new_attempt(driver: Driver) -> None:
    """The first attempt ran the old code. Replay repeats it, and the second attempt is new."""

    def flaky(ctx: Context, patches: bool) -> Flow:
        has = patches and (yield ctx.patched("taxes-2"))
        found = yield ctx.run(new if has else old)
        if ctx.info.attempt == 1:
            raise ValueError("again")
        yield ctx.sleep(60)
        return found

    def deploy(patches: bool) -> None:
        def nested(ctx: Context) -> Flow:
            return (yield from flaky(ctx, patches))

        driver.deploy(w=runs(nested, retry_policy=Constant(60)))

    deploy(False)
    driver.create("w", {"func": "w"})
    driver.work()
    deploy(True)

    assert driver.finish("w") == "new"
    assert driver.record("w.1.patch~taxes-2").tags[AFTER] == "1"


def test_version_before_ignores_the_marker(driver: Driver) -> None:
    """A marker takes no number, and the check for missing commands does not count it."""
    suspended_in(driver, 1)
    driver.settle("w.2")
    driver.time = 0  # the worker begins no step

    def out_of_time(ctx: Context) -> Flow:
        yield ctx.run(first)
        yield ctx.sleep(60)
        yield ctx.patched("taxes-2")
        yield ctx.run(new)

    driver.deploy(w=out_of_time)
    assert driver.invoke().status == "released"
    assert driver.ids() == ["w", "w.1", "w.2", MARKER]
    driver.time = None

    driver.deploy(w=before)
    assert driver.finish("w") == ["old", "last"]


def test_first_lines_of_new_code_are_logged(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    def logs(ctx: Context) -> Flow:
        promise = yield ctx.promise()
        ctx.logger.warning("begun")
        if (yield ctx.patched("taxes-2")):
            ctx.logger.warning("patched")
        yield promise
        ctx.logger.warning("done")

    def without(ctx: Context) -> Flow:
        promise = yield ctx.promise()
        ctx.logger.warning("begun")
        yield promise

    driver.serve("w", w=without)
    driver.deploy(w=logs)
    driver.settle("w.1")
    driver.finish("w")

    assert [record.message for record in caplog.records] == ["begun", "patched", "done"]


def test_patch_without_yield_is_an_error(driver: Driver) -> None:
    def forgets(ctx: Context) -> Flow:
        if ctx.patched("taxes-2"):  # pyright: ignore[reportGeneralTypeIssues]
            yield ctx.run(new)

    with pytest.raises(TypeError, match="write `yield`"):
        driver.run("w", forgets)


def test_marker_with_a_too_long_id_is_refused(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        return str((yield from caught(ctx.patched("x" * 64), ResonateStoreError)))

    assert "the id is 1021 bytes long" in driver.run("w" * 950, workflow)
