"""Event filters of Lambda: which records of a stream or queue reach a function.

moto does not evaluate filters, so the offline stack does. Otherwise a filter that drops too much would be found only in
production. The language is documented by AWS for event source mappings ("Control which events Lambda sends to your
function"). A pattern names fields, and lists the accepted values of each field. All fields of a pattern must match. Of
the values of a field, one must match.

A leaf of a pattern is a list of literals and operators. Literals compare by JSON type, so a number does not match a
text. Numbers in DynamoDB images are texts (`{"N": "1"}`), and so AWS has no numeric filters for them. An operator that
AWS does not document raises an error when the pattern is parsed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

from resonate_infra.json_types import is_list

Event: TypeAlias = Mapping[str, Any]
Pattern: TypeAlias = Mapping[str, Any]
Field: TypeAlias = tuple[Any, ...]
"""Values of a field: none if it is missing, several if it is an array."""

Matcher: TypeAlias = Callable[[Field], bool]

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class InvalidPatternError(ValueError):
    """AWS would refuse this pattern, or it uses an operator that AWS does not document."""


@dataclass(frozen=True, slots=True)
class FilterCriteria:
    """Filters of one event source. An event passes if any filter matches it. Without filters, every event passes."""

    matchers: tuple[Matcher, ...]

    @classmethod
    def parse(cls, patterns: Iterable[Pattern]) -> FilterCriteria:
        return cls(tuple(_fields(pattern) for pattern in patterns))

    def keep(self, event: Event) -> bool:
        return not self.matchers or any(matcher((event,)) for matcher in self.matchers)


def _fields(pattern: Any) -> Matcher:
    """Return the matcher of a pattern's object: each key must match its field, and `$or` one of its alternatives."""
    if not _is_object(pattern) or not pattern:
        raise InvalidPatternError(f"expected an object with fields, not {pattern!r}")
    conditions = [
        _alternatives(expected) if key == "$or" else _field(key, expected) for key, expected in pattern.items()
    ]

    def match(values: Field) -> bool:
        # A missing object has missing fields, which {"exists": false} accepts. In an array, one object must match
        # all conditions.
        objects: list[Event] = [value for value in values if _is_object(value)] or [{}]
        return any(all(condition((value,)) for condition in conditions) for value in objects)

    return match


def _alternatives(patterns: Any) -> Matcher:
    if not is_list(patterns) or not patterns:
        raise InvalidPatternError(f"$or takes a list of patterns, not {patterns!r}")
    matchers = [_fields(pattern) for pattern in patterns]
    return lambda values: any(matcher(values) for matcher in matchers)


def _field(key: str, expected: Any) -> Matcher:
    if key.startswith("$"):
        raise InvalidPatternError(f"unknown operator {key}")
    matcher = _values(expected) if is_list(expected) else _fields(expected)

    def match(objects: Field) -> bool:
        [parent] = objects
        if key not in parent:
            return matcher(())
        value = parent[key]
        return matcher(tuple(value) if is_list(value) else (value,))

    return match


def _values(expected: list[Any]) -> Matcher:
    """Return the matcher of a pattern's leaf: one of its literals or operators must match one value of the field."""
    if not expected:
        raise InvalidPatternError("a field needs at least one value to match")
    matchers = [_value(item) for item in expected]

    def match(values: Field) -> bool:
        # Operators see only leaves. AWS documents that even "exists" does not see an object.
        leaves = tuple(value for value in values if not _is_object(value))
        return any(matcher(leaves) for matcher in matchers)

    return match


def _value(expected: Any) -> Matcher:
    if not _is_object(expected):
        return _any_of(_equals(expected))
    if len(expected) != 1:
        raise InvalidPatternError(f"expected one operator, not {expected!r}")
    [(name, operand)] = expected.items()
    match name:
        case "exists":
            if not isinstance(operand, bool):
                raise InvalidPatternError(f"exists takes true or false, not {operand!r}")
            return lambda values: bool(values) == operand
        case "prefix":
            prefix = _text(name, operand)
            return _any_of(lambda value: isinstance(value, str) and value.startswith(prefix))
        case "suffix":
            suffix = _text(name, operand)
            return _any_of(lambda value: isinstance(value, str) and value.endswith(suffix))
        case "equals-ignore-case":
            folded = _text(name, operand).casefold()
            return _any_of(lambda value: isinstance(value, str) and value.casefold() == folded)
        case "anything-but":
            excluded = [_equals(item) for item in (operand if is_list(operand) else [operand])]
            return _any_of(lambda value: not any(same(value) for same in excluded))
        case "numeric":
            return _any_of(_numeric(operand))
        case _:
            raise InvalidPatternError(f"unknown operator {name}")


def _any_of(accepts: Callable[[Any], bool]) -> Matcher:
    return lambda values: any(accepts(value) for value in values)


def _equals(expected: Any) -> Callable[[Any], bool]:
    if not isinstance(expected, (str, int, float, bool, type(None))):
        raise InvalidPatternError(f"expected a literal, not {expected!r}")
    # In Python True equals 1, in JSON it does not. 1 and 1.0 are equal in both.
    return lambda value: value == expected and isinstance(value, bool) == isinstance(expected, bool)


def _numeric(operand: Any) -> Callable[[Any], bool]:
    """Return the predicate of `["=", n]`, `["<", n]` or a range such as `[">", n, "<=", m]`."""
    if not is_list(operand) or len(operand) not in (2, 4):
        raise InvalidPatternError(f"numeric takes one or two comparisons, not {operand!r}")
    bounds: list[tuple[Callable[[float, float], bool], float]] = []
    for name, bound in zip(operand[::2], operand[1::2], strict=True):
        if name not in COMPARISONS or not _is_number(bound):
            raise InvalidPatternError(f"unknown comparison {name!r} with {bound!r}")
        bounds.append((COMPARISONS[name], bound))
    return lambda value: _is_number(value) and all(compare(value, bound) for compare, bound in bounds)


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(name: str, operand: Any) -> str:
    if not isinstance(operand, str):
        raise InvalidPatternError(f"{name} takes a string, not {operand!r}")
    return operand
