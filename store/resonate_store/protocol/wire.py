"""Requests and responses as JSON of the protocol, in both directions (docs/protocol.md 1.3 and 1.5).

The server reads requests and writes responses; a client writes requests and reads responses. Both use this module, so
they agree. It checks only the form of the JSON. `machine/validation` checks ids and deadlines. Internal requests have
no wire form.

The functions that write return what `msgspec.json.encode` accepts: structs, and dictionaries of them. The functions
that read accept bytes, or anything that encodes to JSON. Unknown keys are ignored in requests and responses, so both
can have additional optional keys (docs/compatibility.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from resonate_store.model.execution_requests import (
    ExecutionCount,
    ExecutionCounts,
    ExecutionDelete,
    ExecutionGet,
    ExecutionRetry,
    ExecutionSearch,
    ExecutionView,
    PromiseCancel,
    TaskContinueAs,
    TaskCopy,
    TaskRepin,
)
from resonate_store.model.message_requests import MessageSend, TaskPublish, TaskReceive
from resonate_store.model.records import END_OF_TIME, PromiseView, Schedule, Task
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    PromiseSettle,
    ProtocolRequest,
    Response,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFork,
    TaskFulfill,
    TaskGet,
    TaskRecordStep,
    TaskSearch,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import (
    BackfillCounts,
    ScheduleBackfill,
    ScheduleCreate,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
    ScheduleUpdate,
)
from resonate_store.protocol.forms import (
    DATA,
    OWN_REQUESTS,
    Action,
    FenceAction,
    TaskCreateData,
    TaskFenceData,
    TaskFulfillData,
    TaskRecordData,
    TaskSuspendData,
)

VERSION = "2026-04-01"
"""The version of the protocol, which is in each envelope."""
TIME = "resonate:time"
"""The key of the server's time (ms) in the head of a response. An addition to the official protocol."""

KINDS = "resonate:kinds"
"""The key of the kinds in the head of a response that the server knows and the official protocol lacks."""
OWN_KINDS = tuple(request.kind for request in OWN_REQUESTS)
"""The kinds that a server advertises. A client does not send them to a server that does not (docs/decisions/0075)."""

NEVER = 2**63 - 1
"""The instant (ms) that clients in other languages send for "never". It is stored as `END_OF_TIME`."""

_Data = TypeVar("_Data")
_Timed = TypeVar("_Timed", PromiseCreate, PromiseRecord)


class WireError(ValueError):
    """Raised when received JSON does not have the form of the protocol. The message names the place."""


class UnknownKind(WireError):
    """Raised when a kind of request does not exist or is internal."""


_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(data) for kind, data in DATA.items()}


def decode_request(kind: str, data: Any) -> ProtocolRequest:
    """Read the data of a request.

    Args:
        kind: the kind of the request, such as `promise.get`.
        data: the data: JSON as bytes or `msgspec.Raw`, or a value that encodes to it.

    Raises:
        UnknownKind: a client cannot send this kind.
        WireError: the data does not have the form of this request.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise UnknownKind(f"Unknown operation: {kind}")
    read = _read(decoder, data, "Invalid request")
    match read:
        case PromiseCreate():
            return _within_time(read)
        case ScheduleCreate(promise_timeout=timeout) if END_OF_TIME < timeout <= NEVER:
            return replace(read, promise_timeout=END_OF_TIME)
        case TaskCreateData():
            return TaskCreate(read.pid, read.ttl, _within_time(read.action.data))
        case TaskFulfillData():
            return TaskFulfill(read.id, read.version, read.action.data)
        case TaskSuspendData():
            awaited = tuple(_awaited(read))
            return TaskSuspend(read.id, read.version, awaited, read.cancelSeen, read.receives, read.seen)
        case TaskFenceData():
            return TaskFence(read.id, read.version, _fenced(read.action))
        case TaskRecordData():
            return TaskRecordStep(read.id, read.version, _recorded(read.action))
        case _:
            return read


def _awaited(read: TaskSuspendData) -> Sequence[str]:
    for action in read.actions:
        if action.data.awaiter != read.id:
            raise WireError(f"Invalid request: task {read.id!r} cannot suspend for another awaiter")
    return [action.data.awaited for action in read.actions]


def _fenced(action: FenceAction) -> PromiseCreate | PromiseSettle:
    if action.kind not in (PromiseCreate.kind, PromiseSettle.kind):
        raise WireError(
            f"Invalid fence action kind: {action.kind!r} is neither {PromiseCreate.kind} nor {PromiseSettle.kind}"
        )
    read = _read(_DECODERS[action.kind], action.data, "Invalid request: the fence's action")
    return _within_time(read) if isinstance(read, PromiseCreate) else read


def _recorded(action: Action[PromiseRecord]) -> PromiseRecord:
    if action.kind != PromiseRecord.kind:
        raise WireError(f"Invalid record action kind: {action.kind!r} is not {PromiseRecord.kind}")
    return _within_time(action.data)


def _within_time(creation: _Timed) -> _Timed:
    """Return the creation with a deadline of at most `END_OF_TIME`."""
    if END_OF_TIME < creation.timeout_at <= NEVER:
        return replace(creation, timeout_at=END_OF_TIME)
    return creation


def encode_request(request: ProtocolRequest) -> tuple[str, Any]:
    """Return the kind and the data of a request.

    Raises:
        WireError: the request is internal and cannot be sent.
    """
    match request:
        case TaskCreate():
            return request.kind, {"pid": request.pid, "ttl": request.ttl, "action": _action(request.promise)}
        case TaskFulfill():
            return request.kind, {"id": request.id, "version": request.version, "action": _action(request.settle)}
        case TaskSuspend():
            callbacks = [PromiseRegisterCallback(awaited, request.id) for awaited in request.awaited]
            suspension = {
                "id": request.id,
                "version": request.version,
                "actions": [_action(callback) for callback in callbacks],
                **({} if request.cancel_seen is None else {"cancelSeen": request.cancel_seen}),
            }
            if request.receives:
                suspension |= {"receives": request.receives, "seen": request.seen}
            return request.kind, suspension
        case TaskFence():
            return request.kind, {"id": request.id, "version": request.version, "action": _action(request.action)}
        case TaskRecordStep():
            return request.kind, {"id": request.id, "version": request.version, "action": _action(request.record)}
        case _ if type(request) is DATA.get(request.kind):
            return request.kind, _sparse(request)
        case _:
            raise WireError(f"{request.kind} is internal and cannot be sent to a server")


def _action(request: PromiseCreate | PromiseSettle | PromiseRecord | PromiseRegisterCallback) -> dict[str, Any]:
    return {"kind": request.kind, "head": {}, "data": request}


def _sparse(request: ProtocolRequest) -> Any:
    """Return the request without unset fields. Other servers may not know these fields, or may refuse null."""
    names = zip(request.__struct_fields__, request.__struct_encode_fields__, strict=True)
    values = {wire: getattr(request, name) for name, wire in names}
    return {wire: value for wire, value in values.items() if value is not None and value is not False}


def encode_response(request: ProtocolRequest, response: Response, corr_id: str = "0") -> Any:
    """Return the data of the response to `request`.

    Args:
        request: the request.
        response: the response of the store.
        corr_id: the correlation id in the envelope of the request. The inner response of a fence repeats it.
    """
    if response.status >= 400:
        return response.error or "no reason given"
    match request:
        case TaskFence():
            inner = {"corrId": corr_id, "status": response.action_status, "version": VERSION}
            data = {"promise": response.promise} if response.action_status == 200 else _inner_error(response)
            return {"action": {"kind": request.action.kind, "head": inner, "data": data}, "preload": response.preload}
        case TaskCreate() | TaskAcquire():
            return {"task": response.task, "promise": response.promise, "preload": response.preload}
        case TaskSuspend() if response.status == 300:
            redirect = {"preload": response.preload}
            return redirect if response.task is None else {**redirect, "task": response.task}
        case PromiseSearch():
            return _page("promises", response.promises, response.cursor)
        case TaskSearch():
            return _page("tasks", response.tasks, response.cursor)
        case ScheduleSearch():
            return _page("schedules", response.schedules, response.cursor)
        case ExecutionSearch() | ExecutionGet():
            return _page("executions", response.executions, response.cursor)
        case _:
            shown: dict[str, Any] = {
                "promise": response.promise,
                "task": response.task,
                "schedule": response.schedule,
                "cancel": response.cancel,
                "counts": response.counts,
                "count": response.count,
                "cursor": response.cursor,
                "backfill": response.backfill,
            }
            return {name: record for name, record in shown.items() if record is not None}


def _inner_error(response: Response) -> str:
    return response.error or "Promise not found"


def _page(name: str, found: Sequence[Any] | None, cursor: str | None) -> dict[str, Any]:
    page: dict[str, Any] = {name: found or ()}
    return page if cursor is None else {**page, "cursor": cursor}


class InnerHead(Struct):
    status: int


class InnerResponse(Struct):
    """The response to the action of a fence."""

    head: InnerHead
    data: Raw


class ResponseData(Struct):
    """All fields that the data of a response can have."""

    promise: PromiseView | None = None
    task: Task | None = None
    schedule: Schedule | None = None
    preload: tuple[PromiseView, ...] = ()
    promises: tuple[PromiseView, ...] | None = None
    tasks: tuple[Task, ...] | None = None
    schedules: tuple[Schedule, ...] | None = None
    executions: tuple[ExecutionView, ...] | None = None
    counts: ExecutionCounts | None = None
    count: int | None = None
    cursor: str | None = None
    cancel: str | None = None
    backfill: BackfillCounts | None = None
    action: InnerResponse | None = None


HELD: dict[str, tuple[str, ...]] = {
    PromiseGet.kind: ("promise",),
    PromiseCreate.kind: ("promise",),
    PromiseSettle.kind: ("promise",),
    PromiseCancel.kind: ("promise",),
    PromiseRegisterCallback.kind: ("promise",),
    PromiseRegisterListener.kind: ("promise",),
    PromiseSearch.kind: ("promises",),
    TaskGet.kind: ("task",),
    TaskCreate.kind: ("task", "promise"),
    TaskAcquire.kind: ("task", "promise"),
    TaskFulfill.kind: ("promise",),
    TaskFence.kind: ("action",),
    TaskRecordStep.kind: ("promise",),
    TaskContinueAs.kind: ("task",),
    TaskRepin.kind: ("task",),
    TaskFork.kind: ("promise", "task"),
    TaskCopy.kind: ("promise",),
    MessageSend.kind: ("promise",),
    TaskReceive.kind: ("promise",),
    TaskPublish.kind: ("promise",),
    TaskSearch.kind: ("tasks",),
    ScheduleGet.kind: ("schedule",),
    ScheduleCreate.kind: ("schedule",),
    ScheduleSearch.kind: ("schedules",),
    SchedulePause.kind: ("schedule",),
    ScheduleResume.kind: ("schedule",),
    ScheduleTrigger.kind: ("schedule", "promise"),
    ExecutionSearch.kind: ("executions",),
    ExecutionGet.kind: ("executions",),
    ExecutionCount.kind: ("counts",),
    ExecutionRetry.kind: ("count",),
    ExecutionDelete.kind: ("count",),
    ScheduleUpdate.kind: ("schedule",),
    ScheduleBackfill.kind: ("schedule", "backfill"),
}
"""The fields that the data of a successful response must have. For other kinds, the data is an empty object."""

_RESPONSE = msgspec.json.Decoder(ResponseData)
_ANYTHING = msgspec.json.Decoder()


def decode_response(request: ProtocolRequest, status: int, data: Any) -> Response:
    """Read the response to `request`.

    Args:
        request: the request.
        status: `head.status` in the envelope of the response.
        data: the data: JSON as bytes or `msgspec.Raw`, or a value that encodes to it.

    Raises:
        WireError: the data is not a response to this request.
    """
    if status >= 400:
        return Response(status=status, error=_error(_read(_ANYTHING, data, f"Invalid response to {request.kind}")))
    read = _read(_RESPONSE, data, f"Invalid response to {request.kind}")
    if isinstance(request, TaskFence) and read.action is not None:
        return _fence_response(read.action, read.preload)
    if missing := [name for name in HELD.get(request.kind, ()) if getattr(read, name) is None]:
        raise WireError(f"Invalid response to {request.kind}: it holds no {' and no '.join(missing)}")
    return Response(
        status=status,
        promise=read.promise,
        task=read.task,
        schedule=read.schedule,
        preload=read.preload,
        promises=read.promises,
        tasks=read.tasks,
        schedules=read.schedules,
        executions=read.executions,
        counts=read.counts,
        count=read.count,
        cursor=read.cursor,
        cancel=read.cancel,
        backfill=read.backfill,
    )


def _fence_response(action: InnerResponse, preload: tuple[PromiseView, ...]) -> Response:
    what = f"Invalid response to {TaskFence.kind}"
    if action.head.status >= 400:
        return Response(action_status=action.head.status, error=_error(_read(_ANYTHING, action.data, what)))
    promise = _read(_RESPONSE, action.data, what).promise
    if promise is None:
        raise WireError(f"{what}: its action holds no promise")
    return Response(promise=promise, preload=preload)


def _error(data: Any) -> str:
    """Return the message of a failure: a text, or the text in the object that some servers in a process send."""
    if isinstance(data, Mapping):
        data = data.get("error", data)  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    return data if isinstance(data, str) else msgspec.json.encode(data).decode()


def read(type: type[_Data], data: Any, what: str) -> _Data:
    """Read JSON, or a value that encodes to it, as a `type`. The message of a `WireError` begins with `what`."""
    return _read(msgspec.json.Decoder(type), data, what)


def _read(decoder: msgspec.json.Decoder[_Data], data: Any, what: str) -> _Data:
    try:
        return decoder.decode(data if isinstance(data, bytes | bytearray | Raw) else msgspec.json.encode(data))
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise WireError(f"{what}: {error}") from None
    except RecursionError:
        raise WireError(f"{what}: it is nested too deeply") from None
