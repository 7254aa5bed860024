"""ServerDelivery of the server's messages to workers (docs/protocol.md 2.2 and 2.3).

`send` starts the delivery of a message and returns. The address selects the way:

- A group with a function or a push address: there. Any other group: the streams.
- `http(s)://`: a post by one of a bounded number of threads.
- `lambda://name`: a function in this process, if there is one, otherwise an asynchronous invocation.

A failed delivery is logged only. The task is offered again later.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from resonate.threads import Pool
from resonate_infra.effects.transports import Pusher
from resonate_infra.server.hub import Hub
from resonate_infra.server.lambdas import Lambdas
from resonate_store.aws.clients import client_of
from resonate_store.aws.connections import CallLimits
from resonate_store.aws.services import InvokingClient
from resonate_store.delivery.messages import invoke
from resonate_store.delivery.sinks import Denied
from resonate_store.machine.effects import Execute, effects, message_of
from resonate_store.model.addresses import poll_of, route, wait_for
from resonate_store.model.records import PromiseView, Record
from resonate_store.model.tags import TARGET
from resonate_store.protocol.workers import AnnouncedWorker, WorkerView

CLIENT = CallLimits(connect_timeout_s=3, read_timeout_s=10, attempts=3)
"""Limits of the client of Lambda."""
CONCURRENCY = 256
"""Maximum number of pushes and invocations at the same time."""
MOST_UNSERVED = 1_000
"""Maximum number of addresses without a worker that are remembered, so that the log names each only once."""
REOFFER_HORIZON_MS = 900_000
"""Maximum milliseconds until the next offer of an offered task. So all offered tasks are due within this time."""

logger = logging.getLogger("resonate.server")


class Offering(Protocol):
    """Store with tasks that wait for a worker."""

    def due(self, now: int) -> list[tuple[Any, str]]: ...

    def record(self, id: str) -> Record | None: ...


class ServerDelivery:
    """Sender of all messages of a server.

    Args:
        url: the address of this server, which execute messages contain.
        hub: the streams.
        lambdas: the functions in this process.
        groups: the push address of each worker group.
        pusher: posts over HTTP.
        lambda_client: returns a client for functions outside this process. None if there are none.
    """

    def __init__(
        self,
        url: str,
        hub: Hub,
        lambdas: Lambdas,
        groups: Mapping[str, str],
        pusher: Pusher,
        lambda_client: Callable[[], InvokingClient] | None = None,
    ) -> None:
        self._head = {"serverUrl": url}
        self._hub = hub
        self._lambdas = lambdas
        self._groups = groups
        self._pusher = pusher
        self._lambda_client = lambda_client
        self._background = Pool(CONCURRENCY, "resonate-push", logger)
        self._unserved: set[str] = set()

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Send a message by the transport of its address. Do not wait for the receiver."""
        execute = message["kind"] == "execute"
        if execute:
            message = {**message, "head": self._head}
        destination = route(address, self._groups)
        if destination is None:
            sent = self._hub.send(address, message)
            logger.debug("%s %s %s", message["kind"], "to" if sent else "finds no worker at", address)
            if execute:
                self._note(address, message["data"]["task"]["id"], sent)
            return
        data = message["data"]
        key = (destination, message["kind"], data["task" if execute else "promise"]["id"])
        if not destination.startswith("lambda://"):
            self._background.submit_latest(key, lambda: self._push(destination, message))
        elif (name := destination.removeprefix("lambda://")) in self._lambdas:
            self._lambdas.invoke(name, message)
        elif self._lambda_client is not None:
            client = self._lambda_client
            self._background.submit_latest(key, lambda: self._invoke(client(), destination, message))
        else:
            logger.warning("nothing serves %s: start the server with --lambda %s=module:handler", destination, name)

    def _invoke(self, client: Any, destination: str, message: dict[str, Any]) -> None:
        try:
            invoke(client, destination, message)
        except Denied as error:
            logger.warning("%s; the task will be offered again", error)

    def workers(self, promise: PromiseView) -> int | None:
        """Return how many workers poll for the task of a promise. Return None if its target is not polled for."""
        address = promise.tags.get(TARGET, "")
        if poll_of(address) is None or route(address, self._groups) is not None:
            return None
        return self._hub.workers(address, promise.id)

    def _note(self, address: str, task: str, sent: bool) -> None:
        """Log that no worker polls for a task: once per address, until a message reaches a worker there."""
        if sent:
            self._unserved.discard(address)
        elif address not in self._unserved and not self._hub.workers(address, task):
            if len(self._unserved) == MOST_UNSERVED:
                self._unserved.clear()
            self._unserved.add(address)
            groups = ", ".join(self._hub.groups())
            others = f" (connected are workers of {groups})" if groups else ""
            logger.warning("%s is %s%s", task, wait_for(address, 0), others)

    def serve(self, store: Offering) -> None:
        """Offer waiting tasks of `store` to a worker when it connects."""
        self._hub.on_room = lambda group: self._background.submit_latest(
            ("offer", group), lambda: self._offer(store, group)
        )

    def recall(self, store: Offering, now: int) -> None:
        """Offer again the tasks that an earlier server on the same `store` has offered to workers that poll.

        It is needed for a table, in which the next offer can be minutes away. A store in this process does it itself.
        """
        for kind, id in store.due(now + REOFFER_HORIZON_MS):
            if kind == "promise":
                for offer in _offers(store, id):
                    if route(offer.address, self._groups) is None:
                        self.send(offer.address, message_of(offer))

    def close(self, seconds: float) -> bool:
        """Send no further messages. Return whether all deliveries in progress have ended within `seconds`."""
        return self._background.close(seconds)

    def _offer(self, store: Offering, group: str) -> None:
        while claimed := self._hub.claim(group):
            for id in claimed:
                try:
                    for offer in _offers(store, id):
                        self.send(offer.address, message_of(offer))
                except Exception:  # An error must not prevent the offers of the next tasks.
                    logger.exception("task %s could not be offered and waits for its next offer", id)

    def _push(self, address: str, message: dict[str, Any]) -> None:
        self._pusher.push(address, message)


def _offers(store: Offering, id: str) -> list[Execute]:
    """Return the outstanding execute message of a record, as a list of at most one."""
    record = store.record(id)
    outstanding = effects(None, record) if record is not None else []
    return [effect for effect in outstanding if isinstance(effect, Execute)]


def served_groups(lambdas: Mapping[str, Any], groups: Mapping[str, str]) -> dict[str, str]:
    """Return the push address of each group. Functions in this process take precedence."""
    return {**groups, **{name: f"lambda://{name}" for name in lambdas}}


def lambda_client_of(environment: Mapping[str, str], table: str | None) -> Callable[[], InvokingClient] | None:
    """Return a function that returns the client for `lambda://` addresses. Return None if AWS is not configured.

    AWS counts as configured if there is a table, or if the environment names an endpoint of AWS services.

    Args:
        environment: the environment variables.
        table: the table with the promises, or None.
    """
    if table is None and not any(environment.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA")):
        return None
    return functools.cache(lambda: client_of("lambda", CLIENT))


class ServerWorkers:
    """Directory of the workers.

    Args:
        hub: the streams.
        lambdas: the functions in this process.
        groups: the push address of each worker group.
    """

    def __init__(self, hub: Hub, lambdas: Lambdas, groups: Mapping[str, str]) -> None:
        self._hub = hub
        self._lambdas = lambdas
        self._groups = groups

    def announce(self, worker: AnnouncedWorker, prefix: str) -> bool:
        return self._hub.announce(worker.group, worker.id, worker.functions, prefix)

    def workers(self, prefix: str) -> list[WorkerView]:
        """Return the workers by group. Only a bearer of all ids sees those that the server pushes to."""
        polling = [WorkerView(each.group, each.id, functions=each.functions) for each in self._hub.streams(prefix)]
        if prefix:
            return polling
        pushed = [
            WorkerView(group, address=address, functions=self._described(address))
            for group, address in sorted(self._groups.items())
        ]
        return [*polling, *pushed]

    def _described(self, address: str) -> list[dict[str, object]] | None:
        name = address.removeprefix("lambda://")
        return self._lambdas.describe(name) if name in self._lambdas else None
