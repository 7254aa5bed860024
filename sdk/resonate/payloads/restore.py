"""Restoring JSON data to the types that annotations name.

msgspec does it in one call for nearly everything: dataclasses, structs, datetimes, decimals, UUIDs, enums, bytes,
tuples, sets, typed dictionaries. What it refuses is taken to pieces here, for three reasons:

- Types of others that read themselves, and those of `forms`.
- Annotations that msgspec cannot express, because the data alone does not tell the types apart, such as a union of two
  dataclasses. Of a union the member is taken that gives the same data when it is written again, else the one that
  loses the least; text stays text, and a number that number, where its type is a member.
- The error: it names the path of the part that does not fit.

The containers of `collections` are taken to pieces as well; the factory of a `defaultdict` and the `maxlen` of a
`deque` are no data, so they come back without.

`fit` refuses what does not fit, `restore` leaves it as it is (docs/decisions/0045).
"""

from __future__ import annotations

import enum
import logging
import re
import types
import typing
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec

from resonate.payloads.forms import difference, is_model, model_of, read, written

_SCALARS = (str, int, float, bool, type(None))
_PLAIN = (*_SCALARS, list, dict)
_CONTAINERS = (Counter, OrderedDict, defaultdict, deque)
_LONGEST = 40
"""How much of a text an error shows (characters)."""
_SECONDS = re.compile(r"[+-]\d\d:\d\d:\d\d(\.\d+)?$")
"""An offset that has seconds, which msgspec does not read."""
_MOST_TOLD = 1_000
"""How many annotations are remembered about which something was logged."""

logger = logging.getLogger("resonate.restore")
_told: set[str] = set()


class Unfit(Exception):
    """The data is not of the annotated type.

    Args:
        path: where in the data.
        problem: what is wrong there.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


class Unresolved(Exception):
    """The annotation does not say how to restore data."""


class Asked:
    """The type that a caller has asked for by `result_type=`: data that does not fit it is an error.

    Args:
        annotation: the type.
    """

    __slots__ = ("annotation",)

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation


class Doubtful:
    """A type of which JSON data does not always tell the values apart, such as `datetime | str`.

    Args:
        annotation: the type.
    """

    __slots__ = ("annotation",)

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def changes(self, value: Any) -> bool:
        """Whether a value would come back as another."""
        try:
            back = _fitted(_again(value), self.annotation, "")
        except Exception:  # the encoder or reader says so
            return False
        return not (isinstance(value, type(back)) and value == back) and difference(value, back, "") is not None


def tell_change(what: str, value: Any, annotation: Any) -> None:
    """Log once that a value without an annotation comes back as another type, at the level DEBUG.

    Args:
        what: names the value, such as "the result of f".
        value: the value.
        annotation: its annotation.
    """
    if annotation is not Any or type(value) in _PLAIN or what in _told or len(_told) >= _MOST_TOLD:
        return
    try:
        again = _again(value)
    except Exception:  # it does not travel, and the sender gets the error
        return
    if type(again) is not type(value):
        _told.add(what)
        before, after = type(value).__name__, type(again).__name__
        logger.debug("%s is a %s and comes back as a %s: annotate it", what, before, after)


def doubted(annotation: Any) -> Any:
    """Return the annotation, as `Doubtful` if msgspec cannot tell its values apart."""
    if annotation is Any or annotation in _PLAIN:
        return annotation
    if _has_doubtful_keys(annotation):
        return Doubtful(annotation)
    try:
        msgspec.json.Decoder(annotation)
    except TypeError:
        return Doubtful(annotation)
    except Exception:  # it cannot be resolved
        return annotation
    return annotation


def _has_doubtful_keys(annotation: Any) -> bool:
    """Whether it has a mapping whose keys may be text or something else: all keys of JSON are text."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping) and arguments:
        keys = get_args(arguments[0])
        if get_origin(arguments[0]) in (Union, types.UnionType) and str in keys:
            return True
    return any(map(_has_doubtful_keys, arguments))


def restore(plain: Any, annotation: Any) -> Any:
    """Convert JSON data to the annotated type; data that does not fit comes back as it is, and the log says so once.

    Raises:
        Unfit: it does not fit what a caller has `Asked` for.
    """
    if annotation is Any or annotation is None or (type(plain) is annotation and annotation in _PLAIN):
        return plain
    if type(annotation) is Asked:
        return fit(plain, annotation.annotation, "")
    if type(annotation) is Doubtful:
        annotation = annotation.annotation
    try:
        return _fitted(plain, annotation, "")
    except Unfit:
        pass
    except Exception as error:
        _tell_unresolved(annotation, error)
        return plain
    try:
        return _despite_its_keys(plain, annotation)
    except Exception:
        _tell_once(
            annotation,
            "a result is not the %s that its function is annotated with, and stays a %s",
            type(plain).__name__,
        )
        return plain


def fit(plain: Any, annotation: Any, path: str) -> Any:
    """Convert JSON data to the annotated type; what an annotation does not say how to restore comes back as it is.

    Args:
        plain: the data.
        annotation: the type.
        path: what the data is called in the error.

    Raises:
        Unfit: it does not fit.
    """
    if annotation is Any or (type(plain) is annotation and annotation in _PLAIN):
        return plain
    if type(annotation) is Doubtful:
        annotation = annotation.annotation
    try:
        return _fitted(plain, annotation, path)
    except Unfit:
        raise
    except Exception as error:
        _tell_unresolved(annotation, error)
        return plain


def _tell_unresolved(annotation: Any, error: Exception) -> None:
    reason = str(error) if isinstance(error, Unresolved) else type(error).__name__
    _tell_once(annotation, "data is neither restored to %s nor checked: it cannot be resolved (%s)", reason)


def _tell_once(annotation: Any, message: str, detail: str) -> None:
    name = _name_of(annotation)
    if name not in _told and len(_told) < _MOST_TOLD:
        _told.add(name)
        logger.warning(message, name, detail)


def _fitted(plain: Any, annotation: Any, path: str) -> Any:
    """Return the data as the annotated type.

    Raises:
        Unfit: it does not fit.
        Unresolved: the annotation does not say what fits.
    """
    try:
        return msgspec.convert(plain, annotation, str_keys=True, dec_hook=_read_by_its_type)
    except Exception:  # a `__post_init__` may raise anything; where it is wrong, and whether, is found out below
        return _piecewise(plain, annotation, path)


def _read_by_its_type(kind: Any, plain: Any) -> Any:
    """Read what msgspec does not know how to; see `msgspec.convert`."""
    if (get_origin(kind) or kind) in _CONTAINERS:
        return _piecewise(plain, kind, "")
    try:
        return read(kind, plain)
    except TypeError as error:  # it is not a class, or a protocol
        if isinstance(kind, type) and not getattr(kind, "_is_protocol", False):
            raise
        raise Unresolved(str(error)) from None
    except NotImplementedError:
        raise Unfit("", _expected(kind, plain)) from None


def _piecewise(plain: Any, annotation: Any, path: str) -> Any:
    annotation = _itself(annotation)
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
        raise Unresolved(f"{_name_of(annotation)} is not a type")
    kind = cast("type[Any]", kind)
    if is_model(kind):
        return _model(plain, kind, path)
    if issubclass(kind, enum.Enum):
        return _member(plain, kind, path)
    fields = _fields_of(kind)
    if fields is not None and isinstance(plain, dict):
        return _structure(cast("dict[str, Any]", plain), kind, fields, _hints_of(kind, arguments), path)
    if fields is None and isinstance(plain, list):
        return _sequence(cast("list[Any]", plain), kind, arguments, path)
    if fields is None and isinstance(plain, dict):
        return _mapping(cast("dict[str, Any]", plain), kind, arguments, path)
    return _leaf(plain, annotation, path)


def _itself(annotation: Any) -> Any:
    """Return what a `NewType`, a type alias or `LiteralString` stands for, or the annotation itself."""
    while True:
        if annotation is typing.LiteralString:
            return str
        behind = getattr(annotation, "__supertype__", None)
        if behind is None and type(annotation).__name__ == "TypeAliasType":
            behind = annotation.__value__
        if behind is None:
            return annotation
        annotation = behind


def _leaf(plain: Any, annotation: Any, path: str) -> Any:
    """Restore what has no parts."""
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
        raise Unfit(path, _expected(kind, plain)) from None


def _instant(plain: str, kind: Any, path: str) -> Any:
    """Restore a date or time, of which a `datetime` is a `date` as well."""
    for each in (kind, datetime) if kind is date else (kind,):
        try:
            return msgspec.convert(plain, each)
        except msgspec.ValidationError:
            continue
    if kind is not date and _SECONDS.search(plain):
        try:
            return kind.fromisoformat(plain)
        except ValueError:
            pass
    raise Unfit(path, _expected(kind, plain))


def _constrained(plain: Any, annotation: Any, path: str) -> Any:
    """Restore to a type with conditions; those of msgspec are checked wherever msgspec knows the type."""
    value = _fitted(plain, get_args(annotation)[0], path)
    try:
        msgspec.convert(plain, annotation, str_keys=True, dec_hook=_read_by_its_type)
    except msgspec.ValidationError as error:
        if any(isinstance(each, msgspec.Meta) for each in annotation.__metadata__):
            raise Unfit(path, str(error)) from None
    except Exception:
        pass
    return value


def _member_of_union(plain: Any, annotations: Sequence[Any], path: str) -> Any:
    """Restore to the member that fits best; the first of those that fit alike."""
    members = [_itself(annotation) for annotation in annotations]
    if type(plain) in _SCALARS and type(plain) in members:
        return plain
    best: Any = None
    best_score: float | None = None
    problems: list[Unfit] = []
    unresolved: Unresolved | None = None
    for annotation in members:
        try:
            value = _fitted(plain, annotation, path)
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
    # One member that is no JSON scalar is what was meant: say what is wrong with it.
    deep = [problem for problem in problems if problem.path != path]
    if len(deep) == 1:
        raise deep[0]
    expected = " or ".join(_name_of(annotation) for annotation in members)
    raise Unfit(path, f"expected {expected}, got {_shown(plain)}")


def _score(plain: Any, value: Any) -> float:
    """Return how much of the data a restored value keeps, less what it adds; infinity if it is the same data."""
    try:
        again = _again(value)
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
    """Restore one of several values, by how each of them is written."""
    for argument in arguments:
        if type(again := _again(argument)) is type(plain) and again == plain:
            return argument
    raise Unfit(path, f"expected {' or '.join(map(repr, arguments))}, got {_shown(plain)}")


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
    except Exception:  # what a validator of the user's has raised passes pydantic
        return Unfit(path, f"{type(error).__name__}: {error}")
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return Unfit(path, first["msg"])


def _member(plain: Any, kind: type[enum.Enum], path: str) -> enum.Enum:
    for member in kind:
        if type(again := _again(member.value)) is type(plain) and again == plain:
            return member
    if issubclass(kind, enum.Flag) and type(plain) is int:  # several members together
        try:
            return kind(plain)
        except ValueError:
            pass
    raise Unfit(path, _expected(kind, plain))


def _again(value: Any) -> Any:
    """Return a value as the data that it is read from; a number that JSON does not have, as itself."""
    return _listed(msgspec.to_builtins(value, enc_hook=written, str_keys=True))


def _listed(data: Any) -> Any:
    """Return data with lists in place of its tuples and sets."""
    if isinstance(data, dict):
        return {name: _listed(item) for name, item in cast("dict[str, Any]", data).items()}
    if isinstance(data, (list, tuple, set, frozenset)):
        return [_listed(item) for item in cast("list[Any]", data)]
    return data


def _sequence(plain: list[Any], kind: type, arguments: Sequence[Any], path: str) -> Any:
    if issubclass(kind, tuple):
        names: Sequence[str] | None = vars(cast("type", kind)).get("_fields")
        if names is not None:
            hints = _hints_of(kind, ())
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
    make = _collection(kind)
    if make is None:
        return _leaf(plain, kind, path)
    items = _each(plain, [arguments[0] if arguments else Any] * len(plain), path)
    return items if make is list else _made_of(make, items, path)


def _collection(kind: Any) -> Callable[..., Any] | None:
    """Return what makes a collection of this kind, which may be abstract, of a list; None if it is not a collection."""
    if issubclass(kind, (list, deque, set, frozenset)):
        return cast("Callable[..., Any]", kind)
    for concrete in (list, set):
        try:
            if issubclass(concrete, kind):
                return concrete
        except TypeError as error:  # a protocol
            raise Unresolved(str(error)) from None
    return None


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
        _fitted(item, annotation, f"{path}[{index}]")
        for index, (item, annotation) in enumerate(zip(plain, annotations, strict=True))
    ]


def _fields_of(kind: Any) -> Mapping[str, str] | None:
    """Return the fields of a structure, by the names that they have in data; None for any other type."""
    if typing.is_typeddict(kind):
        return {name: name for name in kind.__annotations__}
    config = getattr(kind, "__struct_config__", None)
    if config is not None:
        return (
            None if config.array_like else dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
        )
    fields = getattr(kind, "__dataclass_fields__", None)
    return None if fields is None else {name: name for name, field in fields.items() if _is_field(field)}


def _is_field(field: Any) -> bool:
    return getattr(field, "_field_type", None) is not None and field._field_type.name == "_FIELD"


def _hints_of(kind: Any, arguments: Sequence[Any]) -> dict[str, Any]:
    """Return the annotations of a class, with the arguments of a generic one in place of its variables.

    Raises:
        Unresolved: one of them names what does not exist.
    """
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception as error:
        raise Unresolved(f"{kind.__name__}: {error}") from None
    variables = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    if not variables:
        return hints
    return {name: _substituted(hint, variables) for name, hint in hints.items()}


def _substituted(hint: Any, variables: Mapping[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return variables.get(hint, hint)
    inner = getattr(hint, "__parameters__", ())
    return hint[tuple(variables.get(each, Any) for each in inner)] if inner and not isinstance(hint, type) else hint


def _structure(plain: dict[str, Any], kind: Any, fields: Mapping[str, str], hints: Mapping[str, Any], path: str) -> Any:
    """Restore a typed dictionary, a dataclass or a struct."""
    if typing.is_typeddict(kind):
        missing = sorted(kind.__required_keys__ - plain.keys())
        if missing:
            raise Unfit(_below(path, missing[0]), "missing")
        items = {
            name: _fitted(item, plain_hint(hints[name]), _below(path, name))
            for name, item in plain.items()
            if name in hints
        }
        if more := sorted(plain.keys() - items.keys()):
            raise Unfit(_below(path, more[0]), "unknown")
        return items
    config = getattr(kind, "__struct_config__", None)
    if config is not None and config.tag is not None and plain.get(config.tag_field, config.tag) != config.tag:
        raise Unfit(_below(path, config.tag_field), f"expected {config.tag!r}")
    if config is not None and config.forbid_unknown_fields:
        for name in plain:
            if name not in fields and name != config.tag_field:
                raise Unfit(_below(path, name), "unknown")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in plain:
            item = plain[name]
            if item is None and _default_is_none(kind, field):
                values[field] = None
            else:
                values[field] = _fitted(item, hints.get(field, Any), _below(path, name))
        elif not _has_default(kind, field):
            raise Unfit(_below(path, name), "missing")
    return _made(kind, values, path)


def plain_hint(hint: Any) -> Any:
    """Return the annotation of a typed dictionary's item without `Required`, `NotRequired` and `ReadOnly`."""
    while getattr(get_origin(hint), "_name", None) in ("Required", "NotRequired", "ReadOnly"):
        (hint,) = get_args(hint)
    return hint


def _default_is_none(kind: Any, field: str) -> bool:
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        return fields[field].default is None
    return _struct_defaults(kind).get(field, msgspec.NODEFAULT) is None


def _has_default(kind: Any, field: str) -> bool:
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        from dataclasses import MISSING  # a program with a dataclass has loaded it

        each = fields[field]
        return not each.init or each.default is not MISSING or each.default_factory is not MISSING
    return _struct_defaults(kind).get(field, msgspec.NODEFAULT) is not msgspec.NODEFAULT


def _struct_defaults(kind: Any) -> dict[str, Any]:
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    return dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))


def _made(kind: Any, values: dict[str, Any], path: str) -> Any:
    """Construct a dataclass or struct; fields that its constructor does not take are set afterwards."""
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
    key, item = _key_and_item(arguments)
    items: dict[Any, Any] = {}
    for name, value in plain.items():
        try:
            fitted = _key(name, key)
        except Exception:
            raise Unfit(path, f"expected keys of {_name_of(key)}, got {_shown(name)}") from None
        items[fitted] = _fitted(value, item, f"{path}[{name!r}]")
    return _contained(items, kind, path)


def _key_and_item(arguments: Sequence[Any]) -> tuple[Any, Any]:
    """The annotations of a mapping's keys and values; a `Counter` has one for its keys only."""
    return (arguments[0] if arguments else Any), (arguments[1] if len(arguments) == 2 else Any)


def _contained(items: dict[Any, Any], kind: Any, path: str) -> Any:
    if kind is defaultdict:
        return defaultdict(None, items)
    if kind is dict or not issubclass(kind, dict):
        return items
    return _made_of(cast("Callable[..., Any]", kind), items, path)


def _key(text: str, annotation: Any) -> Any:
    """The key of a JSON object, which is always text, as the annotated type.

    Raises:
        Exception: it does not fit.
    """
    annotation = _itself(annotation)
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
        raise Unfit("", _expected(annotation, text))
    kind: Any = dict[annotation, Any]
    return next(iter(msgspec.convert({text: None}, kind, str_keys=True, dec_hook=_read_by_its_type)))


def _despite_its_keys(plain: Any, annotation: Any) -> Any:
    """A mapping of which some key does not fit, and stays text; its other keys and its values are restored.

    Raises:
        Exception: it is something else that does not fit.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not (isinstance(plain, dict) and arguments and issubclass(origin or object, Mapping)):
        raise Unfit("", f"{annotation!r} is not a mapping")
    key, item = _key_and_item(arguments)
    restored: dict[Any, Any] = {}
    for name, value in cast("dict[str, Any]", plain).items():
        try:
            fitted = _key(name, key)
        except Exception:
            fitted = name
        restored[fitted] = _fitted(value, item, "")
    return _contained(restored, origin or dict, "")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _expected(kind: Any, plain: Any) -> str:
    """Return what is wrong with data of another type than expected; a text that should be something else is shown."""
    tells = isinstance(plain, str) and kind not in _PLAIN and (not isinstance(kind, type) or _fields_of(kind) is None)
    shown = _shown(plain) if tells else type(plain).__name__
    return f"expected {_name_of(kind)}, got {'None' if plain is None else shown}"


def _shown(plain: Any) -> str:
    if not isinstance(plain, _SCALARS):
        return type(plain).__name__
    try:
        text = repr(plain)
    except ValueError:  # Python does not write an integer of more than 4,300 digits
        return type(plain).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _name_of(annotation: Any) -> str:
    if annotation is type(None):
        return "None"
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
