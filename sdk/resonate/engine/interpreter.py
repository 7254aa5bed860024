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
from resonate.engine.actions import Action, Create
from resonate.engine.blocking import WORTH_SUSPENDING_MS, Blocked, blocked_on
from resonate.engine.cancelling import Cancelling
from resonate.engine.conventions import Conventions
from resonate.engine.functions.current import CURRENT
from resonate.engine.functions.exits import failure_of
from resonate.engine.history import KnownRecords, may_belong
from resonate.engine.model import NOTHING_YET, Coroutine, Node, Outcome, Work, in_rows, is_within, noted
from resonate.engine.progress import Progress
from resonate.errors import InterceptorError, NonDeterminismError, ResultTypeError, refusal
from resonate.idempotency import KEYS, already_exists, belongs_elsewhere, created_alike
from resonate.payloads import codec
from resonate.workflow.options import DEFAULT_TARGET
from resonate.workflow.registry import Registry
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import Response
from resonate_store.model.tags import REFUSED

logger = logging.getLogger("resonate.replay")


class Execution(Cancelling):
    """One execution of one function, from its root promise to its outcome. The owner of `Coroutine`.

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
        conventions = Conventions(
            root.node.id, registry, dependencies, default_target, group, encoders, root.context.info.headers
        )
        super().__init__(root, registry, dependencies, private, encoders, conventions)
        self.ready: deque[Coroutine] = deque()
        self._unfinished: dict[Coroutine, None] = {}
        self._sent = 0
        self._rarely_left = (
            self.ready,
            self.timers,
            self._beginning,
            self._blocked,
            self._surrounded,
            self._taking,
            self._unfinished,
            self._unstarted,
        )
        """What a history may leave behind, though it is nearly always empty."""

    def restart(self, root: Work) -> None:
        """Forget the history that has ended and was closed, so that `start` begins the next one of the same task.

        A new object would do the same, but its parts cost much of the time of a short history.
        """
        self.root = root
        self.finished = None
        if self.canceled is not None:
            self.canceled = self._places = None
            self._reached, self._held_back = frozenset(), ()
        self.records = KnownRecords(root.context)
        self._progress = Progress(self.records)
        self._actions, self.pausing = [], []
        self._waiting = {}
        self._sent = 0
        if any(self._rarely_left):
            for left in self._rarely_left:
                left.clear()
        self.nodes.clear()
        self.nodes[root.node.id] = root.node

    def start(
        self,
        children: Sequence[PromiseView],
        now: int,
        resumed_by: Sequence[str] = (),
        canceled: str | None = None,
        version: int = 0,
    ) -> None:
        """Begin the execution.

        Args:
            children: the direct children of the root.
            now: the present instant (ms).
            resumed_by: the promises that have resumed the execution from a suspension.
            canceled: the reason of its cancellation; None if it is not cancelled.
            version: the version of the task that this process holds.
        """
        self.now = now
        self._version = version
        if resumed_by:
            self._progress.resumed_by = frozenset(resumed_by)
        root = self.root
        if children:
            self._remember(root.node.id, children)
        names = root.lineage.names
        if names is not None and (keys := self.records.by_id.get(f"{root.state.stem}{KEYS}")) is not None:
            names.learn(codec.decode(keys.value))
        if canceled is not None:
            self.note_cancellation(canceled)
        root.timer_stem = f"{root.state.stem}0"
        root.created = True
        # A message that waits may be older than the execution.
        root.begun = bool(resumed_by) or len(children) > len(self.records.messages)
        if root.kind != "workflow":  # a workflow is entered when it is launched
            self._progress.entered(root)
        (self._begin if self.records.timers else self._launch)(root)

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
        before = CURRENT.workflow  # of an execution that runs this one by a client, in the same thread
        try:
            while self.ready:
                coroutine = self.ready.popleft()
                CURRENT.workflow = coroutine.work.name
                self._resume(coroutine)
        finally:
            CURRENT.workflow = before
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
        endless: list[str] = []
        if self._unfinished:
            endless = [coroutine.work.name for coroutine in self._unfinished if not coroutine.close()]
            self._unfinished.clear()
        for node in self.nodes.values():
            if node.work is not None:
                self._drop_opening(node)
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
            if response.promise.tags is not creation.request.tags:
                self._require_same(node, response.promise)
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
        if work.canceled:
            self._cancel_recorded(work, children)
            return
        self._remember(work.node.id, children)
        self._proceed(work)

    def _close_below(self, node: Node) -> None:
        for coroutine in list(self._blocked):
            if is_within(coroutine.work.node.id, node.id):
                awaited = self._blocked.pop(coroutine)
                awaited.waiters.remove(coroutine)
                for each in (awaited,) if awaited.gathering is None else awaited.gathering.unsettled():
                    if each.kind == "receive":
                        self._stop_receiving(each)
                self._unfinished.pop(coroutine, None)
                coroutine.close()

    def _deliver(self, coroutine: Coroutine, node: Node) -> None:
        if coroutine.ended is None:
            coroutine.inbox = (node.value, node.error)
            if coroutine.interrupted:
                coroutine.inbox, coroutine.interrupted = (None, self._error()), False
            if (state := coroutine.state).replaying:
                self._progress.resumed(state, node)
        self.ready.append(coroutine)

    # Running workflows

    def _enter(self, work: Work, workflow: Any, opening: Any = None) -> None:
        coroutine = Coroutine(work, work.state, workflow, opening)
        self._unfinished[coroutine] = None
        self.ready.append(coroutine)

    def _resume(self, coroutine: Coroutine) -> None:
        """Run a workflow until it waits, or ends."""
        if coroutine.opening is not None:
            opening, coroutine.opening = coroutine.opening, None
            if not self._take(coroutine, opening):
                return
        while coroutine.ended is None:
            (value, error), coroutine.inbox = coroutine.inbox, NOTHING_YET
            generator = coroutine.generator
            try:
                yielded = generator.send(value) if error is None else generator.throw(error)
            except StopIteration as stop:
                self._returned(coroutine, (stop.value, None))
                continue
            except InterceptorError:
                raise
            except BaseException as raised:
                failure = failure_of(raised, coroutine.work.name)
                if failure is None:
                    raise
                self._returned(coroutine, (None, failure))
                continue
            if not self._take(coroutine, yielded):
                return
        self._unfinished.pop(coroutine, None)
        if not coroutine.row.sent:
            self._join(coroutine, coroutine.ended)

    @staticmethod
    def _returned(coroutine: Coroutine, outcome: Outcome) -> None:
        """Handle the end of a composite command, whose outcome the workflow gets, or of the workflow itself."""
        if coroutine.shielded is coroutine.generator:
            coroutine.shielded = None
        if coroutine.outer:
            coroutine.generator = coroutine.outer.pop()
            coroutine.inbox = outcome
        elif outcome[1] is not None and coroutine.state.sagas:
            from resonate.workflow.composites.saga import Compensation

            state = coroutine.state
            owed, state.sagas = [saga.owed for saga in state.sagas], ()
            coroutine.generator = coroutine.shielded = Compensation(owed, outcome[1]).steps()
        else:
            coroutine.ended = outcome

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
        except NonDeterminismError as error:
            from resonate.engine.functions.places import line_of  # here, because only this error needs it

            error.at(line_of(coroutine))
            raise
        except (InterceptorError, ResultTypeError):
            raise
        except Exception as refused:
            coroutine.inbox = (None, refused)
            return True
        if self._places and self._interrupted_at(coroutine, yielded, node):
            if node is None or node.settled:
                return True
            self._wait(coroutine, node)
            return False
        if node is None:
            return coroutine not in self._beginning
        if not node.settled:
            self._wait(coroutine, node)
            return False
        self._receive(coroutine, (node.value, node.error), is_news=self._progress.is_news(node))
        return True

    def _join(self, coroutine: Coroutine, ended: Outcome) -> None:
        """End a workflow after everything that it started and did not detach: structured concurrency."""
        if coroutine.work.canceled:
            return
        if self._places:
            self._is_at_place(coroutine, "")
        for node in coroutine.attached:
            if not node.settled:
                self._wait(coroutine, node)
                return
        if coroutine.row.refused and ended[1] is None:
            ended = (None, noted(list(coroutine.row.refused)))
        self._ended(coroutine.work, ended)
