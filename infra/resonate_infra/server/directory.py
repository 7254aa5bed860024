"""Workers that a development server knows: those that poll it, and the Lambda handlers in its process."""

from __future__ import annotations

from collections.abc import Mapping

from resonate_infra.server.hub import Hub
from resonate_infra.server.lambdas import Lambdas
from resonate_store.protocol.workers import AnnouncedWorker, WorkerView


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
