"""Promises of an execution: what is known of each, and what happens when one is settled.

This part of the interpreter is the one owner of `Node`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from resonate.encoders import Encoder
from resonate.engine.actions import CancelCall, ReadPromise, RecordOutcome
from resonate.engine.attempts import Attempts
from resonate.engine.blocking import outstanding_below
from resonate.engine.conventions import linked
from resonate.engine.history import Issued, may_belong, outcome_of
from resonate.engine.model import NOTHING_YET, Coroutine, Gathering, Node, Work, close_workflow
from resonate.errors import NonDeterminismError, refusal
from resonate.idempotency import belongs_elsewhere
from resonate.payloads import codec
from resonate.workflow.registry import Registry
from resonate_store.model.records import Claim, PromiseView, SettledState, Value
from resonate_store.model.requests import PromiseGet, Response
from resonate_store.model.tags import PARENT


class Nodes(Attempts):
    """The promises of one execution; the base of `Execution`.

    Attributes:
        nodes: the promises, by id. A step that a workflow waited for is removed with its result.
    """

    def __init__(
        self,
        root: Work,
        registry: Registry,
        dependencies: Mapping[str, Any],
        private: bool,
        encoders: dict[str, Encoder[Any, str | None]],
    ) -> None:
        super().__init__(root, registry, dependencies, private)
        self.nodes: dict[str, Node] = {root.node.id: root.node}
        self._blocked: dict[Coroutine, Node] = {}
        self._encoders = encoders

    @abstractmethod
    def _deliver(self, coroutine: Coroutine, node: Node) -> None:
        """Continue a workflow that has waited for this node."""

    @abstractmethod
    def _awaits_several(self, node: Node, gathering: Gathering) -> None:
        """Handle that a workflow begins to wait for several promises."""

    @abstractmethod
    def _close_below(self, node: Node) -> None:
        """Close the workflow of a promise, and those below it, because the promise was settled by another program."""

    @abstractmethod
    def _cancel(self, node: Node, waiting: Node | None = None) -> None:
        """Cancel a promise that its workflow does not need any more, and settle `waiting` with the answer."""

    @abstractmethod
    def _delivered(self, record: PromiseView) -> None:
        """Interrupt the workflows that wait, because their cancellation is recorded."""

    @abstractmethod
    def _announce(self, node: Node) -> None:
        """Make sure that every workflow gets the error of a promise that it has begun and that cannot be created."""

    def outstanding(self) -> int:
        """Return how many known children of the root, awaited or not, are pending and not settled by this task."""
        return outstanding_below(self.root.node.id, self.nodes.values())

    def timed_out_above(self, work: Work, now: int) -> Node | None:
        """Return the topmost nested workflow above a function whose deadline has passed too, or None."""
        found: Node | None = None
        above = self.nodes.get(work.lineage.id)
        while above is not None and above is not self.root.node:
            if above.durable and not above.settled and above.timeout_at <= now:
                found = above
            above = self.nodes.get(above.work.tags.get(PARENT, "")) if above.work is not None else None
        return found

    # Results of actions

    def kept(self, node: Node, response: Response) -> None:
        """Handle the answer to the record of an outcome. The stored outcome counts, even if it differs."""
        promise = response.promise
        work = node.work
        if promise is None:
            error = refusal(response.status, response.error)
            if work is None or node.refused:
                self._refuse(node, error)
            else:
                node.refused = True
                self._conclude(work, "rejected", codec.encode_error(error, node.encoder), None, error)
        elif node.link is not None and promise.id == node.id:
            self._copy_here(node, promise)
        elif (
            work is None or promise.tags is work.tags or node.link is not None or may_belong(promise, work.tags[PARENT])
        ):
            if work is not None and promise.tags is not work.tags:
                self._require_same(node, promise)
            self._adopt(node, promise)
            if work is not None and not work.concurrent and node.link is None:
                self.nodes.pop(node.id, None)
        else:
            self._refuse(node, belongs_elsewhere(node.id))

    @staticmethod
    def _require_same(node: Node, promise: PromiseView) -> None:
        """Compare a stored promise with the command that adopts it.

        Another worker has stored it under this id, perhaps with other code. A task that is still held is then halted.

        Raises:
            NonDeterminismError: it is that of another function, or of another kind of command.
        """
        if node.link is None and node.kind:
            recorded, issued = Issued.of(promise), Issued.at(node)
            if recorded != issued:
                raise NonDeterminismError(node.id, str(recorded), str(issued))

    def fetched(self, node: Node, response: Response) -> None:
        """Handle a settled promise with its value, which is too large to be read with other promises."""
        if response.promise is None:
            self.settle(node, None, refusal(response.status, response.error))
        elif response.promise.id == node.link:
            self._adopt(node, response.promise)
        else:
            self._exists(node, response.promise)

    def told(self, call: CancelCall, response: Response) -> None:
        """Handle the answer to the cancellation of a remote call, which may have settled it at once."""
        if response.promise is not None and not response.promise.pending:
            self.settled(response.promise)
        if call.waiting is not None:
            error = refusal(response.status, response.error) if response.promise is None else None
            self.settle(call.waiting, None, error)

    def settled(self, promise: PromiseView) -> None:
        """Handle a promise that another program has settled, or that has timed out."""
        node = self.nodes.get(promise.id)
        if node is None or node.settled or promise.pending:
            return
        if not node.external:
            self._close_below(node)
        self._exists(node, promise)

    # What is known of a promise

    def _exists(self, node: Node, promise: PromiseView) -> None:
        """Adopt the outcome of a promise; if it is pending, continue with the function that settles it."""
        if isinstance(promise.value, Claim):
            self._actions.append(ReadPromise(node, PromiseGet(promise.id)))
            return
        if promise.state != "pending":
            self._copy_here(node, promise) if node.link else self._adopt(node, promise)
            return
        node.timeout_at = promise.timeout_at
        if node.work is not None:
            self._created(node.work, promise)

    def _copy_here(self, node: Node, promise: PromiseView) -> None:
        """Record the outcome of a promise with an overridden id at the command's number, where replay reads it."""
        if promise.state == "resolved":
            self._record_here(node, "resolved", promise.value)
        else:
            error = codec.decode_error(promise, node.encoder)
            self._record_here(node, "rejected", codec.encode_error(error, node.encoder))

    def _record_here(self, node: Node, state: SettledState, value: Value, tags: dict[str, str] | None = None) -> None:
        node.external = False
        request = linked(node, state, value, self.root.node.timeout_at, self.now, tags)
        self._actions.append(RecordOutcome(node, request))

    def _adopt(self, node: Node, promise: PromiseView) -> None:
        """Settle a node with the outcome of its promise."""
        if node.gathering is not None:
            self._won(node.gathering, promise)
            return
        self.settle(node, *outcome_of(promise, node.annotation, node.encoder))

    def _refuse(self, node: Node, error: BaseException) -> None:
        """Settle a node whose promise, or whose outcome, the store refuses."""
        self._mark_uncreated(node, error)
        self._announce(node)
        self.settle(node, None, error)

    @staticmethod
    def _mark_uncreated(node: Node, error: BaseException | None = None) -> None:
        node.uncreated = True
        if error is not None:
            node.error = error

    @staticmethod
    def _drop_work(node: Node) -> None:
        """Close the function of a node, because another program has settled the node."""
        Nodes._drop_opening(node)
        node.work = None

    @staticmethod
    def _drop_opening(node: Node) -> None:
        """Close an async function that has issued its first command and does not continue here."""
        if node.work is not None and node.work.opening is not None:
            close_workflow(node.work.opening.coroutine, node.work.name)
            node.work.opening = None

    def _wait(self, coroutine: Coroutine, node: Node) -> None:
        self._blocked[coroutine] = node
        node.waiters.append(coroutine)
        if node.gathering is not None:
            self._awaits_several(node, node.gathering)

    @staticmethod
    def _awaits_timer(node: Node, timeout_at: int) -> None:
        """Note that a command without a promise of its own waits for a timer at its number as well."""
        node.external = node.timer = True
        node.timeout_at = timeout_at

    def _wait_for_timer(self, timer: Node) -> None:
        self.nodes[timer.id] = timer

    # Waits for several promises

    def _gather(self, gathering: Gathering, known: PromiseView | None) -> None:
        """Wait for the members of a gathering, whose winner may be recorded."""
        gathering.node.gathering = gathering
        newly = False
        for member in gathering.members:
            if member.kind == "receive" and member.id in self.records.receipts:
                gathering.expect(member)  # its message was taken during this wait
        for place, member in enumerate(gathering.members):
            if not member.settled:
                gathering.waiting[place] = member
                member.watchers += ((gathering, place),)
            elif known is None:
                newly = gathering.choose(place) or newly
        if known is not None and not gathering.canceled:
            self._won(gathering, known)
        elif newly:
            self._record_winner(gathering)
        else:
            self._gathered(gathering)

    def _member_settled(self, gathering: Gathering, place: int) -> None:
        del gathering.waiting[place]
        if gathering.kind == "next":
            gathering.arrived.append(place)
            self._tell_arrivals(gathering)
        elif gathering.choose(place):
            self._record_winner(gathering)
        else:
            self._gathered(gathering)

    def _await_next(self, arrivals: Gathering, fresh: Sequence[Node], node: Node, *, at_once: bool) -> None:
        """Wait for `fresh` too, and settle `node` with the places of the members that settle next.

        With `at_once`, settle it with those that have settled, also if there are none.
        """
        arrivals.node, node.gathering = node, arrivals
        for member in fresh:
            place = len(arrivals.members)
            arrivals.members.append(member)
            if member.settled:
                arrivals.arrived.append(place)
            else:
                arrivals.waiting[place] = member
                member.watchers += ((arrivals, place),)
        self._tell_arrivals(arrivals, at_once=at_once)

    def _tell_arrivals(self, arrivals: Gathering, *, at_once: bool = False) -> None:
        if arrivals.canceled:
            self._gathered(arrivals)
        elif (arrivals.arrived or at_once) and not arrivals.node.settled:
            arrived, arrivals.arrived = arrivals.arrived, []
            self.settle(arrivals.node, arrived, None)

    def _record_winner(self, gathering: Gathering) -> None:
        """Record which member was first, so that a replay agrees although more has settled since."""
        from resonate.engine.gathering import record_of

        request = record_of(gathering, self.root.node.timeout_at, self.now)
        self._actions.append(RecordOutcome(gathering.node, request))

    def _won(self, gathering: Gathering, record: PromiseView) -> None:
        """Adopt the recorded winner, and continue the workflow; or adopt where the execution is cancelled."""
        if gathering.kind == "cancel":
            self._delivered(record)
            return
        from resonate.engine.gathering import winner_in

        gathering.winner, gathering.recorded = winner_in(record, gathering), True
        self._gathered(gathering)

    def _gathered(self, gathering: Gathering) -> None:
        """Continue the workflow if the outcome is known, and no record of the winner is on its way."""
        from resonate.engine.gathering import outcome_of as gathered

        if gathering.over:
            outcome = NOTHING_YET if gathering.canceled else gathered(gathering)
            self.settle(gathering.node, *outcome)

    def settle(self, node: Node, value: Any, error: BaseException | None) -> None:
        """Settle a node, and continue its waiters."""
        if node.settled:
            return
        node.settled = True
        node.value, node.error = value, error
        if node.encoder is not None:
            self._encoders.pop(node.id, None)
        if node.work is not None and node.work.opening is not None:
            self._drop_work(node)
        node.work = None  # assigned here without a call, because every step passes here
        for coroutine in node.waiters:
            del self._blocked[coroutine]
            self._deliver(coroutine, node)
        node.waiters.clear()
        for gathering, place in node.watchers:
            self._member_settled(gathering, place)
        if node.retries is not None:
            self._timer_settled(node, node.retries)
