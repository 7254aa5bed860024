"""Store of a Resonate server, over HTTP, for workers and clients outside of the deployment.

Each request of the protocol is one round trip. Two things differ from other stores:

- A finished step is one request `task.record`, for a task that this process holds. Other servers do not know this kind.
  There a step needs two round trips, a creation and a settlement, both fenced by the task. Both ways show whether the
  task is lost (docs/rules.md P11).
- A response may get lost. The request is then made again, and its second answer can be misleading. For example, an
  acquisition is refused because its first try succeeded. The store then reads the present state before it returns.
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
from resonate_store.model.execution_requests import TaskContinueAs
from resonate_store.model.ids import INBOX, Identify, parent, random_id
from resonate_store.model.message_requests import MessageSend, TaskPublish, TaskReceive
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
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskRecordStep,
    TaskRelease,
    TaskSuspend,
    TaskVerify,
)
from resonate_store.model.schedule_requests import ScheduleDelete
from resonate_store.model.servers import ServerSettings
from resonate_store.model.tags import ELAPSED, PARENT, TARGET
from resonate_store.protocol.wire import OWN_KINDS, WireError, decode_response, encode_request
from resonate_store.remote.http import Answer, Calls, Post
from resonate_store.remote.post import HttpPost
from resonate_store.remote.settings import server_of
from resonate_store.server_clock import ServerClock

TIMEOUT_S: Final = 30.0
"""The time (s) after which a request without an answer fails."""
_REFUSALS: Final = (400, 404, 405, 422, 501)
"""Statuses with which a server may answer a kind that it does not know."""
_UNKNOWN: Final = "messages and published state need a server of this project, at least of this version"
_ANOTHER: Final = "it is not a Resonate Serverless of this version"
_UNKNOWN_KINDS: Final = {
    "execution.delete": "a deployed API does not delete, so give the table; another server has no such request",
    "execution.search": f"{_ANOTHER}, and an unfiltered list would mislead: `promises search` asks any server",
}
"""What to do if a server does not know a kind."""
PAGE: Final = 500
"""How many children are read at once."""


class HttpStore(Store):
    """A promise store behind the protocol's HTTP interface.

    An argument that is not given is taken from the environment; see `resonate_store.remote.settings`.

    Args:
        url: the address of the server, in place of `host` and `port`.
        host: scheme and name of the server, such as `http://localhost`.
        port: the port of the server.
        auth: user name and password for HTTP basic authentication.
        token: a JSON Web Token (JWT), sent in the envelope and as a bearer token.
        iam: whether requests are signed with AWS credentials. None signs them for an address of API Gateway.
        server: all of these settings, in place of them.
        timeout: the time that one request may take with all its tries, in seconds or as a `timedelta`.
        clock: the source of time, also for pauses between tries.
        identify: makes the ids of envelopes.
        jitter: returns random numbers in [0, 1), which spread the pauses of clients that try again.
        post: makes one try of a request. None uses HTTP.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has the wrong value.
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
            import random  # only this store needs it

            jitter = random.Random().random
        self._calls = Calls(self.server, self.clock, identify, jitter, post or HttpPost(self.server.url))
        self._held = _Held()
        self._timeout_s = timeout
        self._closed = False

    @property
    def server_clock(self) -> ServerClock:
        """The clock that shows the server's time, in which deadlines are computed."""
        return self._calls.server_clock

    @property
    def distant(self) -> HttpStore:
        """This store, because it is the store of a server."""
        return self

    @property
    def insistent(self) -> bool:
        """Whether failed tries are repeated. A process that is about to stop sets it to False."""
        return self._calls.insistent

    @insistent.setter
    def insistent(self, insistent: bool) -> None:
        self._calls.insistent = insistent

    def within(self, seconds: float) -> HttpStore:
        """Return this store with at most `seconds` for each request."""
        store = copy(self)
        store._timeout_s = max(0.001, min(seconds, self._timeout_s))
        return store

    def open(self) -> HttpStore:
        self._require_open()
        return copy(self)

    def close(self) -> None:
        self._closed = True

    def apply(self, request: Request) -> Response:
        """Carry out one request.

        `promise.record` becomes `task.record` or one or two fenced requests, and `task.verify` becomes `task.get`.

        Raises:
            StoreUnreachable: the server did not answer in time.
            StoreError: it is not a Resonate server, it refuses the client, or its answer is not one of the protocol.
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

    @property
    def has_generations(self) -> bool:
        return TaskContinueAs.kind in self._calls.kinds

    @property
    def takes_messages(self) -> bool:
        return MessageSend.kind in self._calls.kinds

    def fences_records_by(self, id: str, version: int) -> bool:
        return self._held.version(id) == version

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        """Return the direct children of the promise `id`, whose ids continue with `separator`.

        A task that was just acquired has them from the response. Otherwise they are searched.
        """
        found, below = self._held.take_preload(id), f"{id}{separator}"
        # In a later generation the response has no messages.
        if found is None or (separator == INBOX and not any(promise.id.startswith(below) for promise in found)):
            found = self._search(id, separator)
        return [promise for promise in found if promise.id.startswith(below) and parent(promise.id) == id]

    def _search(self, id: str, separator: str) -> list[PromiseView]:
        # Only our servers have generations, and only they search by the beginning of an id.
        prefix = id + separator if len(separator) > 1 else None
        found: list[PromiseView] = []
        cursor: str | None = None
        while True:
            response = self._exchange(PromiseSearch(tags={PARENT: id}, id=prefix, limit=PAGE, cursor=cursor))
            if response.promises is None:
                raise StoreError(f"the children of {id} cannot be read: {response.status} {response.error}")
            found += map(self._certain, response.promises)
            cursor = response.cursor
            if cursor is None:
                now = self.server_clock.now()
                return [promise for promise in found if not promise.pending or promise.timeout_at > now]

    def _certain(self, promise: PromiseView) -> PromiseView:
        """Return the promise as `promise.get` shows it.

        A search may show a pending promise as settled (docs/rules.md Q1).
        """
        if promise.settled_at != promise.timeout_at:
            return promise
        return self._exchange(PromiseGet(promise.id)).promise or promise

    def _record(self, request: PromiseRecord) -> Response:
        """Record a step over HTTP, or adopt a settled promise (docs/rules.md P11)."""
        elapsed = max(0, self.clock.now() - request.created_at)
        task = self._held.above(request.id)
        if task is not None and TaskRecordStep.kind in self._calls.kinds:
            record = replace(request, created_at=self.server_clock.now() - elapsed)
            if (response := self._record_at_once(task, record)) is not None:
                return response
        return self._record_in_two(request, elapsed)

    def _record_at_once(self, task: tuple[str, int], record: PromiseRecord) -> Response | None:
        """Record a step for a held task. Return None if the server that answers does not know the request."""
        request = TaskRecordStep(*task, record)
        kind, data = encode_request(request)
        self._require_open()
        answer = self._calls.call(kind, data, self._timeout_s)
        if answer.status >= 400 and kind not in answer.kinds:
            return None  # another server has answered than before, for example during a deployment
        response = self._decoded(request, answer)
        if response.status in (404, 409):
            self._held.drop(*task)
            return replace(response, status=409)
        return response

    def _record_in_two(self, request: PromiseRecord, elapsed: int) -> Response:
        """Create the promise of a step, and settle it.

        The server takes the end of the step as the promise's creation, so a tag says how long the step has run.
        """
        tags = request.tags
        if elapsed:
            tags = {**tags, ELAPSED: str(elapsed)}
        response = self._step(PromiseCreate(request.id, request.timeout_at, request.param, tags))
        promise = response.promise
        if promise is None or not promise.pending or TARGET in promise.tags:
            return response
        return self._step(PromiseSettle(request.id, request.state, request.value))

    def _verified(self, request: TaskVerify) -> Response:
        """Read the task and answer whether it is held at this version."""
        response = self._exchange(TaskGet(request.id))
        if response.task is None:
            return response
        if (response.task.state, response.task.version) == ("acquired", request.version):
            return response
        self._held.drop(request.id, request.version)
        return Response(status=409, error="Task is not acquired at this version")

    def _step(self, action: PromiseCreate | PromiseSettle) -> Response:
        """Create or settle the promise of a step, fenced by the nearest held task above it if there is one.

        The first writer wins in both cases.
        """
        task = self._held.above(action.id)
        if task is None:
            return self._exchange(action)
        response = self._exchange(TaskFence(*task, action))
        if response.status == 404:
            # The outer status is about the task. A missing promise would have an inner status.
            response = replace(response, status=409)
        elif response.action_status != 200:
            response = replace(response, status=response.action_status)
        if response.status == 409:
            self._held.drop(*task)
        return response

    def _exchange(self, request: ProtocolRequest) -> Response:
        """Make one request of the protocol, and correct an answer that a lost response made misleading."""
        self._require_open()
        kind, data = encode_request(request)
        answer = self._calls.call(kind, data, self._timeout_s)
        if answer.status in _REFUSALS and kind in OWN_KINDS and kind not in answer.kinds:
            about_messages = kind in (MessageSend.kind, TaskReceive.kind, TaskPublish.kind)
            unknown = _UNKNOWN if about_messages else _UNKNOWN_KINDS.get(kind, _ANOTHER)
            error = f"the server at {self.server.url} does not know {kind}: {unknown}"
            return Response(status=501 if about_messages else 400, error=error)
        response = self._decoded(request, answer)
        if answer.doubtful and response.status in (404, 409):
            response = self._reconsider(request, response)
        if isinstance(request, TaskSuspend) and response.status == 300:
            # Our server shows all children and the awaited promises. Other servers show some children only.
            self._held.keep_preload(request.id, request.version, response.preload)
            settled = tuple(promise for promise in response.preload if not promise.pending)
            news = any(promise.id in request.awaited for promise in settled)
            return replace(response, preload=settled if news else ())
        return response

    def _decoded(self, request: ProtocolRequest, answer: Answer) -> Response:
        try:
            return decode_response(request, answer.status, answer.data)
        except WireError as error:
            raise StoreError(f"{self.server.url}: {error}") from error

    def _reconsider(self, request: ProtocolRequest, refusal: Response) -> Response:
        """Return the answer to an earlier try that may have been carried out, or the refusal."""
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
                # The task is pending again if an awaited promise has settled since. The holder is done either way.
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
        """Return the task as acquired by this process, or None. It is None if another thread acquired it."""
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
        """Update which tasks this process holds."""
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
    """The tasks that this process holds, and the children in the responses that acquired them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, _HeldTask] = {}

    def add(self, task: Task, preload: Sequence[PromiseView]) -> None:
        with self._lock:
            known = self._tasks.get(task.id)
            if known is None or known.version != task.version:  # else it was claimed without children
                self._tasks[task.id] = _HeldTask(task.version, preload)

    def claim(self, id: str, version: int) -> bool:
        """Hold a task whose acquisition had no answer. Return False if another thread holds it already."""
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
        """Keep the children in the response to a refused suspension for the next `take_preload`."""
        with self._lock:
            known = self._tasks.get(id)
            if known is not None and known.version == version:
                known.preload = preload

    def take_preload(self, id: str) -> Sequence[PromiseView] | None:
        """Return the children that came with the task, only once, because they become outdated."""
        with self._lock:
            known = self._tasks.get(id)
            if known is None:
                return None
            preload, known.preload = known.preload, None
            return preload

    def above(self, id: str) -> tuple[str, int] | None:
        """Return the id and version of the nearest held task above `id`, or None."""
        with self._lock:
            while id := parent(id):
                known = self._tasks.get(id)
                if known is not None:
                    return id, known.version
        return None
