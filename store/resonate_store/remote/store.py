"""The store of a Resonate server, over HTTP: for workers and clients that are not where the promises are.

Requests travel as the protocol has them, one round trip each. Two things differ from a store at hand. A finished step
cannot be recorded in one write, because that request is internal: it is created and settled, both fenced by the task
that we hold, in two round trips (docs/rules.md P11), which also show that the task is lost. And a response may get
lost: the request is made again, and where the second answer could mislead - a task that is acquired already, by
ourselves - the store looks at what is there before it believes it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from copy import copy
from datetime import timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from resonate_store.interface import Store, StoreClosed, StoreError
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.ids import Identify, parent, random_id
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseSearch,
    PromiseSettle,
    ProtocolRequest,
    Request,
    Response,
    ScheduleDelete,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
    TaskVerify,
)
from resonate_store.model.servers import ServerSettings
from resonate_store.model.tags import ELAPSED, PARENT, TARGET
from resonate_store.protocol.wire import WireError, decode_response, encode_request
from resonate_store.remote.http import Calls, Post
from resonate_store.remote.settings import server_of
from resonate_store.server_clock import ServerClock

TIMEOUT_S: Final = 30.0
"""Seconds after which a request that nobody answers is given up."""
PAGE: Final = 500
"""Children that are asked for at once."""


class HttpStore(Store):
    """A promise store behind the protocol's HTTP interface.

    What is not given is taken from the environment; see `resonate_store.remote.settings`.

    Args:
        url: the server's address; instead of `host` and `port`.
        host, port: the same in parts; the host includes the scheme.
        auth: user name and password, for HTTP basic authentication.
        token: a JWT, sent in the envelope and as a bearer token.
        iam: whether requests are signed with AWS credentials; by itself for the addresses of API Gateway.
        server: all of this at once, from whoever knows it already.
        timeout: seconds that one request may take, all tries together.
        clock: the source of time, also for pauses between tries.
        identify: makes the ids of envelopes.
        jitter: random numbers in [0, 1) that spread the pauses of those who try again.
        post: makes one try of a request, in place of HTTP.

    Raises:
        TypeError, ValueError: an argument has the wrong type or value.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        host: str | None = None,
        port: str | int | None = None,
        auth: tuple[str, str] | None = None,
        token: str | None = None,
        iam: bool | None = None,
        server: ServerSettings | None = None,
        timeout: float | timedelta = TIMEOUT_S,
        clock: Clock | None = None,
        identify: Identify = random_id,
        jitter: Callable[[], float] | None = None,
        post: Post | None = None,
    ) -> None:
        timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        if timeout <= 0:
            raise ValueError(f"timeout must be greater than zero, got {timeout}")
        self.clock: Clock = clock or ambient()
        self.server: ServerSettings = server or server_of(
            os.environ, url=url, host=host, store_port=port, auth=auth, token=token, iam=iam
        )
        if jitter is None:
            import random  # loaded by whoever talks to a server, and by nobody else

            jitter = random.Random().random
        self._calls = Calls(self.server, self.clock, identify, jitter, post)
        self._held = _Held()
        self._timeout_s = timeout
        self._closed = False

    @property
    def server_clock(self) -> ServerClock:
        """Shows the server's time, in which deadlines are computed."""
        return self._calls.server_clock

    @property
    def distant(self) -> HttpStore:
        """This store: it is a server's."""
        return self

    @property
    def insistent(self) -> bool:
        """Whether requests that fail on the way are made again; whoever is about to stop switches it off."""
        return self._calls.insistent

    @insistent.setter
    def insistent(self, insistent: bool) -> None:
        self._calls.insistent = insistent

    def within(self, seconds: float) -> HttpStore:
        """This store, for a caller who has only so much time for a request."""
        store = copy(self)
        store._timeout_s = max(0.001, min(seconds, self._timeout_s))
        return store

    def open(self) -> HttpStore:
        self._require_open()
        return copy(self)

    def close(self) -> None:
        self._closed = True

    def apply(self, request: Request) -> Response:
        """Carry out one request; `promise.record` is one or two fenced ones, `task.verify` is a `task.get`.

        Raises:
            StoreUnreachable: the server did not answer in time.
            StoreError: there is none, it does not let us in, or it answers what the protocol does not know.
        """
        if isinstance(request, PromiseRecord):
            return self._record(request)
        if isinstance(request, TaskVerify):
            return self._verified(request)
        response = self._exchange(request)  # pyright: ignore[reportArgumentType]
        self._note(request, response)
        return response

    @property
    def fences_records(self) -> bool:
        return True

    def fences_records_by(self, id: str, version: int) -> bool:
        return self._held.version(id) == version

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        """The direct children: of a task that has just been acquired what came with it, else what is found."""
        found = self._held.take_preload(id)
        if found is None:
            found = self._search(id)
        below = f"{id}{separator}"
        return [promise for promise in found if promise.id.startswith(below) and parent(promise.id) == id]

    def _search(self, id: str) -> list[PromiseView]:
        found: list[PromiseView] = []
        cursor: str | None = None
        while True:
            response = self._exchange(PromiseSearch(tags={PARENT: id}, limit=PAGE, cursor=cursor))
            if response.promises is None:
                raise StoreError(f"the children of {id} cannot be read: {response.status} {response.error}")
            found += map(self._certain, response.promises)
            cursor = response.cursor
            if cursor is None:
                now = self.server_clock.now()
                return [promise for promise in found if not promise.pending or promise.timeout_at > now]

    def _certain(self, promise: PromiseView) -> PromiseView:
        """The promise as others see it, too: a search may show as settled what is still pending (docs/rules.md Q1)."""
        if promise.settled_at != promise.timeout_at:
            return promise
        return self._exchange(PromiseGet(promise.id)).promise or promise

    def _record(self, request: PromiseRecord) -> Response:
        """docs/rules.md P11 over HTTP: create the promise and settle it; what is settled already is adopted.

        The server takes the promise for as old as the step's end, so a tag says how long the step has run.
        """
        tags, elapsed = request.tags, self.clock.now() - request.created_at
        if elapsed > 0:
            tags = {**tags, ELAPSED: str(elapsed)}
        response = self._step(PromiseCreate(request.id, request.timeout_at, request.param, tags))
        promise = response.promise
        if promise is None or not promise.pending or TARGET in promise.tags:
            return response
        return self._step(PromiseSettle(request.id, request.state, request.value))

    def _verified(self, request: TaskVerify) -> Response:
        """Ask for the task, and say whether it is held at this version."""
        response = self._exchange(TaskGet(request.id))
        if response.task is None:
            return response
        if (response.task.state, response.task.version) == ("acquired", request.version):
            return Response()
        self._held.drop(request.id, request.version)
        return Response(status=409, error="Task is not acquired at this version")

    def _step(self, action: PromiseCreate | PromiseSettle) -> Response:
        """A write of the nearest task above it that we hold, if there is one: the first writer wins either way."""
        task = self._held.above(action.id)
        if task is None:
            return self._exchange(action)
        response = self._exchange(TaskFence(*task, action))
        if response.status == 404:
            # The protocol's "no such task"; of the promise an inner status would say so.
            response = replace(response, status=409)
        elif response.action_status != 200:
            response = replace(response, status=response.action_status)
        if response.status == 409:
            self._held.drop(*task)
        return response

    def _exchange(self, request: ProtocolRequest) -> Response:
        """Make one request of the protocol, and see through what a lost response leaves behind."""
        self._require_open()
        kind, data = encode_request(request)
        answer = self._calls.call(kind, data, self._timeout_s)
        try:
            response = decode_response(request, answer.status, answer.data)
        except WireError as error:
            raise StoreError(f"{self.server.url}: {error}") from error
        if answer.doubtful and response.status in (404, 409):
            response = self._reconsider(request, response)
        if isinstance(request, TaskSuspend) and response.status == 300:
            # Servers differ in what they show: ours all children and what was awaited, others some of the children.
            self._held.keep_preload(request.id, request.version, response.preload)
            settled = tuple(promise for promise in response.preload if not promise.pending)
            news = any(promise.id in request.awaited for promise in settled)
            return replace(response, preload=settled if news else ())
        return response

    def _reconsider(self, request: ProtocolRequest, refusal: Response) -> Response:
        """An earlier try may have done what this one was refused for: look, and answer as it was answered."""
        match request:
            case TaskCreate():
                return self._claimed(request.promise.id, None, request.pid) or refusal
            case TaskAcquire():
                return self._claimed(request.id, request.version + 1, request.pid) or refusal
            case TaskFulfill():
                promise = self._exchange(PromiseGet(request.id)).promise
                settle = request.settle
                done = promise is not None and (promise.state, promise.value) == (settle.state, settle.value)
                return Response(promise=promise) if done else refusal
            case TaskSuspend():
                # Pending again is what it is once an awaited promise has settled; the holder's part is over anyway.
                return self._done(request.id, request.version, "suspended", "pending") or refusal
            case TaskRelease():
                return self._done(request.id, request.version, "pending", "halted") or refusal
            case TaskHalt():
                return self._done(request.id, request.version, "halted") or refusal
            case TaskContinue():
                return self._done(request.id, None, "pending", "acquired", "suspended") or refusal
            case ScheduleDelete():
                return Response()
            case _:
                return refusal

    def _claimed(self, id: str, version: int | None, pid: str) -> Response | None:
        """The task as acquired by this process, unless that was another request of ours."""
        task = self._task(id)
        if task is None or task.state != "acquired" or task.pid != pid or version not in (None, task.version):
            return None
        promise = self._exchange(PromiseGet(id)).promise
        if promise is None or not self._held.claim(id, task.version):
            return None
        return Response(task=task, promise=promise)

    def _done(self, id: str, version: int | None, *states: str) -> Response | None:
        task = self._task(id)
        if task is None or task.state not in states or version not in (None, task.version):
            return None
        return Response()

    def _task(self, id: str) -> Task | None:
        return self._exchange(TaskGet(id)).task

    def _note(self, request: Request, response: Response) -> None:
        """Keep account of the tasks that we hold."""
        match request:
            case TaskCreate() | TaskAcquire():
                if response.task is not None and response.task.state == "acquired":
                    self._held.add(response.task, response.preload)
            case TaskFulfill() | TaskSuspend() | TaskRelease():
                if response.status in (200, 404, 409):
                    self._held.drop(request.id, request.version)
            case TaskHalt(version=int(version)):
                if response.ok:
                    self._held.drop(request.id, version)
            case _:
                pass

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed("this store is closed: the invocation that it belonged to has ended")


class _HeldTask(Struct):
    version: int
    preload: Sequence[PromiseView] | None = None


class _Held:
    """The tasks that this process holds, and the children that came with them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, _HeldTask] = {}

    def add(self, task: Task, preload: Sequence[PromiseView]) -> None:
        with self._lock:
            known = self._tasks.get(task.id)
            if known is None or known.version != task.version:  # else it was claimed, and nothing came with it
                self._tasks[task.id] = _HeldTask(task.version, preload)

    def claim(self, id: str, version: int) -> bool:
        """Hold a task whose acquisition was not answered; False if another thread holds it by the same acquisition."""
        with self._lock:
            known = self._tasks.get(id)
            if known is not None and known.version >= version:
                return False
            self._tasks[id] = _HeldTask(version)
            return True

    def drop(self, id: str, version: int) -> None:
        with self._lock:
            known = self._tasks.get(id)
            if known is not None and known.version == version:
                del self._tasks[id]

    def version(self, id: str) -> int | None:
        with self._lock:
            known = self._tasks.get(id)
            return None if known is None else known.version

    def keep_preload(self, id: str, version: int, preload: Sequence[PromiseView]) -> None:
        """What a task that goes on was shown of its children, for whoever asks for them next."""
        with self._lock:
            known = self._tasks.get(id)
            if known is not None and known.version == version:
                known.preload = preload

    def take_preload(self, id: str) -> Sequence[PromiseView] | None:
        """What came with the task; only once, because it grows old."""
        with self._lock:
            known = self._tasks.get(id)
            if known is None:
                return None
            preload, known.preload = known.preload, None
            return preload

    def above(self, id: str) -> tuple[str, int] | None:
        """The id and version of the nearest held task that `id` lies below."""
        with self._lock:
            while id := parent(id):
                known = self._tasks.get(id)
                if known is not None:
                    return id, known.version
        return None
