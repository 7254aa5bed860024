"""Histories that were recorded once, replayed by the programs as they are, and by programs that were changed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateStoreError
from resonate.retry_policies import Constant
from resonate.testing import Difference, History, HistoryFormatError, MemoryStack, ReplayWarning, replay
from tests.support.steps import caught
from tests.unit.sdk.testing import programs
from tests.unit.sdk.testing.programs import Flow, approval, book, branching, charge, fetch, notify, rest, shop, trial

HISTORIES = Path(__file__).with_name("histories")


def recorded(name: str) -> History:
    return History.from_json((HISTORIES / f"{name}.json").read_text(encoding="utf-8"))


# What has not changed


def test_replay_goes_as_far_as_the_recorded_execution(subtests: pytest.Subtests) -> None:
    finished: list[tuple[str, Callable[..., Any], int]] = [
        ("finished", trial, 4),
        ("remote", programs.order, 3),
        ("branching", branching, 9),
        ("book", book, 11),
        ("retries", programs.stubborn, 4),
        ("timed-out", approval, 2),
    ]
    for name, workflow, commands in finished:
        with subtests.test(name):
            replayed = replay(HISTORIES / f"{name}.json", workflow)
            assert replayed.finished
            assert (len(replayed.commands), replayed.stopped_at) == (commands, ())
            assert list(replayed.commands) == [record.id for record in recorded(name)]
    unfinished: list[tuple[str, Callable[..., Any], tuple[str, ...]]] = [
        ("sleeping", trial, ("sleeping.2",)),
        ("nested-sleeping", branching, ("nested-sleeping.2.1",)),
        ("book-sleeping", book, ("book-sleeping.3", "book-sleeping.1.2", "book-sleeping.2.2")),
    ]
    for name, workflow, stopped_at in unfinished:
        with subtests.test(name):
            replayed = replay(recorded(name), workflow)
            assert (replayed.finished, replayed.stopped_at) == (False, stopped_at)
            assert len(replayed.commands) == len(recorded(name))


def test_difference_shows_recorded_arguments_that_do_not_fit() -> None:
    def stricter(ctx: Context, user: int) -> Flow:
        raise NotImplementedError

    with pytest.raises(Difference, match=r"finished\.1\n  recorded: run notify\n  now:      trial: user: expected int"):
        replay(recorded("finished"), stricter)


def test_replay_runs_no_step_and_needs_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def must_not_run(*_: Any) -> None:
        raise AssertionError("a step ran")

    async def must_not_run_either(*_: Any) -> None:
        raise AssertionError("a step ran")

    for step in (charge, notify):
        monkeypatch.setattr(step, "__code__", must_not_run.__code__)
    monkeypatch.setattr(fetch, "__code__", must_not_run_either.__code__)
    stopped = _without(recorded("finished"), "finished.3")

    assert replay(recorded("finished"), trial).finished
    assert replay(recorded("book"), book).finished
    assert replay(stopped, trial).stopped_at == ("finished.3",)


@pytest.mark.filterwarnings("ignore::resonate.testing.ReplayWarning")
def test_replay_ignores_other_arguments_and_results() -> None:
    def trial_in_dollars(ctx: Context, user: str, days: float = 30) -> Flow:
        yield ctx.run(notify, f"hello {user}")
        yield ctx.sleep(days * 86_400 * 2)
        yield ctx.run(charge, 12)
        return "other"

    assert replay(recorded("finished"), trial_in_dollars).finished


def test_replay_accepts_a_history_as_text() -> None:
    assert replay((HISTORIES / "finished.json").read_text(encoding="utf-8"), trial).finished
    with pytest.raises(HistoryFormatError):
        replay("{}", trial)


def test_replay_of_an_execution_that_crashed_anywhere() -> None:
    """Whatever a worker has written when it dies is a history that the same code replays."""
    stack = MemoryStack(shop)
    places = {"b.1": "promise.create", "b.2.1": "promise.create", "b": "task.suspend"}
    for id, kind in (*places.items(), ("b.1", "promise.settle")):
        stack.clear()
        stack.crash(after=kind, id=id)
        stack.start(branching, id="b")
        if kind == "promise.settle":
            stack.advance(seconds=60)
        assert not replay(stack.history("b"), branching).finished, kind


@pytest.mark.parametrize("asynchronous", [False, True])
def test_replay_repeats_the_attempts_of_a_workflow(asynchronous: bool) -> None:
    def fail_twice(attempt: int) -> str:
        if attempt < 3:
            raise ConnectionError("once more")
        return "done"

    def generator(ctx: Context) -> Flow:
        yield ctx.run(notify, str(ctx.info.attempt))
        return fail_twice(ctx.info.attempt)

    async def coroutine(ctx: Context) -> str:
        await ctx.run(fetch, ctx.info.attempt)
        return fail_twice(ctx.info.attempt)

    def above(ctx: Context, delay: float) -> Flow:
        return (yield ctx.run(generator).options(retry_policy=Constant(delay, 3)))

    async def above_async(ctx: Context, delay: float) -> str:
        return await ctx.run(coroutine).options(retry_policy=Constant(delay, 5))

    workflow: Callable[..., Any] = above_async if asynchronous else above
    for delay in (0.5, 60):
        stack = MemoryStack()
        assert stack.run(workflow, delay, id="w") == "done"
        replayed = replay(stack.history("w"), workflow)
        assert replayed.finished
        assert list(replayed.commands) == [record.id for record in stack.history("w")]


def test_replay_of_a_nested_workflow_that_timed_out() -> None:
    def above(ctx: Context) -> Flow:
        error = yield from caught(ctx.run(rest, 600).options(timeout=60), Exception)
        yield ctx.run(notify, type(error).__name__)

    stack = MemoryStack()
    stack.run(above)
    assert replay(stack.history("above-1"), above).finished


def test_replay_stops_at_a_step_without_record() -> None:
    def volatile(ctx: Context) -> Flow:
        n = yield ctx.run(charge, 1).options(durable=False)
        yield ctx.run(notify, n)

    stack = MemoryStack()
    stack.run(volatile)
    replayed = replay(stack.history("volatile-1"), volatile)
    assert (replayed.finished, replayed.stopped_at) == (False, ("volatile-1.1",))


def test_replay_counts_no_overridden_id_as_a_command() -> None:
    def picks(ctx: Context) -> Flow:
        yield ctx.detached("pick", 1).options(id=f"{ctx.id}.4")
        yield ctx.run(charge, 2).options(id=f"{ctx.id}.1001")
        yield ctx.sleep(60)

    stack = MemoryStack(shop)
    stack.run(picks)
    history = stack.history("picks-1")
    assert {"picks-1.4", "picks-1.1001"} < {record.id for record in history}

    assert replay(history, picks).finished


def test_replay_refuses_a_command_whose_number_is_a_siblings_id() -> None:
    def clash(ctx: Context) -> Flow:
        first = yield ctx.run(charge, 1).options(id=f"{ctx.id}.2")
        return [first, (yield from caught(ctx.run(charge, 2), ResonateStoreError)).code]

    stack = MemoryStack()
    assert stack.run(clash) == ["charged 1 -", 100.409]

    assert replay(stack.history("clash-1"), clash).finished


def test_replay_has_functions_and_dependencies_of_the_program() -> None:
    program = Resonate(dependencies={"rounds": 2})

    @program.register
    def remote(_: Context) -> int:
        return 1

    @program.register
    def rounds(ctx: Context) -> Flow:
        for _ in range(ctx.get_dependency("rounds")):
            yield ctx.rpc(remote.func)

    stack = MemoryStack(program)
    stack.run(rounds)
    assert replay(stack.history("rounds-1"), rounds).finished
    with pytest.raises(Difference, match=r"rounds-1\.2"):
        replay(stack.history("rounds-1"), rounds, dependencies={"rounds": 1})


# What has changed


def difference_of(history: History, workflow: Callable[..., Any]) -> Difference:
    with pytest.raises(Difference) as difference:
        replay(history, workflow)
    return difference.value


Issue = Callable[[Context], Any]


def welcome(ctx: Context) -> Any:
    return ctx.run(notify, "ada")


def nap(ctx: Context) -> Any:
    return ctx.sleep(1)


def pay(ctx: Context) -> Any:
    return ctx.run(charge, 9)


def issuing(*commands: Issue) -> Callable[..., Any]:
    """Return a workflow in the place of `trial`, which issues these commands."""

    def trial(ctx: Context, user: Any) -> Flow:  # noqa: ARG001
        for command in commands:
            yield command(ctx)

    return trial


def test_difference_shows_the_first_command_that_differs(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Sequence[Issue], str, str, str]] = [
        ([welcome, pay], "finished.2", "a sleep", "run charge"),
        ([pay, nap, pay], "finished.1", "run notify", "run charge"),
        ([welcome, nap, pay, welcome], "finished.4", "nothing", "run notify"),
        ([welcome, nap, pay, lambda ctx: ctx.promise()], "finished.4", "nothing", "a promise"),
        ([welcome, nap], "finished.3", "run charge", "nothing"),
        ([lambda ctx: ctx.rpc("notify", "ada"), nap, pay], "finished.1", "run notify", "rpc notify"),
        ([lambda ctx: welcome(ctx).options(id="x"), nap, pay], "finished.1", "run notify", "run notify with the id x"),
        ([welcome, nap, pay, lambda ctx: ctx.rpc("f").options(id="x")], "finished.4", "nothing", "rpc f with the id x"),
    ]
    for commands, id, was, now in cases:
        with subtests.test(now, was=was):
            workflow = issuing(*commands)
            difference = difference_of(recorded("finished"), workflow)
            assert (difference.id, difference.recorded, difference.now) == (id, was, now)
            lines = str(difference).splitlines()
            assert lines[:3] == [
                f"finished is not replayed by today's code: the first command that differs is {id}",
                f"  recorded: {was}",
                f"  now:      {now}",
            ]
            assert lines[-1].startswith(f"> {id} "), "the history is shown up to there"


@pytest.mark.filterwarnings("ignore::resonate.testing.ReplayWarning")
def test_replay_allows_changes_after_the_last_record() -> None:
    assert replay(recorded("sleeping"), issuing(welcome, nap, welcome)).stopped_at == ("sleeping.2",)
    with pytest.raises(Difference, match=r"sleeping\.2"):
        replay(recorded("sleeping"), issuing(welcome, pay))


def test_nested_workflow_and_overridden_id_must_not_change(subtests: pytest.Subtests) -> None:
    def changed(ctx: Context, secs: float) -> Flow:
        yield ctx.run(notify, "tired")
        yield ctx.sleep(secs)
        return (yield ctx.run(notify, "rested"))

    changed.__name__ = "rest"

    def branching_with(nested: Callable[..., Any], id: str) -> Callable[..., Any]:
        def branching(ctx: Context) -> Flow:
            one = yield ctx.begin_run(nested, 60)
            two = yield ctx.begin_run(nested, 120)
            yield ctx.detached("trial", "ada", 1)
            yield ctx.run(charge, 5).options(id=id)
            return [(yield one), (yield two)]

        return branching

    for name in ("branching", "nested-sleeping"):
        with subtests.test(name):
            difference = difference_of(recorded(name), branching_with(changed, "the-charge"))
            found = difference.id, difference.recorded, difference.now
            assert found == (f"{name}.1.1", "a sleep", "run notify")
    difference = difference_of(recorded("branching"), branching_with(rest, "a-charge"))
    assert difference.recorded == "run charge with the id the-charge"
    assert difference.now == "run charge with the id a-charge"


def test_nested_async_workflow_must_not_change(subtests: pytest.Subtests) -> None:
    async def chapter(ctx: Context, page: int) -> str:
        await ctx.run(fetch, page)
        return await ctx.run(notify, "no pause")

    async def no_step_at_all(ctx: Context, page: int) -> str:
        return f"{ctx.id} {page}"

    no_step_at_all.__name__ = "chapter"

    def today(nested: Callable[..., Any]) -> Callable[..., Any]:
        async def book_anew(ctx: Context, secs: float = 60) -> None:
            pages = [await ctx.begin_run(nested, page) for page in (1, 3)]
            await ctx.sleep(secs)
            await ctx.run(fetch, 0).options(id="the-cover")
            for page in pages:
                await page

        return book_anew

    for name in ("book", "book-sleeping"):
        for nested, id, was, now in (
            (chapter, f"{name}.1.2", "a sleep", "run notify"),
            (no_step_at_all, f"{name}.1.1", "run fetch", "nothing"),
        ):
            with subtests.test(name, now=now):
                difference = difference_of(recorded(name), today(nested))
                assert (difference.id, difference.recorded, difference.now) == (id, was, now)


@pytest.mark.filterwarnings("ignore::resonate.testing.ReplayWarning")
def test_generator_may_become_an_equal_async_function() -> None:
    async def trial_anew(ctx: Context, user: str) -> Any:
        await ctx.run(notify, user)
        await ctx.sleep(1)
        return await ctx.run(charge, 9)

    async def in_another_order(ctx: Context, user: str) -> None:
        await ctx.sleep(1)
        await ctx.run(notify, user)

    async def without_commands(_: Context, user: str) -> str:
        return user

    assert replay(recorded("finished"), trial_anew).finished
    with pytest.raises(Difference, match=r"recorded: run notify\n  now:      a sleep"):
        replay(recorded("finished"), in_another_order)
    with pytest.raises(Difference, match=r"recorded: run notify\n  now:      nothing"):
        replay(recorded("finished"), without_commands)


def test_replay_refuses_a_promise_that_is_not_a_call() -> None:
    stack = MemoryStack(shop)
    stack.start(approval, id="a1")
    with pytest.raises(ValueError, match=r"a1\.1 is not the call of a function"):
        replay(stack.history("a1.1"), approval)


def _without(history: History, id: str) -> History:
    """The history as it was before `id` was recorded."""
    document = json.loads(history.to_json())
    document["records"] = [record for record in document["records"] if record["promise"]["id"] != id]
    document["records"][0]["promise"] |= {"state": "pending", "value": {}}
    del document["records"][0]["promise"]["settledAt"]
    return History.from_json(json.dumps(document))


def test_replay_warns_of_changed_arguments_data_and_sleeps() -> None:
    def calls(ctx: Context, to: str, data: Any, seconds: float, local: int) -> Flow:
        yield ctx.rpc("notify", to)
        yield ctx.sleep(seconds)
        yield ctx.run(charge, local)
        yield ctx.begin_rpc("notify", text=to)
        yield (yield ctx.promise(data=data, timeout=5))

    def then(ctx: Context) -> Flow:
        yield from calls(ctx, "ada", [1], 60, 1)

    def other(ctx: Context) -> Flow:
        yield from calls(ctx, "bob", [2], 61, 2)

    def same(ctx: Context) -> Flow:
        yield from calls(ctx, "ada", [1], 60.25, 2)

    stack = MemoryStack()
    stack.mock("notify", lambda *_, **__: None)
    stack.start(then, id="w")
    stack.advance(minutes=2)
    history = stack.history("w")

    with pytest.warns(ReplayWarning) as warned:
        assert replay(history, other).changed == ("w.1", "w.2", "w.4", "w.5")
    assert "w.2 (a sleep) slept 60 s when it was recorded, and now 61 s" in str(warned[1].message)
    assert "'ada'" in str(warned[0].message)
    assert replay(history, same).changed == ()


def taxes(ctx: Context) -> Flow:
    """A workflow and a nested one, which both have changed."""
    yield ctx.run(notify, "begun")
    nested = yield ctx.run(levies)
    yield ctx.sleep(60)
    if (yield ctx.patched("taxes-2")):
        yield ctx.run(charge, 2)
    yield ctx.run(charge, 1)
    yield ctx.sleep(60)
    return nested


def levies(ctx: Context) -> Flow:
    yield ctx.run(notify, "levies")
    if (yield ctx.patched("levies-2")):
        yield ctx.run(charge, 3)


def taxes_before(ctx: Context) -> Flow:
    def levies(ctx: Context) -> Flow:
        yield ctx.run(notify, "levies")

    yield ctx.run(notify, "begun")
    yield ctx.run(levies)
    yield ctx.sleep(60)
    yield ctx.run(charge, 1)
    yield ctx.sleep(60)


def taxes_afterwards(ctx: Context) -> Flow:
    yield ctx.run(notify, "begun")
    yield ctx.run(levies)
    yield ctx.sleep(60)
    yield ctx.deprecate_patch("taxes-2")
    yield ctx.run(charge, 2)
    yield ctx.run(charge, 1)
    yield ctx.sleep(60)


def at_each_sleep(workflow: Callable[..., Any]) -> list[History]:
    """Return the histories of one execution at its first sleep, its second sleep, and its end."""
    stack = MemoryStack()
    stack.register(workflow, name="taxes")
    stack.start("taxes", id="t")
    histories = [stack.history("t")]
    for _ in range(2):
        stack.advance(seconds=61)
        histories.append(stack.history("t"))
    assert histories[-1].root.state == "resolved"
    return histories


def test_replay_answers_patches_as_a_worker_does() -> None:
    first, second = ("t", "taxes-2"), ("t.2", "levies-2")
    old = [replay(history, taxes) for history in at_each_sleep(taxes_before)]
    assert [replayed.patches for replayed in old] == [
        {second: False},
        {first: False, second: False},
        {first: False, second: False},
    ]
    new_histories = at_each_sleep(taxes)
    new = [replay(history, taxes) for history in new_histories]
    assert [replayed.patches for replayed in new] == [
        {second: True},
        {first: True, second: True},
        {first: True, second: True},
    ]
    assert [replayed.finished for replayed in (*old, *new)] == [False, False, True] * 2
    for history in new_histories:
        assert replay(history, taxes_afterwards).finished == (history is new_histories[-1])
    ids = [record.id for record in new_histories[-1]]
    assert ids[ids.index("t.patch~taxes-2") - 1] == "t.3", "a marker follows the command before it"
    assert (new_histories[-1]["t.patch~taxes-2"].command, new_histories[-1].commands[3]) == (
        "patch taxes-2",
        "run charge",
    )


def test_difference_shows_old_code_after_a_patch() -> None:
    with pytest.raises(Difference, match=r"is t\.2\.2\n  recorded: run charge\n  now:      nothing"):
        replay(at_each_sleep(taxes)[1], taxes_before)


def test_replay_of_a_later_generation_begins_with_its_arguments() -> None:
    def monitor(ctx: Context, seen: int) -> Flow:
        got.append(seen)
        yield ctx.run(charge, seen)
        yield ctx.run(rest, 3600.0)
        if seen < 12:
            return ctx.continue_as(seen + 1)
        yield ctx.sleep(86_400)

    def changed(ctx: Context, _: int) -> Flow:
        yield ctx.run(charge, 1)
        yield ctx.sleep(86_400)

    got: list[int] = []
    stack = MemoryStack()
    stack.start(monitor, 1, id="m")
    stack.advance(days=400)
    history = stack.history("m")
    got.clear()
    replayed = replay(history, monitor)
    assert (got, replayed.finished) == ([12], True)
    assert replayed.commands == ("m", "m.12+1", "m.12+2", "m.12+2.1", "m.12+2.2", "m.12+3")
    with pytest.raises(Difference, match=r"m\.12\+2\n  recorded: run rest\n  now:      a sleep") as found:
        replay(history, changed)
    assert "the arguments of generation 12" in str(found.value)
