"""Protocols with the names of SDK 0.6.7, for annotations and `isinstance`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from resonate.encoders import Encoder
from resonate.promises import Callback, DurablePromise
from resonate.stores.local import LocalTask
from resonate.stores.local_schedules import LocalSchedule


@runtime_checkable
class Clock(Protocol):
    """Protocol of the dependency `resonate:time`: seconds since the epoch, and the time as text."""

    def time(self) -> float: ...
    def strftime(self, format: str, /) -> str: ...


class Logger(Protocol):
    """Protocol of `ctx.logger`."""

    def log(self, level: int, msg: Any, *args: Any, **kwargs: Any) -> None: ...
    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None: ...
    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None: ...
    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None: ...
    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None: ...
    def critical(self, msg: Any, *args: Any, **kwargs: Any) -> None: ...


class Convention(Protocol):
    """Protocol of the promise of a call: id, payload, timeout (seconds) and tags."""

    @property
    def id(self) -> str: ...
    @property
    def idempotency_key(self) -> str | None: ...
    @property
    def data(self) -> Any: ...
    @property
    def timeout(self) -> float: ...
    @property
    def tags(self) -> dict[str, str] | None: ...

    def options(
        self,
        id: str | None = None,
        idempotency_key: str | Callable[[str], str] | None = None,
        tags: dict[str, str] | None = None,
        target: str | None = None,
        timeout: float | None = None,
        version: int | None = None,
    ) -> Convention: ...


@runtime_checkable
class Store(Protocol):
    """Protocol of `LocalStore` and `RemoteStore`, whose promises, tasks and schedules can be used directly."""

    @property
    def encoder(self) -> Encoder[str | None, str | None]: ...
    @property
    def promises(self) -> PromiseStore: ...
    @property
    def tasks(self) -> TaskStore: ...
    @property
    def schedules(self) -> ScheduleStore: ...


class PromiseStore(Protocol):
    """Protocol of promises; see `resonate.promises.Promises`. Instants and durations are milliseconds."""

    def get(self, id: str) -> DurablePromise: ...

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
    ) -> DurablePromise: ...

    def create_with_task(
        self,
        id: str,
        timeout: int,
        pid: str,
        ttl: int,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> tuple[DurablePromise, LocalTask | None]: ...

    def resolve(
        self,
        id: str,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
    ) -> DurablePromise: ...

    def reject(
        self,
        id: str,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
    ) -> DurablePromise: ...

    def cancel(
        self,
        id: str,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
    ) -> DurablePromise: ...

    def callback(
        self, promise_id: str, root_promise_id: str, recv: str, timeout: int
    ) -> tuple[DurablePromise, Callback | None]: ...

    def subscribe(
        self, id: str, promise_id: str, recv: str, timeout: int
    ) -> tuple[DurablePromise, Callback | None]: ...


class TaskStore(Protocol):
    """Protocol of tasks; see `resonate.stores.local.LocalTasks`. `ttl` is in milliseconds."""

    def claim(self, id: str, counter: int, pid: str, ttl: int) -> tuple[DurablePromise, DurablePromise | None]: ...
    def complete(self, id: str, counter: int) -> bool: ...
    def heartbeat(self, pid: str) -> int: ...


class ScheduleStore(Protocol):
    """Protocol of schedules; see `resonate.stores.local_schedules.LocalSchedules`. `promise_timeout` is in ms."""

    def create(
        self,
        id: str,
        cron: str,
        promise_id: str,
        promise_timeout: int,
        *,
        ikey: str | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        promise_headers: dict[str, str] | None = None,
        promise_data: str | None = None,
        promise_tags: dict[str, str] | None = None,
    ) -> LocalSchedule: ...

    def get(self, id: str) -> LocalSchedule: ...
    def delete(self, id: str) -> None: ...
