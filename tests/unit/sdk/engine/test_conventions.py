"""The promises of commands: their ids, deadlines, tags and params."""

from __future__ import annotations

from resonate import Context
from resonate.errors import PayloadError
from resonate.payloads import codec
from resonate.workflow.context import Info
from resonate_store.model.tags import ORIGIN, PARENT, SCOPE, TARGET
from tests.support.driver import Driver, Flow
from tests.support.steps import caught, double
from tests.support.ways import always_three_ways, three_ways


@always_three_ways
def test_command_takes_a_number_even_if_its_id_is_overridden(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promises = [
            (yield ctx.begin_run(double, 1)),
            (yield ctx.begin_run(double, 2).options(id="mine")),
            (yield ctx.begin_rpc("double", 3)),
            (yield ctx.promise(id="hitl")),
            (yield ctx.promise()),
            (yield ctx.detached("double", 4).options(id="apart")),
        ]
        yield ctx.sleep(1).options(id="nap")
        yield ctx.run(double, 5)
        return [promise.id for promise in promises]

    driver.register(double)
    driver.start("w", workflow)
    for id in ("w.5", "hitl"):
        driver.settle(id)

    assert driver.finish("w") == ["w.1", "mine", "w.3", "hitl", "w.5", "apart"]
    assert {"nap", "w.8"} < set(driver.ids())


@three_ways
def test_context_shows_the_facts_of_its_promise(driver: Driver) -> None:
    infos: dict[str, Info] = {}

    def step(ctx: Context) -> None:
        infos[ctx.id] = ctx.info

    def workflow(ctx: Context) -> Flow:
        infos[ctx.id] = ctx.info
        yield ctx.run(step).options(tags={"mine": "x"}, timeout=5.0)

    start = driver.clock.now() / 1000
    driver.run("w", workflow, tags={"yours": "y"}, timeout=60.0)

    assert infos["w"].timeout == start + 60
    assert infos["w"].tags["yours"] == "y"
    assert (infos["w.1"].timeout, infos["w.1"].tags["mine"], infos["w.1"].attempt) == (start + 5, "x", 1)
    assert [infos[id].idempotency_key for id in ("w", "w.1")] == ["w", "w.1"]


@three_ways
def test_arguments_that_cannot_be_encoded_are_raised_at_the_call(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        bad, messages = {"k": object()}, []
        calls = [getattr(ctx, how)("f", 1, x=bad) for how in ("rpc", "begin_rpc", "detached")]
        for call in (*calls, ctx.promise(data=bad)):
            messages.append((yield from caught(call, PayloadError)).mesg)
        return messages

    *calls, promise = driver.run("w", workflow)

    assert ["kwargs['x']['k']" in message for message in calls] == [True] * 3
    assert "['k']" in promise
    assert driver.ids() == ["w"]


def test_remote_call_carries_target_version_tags_and_arguments(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_rpc("theirs", 1, x=2).options(target="their-group", version=3, tags={"mine": "x"})
        yield ctx.begin_rpc("theirs").options(target="https://example.com/run")
        yield ctx.begin_rpc(double, 2)

    driver.register(double)
    driver.begin("w", workflow)
    driver.invoke()

    one = driver.promise("w.1")
    assert codec.decode(one.param) == {"func": "theirs", "args": [1], "kwargs": {"x": 2}, "version": 3}
    assert one.tags[TARGET] == "poll://any@their-group"
    assert (one.tags["mine"], one.tags[SCOPE], one.tags[PARENT], one.tags[ORIGIN]) == ("x", "global", "w", "w")
    assert driver.promise("w.2").tags[TARGET] == "https://example.com/run"
    assert codec.decode(driver.promise("w.3").param)["func"] == "double"
    assert driver.promise("w.3").tags[TARGET] == "poll://any@default"


def test_replayed_call_keeps_the_target_of_its_record(driver: Driver) -> None:
    driver.register(double)

    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.rpc(double, 1)), (yield ctx.rpc(double, 2))]

    driver.begin("w", workflow)
    assert driver.invoke().status == "suspended"
    driver.worker.group = "g"

    assert driver.finish("w") == [2, 4]
    assert [driver.record(id).tags[TARGET] for id in ("w.1", "w.2")] == ["poll://any@default", "poll://any@g"]
