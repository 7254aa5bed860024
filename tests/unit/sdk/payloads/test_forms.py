"""Pydantic models, whose JSON form need not be what they read."""

from __future__ import annotations

import math
from pathlib import PureWindowsPath
from typing import Annotated, Any

import pydantic
import pytest

from resonate.errors import PayloadError
from resonate.payloads import codec
from resonate.payloads.fitting import Unfit
from resonate.payloads.restore import fit, restore
from tests.unit.sdk.payloads.values import travel

SECRET = pydantic.SecretStr("x")


class Login(pydantic.BaseModel):
    user: str
    password: pydantic.SecretStr = pydantic.SecretStr("")
    token: str = pydantic.Field(default="none", exclude=True)


class Open(pydantic.BaseModel):
    """Writes its secret as plain text."""

    password: pydantic.SecretStr

    @pydantic.field_serializer("password")
    def write(self, password: pydantic.SecretStr) -> str:
        return password.get_secret_value()


class Rectangle(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    width: float
    inner: list[Rectangle] = []

    @pydantic.computed_field
    @property
    def area(self) -> float:
        return self.width**2


class Loose(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    ratio: float


class Opaque(pydantic.BaseModel):
    ratio: float
    at: Annotated[object, pydantic.PlainValidator(lambda _: object()), pydantic.PlainSerializer(str)] = None
    pairs: dict[str, list[float]] = {}


class Anything(pydantic.BaseModel):
    anything: Any


def test_model_comes_back_equal(subtests: pytest.Subtests) -> None:
    for model in (
        Login(user="a"),
        Open(password=SECRET),
        Rectangle(width=2, inner=[Rectangle(width=1)]),
        Loose(ratio=1, pairs={"a": [1.5]}, more=[1]),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ):
        with subtests.test(type(model).__name__):
            back = travel(model, type(model))
            assert type(back) is type(model)
            assert back == model


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_model_that_would_come_back_as_another_is_refused(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, str]] = [
        (Login(user="a", password=SECRET), r"args\[0\] is a .*Login.*: password would not come back as it is"),
        (Login(user="a", token="x"), r"args\[0\] is a .*Login.* token would not come back as it is"),
        ({"a": [Login(user="a", token="x")]}, r"args\[0\]\['a'\]\[0\] is a .*Login"),
        (Login.model_construct(user=5), "cannot be read again: ValidationError"),
        (Loose(ratio=1, more=(1, 2)), "ValueError: more would not"),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        (Anything(anything=object()), r"args\[0\].* is a .*Anything"),
    ]
    for model, problem in cases:
        with subtests.test(problem), pytest.raises(PayloadError, match=problem):
            codec.encode_call("login", (model,), {}, 1)


def test_model_with_parts_that_cannot_be_compared_comes_back() -> None:
    back = travel(Opaque(ratio=math.nan, at=object(), pairs={"a": [math.nan]}), Opaque)

    assert math.isnan(back.ratio)
    assert math.isnan(back.pairs["a"][0])


def test_model_stored_with_its_computed_fields_is_read() -> None:
    model = Rectangle(width=2, inner=[Rectangle(width=1)])

    assert restore(model.model_dump(mode="json"), Rectangle) == model
    with pytest.raises(Unfit, match="area: "):
        fit({"width": 2, "area": 5}, Rectangle, "")


def test_windows_path_is_written_with_slashes() -> None:
    value = codec.encode(PureWindowsPath("C:\\orders\\1.csv"), "a value")

    assert codec.decode(value) == "C:/orders/1.csv"
