"""The tags that an execution stores, literally: other versions of this SDK, and other programs, read them."""

import pytest

from resonate import Context
from resonate.retry_policies import Constant
from tests.support.driver import Driver, Flow


def step(_: Context, n: int) -> int:
    if n < 0:
        raise ValueError(n)
    return n


async def commanding(ctx: Context) -> int:
    await ctx.run(step, 1)
    raise ValueError


def nested(ctx: Context) -> Flow:
    return (yield ctx.sleep(5))


ISSUES = {
    "run": lambda ctx: ctx.run(step, 1),
    "workflow": lambda ctx: ctx.run(nested),
    "rpc": lambda ctx: ctx.rpc("f"),
    "detached": lambda ctx: ctx.detached("f"),
    "promise": lambda ctx: ctx.promise(),
    "sleep": lambda ctx: ctx.sleep(5),
    "step retry": lambda ctx: ctx.run(step, -1),
    "async retry": lambda ctx: ctx.run(commanding).options(retry_policy=Constant(delay=5)),
}
BELOW = {
    "resonate:origin": "w",
    "resonate:parent": "w",
    "resonate:prefix": "w",
}
LOCAL = {**BELOW, "resonate:branch": "w", "resonate:scope": "local"}
GLOBAL = {**BELOW, "resonate:branch": "w.1", "resonate:scope": "global"}
APART = {**GLOBAL, "resonate:branch": "own", "resonate:origin": "own"}


def begin(driver: Driver, name: str, id: str | None = None) -> None:
    """Run a workflow that issues one command, until it waits."""

    def w(ctx: Context) -> Flow:
        command = ISSUES[name](ctx)
        issued = yield command if id is None else command.options(id=id)
        if name == "promise":
            yield issued
        yield ctx.sleep(100)

    driver.begin("w", w)
    driver.work()


@pytest.mark.parametrize(
    ("name", "record_id", "stored"),
    [
        ("run", "w.1", {**LOCAL, "resonate:func": "step"}),
        ("workflow", "w.1", {**LOCAL, "resonate:func": "nested"}),
        ("rpc", "w.1", {**GLOBAL, "resonate:func": "f", "resonate:target": "poll://any@default"}),
        (
            "detached",
            "w.1",
            {**GLOBAL, "resonate:func": "f", "resonate:origin": "w.1", "resonate:target": "poll://any@default"},
        ),
        ("promise", "w.1", GLOBAL),
        ("sleep", "w.1", {**GLOBAL, "resonate:timer": "true"}),
        (
            "step retry",
            "w.1~1",
            {**LOCAL, "resonate:func": "step", "resonate:scope": "global", "resonate:timer": "true"},
        ),
        (
            "async retry",
            "w.1~1",
            {
                **LOCAL,
                "resonate:func": "commanding",
                "resonate:scope": "global",
                "resonate:timer": "true",
                "resonate:workflow": "true",
            },
        ),
    ],
)
def test_stored_tags_of_each_command(driver: Driver, name: str, record_id: str, stored: dict[str, str]) -> None:
    begin(driver, name)
    assert driver.promise(record_id).tags == stored


@pytest.mark.parametrize(
    ("name", "apart", "sentence", "kind", "function"),
    [
        (
            "run",
            {**APART, "resonate:branch": "w", "resonate:scope": "local", "resonate:func": "step"},
            "run step",
            "run",
            "step",
        ),
        ("rpc", {**APART, "resonate:func": "f", "resonate:target": "poll://any@default"}, "rpc f", "rpc", "f"),
        ("promise", APART, "a promise", "promise", None),
        ("sleep", {**APART, "resonate:timer": "true"}, "a sleep", "sleep", None),
    ],
)
def test_record_of_overridden_id_keeps_kind_and_name(
    driver: Driver, name: str, apart: dict[str, str], sentence: str, kind: str, function: str | None
) -> None:
    """Version 0.1.0 compares the sentence, so it is there as well."""
    begin(driver, name, id="own")
    assert driver.promise("own").tags == apart
    if name in ("rpc", "promise"):
        driver.settle("own")
    driver.pass_time(5)
    driver.work()

    link = {**LOCAL, "resonate:func": sentence, "resonate:kind": kind, "resonate:link": "own"}
    assert driver.promise("w.1").tags == (link if function is None else {**link, "resonate:name": function})
