"""`resonate tree`: show an execution as a tree of its calls.

One search by id, in one partition of a table, reads the tree. Each task that is not fulfilled needs another request. A
retry timer is not a node, it counts as an attempt of its step. Its id is `{step}~{attempt}`, or `{id}.0~{attempt}` for
the function of a task.

The official SDKs put a colon between the root and the ids of its children, and these are read with more searches. This
SDK uses no colon, so its executions do not need them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from resonate.engine.history import Issued, as_record, attempt_of, independent
from resonate_infra.cli.display import (
    STYLES,
    console,
    duration,
    function_of,
    outcome,
    promise_json,
    shortened,
    taken,
    taken_ms,
    task_json,
    write_json,
)
from resonate_infra.cli.parameters import Id
from resonate_infra.cli.session import Session, connected
from resonate_infra.cli.waiting import of_attempt, of_task, task_of
from resonate_infra.text import plain
from resonate_store.interface import whole
from resonate_store.model.ids import parent
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import PromiseGet
from resonate_store.model.tags import FUNC, MESSAGE, ORIGIN, PUBLISHED, TAKEN

if TYPE_CHECKING:
    from rich.tree import Tree

_ITEMS = {MESSAGE, PUBLISHED}
"""Tags of the messages of an execution that wait, and of its published state."""


class TreeNode:
    """Promise of an execution with the promises below it.

    Attributes:
        promise: the promise.
        task: its task, or None if it has no task or is settled.
        children: the nodes below it, in the order of the commands.
        retries: the retry timers between its attempts, the earliest first.
    """

    def __init__(self, promise: PromiseView, task: Task | None) -> None:
        self.promise = promise
        self.task = task
        self.children: list[TreeNode] = []
        self.retries: list[PromiseView] = []

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
        return of_task(self.promise, self.task, short=short)

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


def call_tree(session: Session, id: str) -> TreeNode:
    """Read the promise `id` and everything below it, and return its node.

    Raises:
        Failure: the promise does not exist, or the store does not answer.
    """

    root = session.ask(PromiseGet(id)).promise
    assert root is not None
    found: dict[str, PromiseView] = {}
    above = [id]
    if FUNC not in root.tags:
        for child in session.store.children(id, ":"):
            found[child.id] = whole(child, session.store)
            above.append(child.id)
    for each in above:
        found.update({promise.id: promise for promise in session.below(each, ".", None)})

    found = _with_receipts(found)
    nodes = {id: TreeNode(root, task_of(session, root))}
    timers: list[tuple[int, str, PromiseView]] = []
    for promise in sorted(found.values(), key=lambda each: (not _ITEMS.isdisjoint(each.tags), _place(each.id))):
        step, _, attempt = promise.id.rpartition("~")
        if step in found and attempt.isdecimal():
            timers.append((int(attempt), step, promise))
            continue
        if attempt.isdecimal() and step.endswith(".0") and step[:-2] in (id, *found):
            timers.append((int(attempt), step[:-2], promise))  # A retry timer of the function of a task.
            continue
        parent_node = nodes.get(parent(promise.id))
        if parent_node is not None and not independent(promise):  # Else only its id lies below.
            node = nodes[promise.id] = TreeNode(promise, task_of(session, promise))
            parent_node.children.append(node)
    for _, step, timer in sorted(timers, key=lambda each: each[:2]):
        if step in nodes:
            nodes[step].retries.append(timer)
    return nodes[id]


def _with_receipts(found: dict[str, PromiseView]) -> dict[str, PromiseView]:
    """Return the promises with each taken message in the place of its command.

    The value of a message, or of an item of the published state, is its param.
    """
    shown: dict[str, PromiseView] = {}
    receipts: dict[str, PromiseView] = {}
    for id, promise in found.items():
        place = promise.tags.get(TAKEN)
        if place is not None:
            receipts[place] = replace(as_record(place, promise), value=promise.param)
        elif _ITEMS.isdisjoint(promise.tags):
            shown[id] = promise
        else:
            shown[id] = replace(promise, value=promise.param)
    return {**shown, **receipts}


@connected
def tree(session: Session, id: Id) -> None:
    """Show an execution as a tree of its calls, each with state, time, attempts and outcome."""

    root = call_tree(session, id)
    if session.as_json:
        write_json(tree_json(root, session.raw))
    else:
        console().print(drawn(root, session.clock.now()))


def tree_json(node: TreeNode, raw: bool) -> dict[str, Any]:
    """Return a tree as JSON: each promise with `command`, `function`, `attempts`, its `task` and its `children`."""

    promise = node.promise
    document = {
        **promise_json(promise, raw),
        "command": command_of(node),
        "function": function_of(promise) or None,
        "attempts": node.attempts,
        "retryAt": node.retry_at,
        "waits": node.waits() or None,
        "durationMs": taken_ms(promise),
        "task": None if node.task is None else task_json(node.task),
    }
    return {**document, "children": [tree_json(child, raw) for child in node.children]}


def command_of(node: TreeNode) -> str:
    """Return what created the promise: `execution of order`, `run charge`, `rpc charge`, `a sleep` or `a promise`.

    It is `message chat` for a message that waits, and `published progress` for an item of the published state.
    """

    tags = node.promise.tags
    if not _ITEMS.isdisjoint(tags):
        return f"message {tags[MESSAGE]}" if MESSAGE in tags else f"published {tags[PUBLISHED]}"
    function = function_of(node.promise)
    if function and node.foreign:
        return f"execution of {function}"
    words = str(Issued.of(node.promise))
    return f"{words.split()[0]} {function}" if words in ("rpc ", "run ") and function else words.strip()


def drawn(node: TreeNode, now: int) -> Tree:
    """Return the tree for a terminal. Durations of pending promises end at the instant `now` (ms)."""
    from rich.tree import Tree

    shown = Tree(_line(node, node.promise.id, now), guide_style="dim")
    _draw(node, shown, now)
    return shown


def _draw(node: TreeNode, shown: Tree, now: int) -> None:
    for child in node.children:
        name = child.promise.id[len(node.promise.id) :]
        if not _ITEMS.isdisjoint(child.promise.tags):  # the rest of the id says nothing to people
            name = name.partition("-")[0]
        _draw(child, shown.add(_line(child, name, now)), now)


def _line(node: TreeNode, name: str, now: int) -> Any:
    from rich.text import Text

    promise, task = node.promise, node.task
    line = Text(f"{plain(name)}  ", "bold", no_wrap=True).append(f"{plain(command_of(node))}  ", "not bold")
    line.append(promise.state, f"not bold {STYLES[promise.state]}")
    if task is not None:
        line.append(f" ({task.state}, version {task.version})", f"not bold {STYLES[task.state]}")
    line.append(f"  {taken(promise) or 'for ' + duration(now - promise.created_at)}", "not bold dim")
    waits = node.waits(short=True)
    if node.attempts > 1 and not waits:
        line.append(f"  attempt {node.attempts}", "not bold")
    if waits:
        line.append(f"  {plain(waits)}", "not bold yellow")
    error = task.error if task is not None and task.error and not waits else outcome(promise)
    if error:
        line.append(f"  {shortened(plain(error))}", f"not bold {'' if promise.state == 'resolved' else 'red'}")
    return line


def _place(id: str) -> list[tuple[int, str]]:
    """Return the sort key that orders ids as their commands were issued: parents first, children by their numbers."""
    parts = id.replace(":", ".").split(".")
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
