"""Replay interpreter: runs the workflows of one execution over what is recorded. Pure: no store, clock or thread.

`Execution` gets a function, its arguments and the records of its children, and runs workflows as far as they can go. A
command with a recorded outcome is answered at once. For any other the interpreter returns an `Action`, such as to
create a promise, and gets the result later. In the end it shows what it waits for, or the outcome of the root. So the
same code runs in a Lambda handler, in memory and in a property test.

A workflow may give an id to another program as soon as it has begun a call. So it continues only when that promise is
created, or at least sent (docs/decisions/0036). docs/rules.md R1 to R18 are the rules of replay.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from resonate.encoders import Encoder
from resonate.engine.actions import Action, Create, ReadPromise
from resonate.engine.blocking import WORTH_SUSPENDING_MS, Blocked, blocked_on, refuse_above
from resonate.engine.conventions import Conventions
from resonate.engine.exits import failure_of
from resonate.engine.history import Issued, may_belong, outcome_of, shows_step
from resonate.engine.model import NOTHING_YET, Coroutine, Node, Outcome, Work, in_rows, noted
from resonate.engine.nodes import Nodes
from resonate.errors import NonDeterminismError, ResultTypeError, refusal
from resonate.idempotency import already_exists, belongs_elsewhere, created_alike, taken_by
from resonate.payloads import codec
from resonate.workflow.commands import Command, LocalCall, PromiseCommand, RemoteCall
from resonate.workflow.commands import Promise as Awaitable
from resonate.workflow.options import DEFAULT_TARGET
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import signature_of
from resonate_store.model.records import Claim, PromiseView
from resonate_store.model.requests import PromiseGet, Response
from resonate_store.model.tags import REFUSED

logger = logging.getLogger("resonate.replay")


class Execution(Nodes):
    """One execution of one function, from its root promise to its outcome. The one owner of `Coroutine`.

    Args:
        root: the function of the task, with the task's promise as its node.
        registry: the functions known here.
        dependencies: the dependencies of contexts, by name.
        default_target: the target of calls that name none.
        group: their target if their function is registered here.
        private: whether payloads must not be logged.
        encoders: the encoders of unsettled calls of this process, by promise id.

    Attributes:
        ready: the workflows that can continue.
    """

    def __init__(
        self,
        root: Work,
        registry: Registry,
        dependencies: Mapping[str, Any],
        default_target: str = DEFAULT_TARGET,
        *,
        group: str | None = None,
        private: bool = False,
        encoders: dict[str, Encoder[Any, str | None]] | None = None,
    ) -> None:
        encoders = {} if encoders is None else encoders
        super().__init__(root, registry, dependencies, private, encoders)
        self.ready: deque[Coroutine] = deque()
        self._conventions = Conventions(root.node.id, registry, dependencies, default_target, group, encoders)
        self._unfinished: dict[Coroutine, None] = {}
        self._beginning: dict[Coroutine, Create] = {}
        self._sent = 0

    def start(self, children: Sequence[PromiseView], now: int, resumed_by: Sequence[str] = ()) -> None:
        """Begin the execution.

        Args:
            children: the direct children of the root.
            now: the present instant (ms).
            resumed_by: the promises that have resumed the execution from a suspension.
        """
        self.now = now
        self._progress.resumed_by = frozenset(resumed_by)
        self._remember(self.root.node.id, children)
        self._start_root(begun=bool(children or resumed_by))

    def advance(self, now: int) -> list[Action]:
        """Run every workflow as far as it can go, and return the actions that it needs to go further.

        If `ready` is not empty afterwards, the actions are only creations, of promises that these workflows have begun.
        The worker sends them first. While creations are `sent` and not answered, `advance` returns no other actions.

        Raises:
            NonDeterminismError: a command is not the one that is recorded under its id.
        """
        self.now = now
        if self.pausing:
            self._end_pauses()
        while self.ready:
            self._resume(self.ready.popleft())
        if self._beginning:
            creations: list[Action] = [*self._beginning.values()]
            self.ready.extend(self._beginning)
            self._beginning.clear()
            return creations
        return [] if self._sent else self.actions()

    def actions(self) -> list[Action]:
        """Return the actions queued since the last call."""
        actions, self._actions = self._actions, []
        return actions

    def blocked(self, worth_suspending_ms: int = WORTH_SUSPENDING_MS) -> Blocked:
        """Return what this execution waits for, when `advance` returns nothing and no function runs.

        The worker waits out a sleep that is not longer than `worth_suspending_ms`.
        """
        return blocked_on(self._blocked, self.root.node, self.timers, self.pausing, self.now, worth_suspending_ms)

    def close(self) -> list[str]:
        """Close the workflows that have not finished, and return the names of those that do not end when closed.

        Python runs their `finally` blocks now. A later replay runs them again, so commands that they yield now are
        ignored.
        """
        endless = [coroutine.work.name for coroutine in self._unfinished if not coroutine.close()]
        self._unfinished.clear()
        return endless

    # Results of actions

    def sent(self, creation: Create) -> None:
        """Continue a workflow whose creation is sent and not answered, until it is about to wait, or ends."""
        coroutine = creation.coroutine
        assert coroutine is not None, "only what a workflow begins is sent ahead"
        coroutine.row.sent[creation.node], coroutine.row.open = None, True
        self._sent += 1

    def created(self, creation: Create, response: Response) -> None:
        """Handle the answer to a creation: the promise exists, or the store has refused it."""
        node, coroutine = creation.node, creation.coroutine
        when = "end"
        if coroutine is not None:
            when = "row" if node in coroutine.row.sent else "yield"
            if when == "row":
                self._answered(coroutine, node)
        if response.promise is None:
            error = refusal(response.status, response.error)
            logger.warning("promise %s (%s) was refused: %s", node.id, node.describe(), error)
        elif node.kind and node.link is None and not may_belong(response.promise, node.id.rpartition(".")[0]):
            error = belongs_elsewhere(node.id)
        elif created_alike(response.promise, node.key):
            self._exists(node, response.promise)
            return
        else:
            error = already_exists(node.id)
        self._mark_uncreated(node, error)
        self._announce(node, coroutine, when)
        if node.link is None:
            self.settle(node, None, error)
        else:
            self._drop_work(node)
            # Replay finds this error under the command's number, even if the promise exists later.
            self._record_here(node, "rejected", codec.encode_error(error, node.encoder), {REFUSED: when})

    def _answered(self, coroutine: Coroutine, node: Node) -> None:
        """Count one answer to the creations sent ahead. After the last one, continue the workflow that waits."""
        del coroutine.row.sent[node]
        self._sent -= 1
        if not coroutine.row.sent and (coroutine.opening is not None or coroutine.ended is not None):
            self.ready.append(coroutine)

    def _announce(self, node: Node, coroutine: Coroutine | None = None, when: str = "end") -> None:
        """Make sure that every workflow gets the error of a promise that it has begun and that cannot be created.

        Args:
            node: the node, before it is settled.
            coroutine: the workflow that has begun it. None if the workflow waits for the promise now: the end of this
                wait gives it the error.
            when: when the workflow gets the error: "yield" now, "row" before its next wait, "end" when it ends. If it
                awaits the promise earlier, it gets the error at that await.
        """
        for other in (*self._unfinished, *self._blocked):
            if other is not coroutine and node in other.attached:
                other.row.refused[node] = False
        if coroutine is None:
            return
        coroutine.attached.pop(node, None)
        if when == "yield":
            self.ready.remove(coroutine)
            self._wait(coroutine, node)
        else:
            coroutine.row.refused[node] = when == "row"

    def loaded(self, work: Work, children: Sequence[PromiseView]) -> None:
        """Handle the children of a workflow that an earlier invocation has begun."""
        self._remember(work.node.id, children)
        self._proceed(work)

    def _close_below(self, node: Node) -> None:
        for coroutine in list(self._blocked):
            id = coroutine.work.node.id
            if id == node.id or id.startswith(f"{node.id}."):
                self._blocked.pop(coroutine).waiters.remove(coroutine)
                self._unfinished.pop(coroutine, None)
                coroutine.close()

    def _deliver(self, coroutine: Coroutine, node: Node) -> None:
        if coroutine.ended is None:
            coroutine.inbox = (node.value, node.error)
            if (context := coroutine.work.context).replaying:
                self._progress.resumed(context, node)
        self.ready.append(coroutine)

    # Running workflows

    def _enter(self, work: Work, workflow: Any, opening: Any = None) -> None:
        coroutine = Coroutine(work, workflow, opening)
        self._unfinished[coroutine] = None
        self.ready.append(coroutine)

    def _resume(self, coroutine: Coroutine) -> None:
        """Run a workflow until it waits, or ends."""
        generator = coroutine.generator
        if coroutine.opening is not None:
            opening, coroutine.opening = coroutine.opening, None
            if not self._take(coroutine, opening):
                return
        while coroutine.ended is None:
            (value, error), coroutine.inbox = coroutine.inbox, NOTHING_YET
            try:
                yielded = generator.send(value) if error is None else generator.throw(error)
            except StopIteration as stop:
                coroutine.ended = (stop.value, None)
                break
            except BaseException as raised:
                failure = failure_of(raised, coroutine.work.name)
                if failure is None:
                    raise
                coroutine.ended = (None, failure)
                break
            if not self._take(coroutine, yielded):
                return
        self._unfinished.pop(coroutine, None)
        if not coroutine.row.sent:
            self._join(coroutine, coroutine.ended)

    def _take(self, coroutine: Coroutine, yielded: Any) -> bool:
        """Carry out what a workflow yielded, and return whether it continues at once."""
        row = coroutine.row
        if row.open and not in_rows(yielded):
            if row.sent:
                coroutine.opening = yielded  # until all of them are answered
                return False
            row.open = False
            if (error := row.refusal()) is not None:
                coroutine.inbox = (None, error)
                return True
        try:
            node = self._issue(coroutine, yielded)
        except (NonDeterminismError, ResultTypeError):
            raise
        except Exception as refused:
            coroutine.inbox = (None, refused)
            return True
        if node is None:
            return coroutine not in self._beginning
        if not node.settled:
            self._wait(coroutine, node)
            return False
        self._receive(coroutine, (node.value, node.error), is_news=self._progress.is_news(node))
        return True

    def _receive(self, coroutine: Coroutine, outcome: Outcome, *, is_news: bool = False) -> None:
        """Give a workflow the recorded outcome of what it waits for."""
        coroutine.inbox = outcome
        if (context := coroutine.work.context).replaying:
            self._progress.received(context, is_news=is_news)

    def _join(self, coroutine: Coroutine, ended: Outcome) -> None:
        """End a workflow after everything that it started and did not detach: structured concurrency."""
        for node in coroutine.attached:
            if not node.settled:
                self._wait(coroutine, node)
                return
        if coroutine.row.refused and ended[1] is None:
            ended = (None, noted(list(coroutine.row.refused)))
        self._ended(coroutine.work, ended)

    # Issuing commands

    def _issue(self, coroutine: Coroutine, yielded: Any) -> Node | None:
        """Return the node of what a workflow yielded; None if it continues with what is in its inbox."""
        if not isinstance(yielded, Command):
            return self._awaited(coroutine, yielded)
        # Not `cast`, which would be one more call at every step.
        command: Command[Any] = yielded  # pyright: ignore[reportUnknownVariableType]
        place = coroutine.work.context.next_id()
        known = self.records.by_id.get(place)
        if known is not None and known.state != "pending" and not command.opts.id and place not in self.nodes:
            if isinstance(command, LocalCall):
                if self._replayed(coroutine, command, known):
                    return None
            elif self._replayed_external(coroutine, command, known):
                return None
        node = self._node_for(command, place, coroutine)
        if command.waits:
            return node
        if node.uncreated and node.settled and node not in coroutine.row.refused:
            assert node.error is not None
            raise node.error
        if not (node.settled or (isinstance(command, RemoteCall) and not command.attached)):
            coroutine.attached[node] = None
        coroutine.inbox = (Awaitable(node.id, self.root.node.id), None)
        return None

    def _replayed(self, coroutine: Coroutine, command: LocalCall[Any], known: PromiseView) -> bool:
        """Answer a local call whose outcome is recorded, if nothing is left to do for it.

        Nearly all of a replay passes through here.
        """
        if not shows_step(known, command.name) or isinstance(known.value, Claim):
            return False
        annotation = signature_of(command.func).result
        outcome = outcome_of(known, annotation, command.opts.encoder)
        if command.waits:
            self._receive(coroutine, outcome)
        else:
            self._replay_begun(coroutine, command, known, annotation, outcome)
        return True

    def _replayed_external(self, coroutine: Coroutine, command: Command[Any], known: PromiseView) -> bool:
        """Answer a command that another program has settled, without encoding anything or building a request."""
        if isinstance(known.value, Claim) or Issued.of(known) != Issued.by(command):
            return False
        annotation = self._conventions.result_type(command) if isinstance(command, RemoteCall) else Any
        outcome = outcome_of(known, annotation, command.opts.encoder)
        if command.waits:
            self._receive(coroutine, outcome, is_news=self._progress.has_settled_since(known.id, known))
        else:
            self._replay_begun(coroutine, command, known, annotation, outcome)
        return True

    def _replay_begun(
        self, coroutine: Coroutine, command: Command[Any], known: PromiseView, annotation: Any, outcome: Outcome
    ) -> None:
        """Give a workflow the promise of a call that it begins and whose outcome is recorded."""
        value, error = outcome
        self.nodes[known.id] = Node(
            known.id,
            known.timeout_at,
            command.kind,
            command.name,
            annotation,
            command.opts.encoder,
            external=not isinstance(command, LocalCall),
            settled=True,
            value=value,
            error=error,
        )
        coroutine.row.takes(command, coroutine.work.context.count)
        coroutine.inbox = (Awaitable(known.id, self.root.node.id), None)

    def _awaited(self, coroutine: Coroutine, yielded: Any) -> Node:
        """Return the node of a promise that a workflow awaits."""
        if not isinstance(yielded, Awaitable):
            raise TypeError(
                "a workflow yields commands such as ctx.run(...), or promises, and not"
                f" {type(yielded).__name__}: {yielded!r:.80}"
            )
        node = self.nodes.get(yielded.id)
        if node is None or yielded.cid != self.root.node.id:
            raise ValueError(f"{yielded!r} belongs to another computation: await it by ctx.promise(id=...)")
        refuse_above(node, coroutine.work, self.root, self.nodes)
        coroutine.attached.pop(node, None)
        row = coroutine.row
        if row.refused:
            row.refused.pop(node, None)
        row.number = -1
        return node

    def _node_for(self, command: Command[Any], place: str, coroutine: Coroutine) -> Node:
        """Return the node of a command: an existing one, or a new one, whose actions it queues."""
        parent = coroutine.work
        id = command.opts.id or place
        existing = self.nodes.get(id)
        remote = isinstance(command, RemoteCall)
        detached = remote and not command.attached
        row = coroutine.row
        # Only remote calls begin a row, so local calls in a row skip this.
        in_row = (row.number >= 0 or remote) and row.takes(command, parent.context.count)
        if existing is not None:
            if id == place and existing.link is not None:
                raise taken_by(id, existing.link)
            if not detached:
                refuse_above(existing, parent, self.root, self.nodes)
            return existing
        if isinstance(command, LocalCall):
            request = None
            node = self._conventions.local(command, id, place, parent.lineage, self.now)
        else:
            node, request = self._conventions.external(command, id, place, parent.lineage, self.now, detached=detached)
        self.nodes[id] = node
        known = self.records.by_id.get(place)
        if known is not None and self._recall(node, place, known):
            self._recall_refusal(node, coroutine, None if command.waits else known.tags.get(REFUSED))
            return node
        context = parent.context
        if context.replaying or node.link is not None or not node.durable:
            self._progress.issued(context, node)
        if request is not None:
            beyond = id != place and isinstance(command, PromiseCommand) and self._progress.is_behind(context)
            if command.waits or beyond:
                # Either the workflow waits for it, so other programs cannot know its id yet. Or later commands are
                # recorded, so it was created before; with the default id it would be recorded, unless it was refused.
                self._actions.append(Create(node, request))
            else:
                self._beginning[coroutine] = Create(node, request, coroutine, in_row)
        elif node.work is not None:
            self._start(node.work, command.opts, is_new=not context.replaying)
        return node

    def _recall(self, node: Node, place: str, known: PromiseView) -> bool:
        """Continue from the record at a command's place; return False if the record is incomplete."""
        issued, recorded = Issued.at(node), Issued.of(known)
        if recorded != issued:
            raise NonDeterminismError(place, str(recorded), str(issued))
        if node.link is None:
            self._exists(node, known)
        elif known.pending:
            return False  # Over HTTP a record is created and then settled; the worker died between the two requests.
        elif isinstance(known.value, Claim):
            self._actions.append(ReadPromise(node, PromiseGet(known.id)))
        else:
            self._adopt(node, known)
        return True

    def _recall_refusal(self, node: Node, coroutine: Coroutine, when: str | None) -> None:
        """Give a workflow the error of a refused creation at the same place as in its first run."""
        if when is None:
            return
        self._mark_uncreated(node)
        if when != "yield":
            coroutine.row.refused[node] = when == "row"
            coroutine.row.open |= when == "row"
