"""Client-side encryption: params and values are encrypted before they leave the process.

    resonate = Resonate.local(encryptor=AESGCMEncryptor({"2026-11": key}))

These payloads are encrypted: arguments, results of steps and calls, errors, the data of promises and of retry timers,
and the payloads of `resonate.promises`. The store needs ids, tags, headers and times, so these stay readable. The names
of functions are among the tags.

A ciphertext is bound to its place: the id of the promise, and whether it is the param or the value, are authenticated
with it. A payload that a writer of the store moves elsewhere is refused there. A payload without the headers of
encryption is accepted as it is. There are three reasons: a person or webhook may settle a promise without the key, a
timeout has no value, and executions may be older than the key.

If a payload cannot be decrypted, the worker releases the task. It is offered again after pauses that grow, and halted
in the end. Its promise stays pending, and a worker that has the key can continue it.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec.structs import replace

from resonate.errors import DecryptionError
from resonate.errors.mistakes import ArgumentValueError
from resonate.payloads.readable import ENCRYPTED
from resonate.validation import require
from resonate_store.interface import MinimalStore, Store, StoreWrapper, completed
from resonate_store.model.execution_requests import ExecutionView, TaskCopy
from resonate_store.model.ids import message_id, random_bytes, state_id
from resonate_store.model.message_requests import MessageSend, TaskPublish
from resonate_store.model.records import PromiseView, Schedule, Value
from resonate_store.model.requests import (
    ContinueWithArguments,
    FulfillAndTakeOver,
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    Request,
    Response,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskRecordStep,
    TaskRelease,
)
from resonate_store.model.schedule_requests import ScheduleCreate
from resonate_store.model.tags import SCHEDULE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_ID = "x-encryption-key-id"
"""Header that names the key of an encrypted payload."""

_NONCE_BYTES = 12


@runtime_checkable
class Encryptor(Protocol):
    """Protocol of encryptors. Values without data are not passed to them."""

    def encrypt(self, value: Value, context: str) -> Value:
        """Return the value with encrypted data.

        Args:
            value: the `data` to encrypt, and headers to keep.
            context: the place of the value, such as "param:order-1". Authenticate it, to bind the ciphertext to its
                place.
        """
        ...

    def decrypt(self, value: Value, context: str) -> Value:
        """Return the value that `encrypt` was given, without the headers of encryption.

        A value that is not encrypted is returned as it is.

        Args:
            value: the payload.
            context: the place of the payload, as for `encrypt`.

        Raises:
            DecryptionError: the value is encrypted and cannot be read.
        """
        ...


class AESGCMEncryptor:
    """AES-256-GCM. The data is the base64 of nonce (12 bytes), ciphertext and tag (16 bytes).

    To rotate the key, first give every process both keys. Then make the new one `key_id`. Remove the old one when no
    execution is left that was encrypted with it.

    Args:
        keys: the keys by their ids, 32 bytes each. The ids are stored unencrypted.
        key_id: the key to encrypt with; may be left out if there is only one.
        bound: whether a ciphertext is bound to its promise (the default). Programs in other languages may not bind
            theirs: without it, both can read each other's payloads. But then a writer of the store can move a payload
            to another promise.

    Raises:
        ImportError: the package `cryptography` is not installed.
        TypeError: `keys` is not a mapping.
        ValueError: a key is not 32 bytes long, or `key_id` does not name a key.
    """

    def __init__(self, keys: Mapping[str, bytes], key_id: str | None = None, *, bound: bool = True) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ImportError(
                "encryption needs the package `cryptography`: pip install resonate-serverless[crypto]"
            ) from error
        require("keys", keys, Mapping, 'by their ids, such as {"2026": key}')
        if key_id is None:
            if len(keys) != 1:
                raise ArgumentValueError(f"key_id must name the key to encrypt with: there are {len(keys)}")
            (key_id,) = keys
        if key_id not in keys:
            raise ArgumentValueError(
                f"key_id {key_id!r} is not among the keys: {', '.join(sorted(keys)) or 'there are none'}"
            )
        for name, key in keys.items():
            if len(key) != 32:
                raise ArgumentValueError(f"key {name!r} has {len(key)} bytes, and AES-256 needs 32")
        self._keys: dict[str, AESGCM] = {name: AESGCM(key) for name, key in keys.items()}
        self._key_id = key_id
        self._bound = bound

    def __repr__(self) -> str:
        return f"AESGCMEncryptor(key_id={self._key_id!r})"

    def encrypt(self, value: Value, context: str) -> Value:
        """Return the value encrypted; see `Encryptor.encrypt`."""
        if value.data is None:
            return value
        nonce = random_bytes(_NONCE_BYTES)
        sealed = self._keys[self._key_id].encrypt(nonce, value.data.encode(), self._bind(context))
        headers = {**(value.headers or {}), ENCRYPTED: "true", KEY_ID: self._key_id}
        return Value(headers, binascii.b2a_base64(nonce + sealed, newline=False).decode())

    def decrypt(self, value: Value, context: str) -> Value:
        """Return the value decrypted; see `Encryptor.decrypt`."""
        headers = dict(value.headers or {})
        if headers.pop(ENCRYPTED, None) != "true" or value.data is None:
            return value
        key_id = headers.pop(KEY_ID, "")
        key = self._keys.get(key_id)
        if key is None:
            raise DecryptionError(context, f"it is encrypted with the key {key_id!r}, which this process does not have")
        from cryptography.exceptions import InvalidTag

        try:
            packed = binascii.a2b_base64(value.data)
            data = key.decrypt(packed[:_NONCE_BYTES], packed[_NONCE_BYTES:], self._bind(context)).decode()
        except (InvalidTag, ValueError) as error:
            raise DecryptionError(
                context,
                f"the key {key_id!r} of this process is another one, or the payload was changed or moved"
                f" ({type(error).__name__})",
            ) from None
        return Value(headers or None, data)

    def _bind(self, context: str) -> bytes | None:
        return context.encode() if self._bound else None


class EncryptedStore(StoreWrapper):
    """Store that encrypts the payloads of requests and decrypts those of responses.

    Args:
        store: the store of the promises.
        encryptor: encrypts their payloads.
    """

    def __init__(self, store: MinimalStore, encryptor: Encryptor) -> None:
        super().__init__(completed(store))
        self._encryptor = encryptor

    @property
    def underlying(self) -> Store:
        return self._store.underlying

    def apply(self, request: Request) -> Response:
        """Carry out one `request`. If the promise of an acquired task cannot be read, release the task at once.

        Raises:
            StoreError: the store cannot answer.
            DecryptionError: the answer cannot be read.
        """
        response = self._store.apply(self._sealed(request))
        try:
            return self._opened(response)
        except DecryptionError as error:
            task = response.task
            if task is None or task.state != "acquired":
                raise
            if isinstance(request, (TaskAcquire, TaskCreate, FulfillAndTakeOver)):
                self._store.apply(TaskRelease(task.id, task.version, error=str(error)))
            if isinstance(request, FulfillAndTakeOver):  # The call has ended. Only its caller cannot be read.
                return self._opened(replace(response, task=None, preload=()))
            raise

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        return [self._readable(promise) for promise in self._store.children(id, separator)]

    def open(self) -> EncryptedStore:
        return EncryptedStore(self._store.open(), self._encryptor)

    def _sealed(self, request: Request) -> Request:
        match request:
            case PromiseCreate():
                return self._sealed_creation(request)
            case PromiseSettle():
                return self._sealed_settlement(request)
            case PromiseRecord():
                return self._sealed_record(request)
            case MessageSend():
                place = message_id(request.id, request.key)
                return replace(request, value=self._hide(request.value, "param", place))
            case TaskPublish():
                place = state_id(request.id, request.key)
                return replace(request, value=self._hide(request.value, "param", place))
            case TaskRecordStep():
                return replace(request, record=self._sealed_record(request.record))
            case ContinueWithArguments():
                return replace(request, arguments=self._sealed_record(request.arguments))
            case TaskCopy(promise=copy):
                param, value = self._hide(copy.param, "param", copy.id), self._hide(copy.value, "value", copy.id)
                return replace(request, promise=replace(copy, param=param, value=value))
            case TaskCreate():
                return replace(request, promise=self._sealed_creation(request.promise))
            case TaskFulfill():
                return replace(request, settle=self._sealed_settlement(request.settle))
            case TaskFence():
                action = request.action
                if isinstance(action, PromiseCreate):
                    return replace(request, action=self._sealed_creation(action))
                return replace(request, action=self._sealed_settlement(action))
            case ScheduleCreate():
                return replace(request, promise_param=self._hide(request.promise_param, "schedule", request.id))
            case _:
                return request

    def _sealed_creation(self, request: PromiseCreate) -> PromiseCreate:
        return replace(request, param=self._hide(request.param, *_place_of_param(request.id, request.tags)))

    def _sealed_record(self, request: PromiseRecord) -> PromiseRecord:
        param = self._hide(request.param, "param", request.id)
        return replace(request, param=param, value=self._hide(request.value, "value", request.id))

    def _sealed_settlement(self, request: PromiseSettle) -> PromiseSettle:
        return replace(request, value=self._hide(request.value, "value", request.id))

    def _opened(self, response: Response) -> Response:
        changes: dict[str, Any] = {}
        if response.promise is not None:
            changes["promise"] = self._readable(response.promise)
        if response.schedule is not None:
            changes["schedule"] = self._readable_schedule(response.schedule)
        if response.preload:
            changes["preload"] = tuple(map(self._readable, response.preload))
        if response.promises is not None:
            changes["promises"] = tuple(map(self._readable, response.promises))
        if response.executions is not None:
            changes["executions"] = tuple(map(self._readable_execution, response.executions))
        if response.schedules is not None:
            changes["schedules"] = tuple(map(self._readable_schedule, response.schedules))
        return replace(response, **changes)

    def _readable(self, promise: PromiseView) -> PromiseView:
        param = self._show(promise.param, *_place_of_param(promise.id, promise.tags))
        return replace(promise, param=param, value=self._show(promise.value, "value", promise.id))

    def _readable_execution(self, view: ExecutionView) -> ExecutionView:
        """Decrypt what a list shows. A payload that cannot be decrypted stays as it is."""
        try:
            awaited = None if view.awaited is None else self._readable(view.awaited)
            return replace(view, promise=self._readable(view.promise), awaited=awaited)
        except DecryptionError:
            return view

    def _readable_schedule(self, schedule: Schedule) -> Schedule:
        return replace(schedule, promise_param=self._show(schedule.promise_param, "schedule", schedule.id))

    def _hide(self, value: Value, role: str, id: str) -> Value:
        return value if value.data is None else self._encryptor.encrypt(value, f"{role}:{id}")

    def _show(self, value: Value, role: str, id: str) -> Value:
        return value if value.data is None else self._encryptor.decrypt(value, f"{role}:{id}")


def _place_of_param(id: str, tags: Mapping[str, str]) -> tuple[str, str]:
    """Return the place that a param is bound to: the schedule that created the promise, or else the promise.

    All promises of a schedule share its param.
    """
    schedule = tags.get(SCHEDULE)
    return ("param", id) if schedule is None else ("schedule", schedule)
