"""Store of a server with the low-level interface of SDK 0.6.7 (docs/protocol.md 4).

It is the client of `resonate_store.remote` and uses the current protocol. That protocol does not list callbacks,
subscriptions, or the tasks of a process. So this object remembers those that were made through it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from resonate_store.model.clock import Clock
from resonate_store.model.ids import Identify, random_id
from resonate_store.model.requests import (
    PromiseRegisterCallback,
    PromiseRegisterListener,
    Request,
    Response,
    TaskAcquire,
    TaskCreate,
    TaskFulfill,
    TaskReference,
    TaskRelease,
    TaskSuspend,
)
from resonate_store.model.servers import ServerSettings
from resonate_store.remote import store
from resonate_store.remote.store import TIMEOUT_S

if TYPE_CHECKING:
    from resonate.encoders import Encoder
    from resonate.stores.by_hand import LocalPromises, LocalTasks, TaskClaim
    from resonate.stores.local_schedules import LocalSchedules
    from resonate_store.remote.http import Post


class RemoteStore(store.HttpStore):
    """Promises, tasks and schedules of a server::

        store = RemoteStore("http://localhost:8001", token=token)
        store.promises.resolve("approval-17", data='"yes"')

    Args:
        url: the address of the server. If `port` is given too, it is the host, as in SDK 0.6.7.
        port: the port of `host`.
        auth: user name and password, for HTTP basic authentication.
        encoder: accepted as in SDK 0.6.7, and without effect: payloads are base64.
        timeout: seconds that one request may take, retries included; 30 by default.
        host: scheme and name of the server, with `port` instead of `url`.

        token: a JWT; by default that of the environment.
        iam: whether requests are signed with AWS credentials; by default only those to API Gateway without a token.
        server: all settings of the server in one object, instead of the arguments above.
        clock: the source of time; by default the clock of the machine.
        identify: makes the ids of requests; random by default.
        jitter: returns numbers in [0, 1), which spread the pauses between tries; random by default.
        post: sends a request; by default over HTTP.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument or a variable of the environment has the wrong value.
    """

    def __init__(
        self,
        url: str | None = None,
        port: str | int | None = None,
        auth: tuple[str, str] | None = None,
        encoder: Encoder[str | None, str | None] | None = None,
        timeout: float = TIMEOUT_S,
        *,
        host: str | None = None,
        token: str | None = None,
        iam: bool | None = None,
        server: ServerSettings | None = None,
        clock: Clock | None = None,
        identify: Identify = random_id,
        jitter: Callable[[], float] | None = None,
        post: Post | None = None,
    ) -> None:
        if port is not None and host is None:
            url, host = None, url
        super().__init__(
            url,
            host=host,
            port=port,
            auth=auth,
            token=token,
            iam=iam,
            server=server,
            timeout=timeout,
            clock=clock,
            identify=identify,
            jitter=jitter,
            post=post,
        )
        self._encoder = encoder
        self.claims: dict[str, TaskClaim] = {}
        """The tasks that have been claimed, by their ids in SDK 0.6.7."""
        self._callbacks: dict[str, dict[str, None]] = {}
        self._listeners: set[tuple[str, str]] = set()
        self._claimers: dict[str, tuple[int, str]] = {}

    @property
    def encoder(self) -> Encoder[str | None, str | None]:
        """The encoder that the constructor was given, or a `Base64Encoder`."""
        from resonate.encoders import Base64Encoder

        return self._encoder or Base64Encoder()

    @property
    def promises(self) -> LocalPromises:
        """The promises of the server."""
        from resonate.stores.by_hand import LocalPromises

        return LocalPromises(self)

    @property
    def tasks(self) -> LocalTasks:
        """The tasks of the server."""
        from resonate.stores.by_hand import LocalTasks

        return LocalTasks(self)

    @property
    def schedules(self) -> LocalSchedules:
        """The schedules of the server."""
        from resonate.stores.local_schedules import LocalSchedules

        return LocalSchedules(self)

    def apply(self, request: Request) -> Response:
        """Send `request` and return the response, also one that refuses it.

        Raises:
            StoreError: the server did not answer in time, or its answer is not of the protocol.
        """
        response = super().apply(request)
        match request:
            case TaskCreate() | TaskAcquire():
                if response.task is not None and response.task.state == "acquired":
                    self._claimers[response.task.id] = response.task.version, request.pid
            case TaskFulfill() | TaskSuspend() | TaskRelease():
                ended = response.status in (200, 404, 409)
                if ended and self._claimers.get(request.id, (None,))[0] == request.version:
                    del self._claimers[request.id]
            case _:
                pass
        return response

    def catch_up(self) -> None:
        """Do nothing: the server carries out what is due."""

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context manager that does nothing: other processes use the server at the same time."""
        return nullcontext()

    def register(self, request: PromiseRegisterCallback | PromiseRegisterListener) -> tuple[Response, bool]:
        """Send `request`, which registers a callback or a listener, and return whether it is new for this object."""
        response = self.apply(request)
        if response.promise is None or not response.promise.pending:
            return response, False
        if isinstance(request, PromiseRegisterListener):
            listener = request.awaited, request.address
            new = listener not in self._listeners
            self._listeners.add(listener)
            return response, new
        awaited = self._callbacks.setdefault(request.awaiter, {})
        new = request.awaited not in awaited
        awaited[request.awaited] = None
        return response, new

    def suspend(self, id: str, version: int) -> Response:
        """Suspend the claimed task `id` on the promises that this object has registered callbacks on.

        `version` is that of its claim.
        """
        response = self.apply(TaskSuspend(id, version, tuple(self._callbacks.get(id, ()))))
        if response.status in (200, 300):
            self._callbacks.pop(id, None)
        return response

    def claimed_by(self, pid: str) -> tuple[TaskReference, ...]:
        """Return the tasks that the process `pid` has claimed through this object."""
        return tuple(
            TaskReference(id, version) for id, (version, claimer) in list(self._claimers.items()) if claimer == pid
        )
