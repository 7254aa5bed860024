"""What annotations say about JSON data, and the errors that name a part of the data and its type."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Protocol, TypeVar

import pydantic
import pytest

from resonate.payloads.fitting import Unfit
from resonate.payloads.restore import fit
from tests.unit.sdk.payloads.values import Cart, Colour, Line, Place, Settings

T = TypeVar("T")


class Account(pydantic.BaseModel):
    limit: float
    names: list[str] = []


class Readable(Protocol):
    def read(self) -> str: ...


def test_unfit_names_path_expected_type_and_data(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, Any, str]] = [
        ({"nonsense": 1}, Cart, "cart.lines: missing"),
        ({"lines": [{"amount": 1}, {"amount": "x"}]}, Cart, "cart.lines[1].amount: expected int, got str"),
        ({"lines": [{"amount": 1}, 5]}, Cart | None, "cart.lines[1]: expected Line, got int"),
        ("1", int, "cart: expected int, got str"),
        (1.5, int, "cart: expected int, got float"),
        (True, int, "cart: expected int, got bool"),
        (None, str, "cart: expected str, got None"),
        ("soon", datetime, "cart: expected datetime, got 'soon'"),
        ({"a": [1, "b"]}, dict[str, list[int]], "cart['a'][1]: expected int, got str"),
        ({"a": 1}, dict[int, int], "cart: expected keys of int, got 'a'"),
        ([1], tuple[int, int], "cart: expected 2 items, got 1"),
        ("green", Colour, "cart: expected Colour, got 'green'"),
        ({"y": 1}, Place, "cart.x: missing"),
        ({"corner": {"x": "a"}}, Settings, "cart.corner.x: expected int, got str"),
        ({"limit": 1, "names": ["a", 5]}, Account, "cart.names[1]: "),
        ([{"x": 1}, {"amount": "x"}], list[Place | Line], "cart[1]: expected Place or Line, got dict"),
    ]
    for plain, annotation, problem in cases:
        with subtests.test(problem):
            with pytest.raises(Unfit) as unfit:
                fit(plain, annotation, "cart")
            assert str(unfit.value).startswith(problem)


def test_data_that_fits_or_cannot_be_judged_is_accepted(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, Any, Any]] = [
        (1, float, 1.0),
        ({"lines": [{"amount": 1, "note": None}]}, Cart, Cart([Line(1)])),
        ("5", Annotated[int, "a type that says nothing"] | str, "5"),
        ({"limit": "5"}, Account, Account(limit=5)),
        ([1, "a"], list[T], [1, "a"]),  # type: ignore[valid-type]
        ({"a": 1}, Readable, {"a": 1}),
        ([1], Any, [1]),
        ([1], object, [1]),
    ]
    for plain, annotation, expected in cases:
        with subtests.test(str(annotation)):
            assert fit(plain, annotation, "cart") == expected
