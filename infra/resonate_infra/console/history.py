"""The records of an execution, in windows of its commands.

An execution can have 10,000 commands and more. A search finds records in the order of their ids as text, which is not
that of the commands. So a page that opens reads the records of the first commands by their ids. The page then asks
for what lies below them. When a user scrolls, all records are read once, and kept for a short time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from resonate.engine.history import independent
from resonate_infra.inspection.session import StoreSession
from resonate_infra.inspection.tree import TreeNode, tree_of
from resonate_infra.text import number_in
from resonate_store.model.ids import INBOX, below, parent, problem_with, state_id
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import PromiseGet, PromiseSearch, Response
from resonate_store.model.tags import AFTER, FUNC, MESSAGE, PUBLISHED, TAKEN

WINDOW = 100
"""How many commands a window has."""
FIRST = 50
"""How many commands the first window of a long execution has."""
PROBED = 200
"""An execution with at most this many records is read completely at once."""
MOST_RECORDS = 50_000
"""Maximum number of records of one execution that are read. The page says that there are more."""
FRESH_MS = 1_000
"""How long (ms) the records of a pending execution are kept."""
MOST_KEPT = 4
"""Maximum number of executions whose records are kept."""

_END = 2**53

Extent = Literal["commands", "beginning", "all"]
"""What is read of a long execution: its first commands, these with what lies below them, or all records."""
Place = tuple[int, int]
"""Place of a command: its number, and 1 for what follows it."""


class Records(Struct):
    """Records of one execution.

    Attributes:
        root: its promise.
        task: its task, or None.
        groups: the records of each command and all below it, in the order of the commands.
        function: the retry timers of its function, its arguments and its cancellation.
        waiting: messages that wait, and the published state.
        read_at: the instant (ms) at which they were read.
        complete: whether all records were read.
        beginning: whether only the records of the first commands were read, because there are many.
    """

    root: PromiseView
    task: Task | None
    groups: list[list[PromiseView]]
    function: list[PromiseView]
    waiting: list[PromiseView]
    read_at: int
    complete: bool = True
    beginning: bool = False

    @property
    def count(self) -> int:
        """The number of commands that were read."""
        return len(self.groups)

    def following(self, begin: int, count: int = WINDOW) -> int | None:
        """Return the place at which the window after this one begins, or None if it is the last one."""
        end = begin + count
        if self.beginning:
            return self.count
        return end if end < self.count else None

    def window(self, session: StoreSession, begin: int, count: int = WINDOW) -> TreeNode:
        """Return the node of the execution with the commands from place `begin` on, at most `count`."""
        end = self.count if self.beginning and count else begin + count
        shown = (self.function, *self.groups[begin:end])
        found = {each.id: each for group in shown for each in group}
        return tree_of(session, self.root, self.task, found)


class Histories:
    """Reader of the records of executions. It keeps those of the latest ones. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str | None, str], Records] = OrderedDict()

    def read(self, session: StoreSession, id: str, user: str | None = None, extent: Extent = "all") -> Records:
        """Return the records of an execution.

        Args:
            session: the session of the user.
            id: the promise at its top.
            user: names the user. What is kept for one user is not shown to another.
            extent: which records suffice.

        Raises:
            Failure: the promise does not exist, or the store does not answer.
        """
        answer = session.ask(PromiseGet(id))  # It also checks that the user may see it.
        root, task, now = answer.promise, answer.task, session.clock.now()
        assert root is not None
        with self._lock:
            kept = self._kept.get((user, id))
        if kept is not None:
            unchanged = kept.root.state == root.state and (not root.pending or now - kept.read_at < FRESH_MS)
            if unchanged:
                kept.root, kept.task = root, task
                return kept
        probed = session.ask(PromiseSearch(id=f"{id}.", limit=PROBED)) if problem_with(f"{id}.") is None else Response()
        if extent != "all" and probed.cursor is not None:
            beginning = _beginning(session, root, task, now, details=extent == "beginning")
            if beginning is not None:
                return beginning
        records = _read(session, root, task, now, probed)
        with self._lock:
            self._kept[(user, id)] = records
            self._kept.move_to_end((user, id))
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return records

    def forget(self, id: str) -> None:
        """Drop what is kept of an execution, because a user has changed it."""
        with self._lock:
            for key in [key for key in self._kept if key[1] == id]:
                del self._kept[key]


def _beginning(
    session: StoreSession, root: PromiseView, task: Task | None, now: int, *, details: bool
) -> Records | None:
    """Return the records of the first commands, which are read by their ids. Return None if the ids are not known.

    `details` is whether what lies below them is read too: the commands of calls, and retry timers.
    """
    if FUNC not in root.tags:
        return None  # those of another SDK
    generation = 1 if task is None else task.generation or 1
    if task is None and session.ask(PromiseSearch(id=f"{root.id}{below(2)}", limit=1)).promises:
        return None  # the number of its present history is not known
    stem = f"{root.id}{below(None if generation == 1 else generation)}"
    found: list[PromiseView] = []
    for number in range(1, FIRST + 1):
        answer = session.find(PromiseGet(f"{stem}{number}"))
        if answer is not None and answer.promise is not None:
            found.append(answer.promise)
        for separator in (".", "~") if details else ():
            found.extend(session.below(f"{stem}{number}", separator, WINDOW))
    found.extend(session.below(f"{stem}0", "~", WINDOW))
    for each in ("patch~", INBOX[1:], state_id("")[1:]):
        found.extend(session.ask(PromiseSearch(id=f"{root.id}.{each}", limit=WINDOW)).promises or ())
    groups, function, waiting = _grouped(root.id, found, generation)
    first = [group for group in groups if _number(group[0], len(root.id) + 1) <= FIRST]
    return Records(root, task, first, function, waiting, now, beginning=True)


def _read(session: StoreSession, root: PromiseView, task: Task | None, now: int, probed: Response) -> Records:
    found: list[PromiseView] = []
    above = [root.id]
    if FUNC not in root.tags:  # the official SDKs name no function, and separate the first level by a colon
        for child in session.below(root.id, ":", MOST_RECORDS):
            if parent(child.id) == root.id:
                found.append(child)
                above.append(child.id)
    for each in above:
        if each == root.id and probed.cursor is None:
            found.extend(probed.promises or ())
        else:
            found.extend(session.below(each, ".", MOST_RECORDS))
    groups, function, waiting = _grouped(root.id, found, None if task is None else task.generation)
    return Records(root, task, groups, function, waiting, now, len(found) < MOST_RECORDS)


def _grouped(
    root: str, found: Iterable[PromiseView], generation: int | None
) -> tuple[list[list[PromiseView]], list[PromiseView], list[PromiseView]]:
    """Return the records of each command of the present generation, those of its function, and the messages."""
    begin = len(root) + 1
    groups: dict[int, dict[Place, list[PromiseView]]] = {}
    waiting: list[PromiseView] = []
    for promise in found:
        tags = promise.tags
        if TAKEN not in tags and (MESSAGE in tags or PUBLISHED in tags):
            waiting.append(promise)
        elif TAKEN in tags or promise.id.count(".", begin) or not independent(promise):  # else only its id lies below
            of_generation, place = _place(promise, begin)
            groups.setdefault(of_generation, {}).setdefault(place, []).append(promise)
    if generation is None:
        generation = max(groups, default=1)
    # Number 0 has the retry timers of the function, its cancellation and its arguments. They are not commands.
    of_commands = groups.get(generation, {})
    function = of_commands.pop((0, 0), [])
    return [of_commands[place] for place in sorted(of_commands)], function, waiting


def _place(promise: PromiseView, begin: int) -> tuple[int, Place]:
    """Return the generation and the place of the command that a record belongs to.

    Args:
        promise: the record.
        begin: where the command begins in its id.
    """
    segment = promise.tags.get(TAKEN, promise.id)[begin:]
    if (command := number_in(segment)) is not None:  # nearly all
        return 1, (command, 0)
    segment, after = segment.partition(".")[0].partition("~")[0], 0
    if segment == "patch":
        segment, after = promise.tags.get(AFTER, "0"), 1
    first, _, second = segment.partition("+")
    generation, number, command = number_in(first), number_in(second), number_in(segment)
    if generation is not None and number is not None:
        return generation, (number, after)
    return 1, (_END if command is None else command, after)  # else a name of another SDK


def _number(promise: PromiseView, begin: int) -> int:
    return _place(promise, begin)[1][0]
