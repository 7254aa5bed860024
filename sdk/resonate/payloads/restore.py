"""Restoring JSON data to the types that annotations name: what is done where it does not fit.

`fit` refuses what does not fit, `restore` leaves it as it is (docs/decisions/0045). The conversion is in `fitting`.
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
"""How many annotations are remembered about which something was logged."""

logger = logging.getLogger("resonate.restore")
_told: set[str] = set()


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
            back = convert(rewritten(value), self.annotation, "")
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
    if annotation is not Any or type(value) in PLAIN or what in _told or len(_told) >= _MAX_TOLD:
        return
    try:
        again = rewritten(value)
    except Exception:  # it does not travel, and the sender gets the error
        return
    if type(again) is not type(value):
        _told.add(what)
        before, after = type(value).__name__, type(again).__name__
        logger.debug("%s is a %s and comes back as a %s: annotate it", what, before, after)


def doubted(annotation: Any) -> Any:
    """Return the annotation, as `Doubtful` if msgspec cannot tell its values apart."""
    if annotation is Any or annotation in PLAIN:
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
    """Convert JSON data to the annotated type; what an annotation does not say how to restore comes back as it is.

    Args:
        plain: the data.
        annotation: the type.
        path: what the data is called in the error.

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
