"""Cancellation: of the execution, and of what a workflow does not need any more (docs/rules.md X1 to X5).

The innermost workflows that wait get `Canceled` at what they await, and may run compensating steps. All that they
wait for is cancelled first, and then awaited: so nothing of it happens after its compensation. The record
`{root}.0~cancel` has each workflow that waits and its place. A replay interrupts it at the same place. Of a workflow
that waits for a nested one, or has ended, only what it has begun is cancelled.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

from msgspec.structs import replace

from resonate.engine.actions import Action, CancelCall, Create, ReadChildren, RecordOutcome, Run
from resonate.engine.issuing import NEXT, Issuing
from resonate.engine.model import NOTHING_YET, Coroutine, Gathering, Node, Work, is_within
from resonate.errors import ResonateCanceledError
from resonate.payloads import codec
from resonate.workflow.commands import Command, Promise
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.records import EMPTY, PromiseView
from resonate_store.model.requests import PromiseRecord, PromiseSettle
from resonate_store.model.tags import KIND, ORIGIN, PARENT, SCOPE, TARGET

Place = tuple[int, str]
"""Where a workflow is: how many commands it has issued, and the id of what it awaits (empty: it is not interrupted)."""


class Cancelling(Issuing):
    """Cancellation in one execution; the base of `Execution`.

    Attributes:
        ready: the workflows that can continue.
        canceled: the reason, once the execution is cancelled; else None.
    """

    ready: deque[Coroutine]
    canceled: str | None = None
    _unfinished: dict[Coroutine, None]
    _places: dict[str, Place] | None = None
    """The places that workflows are still to reach; None before the cancellation is delivered."""
    _reached: frozenset[str] = frozenset()
    """The ids of all workflows that the cancellation has reached."""
    _held_back: Sequence[Action] = ()

    @abstractmethod
    def close(self) -> list[str]:
        """Close the workflows that have not finished."""

    def note_cancellation(self, reason: str | None) -> None:
        """Note that the execution is cancelled, and where an earlier invocation has interrupted its workflows."""
        self.canceled = reason
        known = self.records.by_id.get(self._id_of_delivery)
        if known is not None and self._places is None:
            self._note_places(known)

    def _note_places(self, record: PromiseView) -> None:
        self._places = {id: (count, awaited) for id, count, awaited in codec.decode(record.value)}
        self._reached = frozenset(self._places)

    @property
    def _id_of_delivery(self) -> str:
        return f"{self.root.state.stem}0~cancel"

    def can_interrupt(self, actions: Sequence[Action]) -> bool:
        """Return whether to deliver the cancellation now: all that is left to do is to wait, or to begin steps.

        No saga is compensated then.
        """
        if self.canceled is None or self._places is not None or not all(map(self._is_beginning, actions)):
            return False
        return all(coroutine.shielded is None for coroutine in self._unfinished)

    def _is_beginning(self, action: Action) -> bool:
        if isinstance(action, Run):
            work = action.work
            return work is not self.root and (work.kind == "step" or not work.begun)
        # Whether a call with an overridden id was begun before is known only once its creation is answered.
        return isinstance(action, Create) and action.node.work is not None and action.node.link is None

    def interrupt(self, actions: Sequence[Action]) -> None:
        """Record where the workflows that wait are interrupted. `actions`, which are not carried out yet, follow."""
        places = [
            [coroutine.work.node.id, coroutine.state.count, "" if self._continues(coroutine, node) else node.id]
            for coroutine, node in self._blocked.items()
        ]
        self._held_back = actions
        node = Node(self._id_of_delivery, self.root.node.timeout_at, "cancel")
        node.gathering = Gathering("cancel", (), [], node)
        value = codec.encode(places, "the places")
        tags = {**self.root.lineage.tags, KIND: "cancel"}
        request = PromiseRecord(node.id, node.timeout_at, self.now, "resolved", value, tags=tags)
        self._actions = [RecordOutcome(node, request)]

    def _continues(self, coroutine: Coroutine, node: Node) -> bool:
        """Return whether a workflow has ended, or waits for a nested workflow, which gets the error itself."""
        return coroutine.ended is not None or (
            not node.external and any(other.work.node is node for other in self._unfinished)
        )

    def _is_reached(self, node: Node) -> bool:
        """Return whether a promise is that of a nested workflow that the cancellation has reached."""
        return not node.external and any(is_within(id, node.id) for id in self._reached)

    def _delivered(self, record: PromiseView) -> None:
        """Interrupt the workflows that wait now."""
        self._note_places(record)
        self._actions.extend(self._held_back)
        self._held_back = ()
        for coroutine, node in list(self._blocked.items()):
            if self._is_at_place(coroutine, node.id):
                self._end_wait(coroutine, node)

    def _is_at_place(self, coroutine: Coroutine, awaited: str) -> bool:
        """Return whether a workflow is interrupted at this await, and note that it was.

        If it has reached the place of a workflow that continues, cancel what it has begun.
        """
        id, count = coroutine.work.node.id, coroutine.state.count
        place = None if self._places is None else self._places.get(id)
        if self._places is None or place is None:
            return False
        if not place[1]:
            if count >= place[0]:
                del self._places[id]
                self._end_attached(coroutine)
            return False
        if place != (count, awaited):
            return False
        del self._places[id]
        return True

    def _is_interrupted_at(self, coroutine: Coroutine, awaited: str) -> bool:
        state = coroutine.state
        return bool(self._places) and self._places.get(coroutine.work.node.id) == (state.count, awaited)

    def _end_wait(self, coroutine: Coroutine, node: Node) -> None:
        """Cancel what a workflow waits for. It gets `Canceled` when that has ended."""
        coroutine.interrupted = True
        if node.gathering is not None:
            node.gathering.canceled = True
        self._end_attached(coroutine)
        for each in (node,) if node.gathering is None else node.gathering.unsettled():
            if not self._is_reached(each):
                self._cancel(each)

    def _end_attached(self, coroutine: Coroutine) -> None:
        """Cancel what a workflow has begun, except nested workflows, which get the error themselves."""
        for each in list(coroutine.attached):
            if not self._is_reached(each):
                self._cancel(each)

    def _interrupted_at(self, coroutine: Coroutine, yielded: Any, node: Node | None) -> bool:
        """Interrupt a workflow that repeats its history at the place where an earlier invocation did."""
        if node is not None:
            awaited = node.id
        elif isinstance(yielded, Command):
            if not cast("Command[Any]", yielded).waits:
                return False
            awaited = f"{coroutine.state.stem}{coroutine.state.count}"
            if cast("Command[Any]", yielded).kind == "map":
                awaited += NEXT
        else:
            assert isinstance(yielded, Promise)
            awaited = cast("Promise[Any]", yielded).id
        if not self._is_at_place(coroutine, awaited):
            return False
        if node is not None and not node.settled:
            self._end_wait(coroutine, node)
        if node is None or node.settled:
            coroutine.inbox, coroutine.interrupted = (None, self._error()), False
        return True

    def _error(self) -> BaseException:
        from resonate.errors.canceled import Canceled

        return Canceled(self.canceled or "")

    # Cancellation of what a workflow does not need any more

    def _cancel(self, node: Node, waiting: Node | None = None) -> None:
        if node.settled:
            return
        if node.kind == "receive":
            self._stop_receiving(node)
        if node.settled:
            return
        if not node.external:
            self._cancel_here(node)
        elif node.kind == "rpc":
            self._actions.append(CancelCall(node, PromiseCancel(node.id, self.canceled or ""), waiting))
        else:
            self._settle_canceled(node)

    def _settle_canceled(self, node: Node) -> None:
        self._actions.append(RecordOutcome(node, PromiseSettle(node.id, "rejected_canceled")))

    def _cancel_here(self, node: Node) -> None:
        """Cancel a local call: it begins no further step, and what it waits for is cancelled too."""
        work = node.work
        if work is None or work.canceled:
            return
        below = [coroutine for coroutine in self._unfinished if is_within(coroutine.work.node.id, node.id)]
        dropped = self._drop_below(node.id, self.nodes.values())
        for coroutine in below:
            awaited = self._abandon(coroutine)
            for each in (*coroutine.attached, *awaited):
                if each.external or each.kind == "receive":
                    self._cancel(each)
        for other in dropped:
            if other is not work and other.created:
                self._settle_canceled(other.node)
        if work.begun:
            known = [each for each in self.records.by_id.values() if each.tags.get(PARENT) == node.id]
            if known:
                self._cancel_recorded(work, known)
            elif not below:
                self._actions.append(ReadChildren(work))  # its records are not read yet
        self._conclude(work, "rejected_canceled", EMPTY, None, ResonateCanceledError(node.id))

    def _cancel_recorded(self, work: Work, children: Sequence[PromiseView]) -> None:
        """Cancel what an earlier invocation of a local call has begun, and this one has not repeated yet."""
        for child in children:
            tags = child.tags
            if not child.pending or child.id in self.nodes or tags.get(ORIGIN) == child.id or "~" in child.id:
                continue
            node = Node(child.id, child.timeout_at)
            if tags.get(SCOPE) == "local":
                self._settle_canceled(node)
                self._actions.append(ReadChildren(replace(work, node=node, opening=None)))
            else:
                node.external, node.kind = True, "rpc" if TARGET in tags else "promise"
                self._cancel(node)

    def _abandon(self, coroutine: Coroutine) -> Sequence[Node]:
        """Close a workflow that does not count any more, and return what it waited for."""
        awaited = self._blocked.pop(coroutine, None)
        if awaited is not None:
            awaited.waiters.remove(coroutine)
        self._unfinished.pop(coroutine, None)
        self._beginning.pop(coroutine, None)
        if coroutine in self.ready:
            self.ready.remove(coroutine)
        coroutine.ended = NOTHING_YET
        coroutine.close()
        if awaited is None:
            return ()
        return (awaited,) if awaited.gathering is None else awaited.gathering.unsettled()
