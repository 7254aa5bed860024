"""Encoders as building blocks, and as options of calls."""

from __future__ import annotations

import base64
import gc
import json
import weakref
from typing import Any
from uuid import UUID

import pytest

from resonate import Context, Resonate
from resonate.encoders import (
    Base64Encoder,
    CombinedEncoder,
    Encoder,
    HeaderEncoder,
    JsonEncoder,
    JsonPickleEncoder,
    NoopEncoder,
    PairEncoder,
)
from resonate.errors import PayloadError
from resonate.payloads import codec
from resonate.retry_policies import Never
from resonate.worker.resources import Resources
from resonate.worker.worker import Worker
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseGet
from tests.support.driver import Driver, Flow
from tests.support.present import present
from tests.support.steps import PATIENCE, caught, double, runs
from tests.support.ways import always_three_ways, three_ways


class Reversed:
    """JSON backwards, which no other encoder reads."""

    def encode(self, obj: Any) -> str:
        return json.dumps(obj)[::-1]

    def decode(self, obj: str | None) -> Any:
        return json.loads((obj or "llun")[::-1])


class Broken:
    def encode(self, _: Any) -> str:
        raise OSError("no pen")

    def decode(self, _: str | None) -> Any:
        raise OSError("no glasses")


def text_of(value: Value) -> str:
    return base64.b64decode(value.data or "").decode()


def test_encoders_have_the_interface() -> None:
    simple: list[Any] = [NoopEncoder(), Base64Encoder(), JsonEncoder(), JsonPickleEncoder(), Reversed()]
    header, pair = HeaderEncoder("k", JsonEncoder()), PairEncoder(NoopEncoder(), JsonEncoder())
    for encoder in (*simple, header, pair, CombinedEncoder(JsonEncoder(), Base64Encoder())):
        assert isinstance(encoder, Encoder), encoder


def test_noop_and_base64_encoders() -> None:
    assert (NoopEncoder().encode([1]), NoopEncoder().decode("x")) == (None, None)
    for text, encoded in (("hé", "aMOp"), ("", ""), (None, None)):
        assert Base64Encoder().encode(text) == encoded
        assert Base64Encoder().decode(encoded) == text


def test_json_encoder_encodes_errors_and_refuses_objects() -> None:
    encoder = JsonEncoder()

    assert encoder.encode(None) is None
    assert encoder.decode(None) is None
    assert encoder.decode(encoder.encode({"a": [1, None]})) == {"a": [1, None]}
    assert json.loads(encoder.encode(ValueError("bad")) or "") == {"__error__": "bad"}
    back = encoder.decode(encoder.encode([ValueError("bad")]))[0]
    assert (type(back), str(back)) == (Exception, "bad")
    with pytest.raises(TypeError, match=r"JsonEncoder cannot encode a builtins\.object"):
        encoder.encode({"a": object()})


def test_jsonpickle_encoder_takes_plain_values_only(subtests: pytest.Subtests) -> None:
    encoder = JsonPickleEncoder()
    assert encoder.decode(None) is None
    for value in (None, 1, "text", [1.5, {"a": [True, None]}]):
        with subtests.test(value=value):
            assert json.loads(encoder.encode(value)) == value
            assert encoder.decode(encoder.encode(value)) == value
    cases: list[tuple[Any, str]] = [
        ((1, 2), r"JsonPickleEncoder .*value is a builtins\.tuple"),
        ({"a": [1, {2}]}, r"JsonPickleEncoder .*value\['a'\]\[1\] is a builtins\.set"),
        (ValueError("x"), "JsonPickleEncoder .*ValueError"),
        ({1: 2}, "JsonPickleEncoder .*has the key 1"),
        ({"py/object": "os.system"}, "JsonPickleEncoder .*has the key 'py/object'"),
    ]
    for value, message in cases:
        with subtests.test(message), pytest.raises(PayloadError, match=message):
            encoder.encode(value)
    with pytest.raises(PayloadError, match=r"py/reduce.*never unpickles"):
        encoder.decode('[{"a": {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["true"]}]}}]')


def test_header_pair_and_combined_encoders() -> None:
    header = HeaderEncoder("k", JsonEncoder())
    pair = PairEncoder(header, Reversed())
    combined = CombinedEncoder(JsonEncoder(), Base64Encoder())
    headers: list[dict[str, str | None] | None] = [{"k": "[1]"}, {"other": ""}, {}, None]

    assert header.encode([1]) == {"k": "[1]"}
    assert [header.decode(each) for each in headers] == [[1], None, None, None]
    assert pair.encode([1]) == ({"k": "[1]"}, "]1[")
    assert pair.decode(({"k": "[1]"}, "]2[")) == [1]
    assert pair.decode((None, "]2[")) == [2]
    assert combined.encode([1]) == "WzFd"
    assert combined.decode("WzFd") == [1]


# As options


def fail(_: Context) -> None:
    raise LookupError("nothing", 5)


@three_ways
def test_encoder_of_a_step_encodes_its_result(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        one = yield ctx.run(double, 1).options(encoder=Reversed())
        two = yield (yield ctx.begin_run(double, 6).options(encoder=Reversed(), id="elsewhere"))
        failing = ctx.run(fail).options(encoder=Reversed(), non_retryable_exceptions=(LookupError,))
        error = yield from caught(failing, LookupError)
        yield ctx.sleep(60)
        return [one, two, error.args]

    driver.start("w", workflow)
    stored = {record.id: record.value for record in driver.records()}
    assert text_of(stored["w.1"]) == "2"
    assert text_of(stored["elsewhere"]) == text_of(stored["w.2"]) == "21"
    assert text_of(stored["w.3"]).endswith('"epyt__"{')

    assert driver.finish("w") == [2, 12, ["nothing", 5]]


@three_ways
def test_encoder_that_fails_fails_its_step_without_the_value(driver: Driver) -> None:
    with pytest.raises(PayloadError, match="the result of double cannot travel: Broken raised OSError: no pen"):
        driver.run("w", runs(double, 21, encoder=Broken()))


@pytest.mark.parametrize("how", ["run", "begin_run", "rpc", "begin_rpc"])
@three_ways
def test_encoder_of_a_client_encodes_arguments_and_result(resonate: Resonate, way: str, how: str) -> None:
    function = resonate.register(double)
    if way != "memory":  # other processes need the encoder too
        function.options(encoder=Reversed())
    connection = resonate.options(encoder=Reversed())
    outcome = getattr(connection, how)("a", "double", 21)

    assert (outcome.result(PATIENCE) if how.startswith("begin") else outcome) == 42
    stored = present(resonate.store.apply(PromiseGet("a")).promise)
    assert text_of(stored.param).endswith('"cnuf"{')
    assert text_of(stored.value) == "24"
    assert connection.get("a").result(PATIENCE) == 42
    assert resonate.get("a").result(PATIENCE) == 24


@three_ways
def test_encoder_of_a_function_encodes_remote_calls(resonate: Resonate) -> None:
    function = resonate.register(double)
    assert function.options(encoder=Reversed()) is function

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        return (yield ctx.rpc("double", 6).options(encoder=Reversed()))

    assert workflow.run("w") == 12
    stored = present(resonate.store.apply(PromiseGet("w.1")).promise)
    assert text_of(stored.value) == "21"
    assert function.run("a", 6) == 12


@three_ways
def test_encoder_of_an_execution_is_kept_after_suspension(resonate: Resonate, way: str) -> None:
    @resonate.register
    def workflow(ctx: Context, n: int) -> Flow:
        answer = yield (yield ctx.promise(id="answer"))
        return n + answer

    if way != "memory":  # other processes need the encoder too
        workflow.options(encoder=Reversed())
    handle = resonate.options(encoder=Reversed()).begin_run("w", workflow, 40)
    with pytest.raises(TimeoutError):
        handle.result(0.05)
    resonate.promises.resolve("answer", data="2")

    assert handle.result(PATIENCE) == 42


def test_wrong_encoder_is_refused(resonate: Resonate) -> None:
    wrong: list[Any] = [Reversed, "json", object()]
    for encoder in wrong:
        with pytest.raises(TypeError, match=r"encoder must be (an )?`Encoder`"):
            resonate.options(encoder=encoder)
    with pytest.raises(PayloadError, match=r"PairEncoder\.encode returned `tuple`, and a payload is `str` or None"):
        codec.encode([1], "the value", encoder=PairEncoder(NoopEncoder(), JsonEncoder()))  # type: ignore[arg-type]


@three_ways
def test_jsonpickle_encoder_of_a_client_takes_plain_arguments_only(resonate: Resonate) -> None:
    @resonate.register
    def picky(_: Context, *words: str, **more: Any) -> list[Any]:
        if not words:
            raise LookupError("nothing", 5)
        return [*words, more]

    connection = resonate.options(encoder=JsonPickleEncoder())

    assert connection.run("a", picky, "b", "c", d=[1]) == ["b", "c", {"d": [1]}]
    with pytest.raises(PayloadError, match=r"the arguments of picky .*JsonPickleEncoder .*\['args'\]\[0\] is a .*UUID"):
        connection.run("b", "picky", UUID(int=1))
    with pytest.raises(LookupError) as caught:
        connection.options(retry_policy=Never()).run("c", picky)
    assert caught.value.args == ("nothing", 5)


@pytest.mark.parametrize("how", ["rpc", "begin_rpc", "detached"])
def test_encoder_of_a_call_is_known_to_its_process(resonate: Resonate, how: str) -> None:
    resonate.register(double)

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        result = yield getattr(ctx, how)("double", 6).options(encoder=Reversed(), id="called")
        return result if how == "rpc" else (yield result)

    assert resonate.begin_run("w", workflow).result(PATIENCE) == 12
    stored = present(resonate.store.apply(PromiseGet("called")).promise)
    assert text_of(stored.param).endswith('"cnuf"{')
    assert text_of(stored.value) == "21"


@pytest.mark.parametrize("how", ["run", "begin_run"])
def test_call_with_noop_encoder_runs_in_its_process(how: str) -> None:
    resonate = Resonate.local()
    seen: list[int] = []

    @resonate.register
    def workflow(ctx: Context, n: int, *, more: int) -> Flow:
        seen.append(n + more)
        yield ctx.sleep(0.05)
        return n

    encoders = [NoopEncoder()]

    def outcome(id: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        connection = resonate.options(encoder=encoders[0], retry_policy=Never())
        begun = getattr(connection, how)(id, function, *args, **kwargs)
        return begun if how == "run" else begun.result(10)

    assert outcome("a", workflow, 1, more=2) is None
    assert seen == [3, 3]
    with pytest.raises(Exception, match="None"):
        outcome("b", resonate.register(fail))
    kept = weakref.ref(encoders.pop())
    gc.collect()
    assert kept() is None, "the encoder of a call that is over"
    resonate.stop()


def test_worker_without_the_encoder_of_a_call_names_it(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        return (yield ctx.rpc("double", 6).options(encoder=Reversed()))

    driver.register(double)
    driver.begin("w", workflow)
    driver.invoke()
    elsewhere = Worker(Resources(driver.store, driver.clock), driver.registry, {}, "p2")
    report = elsewhere.run(*driver.offers.popleft(), 60_000)

    assert report.status == "released"
    for said in ("the param of promise w.1 is not a call", "written with an encoder", "function.options(encoder=...)"):
        assert said in str(report.error)

    driver.registry.encoders["double"] = Reversed()
    driver.clock.advance(60_000)
    assert driver.finish("w") == 12


@always_three_ways
def test_encoder_of_a_promise_encodes_its_data_and_value(resonate: Resonate) -> None:
    @resonate.register
    def workflow(ctx: Context) -> Flow:
        asked = yield ctx.promise(id="asked", data=[1, 2]).options(encoder=Reversed())
        bare = yield ctx.promise(id="bare").options(encoder=Reversed())
        return [(yield asked), (yield bare)]

    handle = resonate.begin_run("w", workflow)
    with pytest.raises(TimeoutError):
        handle.result(0.05)
    assert resonate.promises.get("asked").param.data == "]2 ,1["
    assert resonate.promises.get("bare").param.data is None
    resonate.promises.resolve("asked", headers={}, data="]21[")
    resonate.promises.resolve("bare", data="42")

    assert handle.result(PATIENCE) == [[12], 24]
