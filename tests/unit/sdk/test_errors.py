from __future__ import annotations

import copy
import math
import pickle
import traceback
import urllib.error
from email.message import Message
from typing import Any

import pytest

from resonate import Context
from resonate.errors import (
    ApplicationError,
    NonDeterminismError,
    PayloadError,
    ResonateCanceledError,
    ResonateError,
    ResonateHaltedError,
    ResonateShutdownError,
    ResonateStoreError,
    ResonateTimedoutError,
    ResultTypeError,
    SignatureError,
)
from tests.support.driver import Driver, Flow
from tests.support.steps import ONCE, caught, runs
from tests.support.ways import always_three_ways, three_ways

ERRORS: list[tuple[ResonateError, float, str]] = [
    (ResonateError("text", 42), 42, "[042.00000] text"),
    (ResonateError("text", 42, {"a": 1}), 42, '[042.00000] text\n{\n  "a": 1\n}'),
    (ResonateStoreError("not found", 40400), 100.404, "[100.40400] not found"),
    (ResonateStoreError("exists", 40901, {"id": "x"}), 100.40901, '[100.40901] exists\n{\n  "id": "x"\n}'),
    (ResonateCanceledError("x"), 200, "[200.00000] Promise x canceled"),
    (ResonateCanceledError("x", "no time"), 200, "[200.00000] Promise x canceled: no time"),
    (ResonateTimedoutError("x", 1.5), 201, "[201.00000] Promise x timedout at 1970-01-01T00:00:01Z"),
    (ResonateTimedoutError("x", math.inf), 201, "[201.00000] Promise x timedout at never"),
    (ResonateShutdownError("stopped"), 300, "[300.00000] stopped"),
    (SignatureError("f takes no x"), 305, "[305.00000] f takes no x"),
    (
        ResonateHaltedError("x", "poison"),
        301,
        "[301.00000] Task x is halted: poison; `resonate tasks continue x` lets it go on",
    ),
    (
        NonDeterminismError("x.1", "run f", "run g"),
        302,
        "[302.00000] x.1 was run f when it first ran and is now run g: a workflow must repeat its steps on replay",
    ),
    (PayloadError("cannot travel"), 303, "[303.00000] cannot travel"),
    (ResultTypeError("no Order"), 306, "[306.00000] no Order"),
]


def test_error_has_code_and_text_and_survives_copies(subtests: pytest.Subtests) -> None:
    for error, code, text in ERRORS:
        with subtests.test(type(error).__name__):
            assert (error.code, str(error)) == (code, text)
    for each in (*(error for error, _, _ in ERRORS), ApplicationError("m:T", "no", "trace")):
        for back in (pickle.loads(pickle.dumps(each)), copy.copy(each)):
            with subtests.test(type(each).__name__, back=back):
                assert type(back) is type(each)
                assert (back.args, str(back), vars(back)) == (each.args, str(each), vars(each))


def test_store_error_has_the_status_of_the_protocol() -> None:
    assert [ResonateStoreError("", code).status for code in (40400, 40901, 41300, 50300)] == [404, 409, 413, 503]


def test_application_error_shows_its_type_and_message() -> None:
    assert str(ApplicationError("their.module:Oops", "it broke", "trace")) == "their.module:Oops: it broke"
    assert str(ApplicationError("", "it broke")) == "it broke"


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


class Wrapping(Exception):
    """Raises KeyError for each attribute that its response does not have, so that it cannot be printed."""

    def __init__(self, response: Any) -> None:
        super().__init__("the service has failed")
        self.response = response

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["response"][name]


@three_ways
def test_error_of_a_step_is_caught_or_fails_the_workflow(driver: Driver) -> None:
    calls: list[str] = []
    headers = Message()
    headers["Retry-After"] = "5"

    def step(_: Context, what: str) -> None:
        calls.append(what)
        if what == "bytes":
            b"ok \xff".decode()
        if what == "text":
            "ok \ud800".encode()
        if what == "unprintable":
            raise Wrapping({1: object()})
        raise urllib.error.HTTPError("http://service.test/", 429 if what == "busy" else 404, "Sorry", headers, None)

    def workflow(ctx: Context, *steps: str) -> Flow:
        found: list[Any] = []
        for what in steps[:-1]:
            try:
                yield ctx.run(step, what).options(retry_policy=ONCE)
            except UnicodeDecodeError as error:
                found.append(error.object[: error.start].decode())
            except ValueError as error:
                found.append(type(error).__name__)
            except urllib.error.HTTPError as error:
                yield ctx.sleep(float(error.headers["Retry-After"]))  # what comes before is replayed
                found.append(error.code)
        assert found == ["ok ", "UnicodeEncodeError", 429][: len(found)]
        yield ctx.run(step, steps[-1]).options(retry_policy=ONCE)

    with pytest.raises(urllib.error.HTTPError, match="HTTP Error 404: Sorry") as gone:
        driver.run("w", workflow, "bytes", "text", "busy", "gone")
    assert gone.value.code == 404
    assert "HTTP Error 404: Sorry" in shown(gone.value)
    with pytest.raises(ApplicationError, match="the service has failed") as unprintable:
        driver.run("v", workflow, "unprintable")
    assert "the service has failed" in shown(unprintable.value)
    assert calls == ["bytes", "text", "busy", "gone", "unprintable"]


class Refused(Exception):
    pass


def deep_in_a_step(reason: str) -> None:
    raise Refused(f"no {reason}")


def failing(_: Context, reason: str) -> None:
    try:
        deep_in_a_step(reason)
    except Refused as error:
        error.add_note("look here")
        raise KeyError("payment") from error


def calling(ctx: Context, reason: str) -> Flow:
    yield ctx.run(failing, reason).options(retry_policy=ONCE)


@always_three_ways
def test_error_that_comes_back_shows_the_frames_of_its_step(driver: Driver) -> None:
    driver.register(calling)

    def workflow(ctx: Context) -> Flow:
        seen.clear()
        for call in (ctx.run(failing, "card").options(retry_policy=ONCE), ctx.rpc(calling, "cash")):
            error = yield from caught(call, KeyError)
            yield ctx.sleep(60)  # what comes before is replayed
            seen.append(shown(error))
        raise error

    seen: list[str] = []
    with pytest.raises(KeyError) as raised:
        driver.run("w", workflow)
    texts = [*seen, shown(raised.value)]

    for text, reason in zip(texts, ["card", "cash", "cash"], strict=True):
        for part in ("in deep_in_a_step", "in failing", "Refused: no " + reason, "look here", "direct cause"):
            assert part in text
    assert "in calling" in texts[1]
    assert "in workflow" in texts[2]
    assert isinstance(raised.value.__cause__, Refused)
    assert raised.value.__cause__.__notes__ == ["look here"]


@three_ways
def test_group_of_a_step_is_caught_with_its_frames(driver: Driver) -> None:
    found: list[str] = []

    def refusal(reason: str) -> Refused:
        with pytest.raises(Refused) as refused:
            deep_in_a_step(reason)
        return refused.value

    def both(_: Context) -> None:
        raise ExceptionGroup("both", [refusal("card"), ExceptionGroup("more", [KeyError("b"), refusal("cash")])])

    def workflow(ctx: Context) -> Flow:
        found.clear()
        try:
            yield ctx.run(both).options(retry_policy=ONCE)
        except* Refused as refused:
            found.extend(type(each).__name__ for each in refused.exceptions)
        except* KeyError:
            found.append("key")
        yield ctx.sleep(60)  # what was found is found again on replay
        yield ctx.run(both).options(retry_policy=ONCE)

    with pytest.raises(ExceptionGroup) as raised:
        driver.run("w", workflow)

    assert found == ["Refused", "ExceptionGroup", "key"]
    assert "in both" in shown(raised.value)
    card, more = raised.value.exceptions
    assert isinstance(more, ExceptionGroup)
    for member, reason in ((card, "card"), (more.exceptions[1], "cash")):
        assert "in deep_in_a_step" in shown(member)
        assert f"Refused: no {reason}" in shown(member)


@always_three_ways
def test_error_with_a_long_message_is_caught_by_type(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    def loud(_: Context) -> None:
        raise KeyError("m" * 3_000_000)

    def workflow(ctx: Context) -> Flow:
        here = yield from caught(ctx.run(loud).options(retry_policy=ONCE), KeyError)
        there = yield from caught(ctx.rpc("louder"), KeyError)
        return [len(error.args[0]) for error in (here, there)]

    driver.registry.add(runs(loud, retry_policy=ONCE), "louder")
    assert driver.run("w", workflow) == [64 * 1024] * 2
    assert len(caplog.text) < 10_000
