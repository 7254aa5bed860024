"""What an execution waits for that has nothing left to do here, and whether that is worth a suspension."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from resonate.engine.model import Coroutine, Node, Work
from resonate_store.model.tags import PARENT

WORTH_SUSPENDING_MS = 1_000
"""A wait that is not longer than this is waited out in the worker (ms): suspending and coming back costs more."""
WORTH_SUSPENDING_HERE_MS = 20
"""The same for a sleep where store and workers are one process (ms): coming back takes a replay, and no invocation."""


class Blocked(Struct, frozen=True):
    """What an execution with nothing left to do here waits for.

    `ids` are promises that others settle. `until` (milliseconds) is the end of a wait that is too short to suspend for,
    if there is one; `timers` are the promises that fall due at it.
    """

    ids: tuple[str, ...]
    until: int | None = None
    timers: tuple[str, ...] = ()


def blocked_on(
    waiting: Mapping[Coroutine, Node],
    root: Node,
    timers: Mapping[str, Node],
    pausing: Sequence[Work],
    now: int,
    worth_suspending_ms: int,
) -> Blocked:
    """What a whole execution is blocked on.

    Args:
        waiting: the workflows that wait, with what each waits for.
        root: the promise of the task.
        timers: the retry timers that are waited for.
        pausing: the functions whose next attempt is near.
        now: the present instant (milliseconds).
        worth_suspending_ms: a sleep that is not longer is waited out.
    """
    nodes = {node.id: node for node in waiting.values() if node.external}
    for coroutine, node in waiting.items():
        own = coroutine.work.node
        if node.external and own.timeout_at < node.timeout_at and own.durable and own is not root:
            # What it waits for may come after its own time is up; then it is over, and whoever called it goes on.
            nodes[own.id] = own
    nodes.update(timers)
    # A pause between attempts leaves no record to come back by, so with one there is nothing but waiting.
    horizon = now + (WORTH_SUSPENDING_MS if pausing else worth_suspending_ms)
    near = {id: node.timeout_at for id, node in nodes.items() if node.timer and node.timeout_at <= horizon}
    until = min([*near.values(), *(work.retry_at for work in pausing)], default=None)
    return Blocked(tuple(nodes), until, tuple(id for id, at in near.items() if at == until))


def refuse_above(node: Node, work: Work, root: Work, nodes: Mapping[str, Node]) -> None:
    """Let no workflow wait for a promise that is settled only after it has ended: its own, or one it was called for.

    Args:
        node: what it is about to wait for.
        work: the workflow.
        root: the function of the task.
        nodes: the promises of the computation, by id.

    Raises:
        ValueError: it would wait for itself.
    """
    if node.settled or node.external:
        return
    above: Work | None = work
    while above is not None:
        if above.node is node:
            raise ValueError(
                f"{work.name} cannot wait for the promise {node.id}: it is settled after {work.name} has ended"
            )
        caller = None if above is root else nodes.get(above.tags[PARENT])
        above = root if caller is root.node else caller and caller.work


def outstanding_below(id: str, nodes: Iterable[Node]) -> int:
    """How many of these promises are children of `id` that still have to be settled by others."""
    return sum(node.external and not node.settled and node.id.rpartition(".")[0] == id for node in nodes)
