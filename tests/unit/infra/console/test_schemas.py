"""Fields of a form, from the schema that a worker announces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from resonate import Context
from resonate.worker.descriptions import descriptions_of
from resonate.workflow.registry import Registry
from resonate_infra.console.schemas import Field, fields_of


@dataclass
class Address:
    street: str
    city: str = "Kiel"


def test_each_argument_has_the_field_of_its_type() -> None:
    def order(
        ctx: Context,
        amount: int,
        /,
        price: float,
        address: Address,
        currency: Literal["EUR", "USD"] = "EUR",
        gift: bool = False,
        note: str = "hi",
        more: Any = None,
    ) -> None:
        del ctx, amount, price, address, currency, gift, note, more

    registry = Registry()
    registry.add(order)
    (described,) = descriptions_of(registry)

    assert fields_of(dict(described)) == [
        Field("amount", "integer", positional=True, hint="a whole number"),
        Field("price", "number", hint="a number"),
        Field("address", "json", hint="JSON, an object with street, city"),
        Field("currency", "choice", False, default='"EUR"', choices=('"EUR"', '"USD"'), hint="one of these"),
        Field("gift", "boolean", False, default="false", hint="yes or no"),
        Field("note", "string", False, default="hi", hint="text"),
        Field("more", "json", False, default="null", hint="JSON"),
    ]


def test_damaged_description_has_no_fields() -> None:
    assert fields_of({"schema": "nonsense"}) == fields_of({"schema": {"properties": 3}}) == []
