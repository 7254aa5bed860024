"""Blocking: what an execution waits for when it cannot continue, and whether a suspension is worth its cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from resonate.engine.model import Coroutine, Node, Work
from resonate.errors.mistakes import ForeignPromiseError
from resonate_store.model.tags import PARENT

WORTH_SUSPENDING_MS = 1_000
"""The worker waits up to this length (ms) without suspending: a suspension and a resume cost more."""
WORTH_SUSPENDING_HERE_MS = 20
"""The same for a sleep if store and workers are one process (ms): a resume then costs a replay, but no invocation."""


class Blocked(Struct, frozen=True):
    """What an execution waits for that cannot continue here.

    Attributes:
        ids: the promises that other programs or timers settle.
        until: the end (ms) of a wait that is too short for a suspension; None if there is none.
        timers: the promises whose timers end at `until`.
        receives: the names of the messages that it waits for.
    """

    ids: tuple[str, ...]
    until: int | None = None
    timers: tuple[str, ...] = ()
    receives: tuple[str, ...] = ()


def blocked_on(
    waiting: Mapping[Coroutine, Node],
    root: Node,
    timers: Mapping[str, Node],
    pausing: Sequence[Work],
    now: int,
    worth_suspending_ms: int,
) -> Blocked:
    """Return what the whole execution waits for.

    Args:
        waiting: the workflows that wait, with the promise that each waits for.
        root: the promise of the task.
        timers: the retry timers that functions wait for.
        pausing: the functions that pause in this process before their next attempt.
        now: the present instant (ms).
        worth_suspending_ms: the longest sleep for which the worker waits without suspending.
    """
    nodes: dict[str, Node] = {}
    receives: dict[str, None] = {}
    for coroutine, awaited in waiting.items():
        own = coroutine.work.node
        for node in (awaited,) if awaited.gathering is None else awaited.gathering.unsettled():
            if node.kind == "receive":
                receives[node.name] = None
            elif not node.external:
                continue
            if node.external:
                nodes[node.id] = node
            if own.timeout_at < node.timeout_at and own.durable and own is not root:
                # The workflow may time out before the promise settles; then its caller continues.
                nodes[own.id] = own
    nodes.update(timers)
    # A pause between attempts has no record that could resume the task, so the worker must wait.
    horizon = now + (WORTH_SUSPENDING_MS if pausing else worth_suspending_ms)
    near = {id: node.timeout_at for id, node in nodes.items() if node.timer and node.timeout_at <= horizon}
    until = min([*near.values(), *(work.retry_at for work in pausing)], default=None)
    return Blocked(tuple(nodes), until, tuple(id for id, at in near.items() if at == until), tuple(receives))


def refuse_above(node: Node, work: Work, root: Work, nodes: Mapping[str, Node]) -> None:
    """Refuse a wait for a promise that is settled only after the workflow has ended: its own, or that of a caller.

    Args:
        node: the promise to wait for.
        work: the workflow.
        root: the function of the task.
        nodes: the promises of the execution, by id.

    Raises:
        ValueError: the workflow would wait for itself.
    """
    if node.settled or node.external:
        return
    above: Work | None = work
    while above is not None:
        if above.node is node:
            raise ForeignPromiseError(
                f"{work.name} cannot wait for the promise {node.id}: it is settled after {work.name} has ended"
            )
        caller = None if above is root else nodes.get(above.tags[PARENT])
        above = root if caller is root.node else caller and caller.work


def outstanding_below(id: str, nodes: Iterable[Node]) -> int:
    """Return how many of these promises are unsettled children of `id` that this task does not settle."""
    return sum(node.external and not node.settled and node.id.rpartition(".")[0] == id for node in nodes)
