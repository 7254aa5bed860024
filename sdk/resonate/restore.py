"""Restoring JSON data to the types that annotations name.

msgspec does it in one call for nearly everything: dataclasses, structs, datetimes, decimals, UUIDs, enums, bytes,
tuples, sets, typed dictionaries. Two things it leaves to us: types of others that read themselves, which are pydantic's
models, and annotations that it cannot express because the data alone does not tell the types apart, such as a union of
two dataclasses. Those are taken to pieces, and of a union the first type that the data fits is taken. The containers of
`collections` are taken to pieces as well; the factory of a `defaultdict` and the `maxlen` of a `deque` are no data, so
they come back without.
"""

from __future__ import annotations

import enum
import types
import typing
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Union, cast, get_args, get_origin

import msgspec

_PLAIN = (str, int, float, bool, type(None))
_CONTAINERS = (Counter, OrderedDict, defaultdict, deque)


class Unfit(Exception):
    """The data is not of the annotated type."""


def restore(plain: Any, annotation: Any) -> Any:
    """Convert JSON data to the annotated type; data that does not fit comes back as it is."""
    if annotation is Any or annotation is None or (annotation in _PLAIN and type(plain) is annotation):
        return plain
    try:
        return _fitted(plain, annotation)
    except Exception:  # a user's __post_init__ may raise anything
        pass
    try:
        return _despite_its_keys(plain, annotation)
    except Exception:
        return plain


def is_model(kind: Any) -> bool:
    """Whether `kind` is a pydantic model; asked without loading pydantic."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate_json")


def _fitted(plain: Any, annotation: Any) -> Any:
    """The data as the annotated type.

    Raises:
        Exception: it does not fit.
    """
    try:
        return msgspec.convert(plain, annotation, str_keys=True, dec_hook=_read_by_its_type)
    except TypeError:  # it is the annotation that msgspec cannot express
        return _piecewise(plain, annotation)
    except msgspec.ValidationError:
        arguments = get_args(annotation)
        if isinstance(plain, dict) and len(arguments) == 2 and arguments[0] is bool:  # which it reads as values only
            return _piecewise(plain, annotation)
        raise


def _read_by_its_type(kind: Any, plain: Any) -> Any:
    if is_model(kind):
        import json  # only models need it: it writes what is not finite the way that pydantic reads it

        return kind.model_validate_json(json.dumps(plain), by_alias=True, by_name=True)
    if (get_origin(kind) or kind) in _CONTAINERS:
        return _piecewise(plain, kind)
    if isinstance(plain, kind):
        return plain
    raise Unfit(f"{kind!r} cannot be made of {type(plain).__name__}")


def _piecewise(plain: Any, annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return _fitted(plain, arguments[0])
    if origin in (Union, types.UnionType):
        return _first_that_fits(plain, arguments)
    if origin is Literal:
        return _first_that_fits(plain, [type(argument) for argument in arguments if argument == plain])
    kind = origin or annotation
    if not isinstance(kind, type):
        raise Unfit(f"{annotation!r} is no type")
    if isinstance(plain, list):
        return _sequence(cast("list[Any]", plain), kind, arguments)
    if isinstance(plain, dict):
        return _mapping(cast("dict[str, Any]", plain), kind, arguments)
    if issubclass(kind, enum.Enum):
        return _member(plain, kind)
    raise Unfit(f"{annotation!r} cannot be made of {type(plain).__name__}")


def _first_that_fits(plain: Any, annotations: Iterable[Any]) -> Any:
    for annotation in annotations:
        try:
            return _fitted(plain, annotation)
        except Exception:
            continue
    raise Unfit("none of the types fits")


def _member(plain: Any, kind: type[enum.Enum]) -> enum.Enum:
    for member in kind:
        if msgspec.json.decode(msgspec.json.encode(member.value)) == plain:
            return member
    raise Unfit(f"{kind!r} has no such member")


def _sequence(plain: list[Any], kind: type, arguments: Sequence[Any]) -> Any:
    if issubclass(kind, enum.Enum):
        return _member(plain, kind)
    if issubclass(kind, tuple):
        fields: Sequence[str] | None = vars(cast("type", kind)).get("_fields")
        if fields is not None:
            hints = typing.get_type_hints(cast("type", kind))
            arguments = [hints.get(name, Any) for name in fields][: len(plain)]
            return cast("Callable[..., Any]", kind)(*_each(plain, arguments))
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = [arguments[0]] * len(plain)
        return tuple(_each(plain, arguments))
    if issubclass(kind, (str, Mapping)) or not issubclass(kind, (list, set, frozenset, Iterable)):
        raise Unfit(f"{kind!r} cannot be made of a list")
    items = _each(plain, [arguments[0] if arguments else Any] * len(plain))
    if kind is deque:
        return deque(items)
    if issubclass(kind, frozenset):
        return frozenset(items)
    return set(items) if issubclass(kind, set) else items


def _each(plain: Sequence[Any], annotations: Sequence[Any]) -> list[Any]:
    if len(plain) != len(annotations):
        raise Unfit(f"{len(annotations)} items expected, got {len(plain)}")
    return [_fitted(item, annotation) for item, annotation in zip(plain, annotations, strict=True)]


def _mapping(plain: dict[str, Any], kind: type, arguments: Sequence[Any]) -> Any:
    if typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind)
        required: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
        if not required <= plain.keys() <= hints.keys():
            raise Unfit(f"the keys are not those of {kind!r}")
        return {name: _fitted(item, hints[name]) for name, item in plain.items()}
    names = getattr(kind, "__struct_fields__", None) or getattr(kind, "__dataclass_fields__", None)
    if names is not None:
        hints = typing.get_type_hints(kind)
        named = {name: _fitted(plain[name], hints[name]) for name in names if name in plain}
        if len(named) != len(plain):
            raise Unfit(f"{kind!r} has no such fields")
        return kind(**named)
    if issubclass(kind, Mapping):
        key, item = _key_and_item(arguments)
        items = {_key(name, key): _fitted(value, item) for name, value in plain.items()}
        return _contained(items, cast("type", kind))
    raise Unfit(f"{kind!r} cannot be made of a dictionary")


def _key_and_item(arguments: Sequence[Any]) -> tuple[Any, Any]:
    """The annotations of a mapping's keys and values; a `Counter` has one for its keys only."""
    return (arguments[0] if arguments else Any), (arguments[1] if len(arguments) == 2 else Any)


def _contained(items: dict[Any, Any], kind: type) -> Any:
    made = cast("Callable[..., Any]", kind)
    if kind is defaultdict:
        return made(None, items)
    return made(items) if kind in _CONTAINERS else items


def _key(text: str, annotation: Any) -> Any:
    """The key of a JSON object, which is always text, as the annotated type.

    Raises:
        Exception: it does not fit.
    """
    if annotation is bool:
        return {"true": True, "false": False}[text]
    if get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            try:
                return _key(text, each)
            except Exception:
                continue
        raise Unfit("none of the types fits")
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        for member in annotation:
            if msgspec.json.encode({member.value: None}) == msgspec.json.encode({text: None}):
                return member
        raise Unfit(f"{annotation!r} has no such member")
    kind: Any = dict[annotation, Any]
    return next(iter(msgspec.convert({text: None}, kind, str_keys=True)))


def _despite_its_keys(plain: Any, annotation: Any) -> Any:
    """A mapping of which some key does not fit, and stays text; its other keys and its values are restored.

    Raises:
        Exception: it is something else that does not fit.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not (isinstance(plain, dict) and arguments and issubclass(origin or object, Mapping)):
        raise Unfit(f"{annotation!r} is no mapping")
    key, item = _key_and_item(arguments)
    restored: dict[Any, Any] = {}
    for name, value in cast("dict[str, Any]", plain).items():
        try:
            fitted = _key(name, key)
        except Exception:
            fitted = name
        restored[fitted] = _fitted(value, item)
    return _contained(restored, origin or dict)
