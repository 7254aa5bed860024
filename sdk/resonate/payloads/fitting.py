"""Conversion of JSON data to annotated types, part by part if msgspec refuses the whole.

msgspec converts nearly everything in one call: dataclasses, structs, datetimes, decimals, UUIDs, enums, bytes, tuples,
sets, typed dictionaries. This module converts the rest part by part, for three reasons:

- Types that msgspec does not know: those of `forms`, and the containers of `collections`.
- Annotations that msgspec refuses because the data alone does not show the type, such as a union of two dataclasses.
  The member is chosen that gives the same data when it is written again, or else the one that loses the least. Text
  stays text if `str` is a member, and a number stays that number if its type is one.
- The error names the path of the part that does not fit.

The factory of a `defaultdict` and the `maxlen` of a `deque` are not data, so they are lost.
"""

from __future__ import annotations

import enum
import re
import types
import typing
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec

from resonate.payloads.annotations import (
    SCALARS,
    Unresolved,
    below,
    collection_of,
    default_is_none,
    fields_of,
    has_default,
    hints_of,
    itself,
    key_and_item,
    mismatch,
    name_of,
    plain_hint,
    text_of,
)
from resonate.payloads.forms import is_model, model_of, read, written

_CONTAINERS = (Counter, OrderedDict, defaultdict, deque)
_SECONDS = r"[+-]\d\d:\d\d:\d\d(\.\d+)?$"
"""An offset with seconds, which msgspec does not read."""


class Unfit(Exception):
    """The data is not of the annotated type.

    Args:
        path: the path of the part that does not fit.
        problem: what is wrong with it.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


def convert(plain: Any, annotation: Any, path: str) -> Any:
    """Return the data as the annotated type.

    Raises:
        Unfit: it does not fit.
        Unresolved: the annotation cannot be resolved.
    """
    try:
        return msgspec.convert(plain, annotation, str_keys=True, dec_hook=_read_by_its_type)
    except Exception:  # a `__post_init__` may raise any error; `_piecewise` finds the part that does not fit
        return _piecewise(plain, annotation, path)


def _read_by_its_type(kind: Any, plain: Any) -> Any:
    """Read data of a type that msgspec does not know, as its `dec_hook`."""
    if (get_origin(kind) or kind) in _CONTAINERS:
        return _piecewise(plain, kind, "")
    try:
        return read(kind, plain)
    except TypeError as error:  # it is not a class, or a protocol
        if isinstance(kind, type) and not getattr(kind, "_is_protocol", False):
            raise
        raise Unresolved(str(error)) from None
    except NotImplementedError:
        raise Unfit("", mismatch(kind, plain)) from None


def _piecewise(plain: Any, annotation: Any, path: str) -> Any:
    annotation = itself(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any or isinstance(annotation, TypeVar):
        return plain
    if annotation is None or annotation is type(None):
        return _leaf(plain, type(None), path)
    if origin is typing.Annotated:
        return _constrained(plain, annotation, path)
    if origin in (Union, types.UnionType):
        return _member_of_union(plain, arguments, path)
    if origin is Literal:
        return _literal(plain, arguments, path)
    kind: Any = origin or annotation
    if not isinstance(kind, type):
        raise Unresolved(f"{name_of(annotation)} is not a type")
    kind = cast("type[Any]", kind)
    if is_model(kind):
        return _model(plain, kind, path)
    if issubclass(kind, enum.Enum):
        return _member(plain, kind, path)
    fields = fields_of(kind)
    if fields is not None and isinstance(plain, dict):
        return _structure(cast("dict[str, Any]", plain), kind, fields, hints_of(kind, arguments), path)
    if fields is None and isinstance(plain, list):
        return _sequence(cast("list[Any]", plain), kind, arguments, path)
    if fields is None and isinstance(plain, dict):
        return _mapping(cast("dict[str, Any]", plain), kind, arguments, path)
    return _leaf(plain, annotation, path)


def _leaf(plain: Any, annotation: Any, path: str) -> Any:
    """Restore a value without parts."""
    kind = get_origin(annotation) or annotation
    if isinstance(plain, str) and kind in (date, datetime, time):
        return _instant(plain, kind, path)
    try:
        return msgspec.convert(plain, annotation, str_keys=True, dec_hook=_read_by_its_type)
    except Unresolved:
        raise
    except (TypeError, NameError) as error:
        raise Unresolved(str(error)) from None
    except Exception:
        raise Unfit(path, mismatch(kind, plain)) from None


def _instant(plain: str, kind: Any, path: str) -> Any:
    """Restore a date or time. A `datetime` is also a `date`."""
    for each in (kind, datetime) if kind is date else (kind,):
        try:
            return msgspec.convert(plain, each)
        except msgspec.ValidationError:
            continue
    if kind is not date and re.search(_SECONDS, plain):
        try:
            return kind.fromisoformat(plain)
        except ValueError:
            pass
    raise Unfit(path, mismatch(kind, plain))


def _constrained(plain: Any, annotation: Any, path: str) -> Any:
    """Restore data of an `Annotated` type. The constraints of msgspec are checked if msgspec knows the type."""
    value = convert(plain, get_args(annotation)[0], path)
    try:
        msgspec.convert(plain, annotation, str_keys=True, dec_hook=_read_by_its_type)
    except msgspec.ValidationError as error:
        if any(isinstance(each, msgspec.Meta) for each in annotation.__metadata__):
            raise Unfit(path, str(error)) from None
    except Exception:
        pass
    return value


def _member_of_union(plain: Any, annotations: Sequence[Any], path: str) -> Any:
    """Restore data to the member of a union that fits best, or to the first of those that fit equally."""
    members = [itself(annotation) for annotation in annotations]
    if type(plain) in SCALARS and type(plain) in members:
        return plain
    best: Any = None
    best_score: float | None = None
    problems: list[Unfit] = []
    unresolved: Unresolved | None = None
    for annotation in members:
        try:
            value = convert(plain, annotation, path)
        except Unfit as problem:
            problems.append(problem)
            continue
        except Unresolved as problem:
            unresolved = problem
            continue
        score = _score(plain, value)
        if best_score is None or score > best_score:
            best, best_score = value, score
    if best_score is not None:
        return best
    if unresolved is not None:
        raise unresolved
    # If one member alone fails at a part of the data, the data is meant for that member.
    deep = [problem for problem in problems if problem.path != path]
    if len(deep) == 1:
        raise deep[0]
    expected = " or ".join(name_of(annotation) for annotation in members)
    raise Unfit(path, f"expected {expected}, got {text_of(plain)}")


def _score(plain: Any, value: Any) -> float:
    """Return how much of the data a restored value keeps, minus what it adds; infinity if it is the same data."""
    try:
        again = rewritten(value)
    except Exception:
        return 0
    return float("inf") if again == plain else _kept(plain, again)


def _kept(plain: Any, again: Any) -> int:
    if isinstance(plain, dict) and isinstance(again, dict):
        one, other = cast("dict[str, Any]", plain), cast("dict[str, Any]", again)
        return sum(1 + _kept(one[name], other[name]) for name in one if name in other) - len(other.keys() - one.keys())
    if isinstance(plain, list) and isinstance(again, list):
        return sum(map(_kept, cast("list[Any]", plain), cast("list[Any]", again)))
    return int(plain == again)


def _literal(plain: Any, arguments: Sequence[Any], path: str) -> Any:
    """Return the value of a `Literal` whose data equals this data."""
    for argument in arguments:
        if type(again := rewritten(argument)) is type(plain) and again == plain:
            return argument
    raise Unfit(path, f"expected {' or '.join(map(repr, arguments))}, got {text_of(plain)}")


def _model(plain: Any, kind: Any, path: str) -> Any:
    if isinstance(plain, kind):
        return plain
    try:
        return model_of(kind, plain)
    except Exception as error:
        raise _unfit_model(error, path) from None


def _unfit_model(error: Any, path: str) -> Unfit:
    """Return what is wrong with the first part that a model refuses, without the value."""
    try:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    except Exception:  # pydantic does not catch what a user's validator raises
        return Unfit(path, f"{type(error).__name__}: {error}")
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return Unfit(path, first["msg"])


def _member(plain: Any, kind: type[enum.Enum], path: str) -> enum.Enum:
    for member in kind:
        if type(again := rewritten(member.value)) is type(plain) and again == plain:
            return member
    if issubclass(kind, enum.Flag) and type(plain) is int:  # several members together
        try:
            return kind(plain)
        except ValueError:
            pass
    raise Unfit(path, mismatch(kind, plain))


def rewritten(value: Any) -> Any:
    """Return a value as the data that it is read from. Numbers that are not finite stay as they are."""
    return _listed(msgspec.to_builtins(value, enc_hook=written, str_keys=True))


def _listed(data: Any) -> Any:
    """Return data with lists instead of tuples and sets."""
    if isinstance(data, dict):
        return {name: _listed(item) for name, item in cast("dict[str, Any]", data).items()}
    if isinstance(data, (list, tuple, set, frozenset)):
        return [_listed(item) for item in cast("list[Any]", data)]
    return data


def _sequence(plain: list[Any], kind: type, arguments: Sequence[Any], path: str) -> Any:
    if issubclass(kind, tuple):
        names: Sequence[str] | None = vars(cast("type", kind)).get("_fields")
        if names is not None:
            hints = hints_of(kind, ())
            annotations = [hints.get(name, Any) for name in names][: len(plain)]
            try:
                return cast("Callable[..., Any]", kind)(*_each(plain, annotations, path))
            except TypeError as error:
                raise Unfit(path, str(error)) from None
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = [arguments[0]] * len(plain)
        elif not arguments:
            arguments = [Any] * len(plain)
        items = tuple(_each(plain, arguments, path))
        return items if kind is tuple else _made_of(cast("Callable[..., Any]", kind), items, path)
    make = collection_of(kind)
    if make is None:
        return _leaf(plain, kind, path)
    items = _each(plain, [arguments[0] if arguments else Any] * len(plain), path)
    return items if make is list else _made_of(make, items, path)


def _made_of(make: Callable[..., Any], items: Any, path: str) -> Any:
    """Call the constructor of a container, which may be a user's."""
    try:
        return make(items)
    except Exception as error:
        raise Unfit(path, f"{type(error).__name__}: {error}") from None


def _each(plain: Sequence[Any], annotations: Sequence[Any], path: str) -> list[Any]:
    if len(plain) != len(annotations):
        raise Unfit(path, f"expected {len(annotations)} items, got {len(plain)}")
    return [
        convert(item, annotation, f"{path}[{index}]")
        for index, (item, annotation) in enumerate(zip(plain, annotations, strict=True))
    ]


def _structure(plain: dict[str, Any], kind: Any, fields: Mapping[str, str], hints: Mapping[str, Any], path: str) -> Any:
    """Restore a typed dictionary, a dataclass or a struct."""
    if typing.is_typeddict(kind):
        missing = sorted(kind.__required_keys__ - plain.keys())
        if missing:
            raise Unfit(below(path, missing[0]), "missing")
        items = {
            name: convert(item, plain_hint(hints[name]), below(path, name))
            for name, item in plain.items()
            if name in hints
        }
        if more := sorted(plain.keys() - items.keys()):
            raise Unfit(below(path, more[0]), "unknown")
        return items
    config = getattr(kind, "__struct_config__", None)
    if config is not None and config.tag is not None and plain.get(config.tag_field, config.tag) != config.tag:
        raise Unfit(below(path, config.tag_field), f"expected {config.tag!r}")
    if config is not None and config.forbid_unknown_fields:
        for name in plain:
            if name not in fields and name != config.tag_field:
                raise Unfit(below(path, name), "unknown")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in plain:
            item = plain[name]
            if item is None and default_is_none(kind, field):
                values[field] = None
            else:
                values[field] = convert(item, hints.get(field, Any), below(path, name))
        elif not has_default(kind, field):
            raise Unfit(below(path, name), "missing")
    return _made(kind, values, path)


def _made(kind: Any, values: dict[str, Any], path: str) -> Any:
    """Construct a dataclass or struct. Fields that its constructor does not take are set afterwards."""
    fields = getattr(kind, "__dataclass_fields__", {})
    later = {name: values.pop(name) for name in list(values) if name in fields and not fields[name].init}
    try:
        made = kind(**values)
        for name, value in later.items():
            object.__setattr__(made, name, value)
    except Exception as error:
        raise Unfit(path, f"{type(error).__name__}: {error}") from None
    return made


def _mapping(plain: dict[str, Any], kind: type, arguments: Sequence[Any], path: str) -> Any:
    try:
        fits = issubclass(kind, Mapping) or issubclass(dict, kind)
    except TypeError as error:  # a protocol
        raise Unresolved(str(error)) from None
    if not fits:
        return _leaf(plain, kind, path)
    key, item = key_and_item(arguments)
    items: dict[Any, Any] = {}
    for name, value in plain.items():
        try:
            fitted = _key(name, key)
        except Exception:
            raise Unfit(path, f"expected keys of {name_of(key)}, got {text_of(name)}") from None
        items[fitted] = convert(value, item, f"{path}[{name!r}]")
    return _contained(items, kind, path)


def _contained(items: dict[Any, Any], kind: Any, path: str) -> Any:
    if kind is defaultdict:
        return defaultdict(None, items)
    if kind is dict or not issubclass(kind, dict):
        return items
    return _made_of(cast("Callable[..., Any]", kind), items, path)


def _key(text: str, annotation: Any) -> Any:
    """Return the key of a JSON object, which is always text, as the annotated type.

    Raises:
        Exception: it does not fit.
    """
    annotation = itself(annotation)
    if annotation is bool:
        return {"true": True, "false": False}[text]
    if get_origin(annotation) in (Union, types.UnionType):
        if str in get_args(annotation):
            return text
        for each in get_args(annotation):
            try:
                return _key(text, each)
            except Exception:
                continue
        raise Unfit("", "none of the types fits")
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        for member in annotation:
            if msgspec.json.encode({member.value: None}) == msgspec.json.encode({text: None}):
                return member
        raise Unfit("", mismatch(annotation, text))
    kind: Any = dict[annotation, Any]
    return next(iter(msgspec.convert({text: None}, kind, str_keys=True, dec_hook=_read_by_its_type)))


def despite_its_keys(plain: Any, annotation: Any) -> Any:
    """Restore a mapping. A key that does not fit stays text; all other keys and all values are restored.

    Raises:
        Exception: `plain` or `annotation` is not a mapping, or a value does not fit.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not (isinstance(plain, dict) and arguments and issubclass(origin or object, Mapping)):
        raise Unfit("", f"{annotation!r} is not a mapping")
    key, item = key_and_item(arguments)
    restored: dict[Any, Any] = {}
    for name, value in cast("dict[str, Any]", plain).items():
        try:
            fitted = _key(name, key)
        except Exception:
            fitted = name
        restored[fitted] = convert(value, item, "")
    return _contained(restored, origin or dict, "")
