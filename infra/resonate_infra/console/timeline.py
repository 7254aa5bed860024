"""Rows of an execution: one for each command, with the bars of its timeline.

A row shows what the records hold. A local step is recorded when it ends, with the instant at which it began. Between
two attempts is a retry timer: it was created when the attempt failed, and its deadline is the begin of the next one.
Pauses of a second or less have no timer, so attempts with such pauses between them are one segment. A suspension has no
record: the bar of a workflow is pale while it has only calls, sleeps and promises under way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from resonate.engine.history import Issued, attempt_of
from resonate_infra.console.statuses import shown_status
from resonate_infra.console.times import stable_length
from resonate_infra.inspection.texts import begin_of, error_text, function_of, outcome, taken_ms
from resonate_infra.inspection.tree import TreeNode, command_of, slept, winner_of
from resonate_store.model.records import PromiseView
from resonate_store.model.tags import BEGUN, KIND, LINK, MESSAGE, ORIGIN, PUBLISHED, TARGET

Kind = Literal["workflow", "step", "call", "sleep", "promise", "message", "published", "wait", "mark", "patch"]
BarKind = Literal["run", "ok", "failed", "canceled", "pause", "sleep", "call", "wait", "idle"]

OPEN_BELOW = 150
"""Nested calls are open if the execution has at most this many records in the window."""
MOST_NESTED = 200
"""Maximum number of rows below one call. Its own page has all of them."""
LEAST_WIDTH = 0.35
"""Least width of a bar, in percent of the axis."""
_WAITS_FOR_SEVERAL = ("all", "any", "race", "gather")


class Bar(Struct, frozen=True):
    """A bar. `x` and `width` are in percent of the axis. `title` is for people."""

    kind: BarKind
    x: float
    width: float
    title: str = ""


class Scale(Struct, frozen=True):
    """Axis of a timeline: its first instant (ms) and its length (ms)."""

    start: int
    length: int

    def x(self, at: int) -> float:
        """Return the place of an instant (ms), in percent."""
        return round(min(100.0, max(0.0, (at - self.start) * 100 / self.length)), 3)

    def bar(self, kind: BarKind, begin: int, end: int, title: str = "") -> Bar:
        """Return a bar between two instants (ms)."""
        x = min(self.x(begin), 100 - LEAST_WIDTH)
        return Bar(kind, x, round(max(LEAST_WIDTH, self.x(end) - x), 3), title)


class TimelineRow(Struct, kw_only=True):
    """One row of an execution.

    Attributes:
        id: the id of the promise.
        place: the number of the command below its parent.
        depth: how many calls are above it.
        kind, name: what it is, and the name of its function or message.
        status: what it does now, or its state.
        note: what it waits for, its value or its error, on one line.
        winner: which promise was first, if it waited for several; else empty.
        begin, end: its first instant and its last one (ms); None while it is pending.
        took_ms: how long it took, or None.
        attempts: how many attempts it had so far. `next_attempt` is the number of the one that it waits for, or None.
        below: how many rows are below it. `open` is whether these are shown.
        cut: how many rows below it are left out.
        link: the id of the execution or promise that has a page of its own, or None.
        bars, ticks: its bars, and the places of its failed attempts (percent).
    """

    id: str
    place: str
    depth: int
    kind: Kind
    name: str
    status: str
    note: str
    winner: str
    begin: int
    end: int | None
    took_ms: int | None
    attempts: int
    next_attempt: int | None
    below: int = 0
    open: bool = False
    cut: int = 0
    link: str | None = None
    bars: Sequence[Bar] = ()
    ticks: Sequence[float] = ()

    @property
    def failed(self) -> bool:
        return self.status in ("rejected", "rejected_timedout", "halted")

    @property
    def pending(self) -> bool:
        return self.end is None


def scale_of(root: PromiseView, now: int) -> Scale:
    """Return the axis of an execution. While it is pending, the axis is longer than what has passed."""
    start = begin_of(root)
    if root.settled_at is not None:
        return Scale(start, max(1, root.settled_at - start))
    return Scale(start, stable_length(now - start))


def rows_of(root: TreeNode, scale: Scale, now: int, toggled: Collection[str], records: int) -> list[TimelineRow]:
    """Return the rows below the node of an execution.

    Args:
        root: the node.
        scale: the axis.
        now: the present instant (ms).
        toggled: the ids of calls that a user has opened or closed.
        records: how many records the window has.
    """
    rows: list[TimelineRow] = []
    for child in root.children:
        rows.extend(_rows(child, root, scale, now, toggled, records <= OPEN_BELOW, 0))
    return rows


def _rows(
    node: TreeNode, parent: TreeNode, scale: Scale, now: int, toggled: Collection[str], opened: bool, depth: int
) -> Iterator[TimelineRow]:
    row = row_of(node, parent, scale, now, depth)
    row.below = sum(1 for _ in node.all()) - 1
    row.open = bool(row.below) and opened != (row.id in toggled)
    yield row
    if row.open:
        for child in node.children[:MOST_NESTED]:
            yield from _rows(child, node, scale, now, toggled, opened, depth + 1)
        row.cut = len(node.children) - len(node.children[:MOST_NESTED])


def row_of(node: TreeNode, parent: TreeNode, scale: Scale, now: int, depth: int) -> TimelineRow:
    """Return the row of one node."""
    promise = node.promise
    kind, name = kind_of(node)
    attempts, next_attempt = attempts_of(node)
    end = promise.settled_at
    begin = min([begin_of(promise), *(begin_of(timer) for timer in node.retries)])
    pending = promise.pending
    if kind in ("message", "published"):
        end, pending = promise.created_at, False
    return TimelineRow(
        id=promise.id,
        place=_place(promise.id, parent.promise.id),
        depth=depth,
        kind=kind,
        name=name,
        status=status_of(node),
        note=_note(node),
        winner=winner_of(promise),
        begin=begin,
        end=end,
        took_ms=None if pending else taken_ms(promise) if begin == begin_of(promise) else (end or now) - begin,
        attempts=attempts,
        next_attempt=next_attempt,
        link=_link(node),
        bars=tuple(_bars(node, kind, scale, begin, now if end is None else end)),
        ticks=tuple(scale.x(timer.created_at) for timer in node.retries),
    )


def kind_of(node: TreeNode) -> tuple[Kind, str]:
    """Return what a node is, and the name of its function, message or key."""
    promise = node.promise
    tags = promise.tags
    if MESSAGE in tags:
        return "message", tags[MESSAGE]
    if PUBLISHED in tags:
        return "published", tags[PUBLISHED]
    issued = Issued.of(promise)
    name = function_of(promise) or issued.name
    if BEGUN in tags:
        return "mark", name
    match issued.kind:
        case "patch":
            return "patch", issued.name
        case "sleep":
            return "sleep", ""
        case "promise":
            return "promise", ""
        case "receive":
            return "message", f"receive {issued.name}"
        case "publish" | "send":
            return "published", f"{issued.kind} {issued.name}"
        case "rpc" | "detached":
            return "call", name
        case "run":
            return ("workflow" if node.children else "step"), name
        case _:
            return "wait", command_of(node)


def status_of(node: TreeNode) -> str:
    """Return the state of a settled promise, or what a pending one does now."""
    promise, task = node.promise, node.task
    if not promise.pending:
        return promise.state
    if task is not None and task.state == "halted":
        return "halted"
    if node.retry_at is not None:
        return "retrying"
    if task is not None and task.state == "pending" and task.retry_at is not None:
        return "retrying" if task.attempts or task.error else "waiting"  # else its start is delayed
    if task is not None:
        return "waiting" if task.state == "suspended" else shown_status("running", task)
    tags = promise.tags
    if MESSAGE in tags or PUBLISHED in tags:
        return "resolved" if PUBLISHED in tags else "waiting"
    return "running" if Issued.of(promise).kind == "run" else "waiting"


def attempts_of(node: TreeNode) -> tuple[int, int | None]:
    """Return how many attempts a promise had so far, and the number of the one that it waits for, or None."""
    task = node.task
    waits = node.retry_at is not None or (task is not None and task.state == "pending" and task.attempts > 0)
    return (node.attempts - 1, node.attempts) if waits else (node.attempts, None)


def _note(node: TreeNode) -> str:
    if waits := node.waits(short=True):
        return waits
    task = node.task
    if task is not None and task.error:
        return task.error
    return winner_of(node.promise) or slept(node.promise) or outcome(node.promise)


def _link(node: TreeNode) -> str | None:
    """Return the id of the promise that has a page of its own, if the command has another one or is a call."""
    tags = node.promise.tags
    if LINK in tags:
        return tags[LINK]
    return node.promise.id if TARGET in tags and MESSAGE not in tags else None


def _place(id: str, parent: str) -> str:
    return id[len(parent) + 1 :] if id.startswith(parent) else id


def _bars(node: TreeNode, kind: Kind, scale: Scale, begin: int, end: int) -> Iterator[Bar]:
    """Yield the bars of one row."""
    promise = node.promise
    if kind == "sleep":
        yield scale.bar("sleep", begin, end, slept(promise) or "sleep")
    elif kind in ("promise", "message", "wait", "published"):
        yield scale.bar("wait", begin, end, "waits to be settled" if kind == "promise" else kind)
    elif kind in ("call", "workflow") and not node.retries:
        yield scale.bar("call", begin, end, "call")
        yield from _busy(node, scale, end)
    else:
        yield from _attempts(node, scale, begin, end)
    if kind in ("call", "workflow") and not promise.pending and promise.state != "resolved" and not node.retries:
        yield scale.bar(_ending(promise), end, end, promise.state)


def _attempts(node: TreeNode, scale: Scale, begin: int, end: int) -> Iterator[Bar]:
    """Yield a segment for the attempts up to each retry timer, and for the pauses between them."""
    promise, last = node.promise, 0
    for timer in node.retries:
        attempt = attempt_of(timer)
        title = f"attempt {attempt}" if attempt == last + 1 else f"attempts {last + 1} to {attempt}"
        yield scale.bar("failed", begin, max(begin, timer.created_at), f"{title}: {error_text(timer.param)}")
        resumed = timer.settled_at if timer.settled_at is not None else min(end, timer.timeout_at)
        yield scale.bar("pause", timer.created_at, max(timer.created_at, resumed), "pause before the next attempt")
        begin, last = resumed, attempt
    if node.retries and node.retries[-1].pending:
        return
    yield scale.bar(_ending(promise), begin, max(begin, end), f"attempt {last + 1}" if node.retries else promise.state)


def _ending(promise: PromiseView) -> BarKind:
    """Return the kind of the last bar of an attempt."""
    if promise.pending:
        return "run"
    return "ok" if promise.state == "resolved" else "canceled" if promise.state == "rejected_canceled" else "failed"


def _busy(node: TreeNode, scale: Scale, end: int) -> Iterator[Bar]:
    """Yield bars for the time in which a workflow has local steps under way."""
    spans: list[tuple[int, int]] = []
    for child in node.children:
        if TARGET in child.promise.tags or kind_of(child)[0] not in ("step", "workflow", "mark"):
            continue
        begin = begin_of(child.promise)
        for timer in child.retries:
            spans.append((begin, timer.created_at))
            begin = timer.settled_at or max(end, timer.timeout_at)
        if begin < end:
            spans.append((begin, child.promise.settled_at or end))
    merged: list[tuple[int, int]] = []
    for begin, until in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(until, merged[-1][1]))
        else:
            merged.append((begin, until))
    for begin, until in merged[:MOST_NESTED]:
        yield scale.bar("idle" if until == begin else "run", begin, until, "runs steps")


def overview_of(root: TreeNode, scale: Scale, now: int, complete: bool) -> TimelineRow:
    """Return the row of the execution itself. If not all of its commands are known, its bar does not show them."""
    row = row_of(root, root, scale, now, 0)
    if not complete:
        row.bars = [bar for bar in row.bars if bar.kind != "run"]
    row.place, row.link = "", None
    if row.kind == "call":
        row.kind = "workflow"
    row.name = row.name or root.promise.tags.get(KIND, "")
    row.below = len(root.children)
    return row


def is_root(promise: PromiseView) -> bool:
    """Return whether a promise is at the top of an execution."""
    return promise.tags.get(ORIGIN, promise.id) == promise.id
