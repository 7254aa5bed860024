"""How the server's messages reach workers (docs/protocol.md 2.2 and 2.3).

`send` hands a message over and returns. A group that a function or a push address serves goes there, any other to the
streams; `http(s)` addresses are posted to from a bounded number of threads; `lambda://name` is a function in this
process, else an asynchronous invoke. What fails is logged and left to redispatch: the task is offered again.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from resonate.threads import Pool
from resonate_infra.effects.transports import Pusher, invoke
from resonate_infra.server.hub import Hub
from resonate_infra.server.lambdas import Lambdas
from resonate_store.machine.effects import Execute, effects, message_of
from resonate_store.model.addresses import poll_of, route, wait_for
from resonate_store.model.records import PromiseView, Record
from resonate_store.model.tags import TARGET

CONCURRENCY = 256
"""Pushes and invokes in flight."""
MOST_UNSERVED = 1_000
"""Addresses that no worker is there for and that the log has told of; beyond that it tells of them again."""
REOFFER_HORIZON_MS = 900_000
"""A task on offer is offered again within this time, so it is due by then: that is how they are found."""

logger = logging.getLogger("resonate.server")


class Offering(Protocol):
    """Where the tasks are that wait for somebody."""

    def due(self, now: int) -> list[tuple[Any, str]]: ...

    def record(self, id: str) -> Record | None: ...


class Delivery:
    """Sends messages.

    Args:
        url: where workers reach this server, for the messages that ask them to.
        hub: the streams.
        lambdas: the functions in this process.
        groups: which push address serves a worker group.
        pusher: posts over HTTP.
        lambda_client: makes a boto3 client for functions that are not in this process; None where there are none.
    """

    def __init__(
        self,
        url: str,
        hub: Hub,
        lambdas: Lambdas,
        groups: Mapping[str, str],
        pusher: Pusher,
        lambda_client: Callable[[], Any] | None = None,
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
        """Hand a message over to its transport, without waiting for the receiver."""
        execute = message["kind"] == "execute"
        if execute:
            message = {**message, "head": self._head}
        destination = route(address, self._groups)
        if destination is None:
            sent = self._hub.send(address, message)
            logger.debug("%s %s %s", message["kind"], "to" if sent else "finds nobody at", address)
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
            self._background.submit_latest(key, lambda: invoke(client(), destination, message))
        else:
            logger.warning("nothing serves %s: start the server with --lambda %s=module:handler", destination, name)

    def workers(self, promise: PromiseView) -> int | None:
        """Return how many workers poll for the task of a promise; None if it has a target that is sent its tasks."""
        address = promise.tags.get(TARGET, "")
        if poll_of(address) is None or route(address, self._groups) is not None:
            return None
        return self._hub.workers(address, promise.id)

    def _note(self, address: str, task: str, sent: bool) -> None:
        """Log the first task that no worker is there for; once per address, until one takes a task there."""
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
        """Offer to whoever connects the tasks that have waited for somebody like that in `store`."""
        self._hub.on_room = lambda group: self._background.submit_latest(
            ("offer", group), lambda: self._offer(store, group)
        )

    def recall(self, store: Offering, now: int) -> None:
        """Offer again what an earlier server on the same `store` had on offer to workers that poll.

        A store of this process does that itself; in a table the next offer may be minutes away.
        """
        for kind, id in store.due(now + REOFFER_HORIZON_MS):
            if kind == "promise":
                for offer in _offers(store, id):
                    if route(offer.address, self._groups) is None:
                        self.send(offer.address, message_of(offer))

    def close(self, seconds: float) -> bool:
        """Send nothing any more; say whether what is on its way has arrived within `seconds`."""
        return self._background.close(seconds)

    def _offer(self, store: Offering, group: str) -> None:
        while claimed := self._hub.claim(group):
            for id in claimed:
                try:
                    for offer in _offers(store, id):
                        self.send(offer.address, message_of(offer))
                except Exception:  # which must not keep the others from their workers
                    logger.exception("task %s cannot be offered before its next offer is due", id)

    def _push(self, address: str, message: dict[str, Any]) -> None:
        self._pusher.push(address, message)


def _offers(store: Offering, id: str) -> list[Execute]:
    """The execute message that a record has outstanding, if it has one."""
    record = store.record(id)
    outstanding = effects(None, record) if record is not None else []
    return [effect for effect in outstanding if isinstance(effect, Execute)]


def served_groups(lambdas: Mapping[str, Any], groups: Mapping[str, str]) -> dict[str, str]:
    """Which push address serves a group: the functions in this process come first."""
    return {**groups, **{name: f"lambda://{name}" for name in lambdas}}


def lambda_client_of(environment: Mapping[str, str], table: str | None) -> Callable[[], Any] | None:
    """What makes the client for `lambda://` addresses: where there is no sign of AWS there are no functions either.

    Args:
        environment: names an endpoint in the place of AWS, or does not.
        table: the table that keeps the promises, if one does.
    """
    if table is None and not any(environment.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA")):
        return None

    @functools.cache
    def client() -> Any:
        import boto3

        library: Any = boto3
        return library.client("lambda")

    return client
