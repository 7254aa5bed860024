from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resonate.options import Options
from resonate.retry_policies import Constant, Never, RetryPolicy

ALL: dict[str, Any] = {
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


def test_nothing_is_set_at_first() -> None:
    assert all(getattr(Options(), name) is None for name in ALL)


def test_merging_keeps_what_is_not_changed() -> None:
    options = Options().merge(id="x", timeout=0).merge(id=None, timeout=None, version=3)

    assert options == Options(id="x", timeout=0, version=3)
    assert Options().merge(**ALL) == Options(**ALL)


def test_options_over_defaults() -> None:
    defaults = Options(id="default", timeout=5.0)

    assert Options(id="x", durable=False).over(defaults) == Options(id="x", timeout=5.0, durable=False)
    assert Options().over(defaults) is defaults


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("durable", 1, "durable must be `bool`, got int"),
        ("id", 5, "id must be `str`, got int"),
        ("idempotency_key", b"k", "idempotency_key must be `str`, got bytes"),
        ("non_retryable_exceptions", [ValueError], "non_retryable_exceptions must be `tuple`, got list"),
        ("retry_policy", 3, "retry_policy must be `RetryPolicy`, got int"),
        ("retry_policy", Never, "retry_policy must be `RetryPolicy`, got the class Never"),
        ("tags", ["a"], "tags must be `dict`, got list"),
        ("tags", {"a": 1}, "tags must map `str` to `str`, got {'a': 1}"),
        ("tags", {1: "a"}, "tags must map `str` to `str`, got {1: 'a'}"),
        ("target", 1, "target must be `str`, got int"),
        ("timeout", "1", "timeout must be `float`, got str"),
        ("timeout", True, "timeout must be `float`, got bool"),
        ("version", 1.5, "version must be `int`, got float"),
        ("version", True, "version must be `int`, got bool"),
        ("colour", "red", "unknown option 'colour': the options are catch_up, durable, encoder,"),
    ],
)
def test_a_wrong_type_is_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError) as refused:
        Options().merge(**{name: value})
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("timeout", -0.1, "greater than or equal to zero"),
        ("version", -1, "greater than or equal to zero"),
        ("timeout", float("inf"), "finite and greater than or equal to zero"),
        ("timeout", float("nan"), "finite and greater than or equal to zero"),
    ],
)
def test_an_impossible_number_is_named(name: str, value: float, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be {wanted}, got {value}"):
        Options().merge(**{name: value})


@pytest.mark.parametrize("name", ["id", "idempotency_key", "target"])
def test_empty_text_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must not be empty: leave it out for the default"):
        Options().merge(**{name: ""})


def test_a_retry_policy_may_be_chosen_by_the_function() -> None:
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


def test_options_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Options().id = "x"  # type: ignore[misc]
