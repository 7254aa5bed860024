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


FORGED = {"mine": "x", "resonate:origin": "o", "resonate:parent": "p", "resonate:scope": "s"}
"""Tags of the user. Those of the SDK replace them."""
ISSUES = {
    "run": lambda ctx: ctx.run(step, 1).options(tags=FORGED),
    "workflow": lambda ctx: ctx.run(nested),
    "rpc": lambda ctx: ctx.rpc("f").options(tags=FORGED),
    "detached": lambda ctx: ctx.detached("f").options(tags=FORGED),
    "promise": lambda ctx: ctx.promise(tags=FORGED),
    "sleep": lambda ctx: ctx.sleep(5),
    "mark": lambda ctx: ctx.run(step, 1).options(at_most_once=True, tags=FORGED),
    "patch": lambda ctx: ctx.patched("taxes-2"),
    "step retry": lambda ctx: ctx.run(step, -1),
    "async retry": lambda ctx: ctx.run(commanding).options(retry_policy=Constant(delay=5)),
}
TARGET = {"resonate:target": "poll://any@default"}
TIMER = {"resonate:timer": "true"}
BELOW = {"resonate:origin": "w", "resonate:parent": "w", "resonate:prefix": "w"}
LOCAL = {**BELOW, "resonate:branch": "w", "resonate:scope": "local"}
GLOBAL = {**BELOW, "resonate:branch": "w.1", "resonate:scope": "global"}
RETRY = {**LOCAL, **TIMER, "resonate:scope": "global"}
APART = {"resonate:branch": "own", "resonate:origin": "own"}
"""What an id of its own changes."""
STORED: dict[str, dict[str, str]] = {
    "run": {**LOCAL, "mine": "x", "resonate:func": "step"},
    "workflow": {**LOCAL, "resonate:func": "nested"},
    "rpc": {**GLOBAL, **TARGET, "mine": "x", "resonate:func": "f"},
    "detached": {**GLOBAL, **TARGET, "mine": "x", "resonate:func": "f", "resonate:origin": "w.1"},
    "promise": {**GLOBAL, "mine": "x"},
    "sleep": {**GLOBAL, **TIMER},
    "mark": {**LOCAL, "resonate:func": "step", "resonate:kind": "attempt", "resonate:begun": "1"},
    "patch": {**LOCAL, "resonate:kind": "patch", "resonate:name": "taxes-2", "resonate:after": "0"},
    "step retry": {**RETRY, "resonate:func": "step"},
    "async retry": {**RETRY, "resonate:func": "commanding", "resonate:workflow": "true"},
}


def begin(driver: Driver, name: str, id: str | None = None) -> None:
    """Run a workflow that issues one command, until it waits."""

    def w(ctx: Context) -> Flow:
        command = ISSUES[name](ctx)
        issued = yield command if id is None else command.options(id=id)
        if name == "promise":
            yield issued
        yield ctx.sleep(100)

    driver.start("w", w)


@pytest.mark.parametrize("name", STORED)
def test_stored_tags_of_each_command(driver: Driver, name: str) -> None:
    begin(driver, name)
    id = {"mark": "w.1~m1", "patch": "w.patch~taxes-2"}.get(name, "w.1~1" if "retry" in name else "w.1")
    assert driver.promise(id).tags == STORED[name]


@pytest.mark.parametrize(
    ("name", "sentence", "function"),
    [("run", "run step", "step"), ("rpc", "rpc f", "f"), ("promise", "a promise", None), ("sleep", "a sleep", None)],
)
def test_record_of_overridden_id_keeps_kind_and_name(
    driver: Driver, name: str, sentence: str, function: str | None
) -> None:
    """Version 0.1.0 compares the sentence, so it is there as well."""
    begin(driver, name, id="own")
    apart = {**APART, "resonate:branch": "w"} if name == "run" else APART
    assert driver.promise("own").tags == {**STORED[name], **apart}
    if name in ("rpc", "promise"):
        driver.settle("own")
    driver.pass_time(5)
    driver.work()

    link = {**LOCAL, "resonate:func": sentence, "resonate:kind": name, "resonate:link": "own"}
    assert driver.promise("w.1").tags == (link if function is None else {**link, "resonate:name": function})
