"""Delivery by the writer: carries the effects of a write out at once, and announces what it cannot (docs/rules.md W14).

A write without the attribute `effects` does not reach the dispatcher. Its writer delivers the effects itself, and the
effects of the writes that follow from them. If the process dies in between, the sweep repeats them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol, cast

from msgspec.structs import replace

from resonate_store.aws.errors import aws_error
from resonate_store.delivery.metrics import ending_of
from resonate_store.delivery.outlets import carry_out, mark_delivered
from resonate_store.delivery.sinks import Denied, MessageSink, TimerOutlets, TimerSink, VersionDeleted
from resonate_store.interface import StoreError
from resonate_store.machine.effects import (
    Arm,
    Change,
    Effect,
    Execute,
    Prune,
    Resume,
    Retain,
    Unblock,
    effects,
    repeated,
)
from resonate_store.model.addresses import pinned_of
from resonate_store.model.execution_requests import Holder
from resonate_store.model.records import Entry, PromiseView, Record
from resonate_store.model.requests import (
    FulfillAndTakeOver,
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    PromiseWake,
    Request,
    Response,
    SettleAndResume,
    TaskCreate,
    TaskFence,
    TaskGet,
    TaskHalt,
    TaskResume,
)
from resonate_store.model.schedule_requests import ScheduleFire

BUDGET_MS = 2_000
"""How long (ms) a writer delivers after one request. What is left then is announced."""

Announces = Literal["everything", "rest", "nothing"]
"""What a process leaves to the dispatcher: everything, what its sinks cannot reach, or nothing."""

logger = logging.getLogger("resonate.delivery")


class Table(Protocol):
    """The store of a table, as far as delivery needs it."""

    def transact(self, request: Request, *, delivery: Delivery | None) -> tuple[Response, list[Change]]: ...

    def retain(self, id: str, created_at: int, settled_at: int, seconds: int) -> None: ...

    def delete_generations(self, outdated: Prune) -> bool: ...

    def announce(self, entry: Entry) -> None: ...

    def now(self) -> int: ...


class Delivery:
    """Delivery of the effects of one process's writes. Processes and threads may share it.

    Args:
        timers: arms timers. None if this process can arm none.
        messages: sends execute messages. None if this process can send none.
        retention_s: how long (seconds) a settled execution is kept. None if this process does not know it.
        announces: what this process leaves to the dispatcher.
        budget_ms: how long it delivers after one request (ms).
        count: takes the metrics of executions that end.
    """

    def __init__(
        self,
        timers: TimerSink | None = None,
        messages: MessageSink | None = None,
        retention_s: int | None = None,
        *,
        announces: Announces = "rest",
        budget_ms: int = BUDGET_MS,
        count: Callable[[dict[str, int]], None] = lambda _: None,
    ) -> None:
        self.timers = timers
        self.messages = messages
        self.retention_s = retention_s
        self.announces = announces
        self._budget_ms = budget_ms
        self._count = count
        self._denied: set[str] = set()

    def leaves(self, outstanding: Sequence[Effect]) -> bool:
        """Return whether a write with these effects is announced: the dispatcher then delivers all of them."""
        if self.announces == "rest":
            return not all(map(self._reaches, outstanding))
        return self.announces == "everything"

    def marks(self, outstanding: Sequence[Effect]) -> bool:
        """Return whether the retention marker is the only effect, and this process puts it (docs/rules.md W17)."""
        known = self.retention_s is not None and self.announces != "everything"
        return known and len(outstanding) == 1 and isinstance(outstanding[0], Retain)

    def _reaches(self, effect: Effect) -> bool:
        match effect:
            case Resume():
                return True
            case Retain():
                return self.retention_s is not None
            case Prune():
                return False
            case Execute():
                sink = self.messages
                return sink is not None and effect.address not in self._denied and sink.reaches(effect.address)
            case Unblock():
                return self.messages is not None and self.messages.notifies(effect.address)
            case Arm():
                return self.timers is not None and self.timers.reaches(effect.at)
            case _:
                return self.timers is not None and self.timers.reaches(None)

    def apply(self, request: Request, table: Table) -> Response:
        """Carry out one request and deliver its effects.

        An effect that cannot be delivered is announced, or else left to the sweep.
        """
        if type(request) is PromiseSettle and self.announces != "everything":
            request = SettleAndResume(request.id, request.state, request.value)
        response, changes = table.transact(request, delivery=self)
        if self.announces == "everything":
            return response
        woken = isinstance(request, (PromiseWake, ScheduleFire))
        outlets = _Outlets(self, table, request.successor if isinstance(request, FulfillAndTakeOver) else None)
        self._deliver([repeated(change) for change in changes] if woken else changes, outlets)
        taken = outlets.taken_over
        if taken is None or taken.promise is None:
            return response
        return replace(response, task=taken.task, preload=(taken.promise,))

    def carry_out(self, changes: Iterable[Change], table: Table) -> None:
        """Deliver the effects of writes that were not announced, and of all writes that follow from them.

        What follows from an effect is delivered before the next effect. A stack of generators does that without
        recursion: a chain of a thousand callers can time out at one instant.
        """
        self._deliver(changes, _Outlets(self, table))

    def _deliver(self, changes: Iterable[Change], outlets: _Outlets) -> None:
        until = outlets.table.now() + self._budget_ms
        running = [self._delivering(change, outlets, until) for change in reversed(list(changes))]
        while running:
            following = next(running[-1], None)
            if following is None:
                running.pop()
            else:
                running += [self._delivering(change, outlets, until) for change in reversed(following)]

    def _delivering(self, change: Change, outlets: _Outlets, until: int) -> Iterator[list[Change]]:
        """Deliver the effects of one write. Yield after each effect the writes that followed from it."""
        entry = change.after
        if counts := ending_of(change):
            self._count(counts)
        outstanding = effects(*change)
        limited = entry is not None and self.announces == "rest"
        try:
            if limited and self.leaves(outstanding):
                # Another process has written this, and has not delivered it (W16).
                raise Denied("this process cannot deliver all of it")
            for effect in outstanding:
                if limited and outlets.table.now() >= until:
                    raise Denied(f"nothing is delivered for more than {self._budget_ms} ms")
                carry_out(effect, outlets)
                yield outlets.taken()
            if outstanding and isinstance(entry, Record) and entry.owes:
                # Last, so that a delivery that fails half way is repeated as a whole.
                mark_delivered(entry.id, outlets)
        except (Denied, StoreError) as error:
            self._give_up(entry, error, outlets.table)
        except Exception as error:
            # An error of SQS or EventBridge. The write has happened, so its request must not fail.
            if not limited or aws_error(error) is None:
                raise
            self._give_up(entry, error, outlets.table)
        yield outlets.taken()

    def deny(self, address: str) -> None:
        """Announce the messages to an address from now on."""
        self._denied.add(address)

    def _give_up(self, entry: Entry | None, error: Exception, table: Table) -> None:
        if entry is not None and self.announces == "rest":
            try:
                table.announce(entry)
                logger.info("an effect is left to the dispatcher: %s", error)
                return
            except StoreError as second:
                error = second
        logger.warning("an effect failed and is left to the sweep: %s", error)


class _Outlets(TimerOutlets):
    """The surroundings of the effects of one request.

    Args:
        delivery: the delivery that carries them out.
        table: the table.
        successor: acquires the first task that is resumed, if it serves its target.

    Attributes:
        taken_over: the response with the task that `successor` has acquired.
    """

    def __init__(self, delivery: Delivery, table: Table, successor: Holder | None = None) -> None:
        self._delivery = delivery
        # Without this sink no effect on timers is carried out: see `Delivery.leaves`.
        self.timers = cast("TimerSink", delivery.timers)
        self.table = table
        self._successor = successor
        self.taken_over: Response | None = None
        self._changes: list[Change] = []

    def taken(self) -> list[Change]:
        """Return the changes that followed and have to be delivered, and forget them."""
        changes, self._changes = self._changes, []
        return changes

    def apply(self, request: Request) -> Response:
        if self._successor is not None and isinstance(request, TaskResume):
            request = replace(request, successor=self._successor)
        response, changes = self.table.transact(request, delivery=self._delivery)
        self._changes += changes
        if response.task is not None:
            self.taken_over, self._successor = response, None
        return response

    def send(self, address: str, message: dict[str, Any]) -> None:
        messages = self._delivery.messages
        assert messages is not None
        if messages.leads_home(address):
            give_up(self.apply, message, f"its target {address} is a function of the deployment and not a worker")
            return
        try:
            messages.send(address, message)
        except VersionDeleted:
            if self._delivery.announces == "nothing":
                halt_pinned(self.apply, address, message)
                return
            self._delivery.deny(address)  # the dispatcher halts the task
            raise
        except Denied:
            self._delivery.deny(address)
            raise

    def notify(self, address: str, promise: PromiseView) -> None:
        assert self._delivery.messages is not None
        self._delivery.messages.notify(address, promise, self)

    def retain(self, id: str, created_at: int, settled_at: int) -> None:
        assert self._delivery.retention_s is not None
        self.table.retain(id, created_at, settled_at, self._delivery.retention_s)

    def prune(self, outdated: Prune) -> None:
        self.table.delete_generations(outdated)


def give_up(apply: Callable[[Request], Response], message: dict[str, Any], reason: str) -> None:
    """Halt the task that a message offers, if no worker has it yet. A message to a listener is dropped."""
    match message:
        case {"kind": "execute", "data": {"task": {"id": str(id), "version": int(version)}}}:
            task = apply(TaskGet(id)).task
            if task is not None and (task.state, task.version) == ("pending", version):
                apply(TaskHalt(id, reason=reason))
        case _:
            pass
    logger.error("a push was refused: %s", reason)


def halt_pinned(apply: Callable[[Request], Response], address: str, message: dict[str, Any]) -> None:
    """Halt the task that a message offers, because the version at `address`, to which it is pinned, was deleted.

    A task whose target names this version, or that was moved to another version meanwhile, is not halted.
    """
    id = str(message["data"]["task"]["id"]) if message["kind"] == "execute" else ""
    task = apply(TaskGet(id)).task if id else None
    version = pinned_of(address)
    if task is None or task.pinned != address or version is None:
        logger.warning("%s does not exist; a task that has this target will be offered again", address)
        return
    reason = (
        f"version {version.version} of the function {version.function}, to which the execution is pinned, does not"
        f" exist: move it to another version with `resonate executions repin {id}`"
    )
    give_up(apply, message, reason)


def repeated_id(request: Request) -> str:
    """Return the id of the promise that a request creates, settles or wakes, or an empty text."""
    match request:
        case PromiseCreate() | PromiseRecord() | PromiseSettle() | PromiseWake():
            return request.id
        case TaskCreate():
            return request.promise.id
        case TaskFence():
            return request.action.id
        case _:
            return ""


def owed(entry: Entry | None) -> list[Change]:
    """Return the change whose effects a request delivers again if it finds what it would have written (W16).

    The process that wrote the record may have died before it delivered them.
    """
    if not isinstance(entry, Record):
        return []
    task = entry.task
    offered = task is not None and task.state == "pending" and task.version == 0 and task.offers == 1
    return [Change(None, entry)] if entry.owes or (entry.pending and offered) else []
