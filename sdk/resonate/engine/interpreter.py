"""The replay interpreter: a workflow's coroutines, advanced over what is already known.

Given a function, its arguments and the records of its children, `Execution` runs the coroutines - generators, or async
functions - as far as they can go.
A command whose outcome is recorded is answered at once; for any other it asks for an `Action` - create a promise, run a
function, store an outcome - and is told the result later. When nothing is left to do here it says what it is blocked
on, and when the root has finished it shows the outcome. It performs no I/O and reads no clock, so the same code runs
under a Lambda handler, in memory and in a property test.

A workflow that begins what others can see goes on when that promise is created, or at least on its way: it may tell
somebody the id before it waits for anything (docs/decisions/0036).

What holds (docs/rules.md R1): commands are numbered in creation order; that number makes the child's id; a promise is
awaited by yielding it; on return every attached promise that was not awaited is, in creation order; on replay each
command must be the one that is recorded under its id, and none that is recorded may be missing at the end.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from resonate.encoders import Encoder
from resonate.engine.attempts import Attempts, pending
from resonate.engine.blocking import WORTH_SUSPENDING, Blocked, blocked_on, outstanding_below, refuse_above
from resonate.engine.conventions import Conventions, linked
from resonate.engine.exits import failure_of
from resonate.engine.history import History, described, may_belong, outcome_of, shows_step
from resonate.engine.model import (
    NOTHING_YET,
    Action,
    Coroutine,
    Create,
    Fetch,
    Finished,
    Keep,
    Kind,
    Load,
    Node,
    Opening,
    Outcome,
    Work,
    let_go,
)
from resonate.errors import NonDeterminismError, ResultTypeError, refusal
from resonate.idempotency import already_exists, belongs_elsewhere, created_alike, taken_by
from resonate.payloads import codec
from resonate.workflow.commands import Command, LocalCall, PromiseCommand, RemoteCall
from resonate.workflow.commands import Promise as Awaitable
from resonate.workflow.context import Context
from resonate.workflow.options import DEFAULT_TARGET, Options
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import signature_of
from resonate_store.model.records import Claim, PromiseView, SettledState, Value
from resonate_store.model.requests import PromiseGet, Response
from resonate_store.model.tags import PARENT, REFUSED

logger = logging.getLogger("resonate.replay")


class Execution:
    """One execution of one function, from its root promise to its outcome.

    Args:
        root: the function of the task, with the task's promise as its node.
        registry: the functions known here.
        dependencies: what contexts hand out.
        default_target: where a call goes that names no target.
        group: where it goes instead if its function is registered here.
        private: whether nothing of payloads may be logged.
        encoders: what unsettled calls from this process were written with, by promise id.

    Attributes:
        finished: the outcome of the root, once it has one.
        history: the records that are known.
        nodes: the promises of the computation, by id. Whoever waited for a step has its result, so it is let go.
        now: the instant of the latest news.
        ready: the workflows that can go on.
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
        self.finished: Finished | None = None
        self.root = root
        self.history = History()
        self.nodes: dict[str, Node] = {root.node.id: root.node}
        self.now = 0
        self._encoders: dict[str, Encoder[Any, str | None]] = {} if encoders is None else encoders
        self._conventions = Conventions(root.node.id, registry, dependencies, default_target, group, self._encoders)
        self._attempts = Attempts(self, dependencies, registry, private)
        self._blocked: dict[Coroutine, Node] = {}
        self.ready: deque[Coroutine] = deque()
        self._unfinished: dict[Coroutine, None] = {}
        self._actions: list[Action] = []
        self._beginning: dict[Coroutine, Create] = {}
        self._sent = 0
        self._resumed_by: frozenset[str] = frozenset()
        self._resumed_at: int | None = None

    def start(self, children: Sequence[PromiseView], now: int, resumed_by: Sequence[str] = ()) -> None:
        """Begin, knowing the direct children of the root, and the promises that have resumed it from a suspension."""
        self.now = now
        self._resumed_by = frozenset(resumed_by)
        self._remember(self.root.node.id, children)
        self.root.timer_stem = f"{self.root.node.id}.0"
        self.root.created, self.root.begun = True, bool(children or resumed_by)
        self.root.context.replaying = self.repeats(self.root)
        self._attempts.begin(self.root)

    def advance(self, now: int) -> list[Action]:
        """Run every generator as far as it can go, and return what has to be done for them to go further.

        While `ready` is not empty afterwards, these are creations alone, and come before anything else: of what the
        workflows that are ready have begun. While creations are `sent` and not answered there is nothing else to do.

        Raises:
            NonDeterminismError: a command is not the one that is recorded under its id.
        """
        self.now = now
        if self._attempts.pausing:
            self._attempts.end_pauses(now)
        while self.ready:
            self._resume(self.ready.popleft())
        if self._beginning:
            creations: list[Action] = [*self._beginning.values()]
            self.ready.extend(self._beginning)
            self._beginning.clear()
            return creations
        return [] if self._sent else self.actions()

    def actions(self) -> list[Action]:
        """What has to be done that has not been told yet."""
        actions, self._actions = self._actions, []
        return actions

    def blocked(self, worth_suspending: int = WORTH_SUSPENDING) -> Blocked:
        """What this execution waits for; meant for when `advance` returns nothing and no function is running.

        A sleep that is not longer than `worth_suspending` (milliseconds) is to be waited out.
        """
        attempts = self._attempts
        return blocked_on(self._blocked, self.root.node, attempts.timers, attempts.pausing, self.now, worth_suspending)

    def outstanding(self) -> int:
        """How many children of the root, awaited or not, still have to be settled by others, as far as we know."""
        return outstanding_below(self.root.node.id, self.nodes.values())

    def close(self) -> list[str]:
        """Let go of the generators that have not finished.

        Returns:
            The names of the workflows that do not end when they are closed.

        Python runs their `finally` blocks now. What those yield does not happen here: it will when a later replay of
        the workflow gets there.
        """
        endless = [coroutine.work.name for coroutine in self._unfinished if not coroutine.close()]
        self._unfinished.clear()
        # It refers to us: without it both are freed now, and need not wait for a garbage collection.
        del self._attempts
        return endless

    # What became of an action

    def sent(self, creation: Create) -> None:
        """A creation is on its way, and its workflow goes on meanwhile: until it is about to wait, or ends."""
        coroutine = creation.coroutine
        assert coroutine is not None, "only what a workflow begins is sent ahead"
        coroutine.sent[creation.node] = None
        coroutine.row_open = True
        self._sent += 1

    def created(self, creation: Create, response: Response) -> None:
        """The promise exists now, or the store has refused it."""
        node, coroutine = creation.node, creation.coroutine
        when = "end"
        if coroutine is not None:
            when = "row" if node in coroutine.sent else "yield"
            if when == "row":
                self._answered(coroutine, node)
        if response.promise is None:
            error = refusal(response.status, response.error)
            logger.warning("promise %s (%s) was refused: %s", node.id, node.command or "a retry timer", error)
        elif node.command and node.link is None and not may_belong(response.promise, node.id.rpartition(".")[0]):
            error = belongs_elsewhere(node.id)
        elif created_alike(response.promise, node.key):
            self._exists(node, response.promise)
            return
        else:
            error = already_exists(node.id)
        self._announce(node, error, coroutine, when)
        if node.link is None:
            self.settle(node, None, error)
        else:
            self._drop_work(node)
            # Replay finds the same under the command's number, whatever becomes of the promise.
            self._keep_here(node, "rejected", codec.encode_error(error, node.encoder), {REFUSED: when})

    def _answered(self, coroutine: Coroutine, node: Node) -> None:
        """One of the creations that were sent ahead is answered; after the last, a workflow that is held goes on."""
        del coroutine.sent[node]
        self._sent -= 1
        if not coroutine.sent and (coroutine.opening is not None or coroutine.ended is not None):
            self.ready.append(coroutine)

    def _announce(self, node: Node, error: BaseException, coroutine: Coroutine | None, when: str) -> None:
        """The node's promise cannot be created: see to it that its workflow gets the error.

        Args:
            node: the node, before it is settled.
            error: why it cannot be created.
            coroutine: the workflow that has begun it; None if it waits for it, or begins it when it waits.
            when: "yield", where the workflow is; "row", when it is about to wait; "end", when it ends. A workflow that
                awaits the promise before gets the error there.
        """
        node.uncreated, node.error = True, error
        for other in (*self._unfinished, *self._blocked):
            if other is not coroutine and node in other.attached:
                other.refused[node] = False
        if coroutine is None:
            return
        coroutine.attached.pop(node, None)
        if when == "yield":
            self.ready.remove(coroutine)
            self._wait(coroutine, node)
        else:
            coroutine.refused[node] = when == "row"

    def loaded(self, work: Work, children: Sequence[PromiseView]) -> None:
        """These are the children of a workflow that an earlier invocation had begun."""
        self._remember(work.node.id, children)
        self._attempts.proceed(work)

    def _remember(self, parent: str, children: Sequence[PromiseView]) -> None:
        self.history.remember(parent, children)
        for child in children if self._resumed_by else ():
            if child.id in self._resumed_by and child.settled_at is not None:
                self._resumed_at = min(child.settled_at, self._resumed_at or child.settled_at)

    def ran(self, work: Work, outcome: Outcome | Opening, now: int) -> None:
        """The user's function has returned or raised, or turns out to be a workflow."""
        self.now = now
        if isinstance(outcome, Opening):
            self._attempts.opened(work, outcome)
        else:
            self._attempts.ended(work, outcome)

    def overdue(self, work: Work, now: int) -> None:
        """The time of the work's promise is up, and its function is not waited for any longer."""
        self.now = now
        if not work.node.settled:
            self._attempts.overdue(work)

    def over_with(self, work: Work, now: int) -> Node | None:
        """The highest nested workflow above `work` whose time is up as well; None if there is none."""
        found: Node | None = None
        above = self.nodes.get(work.lineage.id)
        while above is not None and above is not self.root.node:
            if above.durable and not above.settled and above.timeout_at <= now:
                found = above
            above = self.nodes.get(above.work.tags.get(PARENT, "")) if above.work is not None else None
        return found

    def kept(self, node: Node, response: Response) -> None:
        """The node's outcome is stored; what the store shows is what counts."""
        promise = response.promise
        if promise is None:
            error = refusal(response.status, response.error)
            if node.work is None or node.refused:
                self._announce(node, error, None, "end")
                self.settle(node, None, error)
            else:
                node.refused = True
                self._attempts.conclude(node.work, "rejected", codec.encode_error(error, node.encoder), None, error)
        elif node.link is not None and promise.id == node.id:
            self._copy_here(node, promise)
        else:
            work = node.work
            if work is not None and promise.tags is not work.tags and _is_foreign(node, work, promise):
                error = belongs_elsewhere(node.id)
                self._announce(node, error, None, "end")
                self.settle(node, None, error)
                return
            self._adopt(node, promise)
            if work is not None and not work.concurrent and node.link is None:
                self.nodes.pop(node.id, None)

    def fetched(self, node: Node, response: Response) -> None:
        """The node's settled promise, with the value that was too large to come along with others."""
        if response.promise is None:
            self.settle(node, None, refusal(response.status, response.error))
        elif response.promise.id == node.link:
            self._adopt(node, response.promise)
        else:
            self._exists(node, response.promise)

    def settled(self, promise: PromiseView) -> None:
        """A promise that others settle has been settled, or one of ours has run out of time."""
        node = self.nodes.get(promise.id)
        if node is None or node.settled or promise.pending:
            return
        if not node.external:
            self._abandon(node)
        self._exists(node, promise)

    def _abandon(self, node: Node) -> None:
        """Let go of the coroutines that work for a promise which is settled without them."""
        for coroutine in list(self._blocked):
            id = coroutine.work.node.id
            if id == node.id or id.startswith(f"{node.id}."):
                self._blocked.pop(coroutine).waiters.remove(coroutine)
                self._unfinished.pop(coroutine, None)
                coroutine.close()

    # Running workflows

    def enter(self, work: Work, generator: Any, opening: Any = None) -> None:
        """Let a workflow run; it stands above its children from now on."""
        if work is not self.root:
            work.lineage = work.lineage.below(work.node.id, work.node.timeout_at)
        coroutine = Coroutine(work, generator, opening)
        self._unfinished[coroutine] = None
        self.ready.append(coroutine)

    def replays(self, context: Context) -> bool:
        """Whether more commands of this execution are known than it has issued by now."""
        return self.history.reaches(context.id, context.count)

    def repeats(self, work: Work) -> bool:
        """Whether a workflow that is called has been at least as far before.

        One that a suspension ended was blocked by something that has settled since, or has not: it repeats what it has
        done until it receives that. Of one that ended otherwise, such as by a crash, only its records tell.
        """
        return self.replays(work.context) or (
            bool(self._resumed_by) and work.begun and not work.is_new and work.attempt == 1
        )

    def _is_news(self, node: Node) -> bool:
        """Whether a settled promise was pending when the execution was suspended."""
        known = self.history.records.get(node.link or node.id)
        return node.durable and (known is None or known.pending or self._settled_since(node.id, known))

    def _settled_since(self, id: str, known: PromiseView) -> bool:
        """Whether a promise has settled since the suspension: it has resumed the task, or settled after that."""
        return id in self._resumed_by or (
            self._resumed_at is not None and known.settled_at is not None and known.settled_at > self._resumed_at
        )

    def _resume(self, coroutine: Coroutine) -> None:
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
        if not coroutine.sent:
            self._join(coroutine, coroutine.ended)

    def _take(self, coroutine: Coroutine, yielded: Any) -> bool:
        """Act on what a workflow yielded; whether it goes on at once."""
        if coroutine.row_open and not _goes_on(yielded):
            if coroutine.sent:
                coroutine.opening = yielded  # it is held until all of them are answered
                return False
            coroutine.row_open = False
            if (error := _refusal_in_row(coroutine)) is not None:
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
        self._receive(coroutine, (node.value, node.error), is_news=bool(self._resumed_by) and self._is_news(node))
        return True

    def _receive(self, coroutine: Coroutine, outcome: Outcome, *, is_news: bool = False) -> None:
        """Give a workflow the recorded outcome of what it waits for."""
        coroutine.inbox = outcome
        context = coroutine.work.context
        if context.replaying:
            context.replaying = not is_news if self._resumed_by else self.replays(context)

    def _join(self, coroutine: Coroutine, ended: Outcome) -> None:
        """Structured concurrency: a coroutine ends after everything that it started and did not detach."""
        for node in coroutine.attached:
            if not node.settled:
                self._wait(coroutine, node)
                return
        if coroutine.refused and ended[1] is None:
            ended = (None, _noted(list(coroutine.refused)))
        self._attempts.ended(coroutine.work, ended)

    def _wait(self, coroutine: Coroutine, node: Node) -> None:
        self._blocked[coroutine] = node
        node.waiters.append(coroutine)

    def _issue(self, coroutine: Coroutine, yielded: Any) -> Node | None:
        """The node of what a workflow yielded; None if it goes on with what is in its inbox."""
        if not isinstance(yielded, Command):
            return self._awaited(coroutine, yielded)
        # No cast: that would be a call, at every step.
        command: Command[Any] = yielded  # pyright: ignore[reportUnknownVariableType]
        work = coroutine.work
        place = work.context.next_id()
        known = self.history.records.get(place)
        if known is not None and known.state != "pending" and not command.opts.id and place not in self.nodes:
            if isinstance(command, LocalCall):
                if self._replayed(coroutine, command, known):
                    return None
            elif self._replayed_external(coroutine, command, known):
                return None
        node = self._node_for(command, place, coroutine)
        if command.waits:
            return node
        if node.uncreated and node.settled and node not in coroutine.refused:
            assert node.error is not None
            raise node.error
        if not (node.settled or (isinstance(command, RemoteCall) and not command.attached)):
            coroutine.attached[node] = None
        coroutine.inbox = (Awaitable(node.id, self.root.node.id), None)
        return None

    def _replayed(self, coroutine: Coroutine, command: LocalCall[Any], known: PromiseView) -> bool:
        """Answer a local call whose outcome is recorded, and about which there is nothing to be done or kept.

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
        """Answer a command whose promise others have settled: nothing is encoded, and no request is made up."""
        if isinstance(known.value, Claim) or described(known) != command.describe():
            return False
        annotation = self._conventions.result_type(command) if isinstance(command, RemoteCall) else Any
        outcome = outcome_of(known, annotation, command.opts.encoder)
        if command.waits:
            is_news = bool(self._resumed_by) and self._settled_since(known.id, known)
            self._receive(coroutine, outcome, is_news=is_news)
        else:
            self._replay_begun(coroutine, command, known, annotation, outcome)
        return True

    def _replay_begun(
        self, coroutine: Coroutine, command: Command[Any], known: PromiseView, annotation: Any, outcome: Outcome
    ) -> None:
        """Give a workflow the promise of what it begins, whose outcome is recorded."""
        node = Node(known.id, known.timeout_at, command.describe(), annotation, command.opts.encoder, settled=True)
        node.value, node.error = outcome
        node.external = not isinstance(command, LocalCall)
        self.nodes[known.id] = node
        self._is_in_row(coroutine, command)
        coroutine.inbox = (Awaitable(known.id, self.root.node.id), None)

    def _awaited(self, coroutine: Coroutine, yielded: Any) -> Node:
        """The node of a promise that a workflow awaits."""
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
        if coroutine.refused:
            coroutine.refused.pop(node, None)
        coroutine.row = -1
        return node

    # Issuing commands

    def _node_for(self, command: Command[Any], place: str, coroutine: Coroutine) -> Node:
        parent = coroutine.work
        id = command.opts.id or place
        existing = self.nodes.get(id)
        remote = isinstance(command, RemoteCall)
        detached = remote and not command.attached
        # Only remote calls begin a row: fans of local ones need not ask.
        in_row = (coroutine.row >= 0 or remote) and self._is_in_row(coroutine, command)
        if existing is not None:
            if id == place and existing.link is not None:
                raise taken_by(id, existing.link)
            if not detached:
                refuse_above(existing, parent, self.root, self.nodes)
            return existing
        # Whoever is detached, or named on its own, lives on its own: it is the root of a tree (docs/rules.md R7).
        lineage = parent.lineage.apart(id) if detached or id != place else parent.lineage
        request = None
        if isinstance(command, LocalCall):
            node = self._conventions.local(command, id, lineage, self.now)
        else:
            node, request = self._conventions.external(command, id, lineage, self.now, detached=detached)
        self.nodes[id] = node
        if id != place:
            node.link = place
            node.inherited = parent.lineage.tags
            node.command = f"{node.command} with the id {id}"
            if node.work is not None:
                node.work.timer_stem = place
        known = self.history.records.get(place)
        if known is not None and self._recall(node, place, known):
            if REFUSED in known.tags and not command.waits:
                self._recall_refusal(node, coroutine, known.tags[REFUSED])
        else:
            if node.link is None and node.durable:
                parent.context.replaying = False
            elif not self._resumed_by:  # else it may have been begun before, and has no record that says so
                parent.context.replaying = not node.durable and self.replays(parent.context)
            if request is not None:
                beyond = id != place and isinstance(command, PromiseCommand) and self.replays(parent.context)
                if command.waits or beyond:
                    # No other program learns of it now. A workflow that has got beyond a promise has created it before;
                    # one with the default id would be among the records, unless it was refused.
                    self.act(Create(node, request))
                else:
                    self._beginning[coroutine] = Create(node, request, coroutine, in_row)
            elif node.work is not None:
                node.work.is_new = not parent.context.replaying
                self._start(node.work, command.opts)
        return node

    def _is_in_row(self, coroutine: Coroutine, command: Command[Any]) -> bool:
        """Whether a command continues a row of begun calls: a remote one begins a row, a local one continues it."""
        if not _goes_on(command):
            return False
        count = coroutine.work.context.count
        in_row = coroutine.row == count - 1
        if in_row or isinstance(command, RemoteCall):
            coroutine.row = count
        return in_row

    def _recall(self, node: Node, place: str, known: PromiseView) -> bool:
        """The command has been issued before: go by what is recorded at its place, if that says anything."""
        if described(known) != node.command:
            raise NonDeterminismError(place, described(known), node.command)
        if node.link is None:
            self._exists(node, known)
        elif known.pending:
            # Over HTTP a record is created and then settled; whoever was to do that did not get to it.
            return False
        elif isinstance(known.value, Claim):
            self.act(Fetch(node, PromiseGet(known.id)))
        else:
            self._adopt(node, known)
        return True

    def _recall_refusal(self, node: Node, coroutine: Coroutine, when: str) -> None:
        """The creation was refused when the workflow first ran: it gets the error at the same place again."""
        node.uncreated = True
        if when != "yield":
            coroutine.refused[node] = when == "row"
            coroutine.row_open |= when == "row"

    def _start(self, work: Work, opts: Options) -> None:
        """A finished step is recorded in one write; whatever else runs here is created pending before it runs."""
        if work.kind is Kind.WORKFLOW:
            # Without a promise of its own nothing says whether it was begun before; its steps are durable all the same.
            self.act(Create(work.node, pending(work)) if work.node.durable else Load(work))
        elif not work.node.durable or not (opts.id or opts.timeout is not None or opts.idempotency_key):
            self._attempts.begin(work)
        else:
            self.act(Create(work.node, pending(work)))

    def act(self, action: Action) -> None:
        """Ask for something to be done."""
        self._actions.append(action)

    # Promises that exist

    def _exists(self, node: Node, promise: PromiseView) -> None:
        """The node's promise is known: take its outcome, or do what settles it."""
        if isinstance(promise.value, Claim):
            self.act(Fetch(node, PromiseGet(promise.id)))
            return
        if promise.state != "pending":
            self._copy_here(node, promise) if node.link else self._adopt(node, promise)
            return
        node.timeout_at = promise.timeout_at
        work = node.work
        if work is None or work.created:
            return
        work.created = True
        work.context.info.timeout = promise.timeout_at / 1000
        work.begun = node.link is not None or promise.id in self.history.records
        if work.begun and work.kind is Kind.WORKFLOW:
            self.act(Load(work))
        else:
            self._attempts.proceed(work)

    def _copy_here(self, node: Node, promise: PromiseView) -> None:
        """Keep the outcome of a promise that lies elsewhere under the command's own number: replay reads only that."""
        if promise.state == "resolved":
            self._keep_here(node, "resolved", promise.value)
        else:
            error = codec.decode_error(promise, node.encoder)
            self._keep_here(node, "rejected", codec.encode_error(error, node.encoder))

    def _keep_here(self, node: Node, state: SettledState, value: Value, tags: dict[str, str] | None = None) -> None:
        node.external = False
        self.act(Keep(node, linked(node, state, value, self.root.node.timeout_at, self.now, tags)))

    def _adopt(self, node: Node, promise: PromiseView) -> None:
        """Take the outcome of a settled promise as the node's."""
        self.settle(node, *outcome_of(promise, node.annotation, node.encoder))

    def _still_replays(self, context: Context, node: Node) -> bool:
        """Whether a workflow that was held up by a node, and goes on in this invocation, has been there before."""
        if self._resumed_by:
            return not self._is_news(node)
        known = self.history.records.get(node.link or node.id)
        return self.replays(context) if not node.durable or (known is not None and not known.pending) else False

    @staticmethod
    def _drop_work(node: Node) -> None:
        """Nothing settles the node here any more."""
        work, node.work = node.work, None
        if work is not None and work.opening is not None:
            let_go(work.opening.coroutine, work.name)

    def settle(self, node: Node, value: Any, error: BaseException | None) -> None:
        """The node has its outcome: whoever waits for it goes on."""
        if node.settled:
            return
        node.settled = True
        node.value, node.error = value, error
        if node.encoder is not None:
            self._encoders.pop(node.id, None)
        if node.work is not None and node.work.opening is not None:
            self._drop_work(node)
        node.work = None  # without a call, as for every step
        for coroutine in node.waiters:
            del self._blocked[coroutine]
            if coroutine.ended is None:
                coroutine.inbox = (value, error)
                context = coroutine.work.context
                if context.replaying:
                    context.replaying = self._still_replays(context, node)
            self.ready.append(coroutine)
        node.waiters.clear()
        if node.then is not None:
            node.then()


def _goes_on(yielded: Any) -> bool:
    """Whether a workflow that yields this belongs to those that begin calls in a row."""
    return isinstance(yielded, Command) and not yielded.waits and not isinstance(yielded, PromiseCommand)


def _is_foreign(node: Node, work: Work, promise: PromiseView) -> bool:
    """Whether the promise at a command's own number is not the command's."""
    return node.link is None and not may_belong(promise, work.tags[PARENT])


def _refusal_in_row(coroutine: Coroutine) -> BaseException | None:
    """The error of what was refused of the latest row, which the workflow is told now."""
    nodes = [node for node, in_row in coroutine.refused.items() if in_row]
    for node in nodes:
        del coroutine.refused[node]
    return _noted(nodes) if nodes else None


def _noted(nodes: list[Node]) -> BaseException:
    """The error of the first of these nodes, with a note that names them: it is raised at another command."""
    error = nodes[0].error
    assert error is not None, "what was refused has an error"
    more = f", and so were {len(nodes) - 1} that were begun after it" if len(nodes) > 1 else ""
    error.add_note(f"the promise {nodes[0].id} ({nodes[0].command}) could not be created{more}")
    return error
