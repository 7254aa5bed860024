"""How to write payloads in another way than ours (docs/protocol.md 5.8).

An encoder turns a value into what is stored, and back. `.options(encoder=...)` gives a call one of its own, for its
arguments and its result; whoever runs a call that comes from elsewhere sets the same on the registered function. These
are the building blocks of SDK 0.6.7. They do not unpickle: nothing that comes out of a store constructs objects.
"""

from __future__ import annotations

import binascii
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

from resonate.errors import PayloadError

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")

_JSON_TYPES = (str, int, float, bool, type(None))


@runtime_checkable
class Encoder(Protocol[I, O]):
    """Turns values into something else and back."""

    def encode(self, obj: I, /) -> O: ...

    def decode(self, obj: O, /) -> I: ...


class NoopEncoder:
    """Stands where an encoder is needed and nothing is to be kept: everything becomes None."""

    def encode(self, obj: Any, /) -> Any:  # noqa: ARG002
        return None

    def decode(self, obj: Any, /) -> Any:  # noqa: ARG002
        return None


class Base64Encoder:
    """Text as base64; None stays None."""

    def encode(self, obj: str | None, /) -> str | None:
        return None if obj is None else binascii.b2a_base64(obj.encode(), newline=False).decode()

    def decode(self, obj: str | None, /) -> str | None:
        return None if obj is None else binascii.a2b_base64(obj).decode()


class JsonEncoder:
    """Values as JSON; None is nothing, and an exception is its message, which comes back as a plain `Exception`.

    Raises:
        TypeError: a part of the value has no JSON form.
    """

    def encode(self, obj: Any, /) -> str | None:
        import json  # every cold start would pay for it, and few programs have an encoder

        return None if obj is None else json.dumps(obj, default=_message_of)

    def decode(self, obj: str | None, /) -> Any:
        import json

        return None if obj is None else json.loads(obj, object_hook=_error_of)


class JsonPickleEncoder:
    """The name that programs of SDK 0.6.7 import, for values that are JSON as they are.

    jsonpickle rebuilds any object that a payload names, so whoever can write to the store could run code here. It is
    never decoded; values of other types belong into annotations, which restore them, or into an encoder of your own.

    Raises:
        PayloadError: the value, or the payload, is not made of plain JSON types alone.
    """

    def encode(self, obj: Any, /) -> str:
        import json

        _refuse_objects(obj, "value")
        return json.dumps(obj)

    def decode(self, obj: str | None, /) -> Any:
        import json

        if obj is None:
            return None
        plain = json.loads(obj)
        _refuse_tags(plain)
        return plain


class HeaderEncoder(Generic[T, U]):
    """Keeps what another encoder makes under one name in the payload's headers.

    Args:
        key: the header's name.
        encoder: makes its content.
    """

    def __init__(self, key: str, encoder: Encoder[T, U]) -> None:
        self._key = key
        self._encoder = encoder

    def encode(self, obj: T, /) -> dict[str, U] | None:
        return {self._key: self._encoder.encode(obj)}

    def decode(self, obj: dict[str, U] | None, /) -> T | None:
        return self._encoder.decode(obj[self._key]) if obj and self._key in obj else None


class PairEncoder(Generic[T, U, V]):
    """Writes a value in two ways, such as headers and data; reading, the first that knows a value is believed."""

    def __init__(self, l: Encoder[T, U], r: Encoder[T, V]) -> None:  # noqa: E741
        self._left = l
        self._right = r

    def encode(self, obj: T, /) -> tuple[U, V]:
        return self._left.encode(obj), self._right.encode(obj)

    def decode(self, obj: tuple[U, V], /) -> T | None:
        left, right = obj
        value: T | None = self._left.decode(left)
        return self._right.decode(right) if value is None else value


class CombinedEncoder(Generic[T, U, V]):
    """One encoder after the other: what the left one makes of a value, the right one encodes once more."""

    def __init__(self, l: Encoder[T, U], r: Encoder[U, V]) -> None:  # noqa: E741
        self._left = l
        self._right = r

    def encode(self, obj: T, /) -> V:
        return self._right.encode(self._left.encode(obj))

    def decode(self, obj: V, /) -> T:
        return self._left.decode(self._right.decode(obj))


def _message_of(value: Any) -> dict[str, str]:
    if isinstance(value, BaseException):
        return {"__error__": str(value)}
    raise TypeError(f"JsonEncoder cannot encode a {type(value).__module__}.{type(value).__qualname__}")


def _error_of(content: dict[str, Any]) -> Any:
    return Exception(content["__error__"]) if "__error__" in content else content


def _refuse_objects(value: Any, path: str) -> None:
    if type(value) is dict:
        for key, item in cast("dict[Any, Any]", value).items():
            if type(key) is not str or key.startswith("py/"):
                raise PayloadError(f"JsonPickleEncoder encodes plain JSON only: {path} has the key {key!r}")
            _refuse_objects(item, f"{path}[{key!r}]")
    elif type(value) is list:
        for index, item in enumerate(cast("list[Any]", value)):
            _refuse_objects(item, f"{path}[{index}]")
    elif type(value) not in _JSON_TYPES:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise PayloadError(
            f"JsonPickleEncoder encodes plain JSON only, and {path} is a {kind}: leave the encoder out and annotate the"
            " type, which restores it without unpickling"
        )


def _refuse_tags(plain: Any) -> None:
    if isinstance(plain, dict):
        content = cast("dict[str, Any]", plain)
        for key in content:
            if key.startswith("py/"):
                raise PayloadError(f"the payload holds a pickled object ({key}), and JsonPickleEncoder never unpickles")
        for item in content.values():
            _refuse_tags(item)
    elif isinstance(plain, list):
        for item in cast("list[Any]", plain):
            _refuse_tags(item)
