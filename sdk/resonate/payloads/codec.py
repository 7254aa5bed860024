"""Codec of values: JSON, as base64 in `value.data`, as the official SDKs write it (docs/protocol.md 6.4).

Results are restored to the types that the function's annotations name; see `restore`. Without an annotation a result is
plain JSON data. A result that does not fit its annotation also stays plain JSON data, because a wrong annotation must
not lose the result of a step. Arguments that do not fit are refused by the worker (docs/decisions/0045).

JSON does not have infinities and not-a-number. They are written as the strings that the TypeScript SDK uses. A header
marks a payload in which such a string is a string.

`exceptions` makes the data of errors, with the text of their tracebacks. That module is loaded with the first error.
"""

from __future__ import annotations

import binascii
import math
import re
from collections import deque
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any, TypeVar, cast

import msgspec
from msgspec import structs

from resonate.encoders import Encoder
from resonate.errors import PayloadError, ResonateCanceledError, ResonateTimedoutError, ResultTypeError
from resonate.payloads.fitting import Unfit
from resonate.payloads.forms import is_model, written
from resonate.payloads.restore import restore
from resonate_store.model.records import EMPTY, PromiseView, Value
from resonate_store.model.tags import LINK

INTERRUPTED = "resonate:interrupted"
"""Header of the payload of a workflow that ended because its execution was cancelled."""
VERBATIM = "resonate:verbatim"
"""Header of a payload in which no string is the name of a number."""

_MAX_ERROR_BYTES = 256 * 1024
"""A larger error is stored without its arguments and attributes."""
_MAX_PART_BYTES = 128 * 1024
"""A larger argument or attribute of an error is left out."""

_ZONED = re.compile(rb'T\d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d:\d\d"')
_ZONED_TIME = re.compile(rb'"\d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d:\d\d"')
"""Instants with an offset other than UTC's. Each pattern begins with a literal, which makes the search fast."""
_MINUTES = re.compile(rb':\d\d"')
"""The end of both. One search is enough for most payloads."""
_MINUTE, _NONE = timedelta(minutes=1), timedelta(0)

_NUMBERS = {"__INF__": math.inf, "__NEG_INF__": -math.inf, "__NAN__": math.nan}


T = TypeVar("T")

_json = msgspec.json.Encoder(enc_hook=written)
_parse = msgspec.json.Decoder()


def encode(value: Any, what: str, root: str = "value", encoder: Encoder[Any, str | None] | None = None) -> Value:
    """Return the payload of `value`.

    Args:
        value: anything made of JSON types, dataclasses, structs, datetimes, decimals, UUIDs, enums, bytes.
        what: names the value in the error, such as "the result of foo".
        root: begins the path of a part that cannot be encoded, such as "result"; empty for a call, whose parts have
            names.
        encoder: writes the text instead of JSON.

    Raises:
        PayloadError: a part of it has no JSON form.
    """
    if encoder is not None:
        return _encoded_by(encoder, value, what)
    if value is None:
        return EMPTY
    try:
        encoded = _json.encode(value)
        if type(value) is int or type(value) is bool:  # the fast way of most results
            return Value(None, binascii.b2a_base64(encoded, newline=False).decode("ascii"))
        if type(value) is str and value not in _NUMBERS:
            return Value(None, binascii.b2a_base64(encoded, newline=False).decode("ascii"))
        # msgspec writes None as null, and also the numbers that are not finite. Few payloads have either.
        if _MINUTES.search(encoded) and (_ZONED.search(encoded) or _ZONED_TIME.search(encoded)):
            plain = msgspec.to_builtins(value, builtin_types=(datetime, time), enc_hook=written, str_keys=True)
            value, found = _zoned(plain)
            encoded = _json.encode(value) if found else encoded
        if encoded.find(b"null") >= 0:  # `in` would first look for a number, which raises an error inside
            plain, found = _named(msgspec.to_builtins(value, enc_hook=written, str_keys=True))
            if found:
                if encoded.find(b'"__') >= 0 and _names_in(_parse.decode(encoded)):
                    raise ValueError("it holds both a number that is not finite and the text that stands for one")
                encoded = _json.encode(plain)
                return Value(data=binascii.b2a_base64(encoded, newline=False).decode("ascii"))
    except Exception as error:  # a model's serialiser may raise anything
        path, culprit = _find_culprit(value, root)
        advice = "pass plain data, a dataclass, a msgspec.Struct or a pydantic model"
        if culprit.startswith("a resonate.workflow.commands."):
            advice = "it is not its own result: write `yield` (or `await`) in front of it"
        # `written` names a type without a rule, which `culprit` says already.
        reason = "" if isinstance(error, NotImplementedError) else f" ({type(error).__name__}: {error})"
        raise PayloadError(
            f"{what} cannot travel: {path or 'the call'} is {culprit}, which has no JSON form{reason}; {advice}"
        ) from None
    headers = {VERBATIM: "true"} if encoded.find(b'"__') >= 0 and _names_in(_parse.decode(encoded)) else None
    return Value(headers, binascii.b2a_base64(encoded, newline=False).decode("ascii"))


def encode_call(
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    version: int,
    encoder: Encoder[Any, str | None] | None = None,
) -> Value:
    """Return the payload of a call of a registered function.

    Raises:
        PayloadError: an argument has no JSON form.
    """
    call = {"func": name, "args": list(args), "kwargs": kwargs, "version": version}  # an encoder may know JSON only
    return encode(call, f"the arguments of {name}", "", encoder)


def _encoded_by(encoder: Encoder[Any, str | None], value: Any, what: str) -> Value:
    try:
        text: Any = encoder.encode(value)
    except Exception as error:
        name = type(error).__name__
        raise PayloadError(f"{what} cannot travel: {type(encoder).__name__} raised {name}: {error}") from error
    if text is None:
        return EMPTY
    if not isinstance(text, str):
        raise PayloadError(
            f"{what} cannot travel: {type(encoder).__name__}.encode returned `{type(text).__name__}`, and a payload is"
            " `str` or None"
        )
    return Value(data=binascii.b2a_base64(text.encode(), newline=False).decode("ascii"))


def _zoned(plain: Any) -> tuple[Any, bool]:
    """Return the data with texts for instants whose offset has seconds, and whether it has such an instant.

    msgspec would round the offset to minutes.
    """
    if isinstance(plain, (datetime, time)):
        offset = plain.utcoffset()
        odd = offset is not None and offset % _MINUTE != _NONE
        return (plain.isoformat() if odd else plain), odd
    if isinstance(plain, dict):
        zoned = {key: _zoned(item) for key, item in cast("dict[Any, Any]", plain).items()}
        return {key: item for key, (item, _) in zoned.items()}, any(found for _, found in zoned.values())
    if isinstance(plain, (list, tuple)):
        listed = [_zoned(item) for item in cast("list[Any]", plain)]
        return [item for item, _ in listed], any(found for _, found in listed)
    return plain, False


def _named(plain: Any) -> tuple[Any, bool]:
    """Return the data with names for the numbers that are not finite, and whether it has such a number."""
    if isinstance(plain, float):
        if math.isfinite(plain):
            return plain, False
        return ("__NAN__" if math.isnan(plain) else "__INF__" if plain > 0 else "__NEG_INF__"), True
    if isinstance(plain, dict):
        named = {key: _named(item) for key, item in cast("dict[str, Any]", plain).items()}
        return {key: item for key, (item, _) in named.items()}, any(found for _, found in named.values())
    if isinstance(plain, (list, tuple)):
        listed = [_named(item) for item in cast("list[Any]", plain)]
        return [item for item, _ in listed], any(found for _, found in listed)
    return plain, False


def _names_in(plain: Any) -> bool:
    """Return whether a string of the data is the name of a number."""
    if isinstance(plain, str):
        return plain in _NUMBERS
    if isinstance(plain, dict):
        return any(map(_names_in, cast("dict[str, Any]", plain).values()))
    return isinstance(plain, list) and any(map(_names_in, cast("list[Any]", plain)))


def _numbered(plain: Any) -> Any:
    """Return the data with numbers instead of their names."""
    if isinstance(plain, str):
        return _NUMBERS.get(plain, plain)
    if isinstance(plain, dict):
        return {key: _numbered(item) for key, item in cast("dict[str, Any]", plain).items()}
    return [_numbered(item) for item in cast("list[Any]", plain)] if isinstance(plain, list) else plain


def _find_culprit(value: Any, path: str) -> tuple[str, str]:
    """Return the path of the first part that has no JSON form.

    A model is one part, because it writes its own fields.
    """
    for child_path, child in () if is_model(type(value)) else _parts(value, path):
        try:
            _json.encode(child)
        except RecursionError:
            break
        except Exception:
            return _find_culprit(child, child_path)
    if isinstance(value, dict):
        for key in cast("dict[Any, Any]", value):
            try:
                _json.encode({key: None})
            except Exception:
                return f"a key of {path}" if path else "a key", _kind_of(key)
    return path, _kind_of(value)


def _kind_of(value: Any) -> str:
    module = type(value).__module__
    name = type(value).__qualname__ if module == "builtins" else f"{module}.{type(value).__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def decode(value: Value, annotation: Any = Any, encoder: Encoder[Any, str | None] | None = None) -> Any:
    """Return the value that `encode` was given, restored to `annotation` if it fits.

    Raises:
        Unfit: it does not fit the type of a `restore.Asked`.
        PayloadError: the payload is not base64 JSON, or the encoder cannot read it. The caller adds whose payload it
            is.
    """
    if encoder is not None:
        return restore(_decoded_by(encoder, value), annotation)
    if value.data is None or value.data == "":
        return None
    raw = b""
    try:
        raw = binascii.a2b_base64(value.data)
        plain = _parse.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        # a2b_base64 skips characters outside of its alphabet, so text that is not base64 can decode to nothing.
        found = f"{len(raw)} bytes, is not" if raw else f"{len(value.data)} characters, is not the base64 of"
        if _is_encrypted(value):
            raise PayloadError("it is encrypted: give this program the key, Resonate(encryptor=...)") from None
        raise PayloadError(f"its data, {found} JSON text ({error})") from None
    kind = cast("object", type(plain))
    if kind is int or kind is bool or (kind is str and plain not in _NUMBERS):
        return plain if kind is annotation or annotation is Any else restore(plain, annotation)
    if raw.find(b'"__') >= 0 and VERBATIM not in (value.headers or ()):
        plain = _numbered(plain)
    return restore(plain, annotation)


def _is_encrypted(value: Value) -> bool:
    from resonate.payloads.readable import is_encrypted  # here, because only errors need it, and it imports `json`

    return is_encrypted(value)


def decode_as(value: Value, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Return the value that `encode` was given in the type of the decoder.

    Returns:
        None if `decode` is needed: the payload is not plain JSON of this type.
    """
    if not value.data:
        return None
    try:
        raw = binascii.a2b_base64(value.data)
        return None if raw.find(b'"__') >= 0 else decoder.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _decoded_by(encoder: Encoder[Any, str | None], value: Value) -> Any:
    try:
        text = None if value.data is None else binascii.a2b_base64(value.data).decode()
        return encoder.decode(text)
    except Exception as error:
        raise PayloadError(
            f"{type(encoder).__name__} cannot read its data ({type(error).__name__}: {error})"
        ) from error


def _parts(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        parts = cast("dict[Any, Any]", value)
        if not path and set(parts) == {"func", "args", "kwargs", "version"}:
            return [("args", parts["args"]), ("kwargs", parts["kwargs"])]
        return [(f"{path}[{key!r}]", item) for key, item in parts.items()]
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return [(f"{path}[{index}]", item) for index, item in enumerate(cast("list[Any]", value))]
    names: Iterable[str] = ()
    for listing in ("__struct_fields__", "__dataclass_fields__", "__dict__"):
        names = names or _asked(value, listing, ())
    return [(f"{path}.{name}", _asked(value, name, None)) for name in names]


def _asked(value: Any, name: str, otherwise: Any) -> Any:
    """Return an attribute of a user's object, or `otherwise` if it is missing or its class raises an error."""
    try:
        return getattr(value, name, otherwise)
    except Exception:
        return otherwise


def encode_error(error: BaseException, encoder: Encoder[Any, str | None] | None = None) -> Value:
    """Return the payload of an error. If the encoder cannot write it, return the payload of the encoder's error."""
    from resonate.payloads.exceptions import data_of, texts_of, traceback_of

    state = data_of(error, _travels)
    if not state.get("traceback"):
        state["traceback"] = traceback_of(error)
    try:
        payload = encode(state, "an error", encoder=encoder)
    except PayloadError as refused:
        if encoder is not None:
            return encode_error(error if isinstance(error, PayloadError) else refused)
        return encode(texts_of(state), "an error")
    if len(payload.data or "") > _MAX_ERROR_BYTES:
        # A result that is too large becomes an error, so an error must not be too large.
        return encode(texts_of(state), "an error", encoder=encoder)
    return payload


def _travels(value: Any) -> bool:
    try:
        return len(_json.encode(value)) <= _MAX_PART_BYTES
    except Exception:
        return False


def encode_cancellation(error: BaseException) -> Value:
    """Return the payload of a workflow that ended by its cancellation: the reason, with a header that says so."""
    return structs.replace(encode(str(error), "the reason"), headers={INTERRUPTED: "true"})


def reason_of(promise: PromiseView) -> str:
    """Return the reason of a workflow that ended by its cancellation; empty if it is not known."""
    if INTERRUPTED not in (promise.value.headers or ()):
        return ""
    try:
        return str(decode(promise.value))
    except PayloadError:  # such as without the key of the encryption
        return ""


def error_in(value: Value) -> BaseException:
    """Return the error of a payload that `encode_error` made without an encoder."""
    return _rebuilt(decode(value))


def _rebuilt(content: Any) -> BaseException:
    """Return the error that this data describes."""
    from resonate.payloads.rebuild_exceptions import error_of, is_error

    return error_of(content) if is_error(content) else Exception(content)


def decode_error(promise: PromiseView, encoder: Encoder[Any, str | None] | None = None) -> BaseException:
    """Return the error of a promise that is settled but not resolved."""
    if promise.state == "rejected_timedout":
        return ResonateTimedoutError(promise.id, promise.timeout_at / 1000)
    if promise.state == "rejected_canceled":
        return ResonateCanceledError(promise.id, reason_of(promise))
    try:
        content = _error_content(promise.value, encoder)
    except PayloadError as error:
        return _unreadable(promise, error, encoder)
    if isinstance(content, BaseException):
        return content
    return _rebuilt(content)


def _error_content(value: Value, encoder: Encoder[Any, str | None] | None) -> Any:
    if encoder is not None:
        try:
            return decode(value, encoder=encoder)
        except PayloadError:  # a process without the encoder has settled it
            pass
    return decode(value)


def outcome_of(promise: PromiseView, annotation: Any = Any, encoder: Encoder[Any, str | None] | None = None) -> Any:
    """Return the value of a settled promise, or raise its error."""
    if promise.state != "resolved":
        raise decode_error(promise, encoder)
    try:
        return decode(promise.value, annotation, encoder)
    except PayloadError as error:
        raise _unreadable(promise, error, encoder) from error.__cause__
    except Unfit as unfit:
        raise ResultTypeError(
            f"promise {promise.tags.get(LINK, promise.id)}: result_type does not fit: {unfit}"
        ) from None


def _unreadable(promise: PromiseView, error: PayloadError, encoder: Encoder[Any, str | None] | None) -> PayloadError:
    id = promise.tags.get(LINK, promise.id)
    mesg = f"promise {id} is {promise.state}, and its value cannot be read: {error.mesg}"
    if encoder is None and not _is_encrypted(promise.value):
        mesg += '; settle it with a value that is encoded, promises.resolve(id, value="approved"), or with JSON'
    return PayloadError(mesg)
