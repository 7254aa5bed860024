"""The server side of the protocol: bytes of a request in, status and bytes of a response out.

It knows no HTTP library and no transport; the deployed API and the development server each put it behind one. What it
answers is always an envelope, whatever came in: a body that is no request, a token that is refused, a failure of the
store, even a defect of ours, which is logged and shown to nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from resonate_store.interface import DamagedRecord, MovedFile, Store, StoreError, whole
from resonate_store.model.clock import Clock
from resonate_store.model.ids import SEPARATORS
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseSearch,
    ProtocolRequest,
    Response,
    ScheduleCreate,
    ScheduleSearch,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskSuspend,
)
from resonate_store.protocol.debug import END_OF_TIME, PREFIX, Debug, is_instant, perform
from resonate_store.protocol.wire import TIME, VERSION, UnknownKind, WireError, decode_request, encode_response

logger = logging.getLogger("resonate.protocol")


class Refused(Exception):
    """A request that is answered with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Permit(Protocol):
    """What the bearer of a token may do."""

    def covers(self, request: ProtocolRequest | None) -> bool:
        """Whether it may make this request; None stands for debug requests and for kinds that do not exist."""
        ...


class Guard(Protocol):
    """Tells who makes a request."""

    def admit(self, token: str | None) -> Permit:
        """Check the token of a request's head.

        Raises:
            Refused: it is missing or not valid (401), or allows nothing at all (403).
        """
        ...


class Limits(Struct, frozen=True, kw_only=True):
    """What a request may measure at most. Ids and pages have limits of their own, which hold for every store.

    Attributes:
        body_bytes: of a request; 2 MiB, as in the official server.
        tags: number of tags of one promise or schedule.
        tag_bytes: bytes of one tag, name and text together.
    """

    body_bytes: int = 2 * 1024 * 1024
    tags: int = 100
    tag_bytes: int = 4096


class Head(Struct):
    """What the head of a request says; everything else in it is ignored, `resonate:origin` for one."""

    corr_id: str = msgspec.field(name="corrId")
    version: str
    auth: str | None = None
    debug_time: int | None = msgspec.field(name="resonate:debug_time", default=None)


class Envelope(Struct):
    kind: str
    head: Head
    data: Raw


_ENVELOPE = msgspec.json.Decoder(Envelope)


class Service:
    """Answers the requests of the protocol from a store.

    Args:
        store: carries them out.
        guard: tells who may make them; without one, everybody may.
        debug: takes the `debug.*` requests and `resonate:debug_time`; without one, both are refused.
        limits: how large requests may be.
        workers: tells how many workers poll for the task of a promise; None if that is not known.
        clock: the store's; without one, responses do not tell the server's time.
    """

    def __init__(
        self,
        store: Store,
        *,
        guard: Guard | None = None,
        debug: Debug | None = None,
        limits: Limits | None = None,
        workers: Callable[[PromiseView], int | None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._guard = guard
        self._debug = debug
        self._limits = limits or Limits()
        self._workers = workers
        self._clock = clock

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """Answer one request.

        Args:
            body: the request's envelope as JSON.

        Returns:
            The HTTP status and the response's envelope as JSON, in which `head.status` is the same.
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
        if request is None:
            raise Refused(400, f"Unknown operation: {kind}")
        if problem := self._beyond(request):
            raise Refused(400, problem)
        now = head.debug_time
        with nullcontext() if self._debug is None or now is None else self._debug.at(now):
            response = self._with_preload(request, self._store.apply(request))
        if isinstance(request, PromiseGet):
            response = self._with_workers(response)
        return response.status, encode_response(request, response, head.corr_id)

    def _with_preload(self, request: ProtocolRequest, response: Response) -> Response:
        """Show whoever goes on with a task what it has done already (decision 0012)."""
        match request:
            case TaskCreate(promise=PromiseCreate(id=id)) | TaskAcquire(id=id) if (
                response.task is not None and response.task.state == "acquired"
            ):
                return msgspec.structs.replace(response, preload=_by_id(self._children(id)))
            case TaskSuspend(id=id) if response.status == 300:
                known: dict[str, PromiseView] = {promise.id: promise for promise in self._children(id)}
                known |= {promise.id: promise for promise in response.preload}
                return msgspec.structs.replace(response, preload=_by_id(known.values()))
            case _:
                return response

    def _with_workers(self, response: Response) -> Response:
        """Show how many workers there are to take a pending task."""
        promise, task = response.promise, response.task
        if promise is None or task is None or task.state != "pending":
            return response
        return msgspec.structs.replace(response, task=msgspec.structs.replace(task, workers=self._workers(promise)))

    def _children(self, id: str) -> Sequence[PromiseView]:
        """What lies below a task: numbered as this SDK does it, or else as the official ones do."""
        found = next((found for separator in SEPARATORS if (found := self._store.children(id, separator))), ())
        return [whole(promise, self._store) for promise in found]

    def _response(self, kind: str, corr_id: str, status: int, data: Any) -> tuple[int, bytes]:
        head: dict[str, Any] = {"corrId": corr_id, "status": status, "version": VERSION}
        if self._clock is not None:
            head[TIME] = self._clock.now()
        return status, msgspec.json.encode({"kind": kind, "head": head, "data": data})

    def _beyond(self, request: ProtocolRequest) -> str | None:
        match request:
            case (
                PromiseCreate(tags=tags)
                | TaskCreate(promise=PromiseCreate(tags=tags))
                | TaskFence(action=PromiseCreate(tags=tags))
                | ScheduleCreate(promise_tags=tags)
                | PromiseSearch(tags=tags)
                | ScheduleSearch(tags=tags)
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
    """The promises in the protocol's order, whatever the order of the store."""
    return tuple(sorted(promises, key=lambda promise: promise.id))


def _request_of(envelope: Envelope) -> ProtocolRequest | None:
    try:
        return decode_request(envelope.kind, envelope.data)
    except UnknownKind:
        return None


def _recovered(body: bytes) -> tuple[str, str]:
    """Kind and correlation id of what is not an envelope, as far as it has them."""
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
