from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.retry_policies import Constant, Exponential, Linear, Never, RetryPolicy
from resonate.workflow.options import Options
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import TaskRecord
from tests.support.present import present

MINUTE = timedelta(minutes=1)
POLICIES = [Constant(delay=MINUTE), Linear(delay=MINUTE), Exponential(delay=MINUTE, max_delay=timedelta(minutes=2))]

ALL: dict[str, Any] = {
    "at_most_once": True,
    "attempt_timeout": 2.5,
    "durable": False,
    "id": "x",
    "idempotency_key": "k",
    "non_retryable_exceptions": (ValueError,),
    "retry_policy": Never(),
    "tags": {"a": "b"},
    "target": "g",
    "timeout": 1.5,
    "version": 2,
}


def test_options_are_unset_frozen_and_kept_by_a_merge() -> None:
    assert all(getattr(Options(), name) is None for name in ALL)
    with pytest.raises(AttributeError):
        Options().id = "x"  # type: ignore[misc]

    options = Options().merge(id="x", timeout=0).merge(id=None, timeout=None, version=3)

    assert options == Options(id="x", timeout=0, version=3)
    assert Options().merge(**ALL) == Options(**ALL)


def test_options_over_defaults() -> None:
    defaults = Options(id="default", timeout=5.0)

    assert Options(id="x", durable=False).over(defaults) == Options(id="x", timeout=5.0, durable=False)
    assert Options().over(defaults) is defaults


def test_option_with_wrong_type_or_value_is_refused_by_name(subtests: pytest.Subtests) -> None:
    finite = "must be finite and greater than or equal to zero, got"
    cases: list[tuple[str, Any, type[Exception], str]] = [
        ("at_most_once", 1, TypeError, "at_most_once must be `bool`, got int"),
        ("attempt_timeout", "1", TypeError, "attempt_timeout must be `float`, got str"),
        ("attempt_timeout", True, TypeError, "attempt_timeout must be `float`, got bool"),
        ("attempt_timeout", 0, ValueError, "attempt_timeout must be a finite number of seconds above zero, got 0"),
        ("attempt_timeout", -1, ValueError, "attempt_timeout must be a finite number of seconds above zero, got -1"),
        ("attempt_timeout", float("inf"), ValueError, "attempt_timeout must be a finite number of seconds above zero"),
        ("durable", 1, TypeError, "durable must be `bool`, got int"),
        ("id", 5, TypeError, "id must be `str`, got int"),
        ("idempotency_key", b"k", TypeError, "idempotency_key must be `str`, got bytes"),
        ("non_retryable_exceptions", [ValueError], TypeError, "non_retryable_exceptions must be `tuple`, got list"),
        ("retry_policy", 3, TypeError, "retry_policy must be `RetryPolicy`, got int"),
        ("retry_policy", Never, TypeError, "retry_policy must be `RetryPolicy`, got the class Never"),
        ("tags", ["a"], TypeError, "tags must be `dict`, got list"),
        ("tags", {"a": 1}, TypeError, "tags must map `str` to `str`, got {'a': 1}"),
        ("tags", {1: "a"}, TypeError, "tags must map `str` to `str`, got {1: 'a'}"),
        ("target", 1, TypeError, "target must be `str`, got int"),
        ("timeout", "1", TypeError, "timeout must be `float`, got str"),
        ("timeout", True, TypeError, "timeout must be `float`, got bool"),
        ("version", 1.5, TypeError, "version must be `int`, got float"),
        ("version", True, TypeError, "version must be `int`, got bool"),
        ("colour", "red", TypeError, "unknown option 'colour': the options are at_most_once, attempt_timeout,"),
        ("timeout", -0.1, ValueError, "timeout must be greater than or equal to zero, got -0.1"),
        ("version", -1, ValueError, "version must be greater than or equal to zero, got -1"),
        ("timeout", float("nan"), ValueError, f"timeout {finite} nan"),
        ("id", "", ValueError, "id must not be empty: leave it out for the default"),
        ("idempotency_key", "", ValueError, "idempotency_key must not be empty: leave it out for the default"),
        ("target", "", ValueError, "target must not be empty: leave it out for the default"),
    ]
    for name, value, error, message in cases:
        with subtests.test(name, value=value):
            with pytest.raises(error) as refused:
                Options().merge(**{name: value})
            assert str(refused.value).startswith(message)


def test_timeout_that_looks_like_milliseconds_warns_at_its_caller(subtests: pytest.Subtests) -> None:
    ctx = Context("w", None, Resonate.local().registry, {})  # type: ignore[arg-type]
    calls: list[Callable[..., Any]] = [
        Resonate.local().options,
        ctx.rpc("f").options,
        lambda timeout: ctx.promise(timeout=timeout),
        lambda timeout: Options().merge(attempt_timeout=timeout),
        lambda timeout: ctx.sleep(timeout),
    ]
    for timeout, years in ((86_400_000, "2.7"), (315_576_001, "10.0"), (6e12, "190,128.5")):
        message = f"(timeout|attempt_timeout|secs) is in seconds, and .* are {years} years"
        for call in calls:
            with subtests.test(timeout=timeout, call=call):
                with pytest.warns(UserWarning, match=message) as warned:
                    call(timeout=timeout)
                assert [each.filename for each in warned] == [__file__]
    for plausible in (5 * 365 * 86_400, 315_576_000, timedelta(days=10_000), sys.maxsize, 2**53):
        with subtests.test(plausible=plausible):
            Options().merge(timeout=plausible)
            ctx.sleep(plausible)


def test_timedelta_is_accepted_as_a_duration() -> None:
    day = timedelta(days=1)
    resonate = Resonate(ttl=timedelta(seconds=20), retry_policy=Constant(timedelta(seconds=3)))
    function = resonate.register(lambda _: 1, name="one")
    ctx = Context("w", None, resonate.registry, {})  # type: ignore[arg-type]

    for command in (ctx.run(function), ctx.rpc("one"), ctx.begin_rpc("one"), ctx.promise()):
        assert command.options(timeout=day).opts.timeout == 86_400
    assert ctx.promise(timeout=day).opts.timeout == ctx.sleep(day).seconds == 86_400
    clock = ManualClock()
    store = MemoryStore(clock)
    client = Resonate(store=store, clock=clock, ttl=timedelta(seconds=20))
    tasks: list[TaskRecord | None] = []
    look = client.register(lambda ctx: tasks.append(present(store.record(ctx.id)).task), name="look")
    client.options(timeout=day).run("a", look)
    look.options(timeout=day).run("b")
    assert [present(task).ttl for task in tasks] == [20_000, 20_000]
    assert [record.timeout_at - record.created_at for record in store.records()] == [86_400_000, 86_400_000]
    client.stop()
    assert [policy.next(2) for policy in POLICIES] == [60, 120, 120]
    resonate.promises.create("p", 2**50)
    with pytest.raises(TimeoutError):
        resonate.get("p").result(timedelta(milliseconds=1))
    with pytest.raises(ValueError, match="timeout must be greater than or equal to zero, got -1"):
        ctx.run(function).options(timeout=timedelta(seconds=-1))
    with pytest.raises(ValueError, match="secs must be a finite number"):
        ctx.sleep(timedelta(seconds=-1))


def test_unknown_option_of_a_connection_or_function_is_named() -> None:
    resonate = Resonate.local()
    function = resonate.register(lambda _: 1, name="one")
    for owner, options in (("Resonate.options", resonate.options), ("the function one", function.options)):
        with pytest.raises(TypeError, match=f"unknown option 'colour' of {owner}: its options are .*timeout"):
            options(colour="red")  # type: ignore[call-arg]


def test_retry_policy_can_be_chosen_by_function() -> None:
    def flaky() -> None: ...

    def choose(func: Callable[..., Any]) -> RetryPolicy:
        return Constant(3) if func is flaky else Never()

    assert Options().policy_for(flaky) is None
    assert Options(retry_policy=Never()).policy_for(flaky) == Never()
    options = Options().merge(retry_policy=choose)
    assert (options.policy_for(flaky), options.policy_for(print)) == (Constant(3), Never())
    for wrong in (None, 3, Never):
        with pytest.raises(TypeError, match="retry_policy must give a `RetryPolicy` for flaky, got"):
            Options().merge(retry_policy=lambda _, wrong=wrong: wrong).policy_for(flaky)
