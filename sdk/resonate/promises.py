"""`resonate.promises`: create, read and settle promises from outside of a workflow.

A person's answer, a webhook or a script reaches a waiting workflow by `resonate.promises.resolve("p1", value="yes")`.
Calls, `DurablePromise` and error codes are those of SDK 0.6.7 (docs/protocol.md 4.2, 4.3). The store does not know
idempotency keys and `strict`: this client checks them (`idempotency`).
"""

from __future__ import annotations

import binascii
import logging
from typing import Any, NoReturn, Protocol, runtime_checkable

from msgspec import MsgspecError, Struct, json

from resonate.encoders import Encoder
from resonate.errors import ResonateCanceledError, ResonateStoreError, ResonateTimedoutError, refusal
from resonate.errors.mistakes import ArgumentTypeError, ArgumentValueError
from resonate.idempotency import COMPLETE_KEY, already_exists, complete_key, create_key, settled_alike
from resonate.validation import require, require_text, require_texts, within_time
from resonate_store.interface import Store
from resonate_store.model.records import PromiseView, SettledState, Value
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseSettle, Response
from resonate_store.model.tags import IDEMPOTENCY_KEY

NOT_GIVEN: Any = object()
"""Default of an argument for which None is a value."""
_ANCIENT_MS = 100_000_000_000
"""March 1973. An earlier deadline, except 0, is probably in seconds, or a duration."""
_SETTLED_CODES = {"resolved": 40301, "rejected": 40302, "rejected_canceled": 40303, "rejected_timedout": 40304}
_WORDS = {"rejected_canceled": "canceled", "rejected_timedout": "timedout"}

logger = logging.getLogger("resonate.promises")


class DurableValue(Struct, frozen=True):
    """A payload: its headers, and its data as text."""

    headers: dict[str, str]
    data: str | None

    def to_tuple(self) -> tuple[dict[str, str], str | None]:
        """Return headers and data, as `PairEncoder` takes them."""
        return self.headers, self.data


class DurablePromise(Struct):
    """A promise as it was when it was read, or last settled by its methods.

    Attributes:
        state: "PENDING", "RESOLVED", "REJECTED", "REJECTED_CANCELED" or "REJECTED_TIMEDOUT".
        timeout, created_on, completed_on: instants in milliseconds since the epoch; `timeout` is the deadline.
        ikey_for_create, ikey_for_complete: the idempotency keys of its creation and of its settlement.
        param, value: what it was created with, and what it was settled with.
        store: where it was read; its methods use it.
    """

    id: str
    state: str
    timeout: int
    ikey_for_create: str | None
    ikey_for_complete: str | None
    param: DurableValue
    value: DurableValue
    tags: dict[str, str]
    created_on: int
    completed_on: int | None
    store: Stored

    @property
    def pending(self) -> bool:
        return self.state == "PENDING"

    @property
    def completed(self) -> bool:
        return not self.pending

    @property
    def resolved(self) -> bool:
        return self.state == "RESOLVED"

    @property
    def rejected(self) -> bool:
        return self.state == "REJECTED"

    @property
    def canceled(self) -> bool:
        return self.state == "REJECTED_CANCELED"

    @property
    def timedout(self) -> bool:
        return self.state == "REJECTED_TIMEDOUT"

    @property
    def abs_timeout(self) -> float:
        """The deadline in seconds since the epoch."""
        return self.timeout / 1000

    @property
    def rel_timeout(self) -> float:
        """The time from its creation to its deadline, in seconds."""
        return (self.timeout - self.created_on) / 1000

    def resolve(
        self,
        data: str | None = None,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        value: Any = NOT_GIVEN,
    ) -> None:
        """Resolve it and update this object; see `Promises.resolve`."""
        promises = self.store.promises
        self._become(promises.resolve(self.id, ikey=ikey, strict=strict, headers=headers, data=data, value=value))

    def reject(
        self,
        data: str | None = None,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        value: Any = NOT_GIVEN,
    ) -> None:
        """Reject it and update this object; see `Promises.reject`."""
        promises = self.store.promises
        self._become(promises.reject(self.id, ikey=ikey, strict=strict, headers=headers, data=data, value=value))

    def cancel(
        self, data: str | None, *, ikey: str | None = None, strict: bool = False, headers: dict[str, str] | None = None
    ) -> None:
        """Cancel it and update this object; see `Promises.cancel`."""
        self._become(self.store.promises.cancel(self.id, ikey=ikey, strict=strict, headers=headers, data=data))

    def callback(self, id: str, root_promise_id: str, recv: str) -> Callback | None:  # noqa: ARG002
        """Resume the task of `root_promise_id` at the address `recv` when this promise settles. `id` has no effect.

        Return None if it has settled, or if the callback exists.
        """
        promise, callback = self._watched().callback(self.id, root_promise_id, recv, self.timeout)
        if promise.completed:
            self._become(promise)
        return callback

    def subscribe(self, id: str, recv: str) -> Callback | None:
        """Send this promise to the address `recv` when it settles. `id` names the subscription.

        Return None if it has settled, or if `recv` has subscribed before.
        """
        promise, callback = self._watched().subscribe(id, self.id, recv, self.timeout)
        if promise.completed:
            self._become(promise)
        return callback

    def result(self, encoder: Encoder[Any, Any]) -> Any:
        """Return the value, or raise the error, as `encoder` decodes headers and data.

        Raises:
            ValueError: the promise is pending.
        """
        if self.pending:
            raise ValueError(f"promise {self.id} is pending and has no result")
        if self.canceled:
            raise ResonateCanceledError(self.id)
        if self.timedout:
            raise ResonateTimedoutError(self.id, self.abs_timeout)
        value: Any = encoder.decode(self.value.to_tuple())
        if self.rejected:
            raise value if isinstance(value, BaseException) else Exception(value)
        return value

    def _watched(self) -> Watched:
        promises = self.store.promises
        if not isinstance(promises, Watched):
            raise TypeError(f"{type(promises).__name__} has no callbacks: a LocalStore has; elsewhere, await a handle")
        return promises

    def _become(self, promise: DurablePromise) -> None:
        self.state = promise.state
        self.ikey_for_complete = promise.ikey_for_complete
        self.value = promise.value
        self.completed_on = promise.completed_on


class Callback(Struct, frozen=True):
    """A callback or subscription on a promise. Instants are milliseconds since the epoch."""

    id: str
    promise_id: str
    timeout: int
    created_on: int


class Stored(Protocol):
    """Protocol of an object with `promises`, such as a `Resonate` or a store."""

    @property
    def promises(self) -> Promises: ...


@runtime_checkable
class Watched(Protocol):
    """Protocol of promises with callbacks and subscriptions."""

    def callback(
        self, promise_id: str, root_promise_id: str, recv: str, timeout: int
    ) -> tuple[DurablePromise, Callback | None]: ...

    def subscribe(
        self, id: str, promise_id: str, recv: str, timeout: int
    ) -> tuple[DurablePromise, Callback | None]: ...


class Promises:
    """Access to the promises of a store.

    Args:
        store: the store.
        checked: whether to refuse data that the awaiter cannot read: without headers, data must be JSON.
    """

    def __init__(self, store: Store, *, checked: bool = False) -> None:
        self._store = store
        self._checked = checked

    @property
    def promises(self) -> Promises:
        """This object, so that a `DurablePromise` can use it as its `store`."""
        return self

    def get(self, id: str) -> DurablePromise:
        """Return the promise with the id `id`.

        Raises:
            ResonateStoreError: the promise does not exist (code 100.40400).
            TypeError: the id is not a `str`.
        """
        return self.shown(self._read(id))

    def create(
        self,
        id: str,
        timeout: int,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> DurablePromise:
        """Create a promise, or return the one with the same id and idempotency key.

        Args:
            id: the id of the promise.
            timeout: the deadline, in milliseconds since the epoch. If it has passed, the promise is created as timed
                out. `sys.maxsize` means no deadline.
            ikey: the idempotency key, with which the call can be repeated. Without one, an existing promise is a
                conflict.
            strict: whether an existing promise that is settled is a conflict, even if the keys match.
            headers, data: its param: headers, and any text.
            tags: stored with it.

        Raises:
            ResonateStoreError: it was created by another call (code 100.40900), or the request is invalid.
            TypeError: an argument is of the wrong type.
        """
        check_creation(id, timeout, ikey, tags)
        value = payload(headers, data)
        existing = self._store.apply(PromiseGet(id)).promise
        if existing is None:
            kept = self.kept(tags, ikey)
            request = PromiseCreate(id, within_time(timeout), value, kept)
            created = accepted(self._store.apply(request), id)
            if not created.pending and 0 < timeout < _ANCIENT_MS:
                logger.warning(
                    "promise %s has timed out at once: its timeout, %d, is milliseconds since 1970", id, timeout
                )
            if created.param == request.param and created.tags == kept:
                return self.shown(created)
            existing = created
        if ikey is None or create_key(existing) != ikey or (strict and not existing.pending):
            raise already_exists(id)
        return self.shown(existing)

    def resolve(
        self,
        id: str,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
        value: Any = NOT_GIVEN,
    ) -> DurablePromise:
        """Resolve a promise: `resolve(id, value="yes")`.

        Args:
            id: the promise.
            ikey: the idempotency key, with which the call can be repeated. Without one, a settled promise is a
                conflict.
            strict: whether a repetition also requires that the promise is resolved, and did not time out.
            headers, data: its value as it is stored: data is a JSON document. With headers, even empty ones, data may
                be any text, for a promise that is awaited with an encoder.
            value: its value, encoded like the result of a workflow; give it instead of `data`.

        Raises:
            ResonateStoreError: it does not exist (100.40400), or another call settled it (100.40301 to 100.40304).
            TypeError: an argument is of the wrong type, or both `data` and `value` are given.
            ValueError: `data` is not JSON, so the awaiter could not read it. The promise is not settled.
            PayloadError: `value` cannot be encoded.
        """
        return self._settle(id, "resolved", ikey, strict, self._value_of(id, headers, data, value))

    def reject(
        self,
        id: str,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
        value: Any = NOT_GIVEN,
    ) -> DurablePromise:
        """Reject a promise; see `resolve`. Its awaiter gets the exception `value`, or one that carries `data`."""
        return self._settle(id, "rejected", ikey, strict, self._value_of(id, headers, data, value))

    def cancel(
        self,
        id: str,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
    ) -> DurablePromise:
        """Cancel a promise; see `resolve`. Its awaiter gets a `ResonateCanceledError`."""
        return self._settle(id, "rejected_canceled", ikey, strict, self._value_of(id, headers, data, NOT_GIVEN))

    def _value_of(self, id: str, headers: dict[str, str] | None, data: str | None, value: Any) -> Value:
        """Return the payload that a promise is settled with. See `resolve` for what is raised."""
        if value is NOT_GIVEN:
            if self._checked and headers is None and isinstance(data, str) and not _is_json(data):
                raise ArgumentValueError(
                    f"data must be JSON, got {data!r:.80}: value={data!r:.80} encodes it; with headers={{}} it may be"
                    " any text, for a promise that is awaited with an encoder of its own"
                )
            return payload(headers, data)
        if data is not None:
            both = "a promise is settled with value, which is encoded, or with data, which is JSON: give one"
            raise ArgumentTypeError(both)
        from resonate.payloads import codec

        what = f"the value of promise {id}"
        encoded = codec.encode_error(value) if isinstance(value, BaseException) else codec.encode(value, what, "value")
        return Value({**(encoded.headers or {}), **(payload(headers, None).headers or {})} or None, encoded.data)

    def _settle(self, id: str, state: SettledState, ikey: str | None, strict: bool, value: Value) -> DurablePromise:
        require_text("ikey", ikey)
        if ikey is not None:
            value = Value({**(value.headers or {}), COMPLETE_KEY: ikey}, value.data)
        promise = self._read(id)
        if promise.pending:
            promise = accepted(self._store.apply(PromiseSettle(id, state, value)), id)
            if (promise.state, promise.value) == (state, value):
                return self.shown(promise)
        return self.shown(promise) if settled_alike(promise, state, ikey, strict) else _refuse(promise)

    def kept(self, tags: dict[str, str] | None, ikey: str | None) -> dict[str, str]:
        """Return the tags with which a promise with these `tags` and the key `ikey` is stored."""
        return dict(tags or {}) if ikey is None else {**(tags or {}), IDEMPOTENCY_KEY: ikey}

    def shown(self, promise: PromiseView) -> DurablePromise:
        """Return the stored `promise` as users see it."""
        return shown(promise, self)

    def _read(self, id: str) -> PromiseView:
        require("id", id, str)
        return accepted(self._store.apply(PromiseGet(id)), id)


def _is_json(text: str) -> bool:
    try:
        json.decode(text)
    except (MsgspecError, UnicodeError, RecursionError):
        return False
    return True


def accepted(response: Response, id: str) -> PromiseView:
    """Return the promise of a response; raise an error if there is none."""
    if response.promise is not None:
        return response.promise
    if response.status == 404:
        raise ResonateStoreError("The specified promise was not found", 40400, {"id": id})
    raise refusal(response.status, response.error, {"id": id})


def _refuse(promise: PromiseView) -> NoReturn:
    word = _WORDS.get(promise.state, promise.state)
    code = _SETTLED_CODES[promise.state]
    raise ResonateStoreError(f"The specified promise is already {word}", code, {"id": promise.id})


def check_creation(id: str, timeout: int, ikey: str | None, tags: dict[str, str] | None) -> None:
    """Raise a `TypeError` for an argument of a creation that has the wrong type."""
    require("id", id, str)
    require("timeout", timeout, int, "the instant in milliseconds since the epoch")
    require_text("ikey", ikey)
    require_texts("tags", tags)


def payload(headers: dict[str, str] | None, data: str | None, of: str = "") -> Value:
    """Return headers and text as they are stored. Raise a `TypeError` if one is of the wrong type.

    Args:
        headers, data: the payload.
        of: the prefix of the arguments' names in the error.
    """
    require_texts(f"{of}headers", headers)
    require_text(f"{of}data", data, "for example JSON")
    encoded = None if data is None else binascii.b2a_base64(data.encode(), newline=False).decode()
    return Value(headers, encoded)


def read_value(value: Value) -> DurableValue:
    """Return a stored payload as users see it."""
    headers = {name: text for name, text in (value.headers or {}).items() if name != COMPLETE_KEY}
    try:
        data = None if value.data is None else binascii.a2b_base64(value.data).decode()
    except ValueError:  # another client stored text that is not base64
        data = value.data
    return DurableValue(headers, data)


def shown(promise: PromiseView, store: Stored) -> DurablePromise:
    """Return a stored promise as users see it, with methods that use `store`."""
    return DurablePromise(
        id=promise.id,
        state=promise.state.upper(),
        timeout=promise.timeout_at,
        ikey_for_create=create_key(promise),
        ikey_for_complete=complete_key(promise),
        param=read_value(promise.param),
        value=read_value(promise.value),
        tags=promise.tags,
        created_on=promise.created_at,
        completed_on=promise.settled_at,
        store=store,
    )
