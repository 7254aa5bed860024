"""Workers: the groups, their processes and functions, and what waits without a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct
from starlette.responses import Response

from resonate_infra.console.schemas import described
from resonate_infra.console.visit import Visit
from resonate_infra.inspection.waiting import task_of
from resonate_store.model.addresses import group_of, wait_for
from resonate_store.model.requests import PromiseGet, TaskSearch
from resonate_store.model.tags import TARGET
from resonate_store.protocol.workers import WorkerView

MOST_TASKS: Final = 50
"""Maximum number of pending tasks that are looked at."""


class Group(Struct):
    """A worker group.

    Attributes:
        name: its name.
        processes: the ids of the processes that poll for it.
        addresses: the addresses that its tasks are pushed to.
        functions: the descriptions of its functions, by name.
        described: whether its functions are known.
        missing: why they are not known, or an empty text.
    """

    name: str
    processes: list[str]
    addresses: list[str]
    functions: dict[str, dict[str, Any]]
    described: bool
    missing: str = ""


class Unserved(Struct):
    """A task that waits for a worker."""

    id: str
    target: str
    waits: str
    created_at: int
    missing: bool


def listing(visit: Visit) -> Response:
    """Show the workers by group."""
    backend = visit.state.backend
    found = backend.workers(visit.token)
    groups = groups_of(found or ())
    for group in groups:
        if not group.described:
            group.missing = next((why for each in group.addresses if (why := backend.missing(each))), "")
    template = "parts/workers.html" if visit.get("part") else "workers.html"
    return visit.page(template, groups=groups, known=found is not None, tasks=_tasks(visit))


def groups_of(workers: Sequence[WorkerView]) -> list[Group]:
    """Return the workers by group. Each function is described by the first process that describes it."""
    groups: dict[str, Group] = {}
    for worker in workers:
        group = groups.setdefault(worker.group, Group(worker.group, [], [], {}, False))
        if worker.id is not None:
            group.processes.append(worker.id)
        if worker.address is not None:
            group.addresses.append(worker.address)
        for function in map(described, worker.functions or ()):
            group.functions.setdefault(function["name"], function)
        group.described = group.described or worker.functions is not None
    for group in groups.values():
        group.functions = dict(sorted(group.functions.items()))
    return sorted(groups.values(), key=lambda group: group.name)


def _tasks(visit: Visit) -> list[Unserved]:
    """Return the pending tasks that wait for a worker, those without any worker first."""
    waiting: list[Unserved] = []
    for task in visit.session.ask(TaskSearch("pending", limit=MOST_TASKS)).tasks or ():
        found = visit.session.find(PromiseGet(task.id))
        if found is None or found.promise is None or not found.promise.pending:
            continue
        promise = found.promise
        shown = found.task or task_of(visit.session, promise)
        workers = None if shown is None else shown.workers
        target = promise.tags.get(TARGET, "")
        group = group_of(target) or target
        waiting.append(Unserved(task.id, group, wait_for(target, workers), promise.created_at, workers == 0))
    return sorted(waiting, key=lambda each: (not each.missing, each.created_at))
