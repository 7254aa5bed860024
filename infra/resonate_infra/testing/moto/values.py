"""Faster attribute values in moto's DynamoDB.

For each request moto sizes, compares and copies every attribute of each item that it touches, and builds the regular
expressions for conditions anew. This module has the same operations with fewer steps for the common types. It leaves
all other types to moto.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import moto.dynamodb.responses
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.models.utilities import dynamo_to_dict

_PLAIN = frozenset(("S", "N", "BOOL", "NULL"))
"""Types whose values are not containers."""

_size = DynamoType.size
_cast_value: Callable[[Any], Any] = vars(DynamoType)["cast_value"].fget
_deepcopy = DynamoType.__deepcopy__
_item_size = Item.size
_project = Item.project
_lex: Callable[[Any], deque[Any]] = vars(ConditionExpressionParser)["_lex_condition_expression"]


@contextmanager
def fast(enabled: bool = True) -> Generator[None]:
    """Use the faster operations while the block runs, or those of moto if not `enabled`."""
    operations: list[tuple[Any, str, Any, Any]] = [
        (DynamoType, "size", _size, size),
        (DynamoType, "cast_value", property(_cast_value), property(cast_value)),
        (DynamoType, "__deepcopy__", _deepcopy, deepcopy),
        (Item, "size", _item_size, item_size),
        (Item, "project", _project, project),
        (moto.dynamodb.responses, "dynamo_to_dict", dynamo_to_dict, plain),
        (ConditionExpressionParser, "_lex_condition_expression", _lex, _lexer()),
    ]
    with ExitStack() as stack:
        for owner, name, usual, faster in operations:
            stack.enter_context(patch.object(owner, name, faster if enabled else usual))
        yield


def size(value: Any) -> int:
    """Return the number of bytes of an attribute value, as moto counts them."""
    kind, content = value.type, value.value
    if kind == "S":
        return len(content) if content.isascii() else len(content.encode())
    if kind == "M":
        return sum(len(key.encode()) + size(_typed(each)) for key, each in content.items())
    if kind == "L":
        return sum(size(_typed(each)) for each in content)
    return _size(value)


def item_size(item: Any) -> int:
    """Return the number of bytes of an item, as moto counts them."""
    return sum([len(name.encode()) + size(value) for name, value in item.attrs.items()])


def project(item: Any, expressions: list[list[str]]) -> Any:
    """Return a copy of an item with the named attributes only."""
    if any(len(path) != 1 or "[" in path[0] for path in expressions):
        return _project(item, expressions)
    result: Any = Item(item.hash_key, item.range_key, {})
    for (name,) in expressions:
        if name in item.attrs:
            result.attrs[name] = deepcopy(item.attrs[name], {})
    return result


def cast_value(value: Any) -> Any:
    """Return an attribute value as a Python value that can be compared."""
    if value.type == "S":
        return value.value
    return Decimal(value.value) if value.type == "N" else _cast_value(value)


def deepcopy(value: Any, memo: dict[int, Any]) -> Any:
    """Return a deep copy of an attribute value."""
    kind, content = value.type, value.value
    if kind in _PLAIN:
        copied = content
    elif kind == "M":
        copied = {key: deepcopy(each, memo) if type(each) is DynamoType else each for key, each in content.items()}
    elif kind == "L":
        copied = [deepcopy(each, memo) if type(each) is DynamoType else each for each in content]
    else:
        return _deepcopy(value, memo)
    result: Any = DynamoType.__new__(DynamoType)
    result.type, result.value = kind, copied
    return result


def plain(value: Any) -> Any:
    """Return a result of moto without attribute values of moto's own types."""
    kind = value.__class__
    if kind is DynamoType:
        content = value.value
        if value.type in _PLAIN:
            return {value.type: content}
        if value.type == "M":
            return {"M": {key: plain(each) for key, each in content.items()}}
        if value.type == "L":
            return {"L": [plain(each) for each in content]}
        return dynamo_to_dict(value)
    if kind is dict or kind is LimitedSizeDict:
        return {key: plain(each) for key, each in value.items()}
    if kind is list:
        return [plain(each) for each in value]
    return value if kind is str else dynamo_to_dict(value)


def _typed(value: Any) -> Any:
    return value if type(value) is DynamoType else DynamoType(value)


def _lexer() -> Callable[[Any], deque[Any]]:
    """Return a method that splits each condition once. Nodes are tuples, which the parser does not change."""

    @functools.lru_cache(maxsize=10_000)
    def split(condition: str | None) -> tuple[Any, ...]:
        return tuple(_lex(ConditionExpressionParser(condition, {}, {})))

    def lex(parser: Any) -> deque[Any]:
        return deque(split(parser.condition_expression))

    return lex
