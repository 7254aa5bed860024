"""Commands of an execution: each becomes a node that is known from its record, or is begun.

This part of the interpreter assigns what a workflow is sent next (`Coroutine.inbox`); `interpreter` runs the workflow.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resonate.encoders import Encoder
from resonate.engine.actions import Create, ReadPromise
from resonate.engine.blocking import refuse_above
from resonate.engine.commands.messages import InboxCommands
from resonate.engine.commands.patches import Patches
from resonate.engine.conventions import Conventions
from resonate.engine.history import Issued, outcome_of, shows_step
from resonate.engine.model import NOTHING_YET, Coroutine, Gathering, Node, Outcome, Work
from resonate.errors import InterceptorError, NonDeterminismError
from resonate.errors.mistakes import ForeignPromiseError
from resonate.idempotency import taken_by
from resonate.interceptors import Interceptor, prepared
from resonate.workflow.commands import Cancel, Command, Composite, LocalCall, PromiseCommand, RemoteCall
from resonate.workflow.commands import Promise as Awaitable
from resonate.workflow.messages import InboxCommand
from resonate.workflow.patches import PatchDeprecated, Patched
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import signature_of
from resonate_store.model.records import Claim, PromiseView
from resonate_store.model.requests import PromiseCreate, PromiseGet
from resonate_store.model.tags import REFUSED

if TYPE_CHECKING:
    from resonate.workflow.composites.combinators import Gather
    from resonate.workflow.composites.mapping import Next

NEXT = "~next"
"""The end of the id of a wait for the next of many promises. It has no record."""


class Issuing(Patches, InboxCommands):
    """The commands of one execution; the base of `Execution`.

    Args:
        conventions: builds the nodes of commands.
        root, registry, dependencies, private, encoders: as for `Execution`.
    """

    def __init__(
        self,
        root: Work,
        registry: Registry,
        dependencies: Mapping[str, Any],
        private: bool,
        encoders: dict[str, Encoder[Any, str | None]],
        conventions: Conventions,
    ) -> None:
        super().__init__(root, registry, dependencies, private, encoders)
        self._conventions = conventions
        self._beginning: dict[Coroutine, Create] = {}

    @abstractmethod
    def _is_interrupted_at(self, coroutine: Coroutine, awaited: str) -> bool:
        """Return whether an earlier invocation has interrupted the workflow at this await."""

    def _receive(self, coroutine: Coroutine, outcome: Outcome, *, is_news: bool = False) -> None:
        """Give a workflow the recorded outcome of what it waits for."""
        coroutine.inbox = outcome
        if (state := coroutine.state).replaying:
            self._progress.received(state, is_news=is_news)

    def _issue(self, coroutine: Coroutine, yielded: Any) -> Node | None:
        """Return the node of what a workflow yielded; None if it continues with what is in its inbox."""
        if not isinstance(yielded, Command):
            return self._awaited(coroutine, yielded)
        # Not `cast`, which would be one more call at every step.
        command: Command[Any] = yielded  # pyright: ignore[reportUnknownVariableType]
        if command.special:
            return self._issue_special(coroutine, command)
        place = coroutine.state.next_id()
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

    def _issue_special(self, coroutine: Coroutine, command: Command[Any]) -> Node | None:
        """Carry out a command that is not the creation of one promise."""
        if isinstance(command, Composite):
            steps = command.steps()
            if command.shielded:
                coroutine.shielded = steps
            coroutine.outer.append(coroutine.generator)
            coroutine.generator = steps
            return None
        if isinstance(command, InboxCommand):
            node = self._issue_message(coroutine, command)
            if command.waits:
                return node
            coroutine.inbox = (Awaitable(node.id, self.root.node.id), None)
            return None
        if isinstance(command, Patched):
            return self._ask_patch(coroutine, command)
        if isinstance(command, PatchDeprecated):
            self._receive(coroutine, NOTHING_YET)
            return None
        if isinstance(command, Cancel):
            node = self._known(coroutine, command.promise)
            coroutine.attached.pop(node, None)
            state = coroutine.state
            waiting = Node(f"{state.stem}{state.count}~cancel", node.timeout_at, command.kind, durable=False)
            self._cancel(node, waiting)
            # Only the answer to the cancellation of a remote call is waited for: its server may not know the request.
            return waiting if node.kind == "rpc" and not node.settled else None
        from resonate.workflow.composites.combinators import Gather
        from resonate.workflow.composites.mapping import IsBehind, Next

        if isinstance(command, Next):
            return self._issue_next(coroutine, command)
        if isinstance(command, IsBehind):
            coroutine.inbox = (self._progress.is_behind(coroutine.state), None)
            return None
        if isinstance(command, Gather):
            return self._issue_gather(coroutine, command)
        raise TypeError(f"{command!r} cannot be issued")

    def _issue_gather(self, coroutine: Coroutine, command: Gather) -> Node | None:
        """Wait for several promises that are begun."""
        place = coroutine.state.next_id()
        members = [self._member(coroutine, member) for member in command.members]
        node = Node(place, self.root.node.timeout_at, command.how, inherited=coroutine.work.lineage.tags)
        gathering = Gathering(command.how, command.names, members, node)
        gathering.canceled = self._is_interrupted_at(coroutine, place)
        self._gather(gathering, self.records.by_id.get(place))
        if not node.settled:
            return node
        self._receive(coroutine, (node.value, node.error), is_news=self._progress.is_news(node))
        return None

    def _issue_next(self, coroutine: Coroutine, command: Next) -> Node | None:
        """Wait until one of many promises has settled, and give the workflow the places of those that have."""
        state = coroutine.state
        node = Node(f"{state.stem}{state.count}{NEXT}", self.root.node.timeout_at, "map", durable=False)
        arrivals: Gathering = command.state or Gathering("next", (), [], node)
        command.state = arrivals
        begun: list[Awaitable[Any]] = command.fresh
        fresh = [self._known(coroutine, promise) for promise in begun]
        command.fresh.clear()
        arrivals.canceled = self._is_interrupted_at(coroutine, node.id)
        self._await_next(arrivals, fresh, node, at_once=command.at_once)
        if not node.settled:
            return node
        self._receive(coroutine, (node.value, None), is_news=self._progress.is_news(node))
        return None

    def _member(self, coroutine: Coroutine, member: Awaitable[Any] | Exception) -> Node:
        """Return the node of a promise that a workflow awaits with further promises, or one for a refused creation."""
        if isinstance(member, Exception):
            return Node("", self.root.node.timeout_at, settled=True, error=member)
        return self._known(coroutine, member)

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
        coroutine.row.takes(command, coroutine.state.count)
        coroutine.inbox = (Awaitable(known.id, self.root.node.id), None)

    def _awaited(self, coroutine: Coroutine, yielded: Any) -> Node:
        """Return the node of a promise that a workflow awaits."""
        if not isinstance(yielded, Awaitable):
            from resonate.engine.functions.places import not_yieldable

            raise not_yieldable(yielded)
        node = self._known(coroutine, yielded)  # pyright: ignore[reportUnknownArgumentType]
        coroutine.attached.pop(node, None)
        return node

    def _known(self, coroutine: Coroutine, promise: Awaitable[Any]) -> Node:
        """Return the node of a promise of this execution.

        Raises:
            ValueError: it belongs to another execution, or is settled only after the workflow has ended.
        """
        node = self.nodes.get(promise.id)
        if node is None or promise.cid != self.root.node.id:
            raise ForeignPromiseError(f"{promise!r} belongs to another computation: await it by ctx.promise(id=...)")
        refuse_above(node, coroutine.work, self.root, self.nodes)
        row = coroutine.row
        if row.refused:
            row.refused.pop(node, None)
        row.number = -1
        return node

    def _node_for(self, command: Command[Any], place: str, coroutine: Coroutine) -> Node:
        """Return the node of a command: an existing one, or a new one, whose actions it queues."""
        parent = coroutine.work
        id = command.opts.id or place
        if id != place and parent.lineage.names is not None:
            id = parent.lineage.names.own_id(id, place, command.kind)
        existing = self.nodes.get(id)
        remote = isinstance(command, RemoteCall)
        detached = remote and not command.attached
        row = coroutine.row
        # Only remote calls begin a row, so local calls in a row skip this.
        in_row = (row.number >= 0 or remote) and row.takes(command, parent.state.count)
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
        state = parent.state
        if state.replaying or node.link is not None or not node.durable:
            self._progress.issued(state, node)
        if request is not None:
            if remote and self._registry.interceptors is not None:
                request = self._prepared(self._registry.interceptors, request, parent)
            beyond = id != place and isinstance(command, PromiseCommand) and self._progress.is_behind(state)
            if command.waits or beyond:
                # Either the workflow waits for it, so other programs cannot know its id yet. Or later commands are
                # recorded, so it was created before; with the default id it would be recorded, unless it was refused.
                self._actions.append(Create(node, request))
            else:
                self._beginning[coroutine] = Create(node, request, coroutine, in_row)
        elif node.work is not None:
            self._start(node.work, command.opts, is_new=not state.replaying)
        return node

    def _prepared(self, interceptors: tuple[Interceptor, ...], request: PromiseCreate, parent: Work) -> PromiseCreate:
        """Let the interceptors change the creation of a remote call, in the contextvars of the workflow.

        Raises:
            InterceptorError: one of them has raised an error.
        """
        surrounded = self._surrounded.get(parent)
        try:
            if surrounded is None:
                return prepared(interceptors, request, parent.node.id)
            return surrounded.inside(prepared, interceptors, request, parent.node.id)
        except Exception as error:
            mesg = f"an interceptor of the remote call {request.id} raised {type(error).__name__}: {error}"
            raise InterceptorError(mesg) from error

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
