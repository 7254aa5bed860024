"""Requests of one acquired task about its messages and its published state."""

from __future__ import annotations

from msgspec.structs import replace

from resonate.engine.actions import Ask, Look
from resonate.engine.interpreter import Execution
from resonate.worker.lease import Lease, Lost
from resonate_store.interface import Store, StoreError
from resonate_store.model.clock import Clock
from resonate_store.model.ids import INBOX
from resonate_store.model.message_requests import MessageSend, TaskPublish, TaskReceive
from resonate_store.model.records import Task
from resonate_store.model.requests import Response, TaskGet


class InboxRequests:
    """Requests about the messages and the published state of one task.

    Args:
        store: the store.
        clock: the source of time.
        lease: the lease of this process on the task.
        task: the task, acquired.
        execution: its execution.

    Attributes:
        seen: how many accepted messages the execution knows at least.
    """

    def __init__(self, store: Store, clock: Clock, lease: Lease, task: Task, execution: Execution) -> None:
        self.seen = task.messages
        self._store = store
        self._clock = clock
        self._lease = lease
        self._task = task
        self._execution = execution

    def restart(self, task: Task) -> None:
        """Begin again with the next history of the task."""
        self.seen = task.messages
        self._task = task

    def request(self, action: Ask | Look) -> Response:
        """Make the request of an action.

        Raises:
            Lost: another worker holds the task.
            StoreError: the store cannot answer.
        """
        if isinstance(action, Look):
            return self._held(TaskGet(self._task.id))
        request = action.request
        if isinstance(request, MessageSend):
            return self._send(request)
        asked_at = self._clock.now()
        response = self._held(replace(request, version=self._task.version))
        if isinstance(request, TaskReceive) and response.promise is None:
            raise StoreError(f"task {self._task.id} cannot receive: {response.status} {response.error}")
        if response.ok:
            self._lease.confirm(asked_at)
        return response

    def look(self, response: Response | None = None) -> None:
        """Read the messages of the task if new messages were accepted.

        Args:
            response: a response with the present task. None reads it.
        """
        task = (response or self._held(TaskGet(self._task.id))).task
        if task is not None and task.messages != self.seen:
            # They are read afterwards, so these messages are among them.
            self.seen = task.messages
            self._execution.heard(self._store.children(self._task.id, INBOX))

    def _send(self, request: MessageSend) -> Response:
        """Send a message, after a check of the lease: a worker that has lost its task must not begin anything."""
        if self._clock.now() > self._lease.sure_until:
            self._lease.check(self._store, self._clock)
        return _answered(self._store.apply(request))

    def _held(self, request: TaskGet | TaskReceive | TaskPublish) -> Response:
        response = _answered(self._store.apply(request))
        if response.status in (404, 409):
            raise Lost
        return response


def _answered(response: Response) -> Response:
    if response.status == 401 or (response.status >= 500 and response.status != 501):
        raise StoreError(response.error or f"the store answered {response.status}")
    return response
