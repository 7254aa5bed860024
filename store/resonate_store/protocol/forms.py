"""Form of the data of each kind of request, as JSON. For most kinds it is the request itself."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_args

from msgspec import Raw, Struct

from resonate_store.model.execution_requests import (
    ExecutionCount,
    ExecutionDelete,
    ExecutionGet,
    ExecutionRetry,
    ExecutionSearch,
    PromiseCancel,
    TaskContinueAs,
    TaskCopy,
    TaskRepin,
)
from resonate_store.model.message_requests import MessageSend, TaskPublish, TaskReceive
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    PromiseSettle,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFork,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRecordStep,
    TaskRelease,
    TaskSearch,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import ScheduleBackfill, ScheduleRequest, ScheduleUpdate

_Data = TypeVar("_Data")


class Action(Struct, Generic[_Data]):
    """A request inside of a request. Its head is required, and its content is ignored."""

    kind: str
    head: Any
    data: _Data


class FenceAction(Struct):
    """The action of a fence: a creation or a settlement, as `kind` says."""

    kind: str
    data: Raw
    head: Any = None


class TaskCreateData(Struct):
    pid: str
    ttl: int
    action: Action[PromiseCreate]


class TaskFulfillData(Struct):
    id: str
    version: int
    action: Action[PromiseSettle]


class TaskSuspendData(Struct):
    id: str
    version: int
    actions: list[Action[PromiseRegisterCallback]]
    cancelSeen: bool | None = None
    receives: tuple[str, ...] = ()
    seen: int = 0


class TaskFenceData(Struct):
    id: str
    version: int
    action: FenceAction


class TaskRecordData(Struct):
    id: str
    version: int
    action: Action[PromiseRecord]


DATA: dict[str, type] = {
    **{
        kind.kind: kind
        for kind in (
            PromiseGet,
            PromiseCreate,
            PromiseSettle,
            PromiseCancel,
            PromiseRegisterCallback,
            PromiseRegisterListener,
            PromiseSearch,
            TaskGet,
            TaskAcquire,
            TaskRelease,
            TaskHeartbeat,
            TaskHalt,
            TaskContinue,
            TaskContinueAs,
            TaskRepin,
            TaskFork,
            TaskCopy,
            TaskSearch,
            *get_args(ScheduleRequest),
            MessageSend,
            TaskReceive,
            TaskPublish,
            ExecutionSearch,
            ExecutionGet,
            ExecutionCount,
            ExecutionRetry,
            ExecutionDelete,
        )
    },
    TaskCreate.kind: TaskCreateData,
    TaskFulfill.kind: TaskFulfillData,
    TaskSuspend.kind: TaskSuspendData,
    TaskFence.kind: TaskFenceData,
    TaskRecordStep.kind: TaskRecordData,
}
"""The form of the data of each kind of request. For most kinds it is the request itself."""

OWN_REQUESTS = (
    TaskRecordStep,
    TaskContinueAs,
    PromiseCancel,
    MessageSend,
    TaskReceive,
    TaskPublish,
    TaskRepin,
    ExecutionSearch,
    ExecutionGet,
    ExecutionCount,
    ExecutionRetry,
    ExecutionDelete,
    TaskFork,
    TaskCopy,
    ScheduleUpdate,
    ScheduleBackfill,
)
"""Requests that are additions to the official protocol, and that a server names to its clients."""
