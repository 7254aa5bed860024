"""Encoders: payloads in another form than the SDK's JSON (docs/protocol.md 5.8).

An encoder turns a value into the text that is stored, and back. `.options(encoder=...)` sets it for one call: its
arguments and its result. A worker that runs calls of other processes sets the same encoder on the registered function,
by `function.options(encoder=...)`.

The classes are those of SDK 0.6.7. They do not unpickle, so stored data cannot construct objects.
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
    """Protocol of encoders. The encoder of a call encodes to text, or to None for nothing."""

    def encode(self, obj: I, /) -> O:
        """Return the form of the value `obj` that is stored."""
        ...

    def decode(self, obj: O, /) -> I:
        """Return the value of the stored form `obj`."""
        ...


class NoopEncoder:
    """Encoder that keeps nothing: every value becomes None."""

    def encode(self, obj: Any, /) -> Any:  # noqa: ARG002
        return None

    def decode(self, obj: Any, /) -> Any:  # noqa: ARG002
        return None


class Base64Encoder:
    """Encoder of text as base64; None stays None."""

    def encode(self, obj: str | None, /) -> str | None:
        return None if obj is None else binascii.b2a_base64(obj.encode(), newline=False).decode()

    def decode(self, obj: str | None, /) -> str | None:
        return None if obj is None else binascii.a2b_base64(obj).decode()


class JsonEncoder:
    """Encoder of values as JSON.

    None becomes None. An exception becomes its message, and is decoded as a plain `Exception`.

    Raises:
        TypeError: a part of the value has no JSON form.
    """

    def encode(self, obj: Any, /) -> str | None:
        import json  # here, because every cold start would pay for it, and few programs have an encoder

        return None if obj is None else json.dumps(obj, default=_message_of)

    def decode(self, obj: str | None, /) -> Any:
        import json

        return None if obj is None else json.loads(obj, object_hook=_error_of)


class JsonPickleEncoder:
    """Encoder of plain JSON data, under the name that programs of SDK 0.6.7 import.

    It does not use jsonpickle, which rebuilds any object that a payload names, so that a writer of the store could run
    code in the worker. For values of other types, annotate the function or write an encoder.

    Raises:
        PayloadError: the value, or the payload, is not plain JSON data.
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
    """Encoder that puts the output of another encoder into one header.

    Args:
        key: the name of the header.
        encoder: writes its content.
    """

    def __init__(self, key: str, encoder: Encoder[T, U]) -> None:
        self._key = key
        self._encoder = encoder

    def encode(self, obj: T, /) -> dict[str, U] | None:
        return {self._key: self._encoder.encode(obj)}

    def decode(self, obj: dict[str, U] | None, /) -> T | None:
        return self._encoder.decode(obj[self._key]) if obj and self._key in obj else None


class PairEncoder(Generic[T, U, V]):
    """Encoder that writes a value twice, for example as headers and as data.

    Decoding uses `l`, and `r` if `l` returns None.

    Args:
        l, r: write the first and the second element of the pair.
    """

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
    """Chain of two encoders: `r` encodes what `l` has encoded.

    Args:
        l, r: the first and the second encoder. Decoding begins with `r`.
    """

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
