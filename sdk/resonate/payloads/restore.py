"""Restoring of JSON data to annotated types, and what happens if it does not fit.

`fit` refuses data that does not fit, `restore` returns it as it is (docs/decisions/0045). `fitting` converts the data.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

import msgspec

from resonate.payloads.annotations import PLAIN, Unresolved, name_of
from resonate.payloads.fitting import Unfit, convert, despite_its_keys, rewritten
from resonate.payloads.forms import difference

_MAX_TOLD = 1_000
"""Maximum number of annotations that are remembered, so that each is logged once."""

logger = logging.getLogger("resonate.restore")
_told: set[str] = set()


class Asked:
    """The type that a caller gives as `result_type=`. Data that does not fit it is an error.

    Args:
        annotation: the type.
    """

    __slots__ = ("annotation",)

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation


class Doubtful:
    """A type whose values JSON data does not always distinguish, such as `datetime | str`.

    Args:
        annotation: the type.
    """

    __slots__ = ("annotation",)

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def changes(self, value: Any) -> bool:
        """Return whether a value would be restored to another value."""
        try:
            back = convert(rewritten(value), self.annotation, "")
        except Exception:  # the encoder or reader raises the error
            return False
        return not (isinstance(value, type(back)) and value == back) and difference(value, back, "") is not None


def tell_change(what: str, value: Any, annotation: Any) -> None:
    """Log once, at level DEBUG, that a value without an annotation changes its type when it is restored.

    Args:
        what: names the value, such as "the result of f".
        value: the value.
        annotation: its annotation.
    """
    if annotation is not Any or type(value) in PLAIN or what in _told or len(_told) >= _MAX_TOLD:
        return
    try:
        again = rewritten(value)
    except Exception:  # it has no JSON form, and the sender gets the error
        return
    if type(again) is not type(value):
        _told.add(what)
        before, after = type(value).__name__, type(again).__name__
        logger.debug("%s is a %s and comes back as a %s: annotate it", what, before, after)


def doubted(annotation: Any) -> Any:
    """Return the annotation, as `Doubtful` if msgspec cannot distinguish its values."""
    if annotation is Any or annotation in PLAIN:
        return annotation
    if _has_doubtful_keys(annotation):
        return Doubtful(annotation)
    try:
        msgspec.json.Decoder(annotation)
    except TypeError:
        return Doubtful(annotation)
    except Exception:  # the annotation cannot be resolved
        return annotation
    return annotation


def _has_doubtful_keys(annotation: Any) -> bool:
    """Return whether it has a mapping whose keys may be text or something else: all keys of JSON are text."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping) and arguments:
        keys = get_args(arguments[0])
        if get_origin(arguments[0]) in (Union, types.UnionType) and str in keys:
            return True
    return any(map(_has_doubtful_keys, arguments))


def restore(plain: Any, annotation: Any) -> Any:
    """Convert JSON data to the annotated type. Data that does not fit is returned as it is, and logged once.

    Raises:
        Unfit: it does not fit the type of an `Asked`.
    """
    if annotation is Any or annotation is None or (type(plain) is annotation and annotation in PLAIN):
        return plain
    if type(annotation) is Asked:
        return fit(plain, annotation.annotation, "")
    if type(annotation) is Doubtful:
        annotation = annotation.annotation
    try:
        return convert(plain, annotation, "")
    except Unfit:
        pass
    except Exception as error:
        _tell_unresolved(annotation, error)
        return plain
    try:
        return despite_its_keys(plain, annotation)
    except Exception:
        _tell_once(
            annotation,
            "a result is not the %s that its function is annotated with, and stays a %s",
            type(plain).__name__,
        )
        return plain


def fit(plain: Any, annotation: Any, path: str) -> Any:
    """Convert JSON data to the annotated type. If the annotation cannot be resolved, return the data as it is.

    Args:
        plain: the data.
        annotation: the type.
        path: names the data in the error.

    Raises:
        Unfit: it does not fit.
    """
    if annotation is Any or (type(plain) is annotation and annotation in PLAIN):
        return plain
    if type(annotation) is Doubtful:
        annotation = annotation.annotation
    try:
        return convert(plain, annotation, path)
    except Unfit:
        raise
    except Exception as error:
        _tell_unresolved(annotation, error)
        return plain


def _tell_unresolved(annotation: Any, error: Exception) -> None:
    reason = str(error) if isinstance(error, Unresolved) else type(error).__name__
    _tell_once(annotation, "data is neither restored to %s nor checked: it cannot be resolved (%s)", reason)


def _tell_once(annotation: Any, message: str, detail: str) -> None:
    name = name_of(annotation)
    if name not in _told and len(_told) < _MAX_TOLD:
        _told.add(name)
        logger.warning(message, name, detail)
