"""Server side of the protocol: bytes of a request in, status and bytes of a response out.

It uses no HTTP library. The deployed API and the development server each call it. The response always is an envelope,
also for a body that is not a request, a refused token or a failure of the store. An unexpected exception is logged, and
the response does not show it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw, Struct

from resonate_store.interface import DamagedRecord, MovedFile, Store, StoreError, whole
from resonate_store.model.clock import Clock
from resonate_store.model.execution_requests import ExecutionSearch, ExecutionView, TaskCopy
from resonate_store.model.ids import SEPARATORS, below
from resonate_store.model.message_requests import TaskPublish
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseSearch,
    ProtocolRequest,
    Response,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskRecordStep,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleSearch
from resonate_store.protocol.debug import END_OF_TIME, PREFIX, Debug, is_instant, perform
from resonate_store.protocol.wire import (
    KINDS,
    OWN_KINDS,
    TIME,
    VERSION,
    UnknownKind,
    WireError,
    decode_request,
    encode_response,
)
from resonate_store.protocol.workers import KINDS_OF_WORKERS, WorkerDirectory, perform_about_workers

logger = logging.getLogger("resonate.protocol")


class Refused(Exception):
    """Raised to answer a request with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Permit(Protocol):
    """The rights of a token. `prefix` is the beginning of the ids that it may use; an empty one permits all."""

    @property
    def prefix(self) -> str: ...

    def covers(self, request: ProtocolRequest | None) -> bool:
        """Return whether the token allows this request. None means a debug request or an unknown kind."""
        ...


class Guard(Protocol):
    """Authentication of requests."""

    def admit(self, token: str | None) -> Permit:
        """Check the token in the head of a request and return its rights.

        Raises:
            Refused: the token is missing or not valid (401), or it allows nothing (403).
        """
        ...


class Limits(Struct, frozen=True, kw_only=True):
    """Limits of the size of a request. The limits of ids and pages are elsewhere, because they hold for every store.

    Attributes:
        body_bytes: the largest size of a request in bytes; 2 MiB, as in the official server.
        tags: the most tags of one promise or schedule.
        tag_bytes: the largest size of one tag in bytes, name and text together.
    """

    body_bytes: int = 2 * 1024 * 1024
    tags: int = 100
    tag_bytes: int = 4096


class Head(Struct):
    """The head of a request. Unknown fields such as `resonate:origin` are ignored."""

    corr_id: str = msgspec.field(name="corrId")
    version: str
    auth: str | None = None
    debug_time: int | None = msgspec.field(name="resonate:debug_time", default=None)


class Envelope(Struct):
    kind: str
    head: Head
    data: Raw


_ENVELOPE = msgspec.json.Decoder(Envelope)

BOUNDED: Final = frozenset(
    {
        "promise.get",
        "execution.get",
        "promise.create",
        "promise.register_callback",
        "promise.register_listener",
        "task.get",
        "task.record",
        "task.fork",
        "task.copy",
        "task.receive",
        "task.publish",
        "message.send",
        "task.heartbeat",
        "task.halt",
        "task.continue",
        "task.repin",
        "schedule.get",
        "schedule.create",
        "schedule.delete",
        "schedule.pause",
        "schedule.resume",
    }
)
"""Kinds of requests that read and write a few records, whatever the store has.

Any other request may touch many: pages, the children in a preload or since an acquisition, and all awaiters of a
settlement.
"""
BOUNDED_BYTES: Final = 64 * 1024
"""Size in bytes of the largest request that counts as bounded. To read a larger one takes about a millisecond."""
BOUNDED_HEARTBEAT_BYTES: Final = 8 * 1024
"""Size in bytes of the largest heartbeat that counts as bounded. It has about a hundred tasks."""


class _Kind(Struct):
    kind: str


_KIND = msgspec.json.Decoder(_Kind)


def is_bounded(body: bytes) -> bool:
    """Return whether a request is small and touches a bounded number of records.

    Return False if the body is not a request.
    """
    if len(body) > BOUNDED_BYTES:
        return False
    try:
        kind = _KIND.decode(body).kind
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return kind in BOUNDED and (kind != "task.heartbeat" or len(body) <= BOUNDED_HEARTBEAT_BYTES)


class Service:
    """Answers the requests of the protocol from a store.

    Args:
        store: carries out the requests.
        guard: authenticates requests. None allows every request.
        debug: carries out `debug.*` requests and `resonate:debug_time`. None refuses both.
        limits: the limits of the size of a request.
        workers: returns how many workers poll for the task of a promise, or None if that is not known.
        directory: the workers that poll. None if workers do not poll this server, which then refuses requests about
            them.
        clock: the clock of the store. None leaves the server's time out of responses.
        refused: kinds of `OWN_KINDS` that this server does not answer.
    """

    def __init__(
        self,
        store: Store,
        *,
        guard: Guard | None = None,
        debug: Debug | None = None,
        limits: Limits | None = None,
        workers: Callable[[PromiseView], int | None] = lambda _: None,
        directory: WorkerDirectory | None = None,
        clock: Clock | None = None,
        refused: Collection[str] = (),
    ) -> None:
        self._store = store
        self._kinds = tuple(kind for kind in OWN_KINDS if kind not in refused)
        self._refused = refused
        self._guard = guard
        self._debug = debug
        self._limits = limits or Limits()
        self._workers = workers
        self._directory = directory
        self._clock = clock

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """Answer one request.

        Args:
            body: the envelope of the request, as JSON.

        Returns:
            The HTTP status, and the envelope of the response as JSON. Its `head.status` is the same status.
        """
        if len(body) > self._limits.body_bytes:
            error = f"The request has {len(body)} bytes and {self._limits.body_bytes} is the limit"
            return self._response("unknown", "0", 413, error)
        try:
            envelope = _ENVELOPE.decode(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
            return self._response(*_recovered(body), 400, f"Invalid request envelope: {reason}")
        kind, corr_id = envelope.kind, envelope.head.corr_id
        try:
            status, data = self._answer(envelope)
            answer = self._response(kind, corr_id, status, data)
        except Refused as refused:
            answer = self._response(kind, corr_id, refused.status, refused.message)
        except WireError as error:
            answer = self._response(kind, corr_id, 400, str(error))
        except (DamagedRecord, MovedFile) as error:
            logger.exception("the store cannot answer %r (%r)", kind, corr_id)
            answer = self._response(kind, corr_id, 503, str(error))
        except StoreError:
            logger.exception("the store cannot answer %r (%r)", kind, corr_id)
            answer = self._response(kind, corr_id, 503, "The store cannot answer at the moment")
        except Exception:
            logger.exception("%r (%r) failed", kind, corr_id)
            answer = self._response(kind, corr_id, 500, "Internal error")
        logger.debug("%s %s: %d", kind, corr_id, answer[0])
        return answer

    def _answer(self, envelope: Envelope) -> tuple[int, Any]:
        kind, head = envelope.kind, envelope.head
        if not kind:
            raise Refused(400, "Missing or invalid 'kind' field: it names the operation, such as promise.get")
        if not bytes(envelope.data).lstrip().startswith(b"{"):
            raise Refused(400, "Invalid 'data' field: it must be an object")
        if head.version != VERSION:
            raise Refused(400, f"Unsupported protocol version {head.version!r}: this server speaks {VERSION}")
        permit = None if self._guard is None else self._guard.admit(head.auth)
        if self._directory is not None and kind in KINDS_OF_WORKERS:
            prefix = "" if permit is None else permit.prefix
            return 200, perform_about_workers(self._directory, kind, envelope.data, prefix)
        debugging = kind.startswith(PREFIX)
        request = None if debugging else _request_of(envelope)
        if permit is not None and not permit.covers(request):
            raise Refused(403, "Forbidden")
        if debugging or head.debug_time is not None:
            if self._debug is None:
                raise Refused(403, "Debug operations are disabled")
            if head.debug_time is not None and not is_instant(head.debug_time):
                raise Refused(400, f"resonate:debug_time is not an instant in milliseconds, from 0 to {END_OF_TIME}")
            if debugging:
                return 200, perform(self._debug, kind, envelope.data, head.debug_time)
        if request is None or kind in self._refused:
            raise Refused(400, f"Unknown operation: {kind}")
        if problem := self._beyond(request):
            raise Refused(400, problem)
        now = head.debug_time
        with nullcontext() if self._debug is None or now is None else self._debug.at(now):
            response = self._with_preload(request, self._store.apply(request))
        if isinstance(request, PromiseGet):
            response = self._with_workers(response)
        elif response.executions:
            response = msgspec.structs.replace(response, executions=tuple(map(self._served, response.executions)))
        return response.status, encode_response(request, response, head.corr_id)

    def _with_preload(self, request: ProtocolRequest, response: Response) -> Response:
        """Add the recorded children if a worker acquires a task or has to continue it (docs/decisions/0012)."""
        match request:
            case TaskCreate(promise=PromiseCreate(id=id)) | TaskAcquire(id=id) if (
                response.task is not None and response.task.state == "acquired"
            ):
                return msgspec.structs.replace(response, preload=_by_id(self._children(id, response.task.generation)))
            case TaskSuspend(id=id) if response.status == 300:
                known: dict[str, PromiseView] = {
                    promise.id: promise for promise in self._children(id, response.generation)
                }
                known |= {promise.id: promise for promise in response.preload}
                return msgspec.structs.replace(response, preload=_by_id(known.values()))
            case _:
                return response

    def _with_workers(self, response: Response) -> Response:
        """Add the number of workers that poll for a pending task."""
        promise, task = response.promise, response.task
        if promise is None or task is None or task.state != "pending":
            return response
        return msgspec.structs.replace(response, task=msgspec.structs.replace(task, workers=self._workers(promise)))

    def _served(self, view: ExecutionView) -> ExecutionView:
        """Add the number of workers that poll for the pending task of an execution."""
        task, awaited = view.task, view.awaited_task
        if task is not None and task.state == "pending":
            task = msgspec.structs.replace(task, workers=self._workers(view.promise))
        if awaited is not None and view.awaited is not None and awaited.state == "pending":
            awaited = msgspec.structs.replace(awaited, workers=self._workers(view.awaited))
        return msgspec.structs.replace(view, task=task, awaited_task=awaited)

    def _children(self, id: str, generation: int | None) -> Sequence[PromiseView]:
        """Return the children of a task. If the separator of this SDK finds none, use that of the official SDKs."""
        separators = SEPARATORS if generation is None else (below(generation),)
        found = next((found for separator in separators if (found := self._store.children(id, separator))), ())
        return [whole(promise, self._store) for promise in found]

    def _response(self, kind: str, corr_id: str, status: int, data: Any) -> tuple[int, bytes]:
        head: dict[str, Any] = {"corrId": corr_id, "status": status, "version": VERSION, KINDS: self._kinds}
        if self._clock is not None:
            head[TIME] = self._clock.now()
        return status, msgspec.json.encode({"kind": kind, "head": head, "data": data})

    def _beyond(self, request: ProtocolRequest) -> str | None:
        match request:
            case (
                PromiseCreate(tags=tags)
                | TaskCreate(promise=PromiseCreate(tags=tags))
                | TaskFence(action=PromiseCreate(tags=tags))
                | TaskRecordStep(record=PromiseRecord(tags=tags))
                | TaskCopy(promise=PromiseView(tags=tags))
                | TaskPublish(tags=tags)
                | ScheduleCreate(promise_tags=tags)
                | PromiseSearch(tags=tags)
                | ScheduleSearch(tags=tags)
                | ExecutionSearch(tags=tags)
            ):
                return self._too_tagged(tags)
            case _:
                return None

    def _too_tagged(self, tags: Mapping[str, str]) -> str | None:
        if len(tags) > self._limits.tags:
            return f"there are {len(tags)} tags and {self._limits.tags} is the limit"
        for name, text in tags.items():
            size = len(name.encode()) + len(text.encode())
            if size > self._limits.tag_bytes:
                return f"the tag {name[:60]!r} has {size} bytes and {self._limits.tag_bytes} is the limit"
        return None


def _by_id(promises: Iterable[PromiseView]) -> tuple[PromiseView, ...]:
    """Return the promises in the order of the protocol, by id."""
    return tuple(sorted(promises, key=lambda promise: promise.id))


def _request_of(envelope: Envelope) -> ProtocolRequest | None:
    try:
        return decode_request(envelope.kind, envelope.data)
    except UnknownKind:
        return None


def _recovered(body: bytes) -> tuple[str, str]:
    """Return the kind and correlation id of a body that is not an envelope, as far as it has them."""
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        document = None
    match document:
        case {"kind": str(kind), "head": {"corrId": str(corr_id)}}:
            return kind, corr_id
        case {"head": {"corrId": str(corr_id)}}:
            return "unknown", corr_id
        case {"kind": str(kind)}:
            return kind, "0"
        case _:
            return "unknown", "0"
