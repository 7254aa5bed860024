"""Descriptions of registered functions."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pydantic
import pytest

from resonate import Context
from resonate.worker import descriptions
from resonate.worker.descriptions import descriptions_of
from resonate.workflow.registry import Registry


class Item(msgspec.Struct):
    name: str
    count: int = 1


class Parcel(pydantic.BaseModel):
    weight: float


class Opaque:
    pass


class Shop:
    def sell(self, ctx: Context, item: Item, *rest: Item) -> None:
        """Sell an item."""


def send(ctx: Context, parcel: Parcel, to: Opaque | None = None, **more: str) -> None:
    del ctx, parcel, to, more


def old(_ctx: Context, number: int) -> int:
    return number


def new(_ctx: Context, number: int, /) -> int:
    return number


def of(func: Any, **options: Any) -> Any:
    registry = Registry()
    registry.add(func, **options)
    return descriptions_of(registry)[0]


def test_arguments_of_a_method_are_described_without_self_and_context() -> None:
    described = of(Shop().sell)
    assert (described["name"], described["versions"], described["doc"]) == ("sell", [1], "Sell an item.")
    assert described["schema"] == {
        "type": "object",
        "properties": {"item": {"$ref": "#/$defs/Item"}},
        "required": ["item"],
        "additionalProperties": False,
        "$defs": {
            "Item": {
                "title": "Item",
                "type": "object",
                "properties": {"name": {"type": "string"}, "count": {"type": "integer", "default": 1}},
                "required": ["name"],
            }
        },
    }


def test_models_and_types_without_a_schema_are_described() -> None:
    schema = of(send)["schema"]
    assert schema["properties"]["parcel"]["properties"] == {"weight": {"title": "Weight", "type": "number"}}
    assert schema["properties"]["to"] == {"default": None}
    assert schema["additionalProperties"] is True


def test_parameter_that_a_partial_fills_keeps_its_value_as_default() -> None:
    schema = of(partial(send, parcel=Parcel(weight=2)), name="f")["schema"]
    assert schema["required"] == []


def test_highest_version_is_described() -> None:
    registry = Registry()
    registry.add(old, "f", 1)
    registry.add(new, "f", 3)
    (described,) = descriptions_of(registry)
    assert (described["versions"], described["positional"]) == ([1, 3], ["number"])


def test_large_schema_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptions, "MOST_SCHEMA_BYTES", 200)
    assert of(Shop().sell)["schema"] == {"type": "object", "properties": {"item": {}}, "required": ["item"]}
