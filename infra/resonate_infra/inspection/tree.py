"""Tree of the calls of an execution.

One search by id, in one partition of a table, reads the tree. Each task that is not fulfilled needs another request. A
retry timer is not a node, it counts as an attempt of its step. Its id is `{step}~{attempt}`, or `{id}.0~{attempt}` for
the function of a task. The mark of an attempt that has begun, `{step}~m{attempt}`, is a node until its step has a
record: the step runs, or was interrupted. Of an execution that has continued as a new history, only that history is
shown. The record of a cancellation, `{id}.0~cancel`, is shown at its execution.

The official SDKs put a colon between the root and the ids of its children, and these are read with more searches. This
SDK uses no colon, so its executions do not need them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from resonate.engine.history import Issued, as_record, attempt_of, independent
from resonate.payloads.waits import of_attempt, of_cancellation, of_task, timed_function
from resonate_infra.inspection.session import StoreSession
from resonate_infra.inspection.texts import function_of, instant, payload
from resonate_infra.inspection.waiting import task_of
from resonate_infra.json_types import is_list
from resonate_infra.text import number_in
from resonate_store.interface import whole
from resonate_store.model.ids import generation_of, parent
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import PromiseGet
from resonate_store.model.tags import AFTER, BEGUN, FUNC, KIND, LINK, MESSAGE, ORIGIN, PUBLISHED, TAKEN, TIMER

_FIRST = {"race": "first", "any": "first value", "all": "first error"}
"""What the record of a wait for several promises names, by its kind."""
ITEMS = {MESSAGE, PUBLISHED}
"""Tags of the messages of an execution that wait, and of its published state."""


class TreeNode:
    """Promise of an execution with the promises below it.

    Attributes:
        promise: the promise.
        task: its task, or None if it has no task or is settled.
        children: the nodes below it, in the order of the commands.
        retries: the retry timers between its attempts, the earliest first.
        generation: the number of its history that is shown, from 1.
        interrupted: where its cancellation has interrupted workflows: ids of what they awaited. None before that.
    """

    def __init__(self, promise: PromiseView, task: Task | None, latest: Mapping[str, int]) -> None:
        self.promise = promise
        self.task = task
        self.children: list[TreeNode] = []
        self.retries: list[PromiseView] = []
        # A settled promise has no task here, and no generation begins after its settlement.
        self.generation = latest.get(promise.id, 1) if task is None else task.generation or 1
        self.interrupted: list[str] | None = None

    @property
    def pending(self) -> bool:
        """Whether the promise is pending."""
        return self.promise.pending

    @property
    def foreign(self) -> bool:
        """Whether the promise is the root of an execution, for example a detached call."""

        return self.promise.tags.get(ORIGIN, self.promise.id) == self.promise.id

    @property
    def attempts(self) -> int:
        """The number of attempts: of a step from its latest retry timer, of a task from its count of failures."""

        if self.retries:  # Short pauses have no timer, so use the attempt in the timer's id, not the number of timers.
            return attempt_of(self.retries[-1]) + 1
        return (self.task.attempts if self.task is not None else 0) + 1

    @property
    def retry_at(self) -> int | None:
        """The instant (ms) of the next attempt, or None if the promise does not wait for one."""
        waiting = [timer.timeout_at for timer in self.retries if timer.pending]
        return waiting[-1] if self.pending and waiting else None

    def waits(self, *, short: bool = False) -> str:
        """Return what the promise waits for, a worker or its next attempt, or an empty text."""

        waiting = [timer for timer in self.retries if timer.pending]
        if self.pending and waiting:
            return of_attempt(waiting[-1], short=short)
        canceled, waits = of_cancellation(self.task, short=short), of_task(self.promise, self.task, short=short)
        if canceled and self.interrupted:
            canceled += f" (interrupted at {', '.join(self.interrupted)}, and not ended)"
        return "; ".join(text for text in (canceled, waits) if text)

    def all(self) -> Iterator[TreeNode]:
        """Yield this node and every node below it."""
        yield self
        for child in self.children:
            yield from child.all()

    def states(self) -> dict[str, int]:
        """Return how many promises below this node are in each state."""
        counts: dict[str, int] = {}
        for node in self.all():
            if node is not self:
                counts[node.promise.state] = counts.get(node.promise.state, 0) + 1
        return counts


def call_tree(session: StoreSession, id: str) -> TreeNode:
    """Read the promise `id` and everything below it, and return its node.

    Raises:
        Failure: the promise does not exist, or the store does not answer.
    """

    answer = session.ask(PromiseGet(id))
    root = answer.promise
    assert root is not None
    found: dict[str, PromiseView] = {}
    above = [id]
    if FUNC not in root.tags:
        for child in session.store.children(id, ":"):
            found[child.id] = whole(child, session.store)
            above.append(child.id)
    for each in above:
        found.update({promise.id: promise for promise in session.below(each, ".", None)})

    return tree_of(session, root, answer.task, found)


def tree_of(session: StoreSession, root: PromiseView, task: Task | None, found: Mapping[str, PromiseView]) -> TreeNode:
    """Return the node of a promise, with its descendants among the promises that were found.

    Args:
        session: reads the tasks of pending calls.
        root: the promise.
        task: its task, if it is known.
        found: promises below it, by id.
    """
    id = root.id
    found = _with_receipts(found)
    latest: dict[str, int] = {}
    for each in found:
        above_it = parent(each)
        latest[above_it] = max(latest.get(above_it, 1), generation_of(each, above_it) or 1)
    if task is not None:
        latest[id] = task.generation or 1
    nodes = {id: TreeNode(root, (task or task_of(session, root)) if root.pending else None, latest)}
    timers: list[tuple[int, str, PromiseView]] = []
    for promise in sorted(found.values(), key=lambda each: (not ITEMS.isdisjoint(each.tags), _place(each))):
        step, _, attempt = promise.id.rpartition("~")
        step = timed_function(step)
        if step in (id, *found) and attempt.isdecimal():
            timers.append((int(attempt), step, promise))
            continue
        if BEGUN in promise.tags and step in found:
            continue  # The mark of an attempt. If its step has no record, the mark is shown.
        if attempt == "cancel" and step in nodes:
            nodes[step].interrupted = _places(promise)
            continue
        if attempt == "keys":
            continue  # What a fork knows of its source is not a command.
        parent_node = nodes.get(parent(promise.id))
        if parent_node is not None and not independent(promise):  # Else only its id lies below.
            generation = generation_of(promise.id, parent_node.promise.id)
            if generation is not None and generation != parent_node.generation:
                continue  # It is left of an earlier history.
            if promise.id.endswith(f"{generation}+0"):
                continue  # The arguments of this history.
            node = nodes[promise.id] = TreeNode(promise, task_of(session, promise), latest)
            parent_node.children.append(node)
    for _, step, timer in sorted(timers, key=lambda each: each[:2]):
        if step in nodes:
            nodes[step].retries.append(timer)
    return nodes[id]


def _with_receipts(found: Mapping[str, PromiseView]) -> dict[str, PromiseView]:
    """Return the promises with each taken message in the place of its command.

    The value of a message, or of an item of the published state, is its param.
    """
    shown: dict[str, PromiseView] = {}
    receipts: dict[str, PromiseView] = {}
    for id, promise in found.items():
        place = promise.tags.get(TAKEN)
        if place is not None and MESSAGE in promise.tags:
            receipts[place] = replace(as_record(place, promise), value=promise.param)
        elif ITEMS.isdisjoint(promise.tags):
            shown[id] = promise
        else:
            shown[id] = replace(promise, value=promise.param)
    return {**shown, **receipts}


def command_of(node: TreeNode) -> str:
    """Return what created the promise: `execution of order`, `run charge`, `rpc charge`, `a sleep` or `a promise`.

    The mark of an attempt that has begun is an `attempt charge`, and the marker of a patch is a `patch taxes-2`.
    It is `message chat` for a message that waits, and `published progress` for an item of the published state.
    """

    tags = node.promise.tags
    if not ITEMS.isdisjoint(tags):
        return f"message {tags[MESSAGE]}" if MESSAGE in tags else f"published {tags[PUBLISHED]}"
    function = function_of(node.promise)
    if function and node.foreign:
        return f"execution of {function}"
    words = str(Issued.of(node.promise))
    return f"{words.split()[0]} {function}" if words in ("rpc ", "run ") and function else words.strip()


def winner_of(promise: PromiseView) -> str:
    """Return which promise was first, if this is the record of a wait for several. Else return an empty text."""
    what = _FIRST.get(promise.tags.get(KIND, ""))
    place = payload(promise.value, False).get("data")
    return f"{what}: number {place + 1}" if what and isinstance(place, int) and LINK not in promise.tags else ""


def slept(promise: PromiseView) -> str:
    """Return until when a sleep lasts or lasted, or an empty text. It resolves at its deadline (docs/rules.md P5)."""
    if promise.tags.get(TIMER) != "true":
        return ""
    if promise.pending:
        return f"sleeps until {instant(promise.timeout_at)}"
    return f"slept until {instant(promise.settled_at)}" if promise.state == "resolved" else ""


def _places(delivery: PromiseView) -> list[str]:
    """Return the ids of what the interrupted workflows awaited. An encrypted record does not show them."""
    places = payload(delivery.value, False).get("data")
    return [str(place[2]) for place in places if is_list(place) and place[2]] if is_list(places) else []


def _place(promise: PromiseView) -> list[tuple[int, str]]:
    """Return the sort key that orders promises as their commands were issued: parents first, children by their numbers.

    The marker of a patch follows the command before it.
    """
    parts = re.sub(r"\.[0-9]+\+", ".", promise.id.replace(":", ".")).split(".")
    numbers = [number_in(part) for part in parts]
    place = [(-1, part) if number is None else (number, "") for part, number in zip(parts, numbers, strict=True)]
    if (after := number_in(promise.tags.get(AFTER, ""))) is not None:
        place[-1] = (after, parts[-1])
    return place
