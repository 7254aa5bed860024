"""`resonate tree`: an execution as the calls it consists of.

The tree is read with one search by id, which is one partition of a table, and a look at each task that is not over. A
retry timer (`{step}~{attempt}`, or `{id}.0~{attempt}` for the function of a task) is not a node: it is an attempt of
its step. What the official SDKs have made has a colon below the root, and is read a level further down; what ours has
made has none, which saves a search.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from resonate_infra.cli.parameters import Id
from resonate_infra.cli.session import Session, connected

if TYPE_CHECKING:
    from rich.tree import Tree

    from resonate_store.model.records import PromiseView, Task


class Node:
    """One promise of an execution.

    Attributes:
        promise: as it was read.
        task: its task, if it has one that is not over.
        children: what lies below it, in the order of the commands.
        retries: the timers between its attempts, the earliest first.
    """

    def __init__(self, promise: PromiseView, task: Task | None) -> None:
        self.promise = promise
        self.task = task
        self.children: list[Node] = []
        self.retries: list[PromiseView] = []

    @property
    def pending(self) -> bool:
        """Whether it has no outcome yet."""
        return self.promise.pending

    @property
    def foreign(self) -> bool:
        """Whether it is an execution of its own (a detached call)."""
        from resonate_store.model.tags import ORIGIN

        return self.promise.tags.get(ORIGIN, self.promise.id) == self.promise.id

    @property
    def attempts(self) -> int:
        """How often it has been tried: a step by its latest retry timer, a task as its failures are counted."""
        from resonate.engine.history import attempt_of

        if self.retries:  # short pauses leave no timer, so their number is not their count
            return attempt_of(self.retries[-1]) + 1
        return (self.task.attempts if self.task is not None else 0) + 1

    @property
    def retry_at(self) -> int | None:
        """When its next attempt begins (milliseconds), if it waits for one."""
        waiting = [timer.timeout_at for timer in self.retries if timer.pending]
        return waiting[-1] if self.pending and waiting else None

    def waits(self, *, short: bool = False) -> str:
        """Say what it waits for that is worth telling: a worker, its next attempt; empty if nothing is."""
        from resonate_infra.cli.waiting import of_attempt, of_task

        waiting = [timer for timer in self.retries if timer.pending]
        if self.pending and waiting:
            return of_attempt(waiting[-1], short=short)
        return of_task(self.promise, self.task, short=short)

    def all(self) -> Iterator[Node]:
        """This node and everything below it."""
        yield self
        for child in self.children:
            yield from child.all()

    def states(self) -> dict[str, int]:
        """How many promises below it are in each state."""
        counts: dict[str, int] = {}
        for node in self.all():
            if node is not self:
                counts[node.promise.state] = counts.get(node.promise.state, 0) + 1
        return counts


def call_tree(session: Session, id: str) -> Node:
    """Read the execution, or the part of one, whose root is the promise `id`.

    Raises:
        Failure: there is no such promise, or nobody who answers.
    """
    from resonate.engine.history import independent
    from resonate_infra.cli.waiting import task_of
    from resonate_store.interface import whole
    from resonate_store.model.ids import parent
    from resonate_store.model.requests import PromiseGet
    from resonate_store.model.tags import FUNC

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

    nodes = {id: Node(root, task_of(session, root))}
    timers: list[tuple[int, str, PromiseView]] = []
    for promise in sorted(found.values(), key=lambda promise: _place(promise.id)):
        step, _, attempt = promise.id.rpartition("~")
        if step in found and attempt.isdecimal():
            timers.append((int(attempt), step, promise))
            continue
        if attempt.isdecimal() and step.endswith(".0") and step[:-2] in (id, *found):
            timers.append((int(attempt), step[:-2], promise))  # of the function of a task
            continue
        parent_node = nodes.get(parent(promise.id))
        if parent_node is not None and not independent(promise):  # else it only looks as if it lay below
            node = nodes[promise.id] = Node(promise, task_of(session, promise))
            parent_node.children.append(node)
    for _, step, timer in sorted(timers, key=lambda each: each[:2]):
        if step in nodes:
            nodes[step].retries.append(timer)
    return nodes[id]


@connected
def tree(session: Session, id: Id) -> None:
    """Show an execution as a tree of its calls, with state, time, attempts and outcome of each."""
    from resonate_infra.cli.display import console, write_json

    root = call_tree(session, id)
    if session.as_json:
        write_json(tree_json(root, session.raw))
    else:
        console().print(drawn(root, session.clock.now()))


def tree_json(node: Node, raw: bool) -> dict[str, Any]:
    """A tree as JSON: each promise with `command`, `function`, `attempts`, its task, and its `children`."""
    from resonate_infra.cli.display import function_of, promise_json, taken_ms, task_json

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


def command_of(node: Node) -> str:
    """What made the promise: `execution of order`, `run charge`, `rpc charge`, `a sleep`, `a promise`."""
    from resonate.engine.history import Issued
    from resonate_infra.cli.display import function_of

    function = function_of(node.promise)
    if function and node.foreign:
        return f"execution of {function}"
    words = str(Issued.of(node.promise))
    return f"{words.split()[0]} {function}" if words in ("rpc ", "run ") and function else words.strip()


def drawn(node: Node, now: int) -> Tree:
    """The tree as people see it at the instant `now`."""
    from rich.tree import Tree

    shown = Tree(_line(node, node.promise.id, now), guide_style="dim")
    _draw(node, shown, now)
    return shown


def _draw(node: Node, shown: Tree, now: int) -> None:
    for child in node.children:
        _draw(child, shown.add(_line(child, child.promise.id[len(node.promise.id) :], now)), now)


def _line(node: Node, name: str, now: int) -> Any:
    from rich.text import Text

    from resonate_infra.cli.display import STYLES, duration, outcome, shortened, taken
    from resonate_infra.text import plain

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
    """Sorts ids as commands were issued: parents first, children by their numbers."""
    parts = id.replace(":", ".").split(".")
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
